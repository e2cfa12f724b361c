//! Real Ethereum history: needs `PRUNEDB_CORPUS`, and says so where it is not set.

use prunedb_chains::{
    archive::{Archive, MemoryArchive},
    ethereum::{
        BlockId, Hash32, History, ImportOptions, Network, Tables, export_era1, import_era1,
        import_rlp, sha256,
    },
};
use std::{fs::File, io::Cursor, num::NonZeroUsize, path::PathBuf};

fn corpus(test: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("PRUNEDB_CORPUS").map(|folder| PathBuf::from(folder).join("ethereum"));
    if folder.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    folder
}

const FILES: [(&str, &str); 2] = [
    ("mainnet-00000-5ec1ffb8.era1", "checksums_mainnet.txt"),
    ("sepolia-00000-643a00f7.era1", "checksums_sepolia.txt"),
];

#[test]
fn era1_files_come_back_with_their_published_checksums() {
    let Some(corpus) = corpus("era1_files_come_back") else { return };
    let mut archive = MemoryArchive::default();
    for (name, checksums) in FILES {
        let checksums = std::fs::read_to_string(corpus.join("era1").join(checksums)).unwrap();
        let line = checksums.lines().find(|line| line.ends_with(name)).unwrap();
        let published: Hash32 = line.split_whitespace().next().unwrap().parse().unwrap();
        let mut options = ImportOptions::default();
        options.sha256 = Some(published);
        let file = File::open(corpus.join("era1").join(name)).unwrap();
        let started = std::time::Instant::now();
        let report = import_era1(&mut archive, file, name, &options, &mut |_| ()).unwrap();
        eprintln!("{report:?} {:?}", started.elapsed());
        assert_eq!((report.blocks, report.blocks_stored, report.heights), (8192, 8192, (0, 8191)));
        assert_eq!(report.original_bytes_kept, None);

        let folder = tempfile::tempdir().unwrap();
        let threads = NonZeroUsize::new(2).unwrap();
        let started = std::time::Instant::now();
        let (path, export) =
            export_era1(&archive, &report.network, 0, folder.path(), threads, &mut |_| ()).unwrap();
        eprintln!("{export:?} {:?}", started.elapsed());
        assert_eq!(path.file_name().unwrap(), name);
        assert_eq!(sha256(&std::fs::read(&path).unwrap()), published);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn plain_blocks_verify() {
    let Some(corpus) = corpus("plain_blocks_verify") else { return };
    let mut archive = MemoryArchive::default();
    for (name, blocks, stored, gaps) in
        [("rlp/mainnet-blocks.rlp", 50, 50, 49), ("besu/1000.blocks", 1000, 1000, 0)]
    {
        let bytes = std::fs::read(corpus.join(name)).unwrap();
        let options = ImportOptions::default();
        let report =
            import_rlp(&mut archive, Cursor::new(&bytes), name, &options, &mut |_| ()).unwrap();
        assert_eq!((report.blocks, report.blocks_stored, report.gaps), (blocks, stored, gaps));
        let mut again = Vec::new();
        let table = Tables::of(&Network::mainnet()).block;
        for (height, value) in archive.range(&table, report.heights.0, 2000).unwrap() {
            if height <= report.heights.1 {
                again.extend(value);
            }
        }
        assert_eq!(again, bytes);
    }
}

/// Where the records of a block start, with their parts, and the file's last two records.
fn record_offsets(bytes: &[u8]) -> Vec<usize> {
    let (mut offsets, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        offsets.push(at);
        at += 8 + u32::from_le_bytes(bytes[at + 2..at + 6].try_into().unwrap()) as usize;
    }
    offsets
}

#[test]
fn a_flipped_byte_in_each_kind_of_record_is_found() {
    let Some(corpus) = corpus("a_flipped_byte_in_each_kind_of_record_is_found") else { return };
    let name = FILES[0].0;
    let bytes = std::fs::read(corpus.join("era1").join(name)).unwrap();
    let offsets = record_offsets(&bytes);
    // block 5,000: header, body, receipts, total difficulty; then accumulator and index
    let first = 1 + 4 * 5000;
    for (record, what, in_data) in [
        (0, "version", None),
        (first, "header of block 5000", Some(30)),
        (first + 1, "body of block 5000", Some(15)),
        (first + 2, "receipts of block 5000", Some(15)),
        (first + 3, "total difficulty of block 5000", Some(4)),
        (offsets.len() - 2, "accumulator", Some(9)),
        (offsets.len() - 1, "block index", Some(8 + 8 * 4000 + 2)),
    ] {
        // the record's type, its length, its reserved bytes, its data
        for at in [Some(0), Some(2), Some(7), in_data.map(|at| 8 + at)].into_iter().flatten() {
            let mut flipped = bytes.clone();
            flipped[offsets[record] + at] ^= 0x08;
            let mut archive = MemoryArchive::default();
            let input = Cursor::new(&flipped);
            let error =
                import_era1(&mut archive, input, name, &ImportOptions::default(), &mut |_| ())
                    .unwrap_err()
                    .to_string();
            assert!(archive.is_empty());
            let place = format!("{name}: record {record} at byte {} ({what})", offsets[record]);
            // a wrong length is noticed at the latest in the record after
            assert!(at == 2 || error.starts_with(&place), "{place}\n{error}");
            assert!(error.starts_with(&format!("{name}: record ")), "{error}");
        }
    }
}

#[test]
fn history_of_another_network_is_refused() {
    let Some(corpus) = corpus("history_of_another_network_is_refused") else { return };
    let mut archive = MemoryArchive::default();
    let (mainnet, sepolia) = (FILES[0].0, FILES[1].0);
    let read = |name: &str| Cursor::new(std::fs::read(corpus.join("era1").join(name)).unwrap());
    let mut options = ImportOptions::default();
    let mut refuse = |name: &str, content: &str, options: &ImportOptions| {
        let error =
            import_era1(&mut archive, read(content), name, options, &mut |_| ()).unwrap_err();
        assert!(archive.is_empty());
        error.to_string()
    };
    let renamed = "mainnet-00000-643a00f7.era1";
    assert_eq!(
        refuse(renamed, sepolia, &options),
        format!("{renamed}: this is history of sepolia, not of mainnet")
    );
    options.network = Some("sepolia".parse().unwrap());
    assert_eq!(
        refuse(mainnet, mainnet, &options),
        format!("{mainnet}: this is history of mainnet, not of sepolia")
    );
    let blocks = std::fs::read(corpus.join("rlp/mainnet-blocks.rlp")).unwrap();
    let error = import_rlp(&mut archive, Cursor::new(blocks), "x.rlp", &options, &mut |_| ());
    assert!(error.unwrap_err().to_string().contains("chain id 1, this network has 11155111"));
}

#[test]
fn every_transaction_of_real_blocks_is_shown_and_found() {
    let Some(corpus) = corpus("every_transaction_of_real_blocks_is_shown_and_found") else {
        return;
    };
    let mut archive = MemoryArchive::default();
    let bytes = std::fs::read(corpus.join("rlp/mainnet-blocks.rlp")).unwrap();
    let options = ImportOptions::default();
    let report =
        import_rlp(&mut archive, Cursor::new(bytes), "x.rlp", &options, &mut |_| ()).unwrap();
    let network = Network::mainnet();
    let history = History::new(&archive, &network);
    let (mut transactions, mut kinds) = (0, [0; 5]);
    for (height, _) in archive.range(&Tables::of(&network).block, 0, 100).unwrap() {
        let block = history.block(BlockId::Height(height)).unwrap().unwrap();
        let json = serde_json::to_value(block.json(true).unwrap()).unwrap();
        for transaction in json["transactions"].as_array().unwrap() {
            transactions += 1;
            let kind: usize = transaction["type"].as_str().unwrap()[2..].parse().unwrap();
            kinds[kind] += 1;
            assert!(transaction.get("raw").is_none(), "every type is known");
        }
        let last = json["transactions"].as_array().unwrap().last();
        if let Some(hash) = last.map(|last| last["hash"].as_str().unwrap().parse().unwrap()) {
            assert_eq!(history.transaction(hash).unwrap().unwrap().block(), &block);
        }
    }
    assert_eq!(transactions, report.transactions);
    eprintln!("transactions by type: {kinds:?}");
    assert!(kinds[..4].iter().all(|&count| count > 0));

    // the first transaction ever, as every explorer shows it
    let first = "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060";
    let first = history.transaction(first.parse().unwrap()).unwrap().unwrap();
    let json = serde_json::to_value(first.json().unwrap()).unwrap();
    assert_eq!(json["blockNumber"], "0xb443");
    assert_eq!(json["to"], "0x5df9b87991262f6ba471f09758cde1c0fc1de734");
    assert_eq!((&json["value"], &json["nonce"]), (&"0x7a69".into(), &"0x0".into()));
    assert_eq!(json["gasPrice"], "0x2d79883d2000");
}

/// The era1 files here have no transactions, the plain blocks no receipts: the receipt of the first transaction ever, as
/// nodes report it, ties our reading of receipts to the real chain.
#[test]
fn a_real_receipt_has_the_root_of_its_header() {
    let Some(corpus) = corpus("a_real_receipt_has_the_root_of_its_header") else { return };
    let bytes = std::fs::read(corpus.join("rlp/mainnet-blocks.rlp")).unwrap();
    let mut archive = MemoryArchive::default();
    import_rlp(&mut archive, Cursor::new(bytes), "x.rlp", &ImportOptions::default(), &mut |_| ())
        .unwrap();
    let network = Network::mainnet();
    let block = History::new(&archive, &network).block(BlockId::Height(46_147)).unwrap().unwrap();
    let state: Hash32 =
        "0x96a8e009d2b88b1483e6941e6812e32263b05683fac202abc622a3e31aed1957".parse().unwrap();
    let mut receipt = vec![0xf9, 1, 0x28, 0xa0]; // [state root, gas, bloom, logs]
    receipt.extend(state.0);
    receipt.extend([0x82, 0x52, 0x08, 0xb9, 1, 0]);
    receipt.extend([0; 256]);
    receipt.push(0xc0);
    let mut receipts = vec![0xf9];
    receipts.extend(u16::try_from(receipt.len()).unwrap().to_be_bytes());
    receipts.extend(&receipt);
    block.block().verify_receipts(&receipts).unwrap();
    receipts[30] ^= 1;
    block.block().verify_receipts(&receipts).unwrap_err();
}

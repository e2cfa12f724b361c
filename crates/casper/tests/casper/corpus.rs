use crate::common::{NODE_A, corpus, import_as, import_file};
use prunedb_casper::{CasperSource, CasperVerifier, Database};
use prunedb_chains::{
    archive::MemoryArchive,
    contract::{
        ChainVerifier as _, ImportOptions, Level, RawBlock, RawPart, Stored, hex, import,
        verify_range,
    },
};
use std::num::NonZeroUsize;

#[test]
fn a_real_network_verifies_at_every_level() {
    let Some(path) = corpus("a_real_network_verifies_at_every_level", NODE_A) else { return };
    let heights = std::fs::read_to_string(path.with_file_name("heights.txt")).unwrap();
    for level in Level::ALL {
        let mut archive = MemoryArchive::default();
        let (report, source) = import_file(&mut archive, &path, level).unwrap();
        assert_eq!((report.blocks, report.transactions, report.gap_count), (210, 828, 0));
        assert_eq!((report.blocks_stored, report.heights), (210, Some((0, 209))));
        assert_eq!((source.counts().whole, source.network()), (210, "casper-a"));
        let signed = if level == Level::Signatures { 630 + 828 } else { 0 };
        assert_eq!(report.signatures, signed);

        // the hashes are those that the node itself reported
        let verifier = CasperVerifier::new("casper-a").unwrap();
        let stored = Stored::new(&archive, &verifier);
        for line in heights.lines() {
            let mut words = line.split(' ');
            let height = words.next().unwrap().parse().unwrap();
            let hash = words.next().unwrap();
            let checked = stored.checked(height).unwrap().unwrap();
            assert_eq!(hex(&checked.hash), hash);
            assert_eq!(stored.height_of(&checked.hash).unwrap(), Some(height));
            for (index, transaction) in (0..).zip(&checked.transactions) {
                let place = stored.place_of(transaction).unwrap().unwrap();
                assert_eq!((place.height, place.index), (height, index));
            }
        }
        // again: nothing happens
        let before = archive.len();
        let (again, _) = import_file(&mut archive, &path, level).unwrap();
        assert_eq!((again.blocks_stored, again.blocks_kept, archive.len()), (0, 0, before));
    }
}

#[test]
fn a_pruned_node_s_file_has_gaps() {
    let test = "a_pruned_node_s_file_has_gaps";
    let Some(path) = corpus(test, "node-B-holes/n2.storage.lmdb") else { return };
    let mut archive = MemoryArchive::default();
    // no transaction says which network it is
    let error = import_file(&mut archive, &path, Level::Signatures).unwrap_err().to_string();
    assert!(error.contains("which network?"), "{error}");
    let error = import_as(&mut archive, &path, "casper").unwrap_err().to_string();
    assert!(error.contains("not of casper"), "{error}");
    assert!(archive.is_empty());

    let (report, source) = import_as(&mut archive, &path, "casper-a").unwrap();
    assert_eq!((source.counts().whole, source.counts().headers_only), (127, 46));
    assert_eq!(source.completed(), [(468, 594)]);
    assert_eq!((report.blocks, report.gap_count > 30), (173, true));
    let heights = std::fs::read_to_string(path.with_file_name("n2.heights.txt")).unwrap();
    let verifier = CasperVerifier::new("casper-a").unwrap();
    let stored = Stored::new(&archive, &verifier);
    for line in heights.lines() {
        let mut words = line.split(' ');
        let (height, hash) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
        assert_eq!(hex(&stored.checked(height).unwrap().unwrap().hash), hash);
    }
    // the first complete block, and the one below it
    let verified = verify_range(
        &archive,
        &verifier,
        400..=594,
        Level::Signatures,
        NonZeroUsize::MIN,
        &mut |_| true,
    );
    let verified = verified.unwrap();
    assert_eq!((verified.blocks - verified.partial, verified.next), (127, 595));
    assert!(
        verified.gaps.first().is_some_and(|gap| gap.0 == 400 || gap.0 == 401),
        "{:?}",
        verified.gaps
    );
}

#[test]
fn generated_blocks_of_both_generations() {
    let test = "generated_blocks_of_both_generations";
    let Some(path) = corpus(test, "storage/storage.lmdb") else { return };
    let mut archive = MemoryArchive::default();
    // its transactions are for as many made-up networks
    let error = import_file(&mut archive, &path, Level::Signatures).unwrap_err().to_string();
    assert!(error.contains("is for the network"), "{error}");
    assert!(archive.is_empty());
    let mut source = CasperSource::open(&path, 0..=u64::MAX, None).unwrap();
    let verifier = CasperVerifier::new(source.network()).unwrap().with_any_network();
    let options = ImportOptions::new(Level::Signatures, NonZeroUsize::MIN);
    let report = import(&mut archive, &mut source, &verifier, &options, &mut |_| ()).unwrap();
    assert_eq!((report.blocks, report.transactions), (252, 3000));
    assert_eq!((source.counts().whole, source.counts().without_transactions), (250, 2));
    assert_eq!(report.gaps, [(250, 785_909), (785_911, 2_947_380)]);
}

/// Five blocks of the main network as an explorer shows them: four were edited by hand.
#[test]
fn edited_blocks_are_refused_by_hash() {
    let test = "edited_blocks_are_refused_by_hash";
    let Some(path) = corpus(test, "fluidefi/blocks.ts") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("export const").nth(1).unwrap();
    let field = |block: &str, name: &str| -> String {
        let rest = block.split(&format!("{name}: ")).nth(1).unwrap();
        rest.lines().next().unwrap().trim_end_matches(',').trim_matches('\'').to_owned()
    };
    let verifier = CasperVerifier::new("casper").unwrap();
    let mut verdicts = Vec::new();
    for block in blocks.split("block: {").skip(1) {
        let f = |name| field(block, name);
        let mut header = vec![0];
        for hash in ["parent_hash", "state_root_hash", "body_hash"] {
            header.extend(bytes(&f(hash)));
        }
        header.push(u8::from(f("random_bit") == "true"));
        header.extend(bytes(&f("accumulated_seed")));
        header.push(0);
        header.extend(milliseconds(&f("timestamp")).to_le_bytes());
        header.extend(f("era_id").parse::<u64>().unwrap().to_le_bytes());
        let height = f("height").parse::<u64>().unwrap();
        header.extend(height.to_le_bytes());
        header.extend([1u32, 4, 5].iter().flat_map(|part| part.to_le_bytes()));
        let mut body = vec![0];
        body.extend(bytes(&f("proposer")));
        body.extend(0u32.to_le_bytes());
        let transfers =
            block.split("transfer_hashes: [").nth(1).unwrap().split(']').next().unwrap();
        let transfers: Vec<&str> = transfers.split('\'').skip(1).step_by(2).collect();
        body.extend(u32::try_from(transfers.len()).unwrap().to_le_bytes());
        transfers.iter().for_each(|hash| body.extend(bytes(hash)));
        let part = |table, rows: &[(&str, Vec<u8>, &[u8])]| RawPart { table, bytes: rows_of(rows) };
        let raw = RawBlock {
            height,
            parts: vec![
                part("header", &[("block_header_v2", bytes(&f("hash")), &header)]),
                part("block", &[("block_body_v2", bytes(&f("body_hash")), &body)]),
            ],
        };
        verdicts
            .push(verifier.verify(&[raw], Level::Signatures).map_err(|bad| bad.fault.to_string()));
    }
    assert!(verdicts[0].is_ok(), "{:?}", verdicts[0]);
    for verdict in &verdicts[1..] {
        let error = verdict.as_ref().unwrap_err();
        assert!(error.contains("hash is") || error.contains("byte"), "{error}");
    }
    assert_eq!(verdicts.len(), 5);
}

/// Rows in one piece, as they are stored.
fn rows_of(rows: &[(&str, Vec<u8>, &[u8])]) -> Vec<u8> {
    let mut out = vec![1];
    for (name, key, value) in rows {
        out.push(Database::all().find(|database| database.name() == *name).unwrap().number());
        out.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(key);
        out.extend(*value);
    }
    out
}

/// Hex; a digit that is missing at the end is an edit, too.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Of a time in May 2022.
fn milliseconds(time: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| time[range].parse::<u64>().unwrap();
    assert!(time.starts_with("2022-05-"));
    let days = 19_113 + number(8..10) - 1; // since 1970, of the first of May
    (((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)) * 1000
        + number(20..23)
}

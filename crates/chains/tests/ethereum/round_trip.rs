use crate::common::{
    Mortal, devnet, export, import, import_blocks, options, same_records, small_era1,
};
use prunedb_chains::{
    archive::{Archive, MemoryArchive},
    ethereum::{
        EthereumError, Stage, Tables, era1_epochs, import_era1, import_path, sha256,
        synthetic::SyntheticChain,
    },
};
use std::io::Cursor;

#[test]
fn an_epoch_comes_back_bit_identical_and_a_second_import_does_nothing() {
    let (name, bytes) = small_era1(150, 1);
    let mut archive = MemoryArchive::default();
    let mut stages = Vec::new();
    let report =
        import_era1(&mut archive, Cursor::new(&bytes), &name, &options(), &mut |progress| {
            assert!(progress.bytes_done <= progress.bytes_total);
            stages.push((progress.stage, progress.blocks_done));
        })
        .unwrap();
    let (verified, stored): (Vec<_>, Vec<_>) =
        stages.into_iter().partition(|(stage, _)| *stage == Stage::Verifying);
    for (stage, done) in [(Stage::Verifying, verified), (Stage::Storing, stored)] {
        assert!(done.is_sorted_by_key(|(_, blocks)| *blocks), "{done:?}");
        assert_eq!(done.last(), Some(&(stage, 150)));
    }
    assert_eq!((report.blocks, report.blocks_stored, report.skipped), (150, 150, false));
    assert_eq!((report.heights, report.epoch), ((0, 149), Some(0)));
    assert_eq!((report.sha256, report.file_bytes), (sha256(&bytes), bytes.len() as u64));
    assert_eq!((report.original_bytes_kept, report.first_file), (None, None));
    assert!(report.transactions > 150);

    let (again, exported, report) = export(&archive, &devnet(), 0).unwrap();
    assert_eq!((&again, report.from_original), (&name, false));
    assert!(exported == bytes, "bit-identical");

    let before = archive.clone();
    let report = import(&mut archive, &name, &bytes).unwrap();
    assert!(report.skipped && report.blocks_stored == 0 && report.bytes_stored == 0);
    assert!(same_records(&archive, &before));
    let epochs = era1_epochs(&archive, &devnet()).unwrap();
    assert_eq!((epochs.len(), epochs[0].1.block_count), (1, 150));
}

#[test]
fn full_blocks_take_several_snappy_chunks_and_come_back_bit_identical() {
    let mut chain = SyntheticChain::new(&devnet(), 0, 4000, 8);
    let largest = chain.clone().take(6).map(|block| block.body.len()).max().unwrap();
    assert!(largest > 5 << 16, "{largest}");
    let (name, bytes) = chain.era1(&devnet(), 6);
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, &name, &bytes).unwrap();
    assert_eq!((report.blocks_stored, report.original_bytes_kept), (6, None));
    assert!(export(&archive, &devnet(), 0).unwrap().1 == bytes, "bit-identical");
}

#[test]
fn the_same_on_any_number_of_threads() {
    let (name, bytes) = small_era1(300, 2);
    let archives = [1, 2, 5].map(|threads| {
        let mut archive = MemoryArchive::default();
        let mut options = options();
        options.threads = threads.try_into().unwrap();
        import_era1(&mut archive, Cursor::new(&bytes), &name, &options, &mut |_| ()).unwrap();
        archive
    });
    assert!(same_records(&archives[0], &archives[1]) && same_records(&archives[0], &archives[2]));
}

#[test]
fn an_interrupted_import_goes_on_where_it_stopped() {
    let (name, bytes) = small_era1(40, 3);
    let mut whole = MemoryArchive::default();
    import(&mut whole, &name, &bytes).unwrap();
    for puts_left in 0..=40 {
        let mut archive = Mortal { inner: MemoryArchive::default(), puts_left };
        let error = import_era1(&mut archive, Cursor::new(&bytes), &name, &options(), &mut |_| ());
        assert!(matches!(error, Err(EthereumError::Archive(_))), "{puts_left}");
        let mut archive = archive.inner;
        assert!(matches!(export(&archive, &devnet(), 0), Err(EthereumError::NotStored { .. })));
        let report = import(&mut archive, &name, &bytes).unwrap();
        assert_eq!(report.blocks_stored, 40 - puts_left as u64);
        assert!(same_records(&archive, &whole), "{puts_left}");
    }
}

/// The same blocks with every snappy chunk stored instead of compressed.
fn stored_chunks(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut offsets) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let len = u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize;
        let (data, after) = after.split_at(len);
        rest = after;
        let mut data = data.to_vec();
        match u16::from_le_bytes([header[0], header[1]]) {
            3..=5 => {
                if header[0] == 3 {
                    offsets.push(out.len());
                }
                // one chunk: type, length, checksum, block
                if data[10] == 0 {
                    let plain = snap::raw::Decoder::new().decompress_vec(&data[18..]).unwrap();
                    data.truncate(18);
                    data[10] = 1;
                    data[11..14].copy_from_slice(&u32::to_le_bytes(4 + plain.len() as u32)[..3]);
                    data.extend(plain);
                }
            }
            0x3266 => {
                for (entry, offset) in offsets.iter().enumerate() {
                    let relative = (*offset as i64 - out.len() as i64).to_le_bytes();
                    data[8 + 8 * entry..][..8].copy_from_slice(&relative);
                }
            }
            _ => {}
        }
        out.extend(&header[..2]);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend([0, 0]);
        out.extend(data);
    }
    out
}

#[test]
fn a_file_that_encodes_differently_is_kept_as_it_is() {
    let (name, published) = SyntheticChain::new(&devnet(), 0, 0, 9).era1(&devnet(), 8000);
    let bytes = stored_chunks(&published);
    assert!(bytes != published && bytes.len() > 3 << 20, "several chunks of 1 MiB");
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, &name, &bytes).unwrap();
    assert_eq!(report.original_bytes_kept, Some(bytes.len() as u64));
    let (again, exported, export_report) = export(&archive, &devnet(), 0).unwrap();
    assert!(again == name && exported == bytes && export_report.from_original);
    assert!(import(&mut archive, &name, &bytes).unwrap().skipped);

    // the published file has the same blocks: nothing to store, and export still gives the first
    let before = archive.clone();
    let report = import(&mut archive, &name, &published).unwrap();
    assert_eq!((report.blocks_stored, report.skipped), (0, false));
    assert_eq!(report.first_file, Some(sha256(&bytes)));
    assert!(same_records(&archive, &before));

    // a chunk that is lost or damaged is found on the way out
    let kept = Tables::of(&devnet()).era1_original;
    let mut damaged = MemoryArchive::default();
    for (table, key, value) in archive.records() {
        let mut value = value.to_vec();
        if table == kept && key.ends_with(&[0, 0, 0, 1]) {
            value[1000] ^= 1;
        }
        let record = prunedb_chains::archive::Record::keyed(table, key, value);
        damaged.put(&[record]).unwrap();
    }
    assert!(matches!(export(&damaged, &devnet(), 0), Err(EthereumError::ExportDiffers { .. })));
}

#[test]
fn plain_blocks_get_their_receipts_from_era1_later() {
    let chain = SyntheticChain::new(&devnet(), 0, 4, 5);
    let plain: Vec<u8> = chain.clone().take(30).flat_map(|block| block.rlp()).collect();
    let (name, bytes) = chain.clone().era1(&devnet(), 60);
    let mut archive = MemoryArchive::default();
    let report = import_blocks(&mut archive, &plain).unwrap();
    assert_eq!((report.blocks, report.blocks_stored, report.gaps), (30, 30, 0));
    let report = import_blocks(&mut archive, &plain).unwrap();
    assert_eq!((report.blocks, report.blocks_stored), (30, 0));
    assert_eq!(import(&mut archive, &name, &bytes).unwrap().blocks_stored, 60);
    let mut direct = MemoryArchive::default();
    import(&mut direct, &name, &bytes).unwrap();
    assert!(same_records(&archive, &direct));
    assert!(export(&archive, &devnet(), 0).unwrap().1 == bytes);
}

#[test]
fn files_are_told_by_their_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (name, era1) = small_era1(5, 6);
    let plain: Vec<u8> =
        SyntheticChain::new(&devnet(), 0, 2, 6).take(5).flat_map(|block| block.rlp()).collect();
    for (file, bytes) in [
        (&name[..], &era1[..]),
        ("copy", &era1),
        ("plain.rlp", &plain),
        ("gzip", &[0x1f, 0x8b, 8]),
        ("empty", &[]),
        ("text", b"hello"),
        (".hidden.era1", &era1),
        ("a.ere", &era1),
    ] {
        std::fs::write(folder.path().join(file), bytes).unwrap();
    }
    let mut archive = MemoryArchive::default();
    let mut options = options();
    options.network = Some(devnet());
    let mut import =
        |file: &str| import_path(&mut archive, &folder.path().join(file), &options, &mut |_| ());
    assert_eq!(import(&name).unwrap().blocks_stored, 5);
    assert!(import("copy").unwrap().skipped);
    for file in ["gzip", "empty", "text"] {
        assert!(matches!(import(file), Err(EthereumError::UnknownFormat { .. })), "{file}");
    }
    assert!(matches!(import("a.ere"), Err(EthereumError::Damaged { .. })));
    assert!(matches!(import("missing"), Err(EthereumError::Io { .. })));
    let files = prunedb_chains::ethereum::history_files(folder.path()).unwrap();
    let names: Vec<_> =
        files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.ere", &name[..], "plain.rlp"]);
}

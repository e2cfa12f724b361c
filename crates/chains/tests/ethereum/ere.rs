//! `.ere` files: in, out, and refused.

use crate::common::{Mortal, devnet, import, options, same_records, small_era1};
use prunedb_chains::{
    archive::{Archive, MemoryArchive, Record},
    ethereum::{
        EreProfile, EthereumError, ExportReport, Fault, ImportReport, Network, Part, Tables,
        ere_epochs, export_ere, import_ere, sha256, synthetic::SyntheticChain, verify_ere,
        write_ere,
    },
};
use std::{io::Cursor, num::NonZeroUsize};

const FULL: EreProfile = EreProfile { receipts: true, proofs: true };
const NO_PROOFS: EreProfile = EreProfile { receipts: true, proofs: false };
const PROFILES: [EreProfile; 4] = [
    FULL,
    NO_PROOFS,
    EreProfile { receipts: false, proofs: true },
    EreProfile { receipts: false, proofs: false },
];

fn import_file(
    archive: &mut MemoryArchive,
    name: &str,
    bytes: &[u8],
) -> Result<ImportReport, EthereumError> {
    let mut options = options();
    options.network = Some(devnet());
    import_ere(archive, Cursor::new(bytes), name, &options, &mut |_| ())
}

fn export(
    archive: &MemoryArchive,
    epoch: u64,
) -> Result<(String, Vec<u8>, ExportReport), EthereumError> {
    let (folder, threads) = (tempfile::tempdir().unwrap(), NonZeroUsize::new(2).unwrap());
    let made = export_ere(archive, &devnet(), epoch, folder.path(), threads, &mut |_| ());
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, usize::from(made.is_ok()), "no other file is left");
    let (path, report) = made?;
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    Ok((name, std::fs::read(&path).unwrap(), report))
}

#[test]
fn files_before_at_and_after_the_merge_come_back_bit_identical() {
    for (merge, totals) in [(u64::MAX, 60), (16_384 + 25, 60), (16_384, 0)] {
        for profile in PROFILES {
            let mut chain = SyntheticChain::new(&devnet(), 16_384, 4, 3).merged_from(merge);
            let (name, bytes) = chain.ere(&devnet(), 60, profile);
            let mut archive = MemoryArchive::default();
            let report = import_file(&mut archive, &name, &bytes).unwrap();
            assert_eq!((report.blocks, report.blocks_stored, report.skipped), (60, 60, false));
            assert_eq!((report.heights, report.epoch), ((16_384, 16_443), Some(2)));
            assert_eq!((report.sha256, report.original_bytes_kept), (sha256(&bytes), None));
            let tables = Tables::of(&devnet());
            let rows = |table: &str| archive.range(table, 0, 100).unwrap().len();
            assert_eq!(rows(&tables.receipts), if profile.receipts { 60 } else { 0 });
            assert_eq!(rows(&tables.proof), if profile.proofs { 60 } else { 0 });
            assert_eq!(rows(&tables.total_difficulty), totals);

            let (again, exported, report) = export(&archive, 2).unwrap();
            assert_eq!((&again, report.from_original), (&name, false));
            assert!(exported == bytes, "{name}: bit-identical");
            let before = archive.clone();
            assert!(import_file(&mut archive, &name, &bytes).unwrap().skipped);
            assert!(import_file(&mut archive, "copy.ere", &bytes).unwrap().skipped);
            assert!(same_records(&archive, &before));
            let epochs = ere_epochs(&archive, &devnet()).unwrap();
            assert_eq!((epochs.len(), epochs[0].epoch), (1, 2));
            let mut options = options();
            options.threads = NonZeroUsize::new(2).unwrap();
            verify_ere(Cursor::new(&bytes), &name, &options, &mut |_| ()).unwrap();
        }
    }
}

/// An epoch that came otherwise: what is made of it is a file like any other.
#[test]
fn an_epoch_from_era1_becomes_an_ere_file_with_the_same_blocks() {
    let (name, era1) = SyntheticChain::new(&devnet(), 0, 1, 4).era1(&devnet(), 8192);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &era1).unwrap();
    let (name, ere, report) = export(&archive, 0).unwrap();
    assert_eq!((report.heights, report.sha256), ((0, 8191), sha256(&ere)));
    let (expected_name, expected) =
        SyntheticChain::new(&devnet(), 0, 1, 4).ere(&devnet(), 8192, NO_PROOFS);
    assert!(name == expected_name && ere == expected);

    let mut other = MemoryArchive::default();
    import_file(&mut other, &name, &ere).unwrap();
    let (era1_name, _) = SyntheticChain::new(&devnet(), 0, 1, 4).era1(&devnet(), 8192);
    let report = import(&mut other, &era1_name, &era1).unwrap();
    assert_eq!((report.blocks_stored, report.first_file), (0, None), "the same blocks");
    import_file(&mut archive, &name, &ere).unwrap();
    assert!(same_records(&archive, &other));
}

#[test]
fn an_epoch_that_is_not_whole_is_not_stored() {
    let (name, era1) = small_era1(50, 5);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &era1).unwrap();
    assert_eq!(ere_epochs(&archive, &devnet()).unwrap(), []);
    for (epoch, what) in
        [(0, "block 8191"), (7, "block 65535"), (u64::MAX, "epoch 18446744073709551615")]
    {
        let error = export(&archive, epoch).unwrap_err();
        assert!(matches!(error, EthereumError::NotStored { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }

    // whole, but one of its receipts is missing
    let (name, ere) = SyntheticChain::new(&devnet(), 0, 0, 6).ere(&devnet(), 8192, NO_PROOFS);
    let mut whole = MemoryArchive::default();
    import_file(&mut whole, &name, &ere).unwrap();
    let tables = Tables::of(&devnet());
    let mut lacking = MemoryArchive::default();
    for (table, key, value) in whole.records() {
        if table != tables.ere && !(table == tables.receipts && key == 4711u64.to_be_bytes()) {
            lacking.put(&[Record::keyed(table, key, value)]).unwrap();
        }
    }
    assert_eq!(ere_epochs(&lacking, &devnet()).unwrap()[0].record, None);
    let error = export(&lacking, 0).unwrap_err().to_string();
    assert!(error.contains("receipts of block 4711"), "{error}");
}

fn records_of(file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = file;
    while let Some(header) = rest.first_chunk::<8>() {
        let len = 8 + u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize;
        let (record, after) = rest.split_at(len);
        records.push(record);
        rest = after;
    }
    records
}

/// Sections as another program orders them: proofs behind total difficulties.
fn reordered(bytes: &[u8], blocks: usize) -> Vec<u8> {
    let mut records = records_of(bytes);
    let kinds: Vec<u8> = records.iter().map(|record| record[0]).collect();
    let position = |kind: u8| kinds.iter().position(|found| *found == kind).unwrap();
    let (proofs, totals) = (position(0x0b), position(0x06));
    assert_eq!(totals, proofs + blocks);
    records[proofs..totals + blocks].rotate_left(blocks);
    let index = records.pop().unwrap();
    let mut out = Vec::new();
    let mut starts = std::collections::HashMap::<u8, Vec<u64>>::new();
    for record in &records {
        starts.entry(record[0]).or_default().push(out.len() as u64);
        out.extend_from_slice(record);
    }
    let base = out.len() as u64;
    let mut index = index.to_vec();
    let columns = [3, 4, 0x0a, 0x06, 0x0b].map(|kind| starts[&kind].clone());
    for block in 0..blocks {
        for (column, starts) in columns.iter().enumerate() {
            let at = 16 + 8 * (block * columns.len() + column);
            let relative = starts[block].wrapping_sub(base).to_le_bytes();
            index[at..at + 8].copy_from_slice(&relative);
        }
    }
    out.extend(index);
    out
}

#[test]
fn a_file_in_another_order_is_kept_as_it_is() {
    let mut chain = SyntheticChain::new(&devnet(), 0, 3, 8);
    let (name, written) = chain.ere(&devnet(), 20, FULL);
    let bytes = reordered(&written, 20);
    assert!(bytes != written && bytes.len() == written.len());
    let mut archive = MemoryArchive::default();
    let report = import_file(&mut archive, &name, &bytes).unwrap();
    assert_eq!(report.original_bytes_kept, Some(bytes.len() as u64));
    let (again, exported, report) = export(&archive, 0).unwrap();
    assert!(again == name && exported == bytes && report.from_original);

    // the same blocks in our order: nothing to store, and export still gives the first
    let before = archive.clone();
    let report = import_file(&mut archive, &name, &written).unwrap();
    assert_eq!((report.blocks_stored, report.first_file), (0, Some(sha256(&bytes))));
    assert!(same_records(&archive, &before));
}

/// The file without its total difficulties and accumulator.
fn without_totals(bytes: &[u8], blocks: usize) -> Vec<u8> {
    let mut records = records_of(bytes);
    let index = records.pop().unwrap();
    records.retain(|record| record[0] != 6 && record[0] != 7);
    let mut out = Vec::new();
    let mut starts = Vec::new();
    for record in records {
        starts.push(out.len() as u64);
        out.extend_from_slice(record);
    }
    let base = out.len() as u64;
    let columns = (starts.len() - 1) / blocks;
    let mut numbers = index[8..16].to_vec();
    for block in 0..blocks {
        for column in 0..columns {
            let relative = starts[1 + column * blocks + block].wrapping_sub(base);
            numbers.extend(relative.to_le_bytes());
        }
    }
    numbers.extend([columns as u64, blocks as u64].map(u64::to_le_bytes).as_flattened());
    out.extend_from_slice(&index[..2]);
    out.extend(u32::try_from(numbers.len()).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out.extend(numbers);
    out
}

#[test]
fn a_file_before_the_merge_without_total_difficulties_comes_back() {
    let (name, bytes) = SyntheticChain::new(&devnet(), 0, 3, 8).ere(&devnet(), 20, NO_PROOFS);
    let bytes = without_totals(&bytes, 20);
    let mut archive = MemoryArchive::default();
    let report = import_file(&mut archive, &name, &bytes).unwrap();
    assert_eq!(report.original_bytes_kept, Some(bytes.len() as u64));
    assert!(export(&archive, 0).unwrap().1 == bytes);
}

/// An import that did not end left proofs, or a total difficulty, that are not those of the file that comes now.
#[test]
fn what_another_file_left_is_not_taken_for_this_one() {
    let mut chain = SyntheticChain::new(&devnet(), 0, 2, 15).merged_from(2);
    let (name, bytes) = chain.ere(&devnet(), 6, FULL);
    let tables = Tables::of(&devnet());
    let key = 4_u64.to_be_bytes();
    let mut archive = MemoryArchive::default();
    archive.put(&[Record::keyed(&tables.proof, &key, &[0xc2, 3, 0x80])]).unwrap();
    let report = import_file(&mut archive, &name, &bytes).unwrap();
    assert_eq!(report.original_bytes_kept, Some(bytes.len() as u64));
    assert!(export(&archive, 0).unwrap().1 == bytes);

    let mut archive = MemoryArchive::default();
    archive.put(&[Record::keyed(&tables.total_difficulty, &key, &[1; 32])]).unwrap();
    let before = archive.clone();
    let error = import_file(&mut archive, &name, &bytes).unwrap_err();
    assert!(matches!(error, EthereumError::UnlinkedDifficulty { height: 4, .. }), "{error}");
    assert!(same_records(&archive, &before));
}

#[test]
fn an_interrupted_import_goes_on_where_it_stopped() {
    let (name, bytes) = SyntheticChain::new(&devnet(), 0, 3, 9).ere(&devnet(), 12, FULL);
    let mut whole = MemoryArchive::default();
    import_file(&mut whole, &name, &bytes).unwrap();
    for puts_left in 0..=12 {
        let mut archive = Mortal { inner: MemoryArchive::default(), puts_left };
        let input = Cursor::new(&bytes);
        let error = import_ere(&mut archive, input, &name, &options(), &mut |_| ());
        assert!(matches!(error, Err(EthereumError::Archive(_))), "{puts_left}");
        let mut archive = archive.inner;
        let report = import_file(&mut archive, &name, &bytes).unwrap();
        assert_eq!(report.blocks_stored, 12 - puts_left as u64);
        assert!(same_records(&archive, &whole), "{puts_left}");
    }
}

#[test]
fn every_flipped_byte_cut_and_appendix_is_caught() {
    let mut chain = SyntheticChain::new(&devnet(), 0, 2, 11).merged_from(2);
    let (name, bytes) = chain.ere(&devnet(), 3, FULL);
    let mut sound = MemoryArchive::default();
    import_file(&mut sound, &name, &bytes).unwrap();
    let (mut refused, mut kept) = (0, 0);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let mut archive = MemoryArchive::default();
        match import_file(&mut archive, &name, &flipped) {
            Err(error) => {
                assert!(archive.is_empty(), "byte {at}: nothing is half stored");
                // of the index's first height the name is told first
                let named = matches!(error, EthereumError::Name { field: "epoch", .. });
                assert!(
                    named || matches!(error, EthereumError::Damaged { .. }),
                    "byte {at}: {error}"
                );
                refused += 1;
            }
            // the compressor's choices: other bytes, the same blocks
            Ok(report) => {
                assert_eq!(report.original_bytes_kept, Some(flipped.len() as u64), "byte {at}");
                assert!(export(&archive, 0).unwrap().1 == flipped);
                kept += 1;
            }
        }
    }
    eprintln!("{refused} of {} flipped bytes refused, {kept} kept as they are", bytes.len());
    assert!(refused * 100 > bytes.len() * 95);
    for cut in (0..bytes.len()).step_by(3) {
        let mut archive = MemoryArchive::default();
        let error = import_file(&mut archive, &name, &bytes[..cut]).unwrap_err();
        assert!(matches!(error, EthereumError::Damaged { .. }), "{cut}: {error}");
        assert!(archive.is_empty());
    }
    for appendix in [&[0][..], &bytes, &[0; 16]] {
        let longer = [&bytes[..], appendix].concat();
        let error = import_file(&mut MemoryArchive::default(), &name, &longer).unwrap_err();
        assert!(matches!(error, EthereumError::Damaged { .. }), "{error}");
    }
}

/// A whole file of records of which one is other than the chain's: sound by its checksums, wrong by its hashes.
#[test]
fn what_is_sound_by_its_checksums_and_wrong_is_refused() {
    let refused = |bytes: &[u8], name: &str, part: Part, expected: &dyn Fn(&Fault) -> bool| {
        let mut archive = MemoryArchive::default();
        let error = import_file(&mut archive, name, bytes).unwrap_err();
        assert!(archive.is_empty());
        let EthereumError::Damaged { place, fault } = &error else { panic!("{error}") };
        assert!(place.part == part && expected(fault), "{error}");
    };
    let file = |profile, merge| {
        SyntheticChain::new(&devnet(), 0, 2, 12).merged_from(merge).ere(&devnet(), 6, profile)
    };
    // total difficulties are not compressed: the third's lowest byte
    let (name, mut bytes) = file(NO_PROOFS, u64::MAX);
    let total = bytes.windows(8).position(|bytes| bytes == [6, 0, 32, 0, 0, 0, 0, 0]).unwrap();
    bytes[total + 2 * 40 + 8] ^= 1;
    let wrong_total = |fault: &Fault| matches!(fault, Fault::TotalDifficulty { .. });
    refused(&bytes, &name, Part::TotalDifficulty, &wrong_total);
    bytes[total + 2 * 40 + 8] ^= 1;
    let root = total + 6 * 40 + 8;
    bytes[root] ^= 1;
    refused(&bytes, &name, Part::Accumulator, &|fault| matches!(fault, Fault::Accumulator { .. }));

    // a type that no specification has, of the first record of each section and of the accumulator
    let (name, bytes) = file(NO_PROOFS, u64::MAX);
    let mut kinds = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        if !kinds.contains(&bytes[at]) {
            kinds.push(bytes[at]);
            for kind in [0x05u16, 0x0c, 0x00, 0x8001] {
                let mut other = bytes.clone();
                other[at..at + 2].copy_from_slice(&kind.to_le_bytes());
                let error = import_file(&mut MemoryArchive::default(), &name, &other);
                let error = error.unwrap_err().to_string();
                let index = error.contains("no block index at its end");
                assert!(error.contains("record type 0x") || index, "{error}");
            }
        }
        at += 8 + u32::from_le_bytes(bytes[at + 2..at + 6].try_into().unwrap()) as usize;
    }
    assert_eq!(kinds, [3, 4, 0x0a, 6, 7, 0x67]);

    // proofs of another chain's headers
    let (name, bytes) = file(FULL, u64::MAX);
    let (_, other) = SyntheticChain::new(&devnet(), 0, 2, 13).ere(&devnet(), 6, FULL);
    let proofs = |bytes: &[u8]| {
        let mut at = 8;
        let mut range = (0, 0);
        while at < bytes.len() {
            let len = 8 + u32::from_le_bytes(bytes[at + 2..at + 6].try_into().unwrap()) as usize;
            if bytes[at] == 0x0b {
                range = (if range.0 == 0 { at } else { range.0 }, at + len);
            }
            at += len;
        }
        range.0..range.1
    };
    let (ours, theirs) = (proofs(&bytes), proofs(&other));
    assert_eq!(ours.len(), theirs.len(), "hashes do not compress");
    let mut mixed = bytes.clone();
    mixed[ours].copy_from_slice(&other[theirs]);
    refused(&mixed, &name, Part::Proof, &|fault| matches!(fault, Fault::Proof { .. }));
}

#[test]
fn names_are_checked_against_the_content() {
    let (name, bytes) = SyntheticChain::new(&devnet(), 8192, 2, 14).ere(&devnet(), 6, NO_PROOFS);
    let (_, hash) = name.trim_end_matches("-noproofs.ere").rsplit_once('-').unwrap();
    for (name, field) in [
        (format!("devnet-00001-{hash}.ere"), "proofs"),
        (format!("devnet-00001-{hash}-noproofs-noreceipts.ere"), "receipts"),
        (format!("devnet-00002-{hash}-noproofs.ere"), "epoch"),
        ("devnet-00001-01234567-noproofs.ere".to_owned(), "the last block's hash"),
    ] {
        let mut archive = MemoryArchive::default();
        match import_file(&mut archive, &name, &bytes).unwrap_err() {
            EthereumError::Name { field: found, .. } => assert_eq!(found, field),
            error => panic!("{error}"),
        }
        assert!(archive.is_empty());
    }
    let name = format!("sepolia-00001-{hash}-noproofs.ere");
    let error = import_file(&mut MemoryArchive::default(), &name, &bytes).unwrap_err();
    assert!(matches!(error, EthereumError::OtherNetwork { .. }), "{error}");
}

/// The format's bytes: a file that was written before must be read, and be made again.
#[test]
fn the_golden_file_comes_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ere/v1/devnet-00000-noproofs.ere");
    let mut chain = SyntheticChain::new(&devnet(), 0, 3, 21).merged_from(2);
    let (_, made) = chain.ere(&devnet(), 4, NO_PROOFS);
    if cfg!(bless) {
        std::fs::write(path, &made).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert!(made == golden);
    let mut archive = MemoryArchive::default();
    import_file(&mut archive, "golden.ere", &golden).unwrap();
    let mut again = Vec::new();
    let threads = NonZeroUsize::MIN;
    write_ere(&archive, &devnet(), 0, &mut again, threads, &mut |_| ()).unwrap();
    assert!(again == golden);
}

#[test]
fn mainnets_first_epoch_becomes_an_ere_file_and_comes_back() {
    let Some(corpus) = std::env::var_os("PRUNEDB_CORPUS") else {
        eprintln!("mainnets_first_epoch_becomes_an_ere_file: skipped, PRUNEDB_CORPUS is not set");
        return;
    };
    let folder = std::path::PathBuf::from(corpus).join("ethereum/era1");
    let era1 = std::fs::read(folder.join("mainnet-00000-5ec1ffb8.era1")).unwrap();
    let mut archive = MemoryArchive::default();
    import(&mut archive, "mainnet-00000-5ec1ffb8.era1", &era1).unwrap();
    let mut ere = Vec::new();
    let threads = NonZeroUsize::new(2).unwrap();
    let network = Network::mainnet();
    let report = write_ere(&archive, &network, 0, &mut ere, threads, &mut |_| ()).unwrap();
    assert_eq!(report.file, "mainnet-00000-a6860fef-noproofs.ere");
    let mut other = MemoryArchive::default();
    import_ere(&mut other, Cursor::new(&ere), &report.file, &options(), &mut |_| ()).unwrap();
    let files = ["/era1", "/ere"].map(|table| format!("ethereum/mainnet{table}"));
    let blocks = |archive: &MemoryArchive| {
        let records = archive.records().filter(|(table, ..)| !files.contains(&(*table).to_owned()));
        records
            .map(|(table, key, value)| (table.to_owned(), [key, value].concat()))
            .collect::<Vec<_>>()
    };
    assert!(blocks(&archive) == blocks(&other));

    // a file of geth's own tests: read by its index, and refused because its header is made up
    let name = "sepolia-00000-deadbeef-noreceipts.ere";
    let bytes = std::fs::read(folder.join(name)).unwrap();
    let mut archive = MemoryArchive::default();
    let error = import_ere(
        &mut archive,
        Cursor::new(&bytes),
        "x-00000-deadbeef-noproofs-noreceipts.ere",
        &options(),
        &mut |_| (),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("total difficulties and an accumulator belong together"), "{error}");
    let error = import_ere(&mut archive, Cursor::new(&bytes), name, &options(), &mut |_| ());
    assert!(matches!(error, Err(EthereumError::Name { field: "proofs", .. })), "{error:?}");
    assert!(archive.is_empty());
}

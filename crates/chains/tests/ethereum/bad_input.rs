use crate::common::{devnet, export, import, import_blocks, options, same_records, small_era1};
use proptest::prelude::*;
use prunedb_chains::{
    archive::MemoryArchive,
    ethereum::{
        EthereumError, Fault, Hash32, ImportOptions, Part, import_era1, import_rlp,
        synthetic::SyntheticChain,
    },
};
use std::io::{Cursor, Read, Seek, SeekFrom};

/// A flipped bit is refused with nothing stored; or it is in the compressor's choices, so that the blocks are the same and
/// the file is kept as it is. Gives whether it was refused.
fn flip_is_caught(name: &str, bytes: &[u8], at: usize, bit: u8, sound: &MemoryArchive) -> bool {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << bit;
    let mut archive = MemoryArchive::default();
    match import(&mut archive, name, &flipped) {
        Err(error) => {
            assert!(archive.is_empty(), "byte {at} bit {bit}: nothing is half stored");
            assert!(matches!(error, EthereumError::Damaged { .. }), "byte {at} bit {bit}: {error}");
            true
        }
        Ok(report) => {
            assert_eq!(
                report.original_bytes_kept,
                Some(flipped.len() as u64),
                "byte {at} bit {bit}"
            );
            assert!(report.sha256 != prunedb_chains::ethereum::sha256(bytes));
            let blocks = |archive: &MemoryArchive| {
                let of_blocks = |table: &str| !table.contains("/era1");
                let records = archive.records().filter(|(table, ..)| of_blocks(table));
                records.map(|(_, key, value)| [key, value].concat()).collect::<Vec<_>>()
            };
            assert_eq!(blocks(&archive), blocks(sound));
            assert!(export(&archive, &devnet(), 0).unwrap().1 == flipped);
            false
        }
    }
}

#[test]
fn every_flipped_byte_is_caught() {
    let (name, bytes) = small_era1(4, 11);
    let mut sound = MemoryArchive::default();
    import(&mut sound, &name, &bytes).unwrap();
    let mut refused = 0;
    for at in 0..bytes.len() {
        let bit = (at % 8).to_le_bytes()[0];
        refused += usize::from(flip_is_caught(&name, &bytes, at, bit, &sound));
    }
    eprintln!("{refused} of {} flipped bytes refused, the others kept as they are", bytes.len());
    assert!(refused * 100 > bytes.len() * 95);
}

#[test]
fn every_truncation_and_every_appendix_is_refused() {
    let (name, bytes) = small_era1(4, 12);
    for cut in 0..bytes.len() {
        let mut archive = MemoryArchive::default();
        let error = import(&mut archive, &name, &bytes[..cut]).unwrap_err();
        let EthereumError::Damaged { fault, .. } = &error else { panic!("{cut}: {error}") };
        assert!(matches!(**fault, Fault::Truncated { .. } | Fault::EndsEarly(_)), "{cut}: {error}");
        assert!(error.to_string().contains("truncated") && archive.is_empty());
    }
    let error = import(&mut MemoryArchive::default(), &name, &[&bytes[..], &[0]].concat());
    let EthereumError::Damaged { fault, place } = error.unwrap_err() else { panic!() };
    assert_eq!((*fault, place.part), (Fault::Trailing { count: 1 }, Part::File));
}

#[test]
fn a_message_says_what_and_where() {
    let (name, bytes) = small_era1(30, 13);
    let mut flipped = bytes.clone();
    let at = flipped.len() - 8 * 32 - 8 - 5; // the last bytes of the accumulator
    flipped[at] ^= 0x40;
    let error = import(&mut MemoryArchive::default(), &name, &flipped).unwrap_err().to_string();
    let start = format!("{name}: record 121 at byte {} (accumulator): ", at - 8 - 27);
    assert!(error.starts_with(&start), "{error}");
    assert!(error.contains("the blocks give 0x"), "{error}");

    // receipts of one block in place of those of another: everything decodes, only the root tells
    let mut chain = SyntheticChain::new(&devnet(), 0, 4, 13);
    let blocks: Vec<_> = chain.by_ref().take(30).collect();
    let donor = blocks.iter().position(|block| block.transactions.len() > 1).unwrap();
    let victim = donor + 1;
    let swapped = swap_records(&bytes, 3 * donor + 2, 3 * victim + 2);
    let error = import(&mut MemoryArchive::default(), &name, &swapped).unwrap_err();
    let text = error.to_string();
    let EthereumError::Damaged { place, fault } = error else { panic!("{text}") };
    assert_eq!((place.part, place.height), (Part::Receipts, Some(donor as u64)));
    let Fault::Root { what: "receipts root", expected, found } = *fault else { panic!("{text}") };
    let record = 1 + 4 * donor + 2;
    assert!(
        text.starts_with(&format!("{name}: record {record} at byte {} ", place.offset)),
        "{text}"
    );
    assert!(text.ends_with(&format!(
        "(receipts of block {donor}): receipts root is {found}, the header says {expected}"
    )));
}

/// Swaps two snappy records (counted without versions and total difficulties).
fn swap_records(bytes: &[u8], first: usize, second: usize) -> Vec<u8> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 2..at + 6].try_into().unwrap()) as usize;
        records.push(&bytes[at..at + 8 + len]);
        at += 8 + len;
    }
    let compressed: Vec<usize> = (0..records.len())
        .filter(|&i| records[i][1] == 0 && (3..=5).contains(&records[i][0]))
        .collect();
    records.swap(compressed[first], compressed[second]);
    records.concat()
}

#[test]
fn records_in_another_order_are_refused() {
    let (name, bytes) = small_era1(12, 14);
    let records = 36;
    for first in 0..records {
        for second in first + 1..records {
            let swapped = swap_records(&bytes, first, second);
            if swapped == bytes {
                continue; // empty bodies and receipts are equal
            }
            let mut archive = MemoryArchive::default();
            let error = import(&mut archive, &name, &swapped);
            assert!(error.is_err() && archive.is_empty(), "{first} {second}");
        }
    }
}

#[test]
fn names_and_checksums_are_compared() {
    let (name, bytes) = small_era1(5, 15);
    let fails = |name: &str, options: &ImportOptions| {
        let mut archive = MemoryArchive::default();
        let error = import_era1(&mut archive, Cursor::new(&bytes), name, options, &mut |_| ());
        assert!(archive.is_empty());
        error.unwrap_err().to_string()
    };
    let root = &name[name.len() - 13..name.len() - 5];
    let error = fails(&name.replace("00000-", "00007-"), &options());
    assert!(error.contains("its name says epoch 7, its content 0"), "{error}");
    let error = fails("devnet-00000-01234567.era1", &options());
    assert!(error.contains(&format!("accumulator root 01234567, its content {root}")), "{error}");
    let error = fails("renamed.era1", &options());
    assert!(error.contains("which network?"), "{error}");
    let mut sepolia = options();
    sepolia.network = Some("sepolia".parse().unwrap());
    let error = fails(&name, &sepolia);
    assert!(error.contains("history of devnet, not of sepolia"), "{error}");
    let error = fails("renamed.era1", &sepolia);
    assert!(error.contains("the genesis of sepolia is 0x25a5"), "{error}");
    let mut published = options();
    published.sha256 = Some(Hash32([1; 32]));
    let error = fails(&name, &published);
    assert!(error.contains("the published one is 0x0101"), "{error}");
}

#[test]
fn transactions_of_another_chain_are_refused() {
    let blocks = SyntheticChain::new(&devnet(), 5, 5, 19).take(8);
    let bytes: Vec<u8> = blocks.flat_map(|block| block.rlp()).collect();
    let mut archive = MemoryArchive::default();
    // mainnet unless told otherwise
    let error = import_rlp(&mut archive, Cursor::new(&bytes), "x.rlp", &options(), &mut |_| ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is for chain id 1337, this network has 1"), "{error}");
    assert!(archive.is_empty());
    import_blocks(&mut archive, &bytes).unwrap();
}

/// A file that somebody writes to: when it is read from the start for the second time, a byte is another one.
struct Changing {
    inner: Cursor<Vec<u8>>,
    passes: usize,
    at: usize,
}

impl Read for Changing {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(out)
    }
}

impl Seek for Changing {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        if to == SeekFrom::Start(0) {
            self.passes += 1;
            if self.passes == 2 {
                self.inner.get_mut()[self.at] ^= 0x10;
            }
        }
        self.inner.seek(to)
    }
}

#[test]
fn a_file_that_changes_between_the_passes_is_noticed() {
    let (name, bytes) = small_era1(200, 16);
    let mut sound = MemoryArchive::default();
    import(&mut sound, &name, &bytes).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 50) {
        let inner = Cursor::new(bytes.clone());
        let input = Changing { inner, passes: 0, at };
        let mut archive = MemoryArchive::default();
        let error = import_era1(&mut archive, input, &name, &options(), &mut |_| ()).unwrap_err();
        assert!(matches!(error, EthereumError::Changed { .. }), "{at}: {error}");
        // what was stored before it was noticed is true all the same
        import(&mut archive, &name, &bytes).unwrap();
        assert!(same_records(&archive, &sound));
    }
}

#[test]
fn damaged_plain_blocks_are_refused() {
    let chain = SyntheticChain::new(&devnet(), 100, 4, 17);
    let plain: Vec<u8> = chain.take(3).flat_map(|block| block.rlp()).collect();
    let (mut refused, mut own_hash) = (0, 0);
    for at in 0..plain.len() {
        let mut flipped = plain.clone();
        flipped[at] ^= 1 << (at % 8);
        let mut archive = MemoryArchive::default();
        match import_blocks(&mut archive, &flipped) {
            Err(error) => {
                assert!(matches!(error, EthereumError::Damaged { .. }), "{at}: {error}");
                assert!(archive.is_empty());
                refused += 1;
            }
            // the last header has no successor that names its hash: it is another block, by its own words
            Ok(_) => own_hash += 1,
        }
    }
    eprintln!("{refused} refused, {own_hash} in the last header");
    assert!(own_hash < 700);
    for cut in 1..plain.len() {
        match import_blocks(&mut MemoryArchive::default(), &plain[..cut]) {
            Ok(report) => assert!(report.blocks < 3, "{cut}: cut between blocks"),
            Err(error) => assert!(matches!(error, EthereumError::Damaged { .. }), "{cut}: {error}"),
        }
    }
    assert!(import_blocks(&mut MemoryArchive::default(), &[]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..600), kinds in prop::collection::vec(0usize..9, 0..20)) {
        let kinds = kinds.iter().map(|&kind| [3u16, 4, 5, 6, 7, 0x3266, 0x3265, 0x0a, 0][kind]);
        let mut file = vec![0x65, 0x32, 0, 0, 0, 0, 0, 0];
        for (kind, data) in kinds.zip(noise.chunks(32)) {
            file.extend(kind.to_le_bytes());
            file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            file.extend([0, 0]);
            file.extend(data);
        }
        let (mut archive, mut options) = (MemoryArchive::default(), options());
        options.network = Some(devnet());
        for bytes in [&file, &noise] {
            let input = Cursor::new(bytes);
            prop_assert!(import_era1(&mut archive, input, "x.era1", &options, &mut |_| ()).is_err());
            let input = Cursor::new(bytes);
            prop_assert!(import_rlp(&mut archive, input, "x.rlp", &options, &mut |_| ()).is_err());
        }
        prop_assert!(archive.is_empty());
    }

    /// Pieces of real records, cut and mixed: deeper into the decoders than noise gets.
    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, prop::collection::vec(any::<u8>(), 0..40)), 1..4)
    ) {
        let (name, mut bytes) = small_era1(3, 18);
        let sound = bytes.clone();
        for (at, remove, insert) in edits {
            let at = at.index(bytes.len());
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        let mut archive = MemoryArchive::default();
        let result = import(&mut archive, &name, &bytes);
        prop_assert!(result.is_err() || bytes == sound || result.unwrap().original_bytes_kept.is_some());
    }
}

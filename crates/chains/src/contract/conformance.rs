//! The tests that every chain's adapter runs: [`check`], over a few blocks of the chain.
//!
//! They hold what the rest of the system relies on: heights rise, reading twice gives the same, verifying says the same of a block alone and
//! among others, nothing panics on damaged bytes and none of them passes as the same block, a bad block leaves no trace in the store, blocks come back as
//! they were, and are found by height, hash and transaction.

use super::{
    Blocks, ChainError, ChainSink, ChainSource, ChainVerifier, CheckedBlock, ImportOptions, Level,
    RawBlock, Stored, export, import, verify_range, verify_source,
};
use crate::archive::MemoryArchive;
use std::{convert::Infallible, num::NonZeroUsize};

/// Checks a chain's adapter with the blocks of `source`, which must be sound, link to each other without a gap, and have a transaction
/// somewhere. Each header's bytes are flipped; `flips` says how many bytes of each other part are.
///
/// # Panics
/// Where the adapter does not keep the contract, with what it does instead.
pub fn check<S: ChainSource, V: ChainVerifier>(mut source: S, verifier: &V, flips: usize) {
    let blocks = read(&mut source);
    source.rewind().expect("a source can be read again");
    assert!(read(&mut source) == blocks, "a source gives the same blocks again");
    assert!(blocks.len() > 2, "a few blocks are needed");
    assert!(source.blocks() >= blocks.len() as u64, "it knows how many blocks it has");
    let checked = levels(verifier, &blocks);
    assert!(checked.iter().any(|block| !block.transactions.is_empty()), "transactions are needed");
    links(&blocks, &checked);
    damage(verifier, &blocks, &checked, flips);
    round_trip(verifier, &blocks, &checked);
    bad_blocks_leave_no_trace(verifier, &blocks);
}

fn read<S: ChainSource>(source: &mut S) -> Vec<RawBlock> {
    let mut blocks = Vec::new();
    while let Some(block) = source.next_block().expect("a sound source") {
        blocks.push(block);
    }
    blocks
}

/// Every level accepts every block, and finds the same in it, alone and among others.
fn levels<V: ChainVerifier>(verifier: &V, blocks: &[RawBlock]) -> Vec<CheckedBlock> {
    let parts = verifier.parts();
    assert!(parts.contains(&verifier.transactions_part()), "transactions are in one of the parts");
    for block in blocks {
        let order: Vec<_> = block
            .parts
            .iter()
            .map(|part| parts.iter().position(|name| *name == part.table))
            .collect();
        assert!(order.is_sorted() && !order.contains(&None), "{}: parts in order", block.height);
        assert_eq!(order.first(), Some(&Some(0)), "{}: the first part is there", block.height);
    }
    let verify = |blocks: &[RawBlock], level| {
        verifier.verify(blocks, level).unwrap_or_else(|bad| panic!("{}: {}", bad.height, bad.fault))
    };
    let same = |a: &CheckedBlock, b: &CheckedBlock| {
        (a.hash, a.parent, &a.transactions) == (b.hash, b.parent, &b.transactions)
    };
    let all = verify(blocks, Level::Hashes);
    assert_eq!(all.len(), blocks.len(), "one answer for each block");
    for level in Level::ALL {
        let together = verify(blocks, level);
        for ((block, expected), found) in blocks.iter().zip(&all).zip(&together) {
            let alone = verify(std::slice::from_ref(block), level);
            assert!(same(expected, found) && alone[..] == [found.clone()], "{}", block.height);
        }
    }
    assert!(verify(&[], Level::Signatures).is_empty());
    all
}

fn links(blocks: &[RawBlock], checked: &[CheckedBlock]) {
    for (pair, hashes) in blocks.windows(2).zip(checked.windows(2)) {
        assert_eq!(pair[0].height + 1, pair[1].height, "heights without a gap");
        assert_eq!(hashes[1].parent, hashes[0].hash, "{}: names its parent", pair[1].height);
        assert!(hashes[0].hash != hashes[1].hash, "{}: its own hash", pair[1].height);
    }
}

/// Damaged bytes are refused; where a chain promises nothing about them they change nothing that it does promise.
fn damage<V: ChainVerifier>(
    verifier: &V,
    blocks: &[RawBlock],
    checked: &[CheckedBlock],
    flips: usize,
) {
    for (block, sound) in blocks.iter().zip(checked) {
        for part in 0..block.parts.len() {
            let bytes = block.parts[part].bytes.len();
            let step = if part == 0 { 1 } else { (bytes / flips.max(1)).max(1) };
            for at in (0..bytes).step_by(step) {
                let mut bad = block.clone();
                bad.parts[part].bytes[at] ^= 1 << (at % 8);
                passes_as_itself(verifier, &bad, sound, at);
            }
            for cut in (0..bytes).step_by(step.max(bytes / 64 + 1)) {
                let mut bad = block.clone();
                bad.parts[part].bytes.truncate(cut);
                passes_as_itself(verifier, &bad, sound, cut);
            }
        }
        let elsewhere = RawBlock { height: block.height + 1, ..block.clone() };
        assert!(refused(verifier, &elsewhere), "{}: at another height", block.height);
        let headless = RawBlock { height: block.height, parts: block.parts[1..].to_vec() };
        assert!(refused(verifier, &headless), "{}: without its first part", block.height);
    }
}

fn refused<V: ChainVerifier>(verifier: &V, block: &RawBlock) -> bool {
    verifier.verify(std::slice::from_ref(block), Level::Hashes).is_err()
}

/// A damaged block that is accepted must be told from the sound one by its hash, or be the same in all that the chain promises.
fn passes_as_itself<V: ChainVerifier>(
    verifier: &V,
    bad: &RawBlock,
    sound: &CheckedBlock,
    at: usize,
) {
    if let Ok(found) = verifier.verify(std::slice::from_ref(bad), Level::Signatures) {
        let [found] = &found[..] else { panic!("one answer for one block") };
        let same = found.transactions == sound.transactions && found.parent == sound.parent;
        assert!(found.hash != sound.hash || same, "{}: byte {at} went unnoticed", bad.height);
    }
}

/// Blocks into memory.
#[derive(Default)]
struct Taken(Vec<RawBlock>);

impl ChainSink for Taken {
    type Error = Infallible;

    fn put_block(&mut self, block: &RawBlock) -> Result<(), Infallible> {
        self.0.push(block.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

fn take_in<V: ChainVerifier>(
    archive: &mut MemoryArchive,
    blocks: &[RawBlock],
    verifier: &V,
) -> Result<super::ImportReport, ChainError> {
    let options = ImportOptions::new(Level::Signatures, TWO);
    import(archive, &mut Blocks::new(blocks), verifier, &options, &mut |_| ())
}

/// In, found by all keys, and out; a gap is reported and can be filled; importing again does nothing.
fn round_trip<V: ChainVerifier>(verifier: &V, blocks: &[RawBlock], checked: &[CheckedBlock]) {
    let (mut archive, options) = (MemoryArchive::default(), ImportOptions::new(Level::Hashes, TWO));
    let report = verify_source(&mut Blocks::new(blocks), verifier, &options, &mut |_| ());
    assert_eq!(report.expect("sound blocks").blocks, blocks.len() as u64);
    let hole = blocks.len() / 2;
    let with_hole = [&blocks[..hole], &blocks[hole + 1..]].concat();
    let report = take_in(&mut archive, &with_hole, verifier).expect("a gap is allowed");
    if hole + 1 < blocks.len() {
        assert_eq!(report.gaps, [(blocks[hole].height, blocks[hole].height)], "and reported");
    }
    let report = take_in(&mut archive, blocks, verifier).expect("the gap is filled");
    assert_eq!((report.blocks_stored, report.blocks_kept), (1, 0));
    let again = take_in(&mut archive, blocks, verifier).expect("the same again");
    assert_eq!((again.blocks_stored, again.blocks), (0, blocks.len() as u64));

    let stored = Stored::new(&archive, verifier);
    let last = blocks[blocks.len() - 1].height;
    assert_eq!(stored.last_height().expect("it can be read"), Some(last));
    for (block, checked) in blocks.iter().zip(checked) {
        let raw = stored.raw(block.height).expect("it can be read").expect("it is there");
        assert!(raw == *block, "{}: stored as it is", block.height);
        assert_eq!(stored.height_of(&checked.hash).expect("sound"), Some(block.height));
        for (index, hash) in (0..).zip(&checked.transactions) {
            let place = stored.place_of(hash).expect("sound").expect("it is there");
            // one that is there twice is found where it came last
            let there = &checked.transactions[place.index as usize];
            assert_eq!((place.height, there), (block.height, hash), "transaction {index}");
        }
    }
    let heights = blocks[0].height..=blocks[blocks.len() - 1].height;
    let mut taken = Taken::default();
    export(&archive, verifier, heights.clone(), TWO, &mut taken, &mut |_| ()).expect("all there");
    assert!(taken.0 == blocks, "given back as they were");
    let beyond = *heights.start()..=heights.end() + 1;
    let error = export(&archive, verifier, beyond.clone(), TWO, &mut taken, &mut |_| ());
    assert!(matches!(error, Err(ChainError::NotStored { .. })), "what is not there is not given");
    let verified = verify_range(&archive, verifier, beyond, Level::Signatures, TWO, &mut |_| true);
    let verified = verified.expect("sound blocks");
    assert_eq!((verified.blocks, verified.gap_count), (blocks.len() as u64, 1));
}

/// A bad block anywhere keeps everything out.
fn bad_blocks_leave_no_trace<V: ChainVerifier>(verifier: &V, blocks: &[RawBlock]) {
    for index in 0..blocks.len() {
        let mut bad = blocks.to_vec();
        let first = &mut bad[index].parts[0].bytes;
        let middle = first.len() / 2;
        first[middle] ^= 0x10;
        let mut archive = MemoryArchive::default();
        let error = take_in(&mut archive, &bad, verifier);
        // the last one may be another sound block by its own words: nothing above it says otherwise
        assert!(error.is_err() || index + 1 == blocks.len(), "{}", blocks[index].height);
        assert!(error.is_ok() || archive.is_empty(), "nothing of a bad source is stored");
    }
    let mut backwards = blocks.to_vec();
    backwards.reverse();
    let error = take_in(&mut MemoryArchive::default(), &backwards, verifier);
    assert!(matches!(error, Err(ChainError::NotRising { .. })), "heights must rise");
}

//! Runs and layers against a plain map.

use super::{
    Change, Merge, Shards, merge,
    run::{PAGE_ITEMS, Run, Writer},
};
use crate::{block::Place, state::Entry};
use proptest::{collection::vec, prelude::*};
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::{Disk, Open, faulty::FaultyDisk};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Bound,
    path::Path,
};

const DIR: &str = "/index";

fn id(number: u32) -> ShardId {
    let container = ContainerId::data(number);
    ShardId { lake: LakeId([3; 16]), container, index: ShardIndex(1) }
}

fn entry(number: u32, version: u32) -> Entry {
    let place = Place { id: id(number), offset: 4096, shard_bytes: 1 + u64::from(version) };
    Entry::new(version % 4, place, Term(1), Digest([7; 32]))
}

fn disk() -> FaultyDisk {
    let disk = FaultyDisk::default();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk
}

fn written(disk: &FaultyDisk, items: impl IntoIterator<Item = (ShardId, Change)>) -> Run {
    let mut out = Writer::create(disk, Path::new(DIR), 1).unwrap();
    for (id, change) in items {
        out.put(id, change).unwrap();
    }
    out.finish().unwrap().unwrap()
}

/// Every second number, some of them gone; enough for two pages of first ids.
fn many() -> BTreeMap<ShardId, Change> {
    let count = u32::try_from(PAGE_ITEMS * 171 + 7).unwrap();
    (0..count).map(|n| (id(n * 2), (n % 5 > 0).then(|| entry(n, n)))).collect()
}

#[test]
fn a_run_is_the_map_that_it_was_written_from() {
    let (disk, model) = (disk(), many());
    let new = written(&disk, model.clone());
    let opened = Run::open(&disk, Path::new(DIR), 1, model.len() as u64).unwrap();
    for run in [new, opened] {
        for n in (0..200).chain(17_300..17_500) {
            assert_eq!(run.get(id(n)).unwrap(), model.get(&id(n)).copied(), "{n}");
        }
        for (from, count) in
            [(0, 3), (100, 102), (101, 60), (5000, 9000), (17_440, 100), (90_000, 1)]
        {
            for from in [Bound::Included(id(from)), Bound::Excluded(id(from))] {
                let range = model.range((from, Bound::Unbounded)).take(count);
                let expected: Vec<_> = range.map(|(id, change)| (*id, *change)).collect();
                assert_eq!(run.range(from, count).unwrap(), expected, "{from:?}, {count}");
            }
        }
        assert_eq!(run.range(Bound::Unbounded, usize::MAX).unwrap().len(), model.len());
    }
}

#[test]
fn every_flipped_byte_of_a_run_is_noticed() {
    let disk = disk();
    let items: Vec<_> = (0..120).map(|n| (id(n), Some(entry(n, n)))).collect();
    written(&disk, items.clone());
    let path = Path::new(DIR).join(Run::file_name(1));
    let whole = disk.file(&path);
    for at in (0..whole.len()).step_by(29) {
        disk.put_file(&path, whole.clone());
        disk.flip(&path, at, 0x10);
        let read = Run::open(&disk, Path::new(DIR), 1, 120)
            .and_then(|run| run.range(Bound::Unbounded, usize::MAX));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData, "byte {at}");
    }
    // another page of the same file
    disk.put_file(&path, whole.clone());
    let mut moved = whole;
    moved.copy_within(4096..8192, 8192);
    disk.put_file(&path, moved);
    let run = Run::open(&disk, Path::new(DIR), 1, 120).unwrap();
    assert!(run.get(id(10)).is_ok() && run.get(id(60)).is_err());
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_a_run_or_an_error(
        mut bytes in vec(any::<u8>(), 0..20_000), items in any::<u64>(), pages in 0_usize..5
    ) {
        let disk = disk();
        let path = Path::new(DIR).join(Run::file_name(1));
        for (items, length) in [(items, bytes.len()), (51, pages * 4096), (3, 3 * 4096)] {
            bytes.resize(length, 1);
            disk.put_file(&path, bytes.clone());
            prop_assert!(Run::open(&disk, Path::new(DIR), 1, items).is_err());
        }
    }

    #[test]
    fn layers_are_a_map(steps in vec((0_u32..40, any::<bool>(), 0_u8..8), 1..200)) {
        let (disk, mut model, mut shards) = (disk(), BTreeMap::new(), Shards::default());
        let since: HashMap<u32, u64> = (0..4).map(|segment| (segment, 0)).collect();
        for (version, (number, there, merges)) in (1..).zip(steps) {
            let was = model.contains_key(&id(number));
            if there {
                shards.insert(id(number), entry(number, version), was);
                model.insert(id(number), entry(number, version));
            } else if was {
                shards.remove(id(number));
                model.remove(&id(number));
            }
            if merges == 0 {
                let begun = Merge::begin(&mut shards, version.into());
                let runs = merge(&begun, &disk, Path::new(DIR), &since).unwrap();
                if number % 3 == 0 {
                    begun.give_up(&mut shards);
                } else {
                    begun.end(&mut shards, runs);
                }
            }
            prop_assert_eq!(shards.count(), model.len() as u64);
            for number in 0..40 {
                let found = match shards.in_memory(id(number)) {
                    Some(change) => change,
                    None => shards.layers().in_runs(id(number)).unwrap().and_then(|it| it.change),
                };
                prop_assert_eq!(found, model.get(&id(number)).copied());
            }
            for count in [1, 3, 100] {
                let (mut from, mut all) = (Bound::Unbounded, Vec::new());
                loop {
                    let newest = shards.changes_from(from, count);
                    let (found, more) = shards.layers().scan(newest, from, count).unwrap();
                    all.extend(found.into_iter().filter_map(|(id, it)| Some((id, it.change?))));
                    let Some(last) = more else { break };
                    from = Bound::Excluded(last);
                }
                let expected: Vec<_> = model.iter().map(|(id, entry)| (*id, *entry)).collect();
                prop_assert_eq!(all, expected);
            }
        }
        // a run of nothing but what is gone is not kept
        let largest = shards.named().iter().map(|(_, items)| *items).sum::<u64>();
        prop_assert!(largest <= 40 * 9);
    }
}

#[test]
fn a_run_that_cannot_be_written_changes_nothing() {
    let (disk, mut shards) = (disk(), Shards::default());
    let since: HashMap<u32, u64> = (0..4).map(|segment| (segment, 0)).collect();
    shards.insert(id(1), entry(1, 1), false);
    disk.set_faults(|faults| faults.writes_left = 0);
    let begun = Merge::begin(&mut shards, 1);
    merge(&begun, &disk, Path::new(DIR), &since).unwrap_err();
    begun.give_up(&mut shards);
    disk.set_faults(|faults| faults.writes_left = u64::MAX);
    assert_eq!(shards.in_memory(id(1)), Some(Some(entry(1, 1))));
    // what that one left is in nobody's way
    let begun = Merge::begin(&mut shards, 1);
    let runs = merge(&begun, &disk, Path::new(DIR), &since).unwrap();
    begun.end(&mut shards, runs);
    assert_eq!((shards.changes(), shards.named()), (0, vec![(1, 1)]));
    assert!(disk.open(&Path::new(DIR).join("00000001.run"), Open::Read).is_ok());
}

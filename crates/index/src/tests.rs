//! The whole index against a plain model.

use crate::{Error, Index, Location, Options, Seed, entry::PREFIX_BITS};
use proptest::prelude::*;
use prunedb_core::TableId;
use prunedb_disk::{Disk, RealDisk};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

mod crash;
mod damage;
mod golden;

fn small() -> Options {
    Options { fan_in: 3, filter_bits: 10, filter_bytes_free: 100, checkpoint_bytes: 8192 }
}

fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Index, Error> {
    Index::open(disk, dir, &Seed::new([9; 32]), small())
}

/// Opens on a disk that does not wait for syncs, so that tests are fast.
fn open(dir: &Path) -> Index {
    open_on(crash::DyingDisk::after(i64::MAX), dir).unwrap()
}

fn at(container: u32, slot: u32) -> Location {
    Location { container, offset: slot * 16 }
}

/// What was inserted, kept plainly.
#[derive(Clone, Default, Debug)]
struct Model {
    keyed: BTreeMap<u64, BTreeSet<Location>>,
    sequences: BTreeMap<(TableId, u64), Location>,
    /// everything, for inserting what a reopening forgot
    log: Vec<(Put, Location)>,
}

#[derive(Clone, Copy, Debug)]
enum Put {
    Keyed(u64),
    Sequence(TableId, u64),
}

impl Model {
    fn put(&mut self, index: &Index, put: Put, at: Location) {
        self.log.push((put, at));
        match put {
            Put::Keyed(prefix) => _ = self.keyed.entry(prefix).or_default().insert(at),
            Put::Sequence(table, position) => {
                let oldest = self.sequences.entry((table, position)).or_insert(at);
                *oldest = at.min(*oldest);
            }
        }
        insert(index, put, at);
    }

    /// As the engine does after opening.
    fn insert_uncovered(&self, index: &Index) {
        let covered = index.covered();
        let later = self.log.iter().filter(|(_, at)| at.container >= covered);
        later.for_each(|&(put, at)| insert(index, put, at));
    }

    fn check(&self, index: &Index) {
        for (&prefix, expected) in &self.keyed {
            let found: Vec<_> = index.candidates_of(prefix).map(Result::unwrap).collect();
            assert!(found.is_sorted_by(|a, b| a < b), "oldest first, each once: {found:?}");
            let missing: Vec<_> = expected.iter().filter(|at| !found.contains(at)).collect();
            assert!(missing.is_empty(), "prefix {prefix:x}: {missing:?} not in {found:?}");
            // runs keep at least 40 bits of a prefix: nothing of a prefix that differs there
            let near = self.keyed.range(prefix >> 8 << 8..=prefix | 255);
            let possible: BTreeSet<_> = near.flat_map(|(_, locations)| locations).collect();
            assert!(found.iter().all(|at| possible.contains(at)), "invented: {found:?}");
        }
        for (&(table, position), &expected) in &self.sequences {
            assert_eq!(index.lookup_sequence(table, position).unwrap(), Some(expected));
            let absent = position.wrapping_add(1);
            let expected = self.sequences.get(&(table, absent)).copied();
            assert_eq!(index.lookup_sequence(table, absent).unwrap(), expected);
        }
        for table in (0..4).map(TableId) {
            let all: Vec<_> = self.positions(table, 0).collect();
            for (from, limit) in [(0, 1000), (0, 3), (5, 7), (1 << 40, 2), (u64::MAX, 1), (0, 0)] {
                let expected: Vec<_> = self.positions(table, from).take(limit).collect();
                assert_eq!(index.range_sequence(table, from, limit).unwrap(), expected);
            }
            let bounds = all.first().map(|first| (first.0, all[all.len() - 1].0));
            assert_eq!(index.sequence_bounds(table).unwrap(), bounds);
        }
    }

    fn positions(&self, table: TableId, from: u64) -> impl Iterator<Item = (u64, Location)> {
        let range = self.sequences.range((table, from)..=(table, u64::MAX));
        range.map(|(&(_, position), &at)| (position, at))
    }
}

fn insert(index: &Index, put: Put, at: Location) {
    match put {
        Put::Keyed(prefix) => index.insert_prefix(prefix, at),
        Put::Sequence(table, position) => index.insert_sequence(table, position, at),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// this many records into the next containers; the number picks what they are
    Put(u64, u32),
    /// flushes all but this many containers
    Flush(u32),
    Merge(u64),
    Reopen,
    Reset,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any::<u64>(), 1u32..400).prop_map(|(seed, n)| Step::Put(seed, n)),
        4 => (0u32..3).prop_map(Step::Flush),
        3 => prop_oneof![Just(1), Just(1 << 40)].prop_map(Step::Merge),
        1 => Just(Step::Reopen),
        1 => prop_oneof![9 => Just(Step::Reopen), 1 => Just(Step::Reset)],
    ]
}

fn random(x: u64) -> u64 {
    let x = x.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Mostly spread keys; some kinds of seed aim at one page, one prefix, neighbouring prefixes or the last page.
fn some_put(seed: u64, i: u64) -> Put {
    let r = random(seed.wrapping_add(i));
    let top = (1 << PREFIX_BITS) - 1;
    match (seed % 8, r % 10) {
        (_, 0) => Put::Sequence(TableId(u32::try_from(r >> 8 & 1).unwrap()), seed % 100 + i),
        (_, 1) => Put::Sequence(TableId(2), r >> (r >> 8 & 63)),
        (_, 2) => Put::Sequence(TableId(3), i),
        (0, _) => Put::Keyed(random(seed) >> 16),
        (1, _) => Put::Keyed(top - (r >> 16) % 300),
        (2, _) => Put::Keyed((r >> 16) % (1 << 20) + (seed >> 16 & 0xffff)),
        _ => Put::Keyed(r >> 16),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in proptest::collection::vec(any_step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = open(dir.path());
        let mut model = Model::default();
        let mut container = 0;
        for step in steps {
            match step {
                Step::Put(seed, n) => {
                    for i in 0..n {
                        model.put(&index, some_put(seed, i.into()), at(container, i));
                        container += u32::from(i % 100 == 99);
                    }
                }
                Step::Flush(back) => index.flush((container + 1).saturating_sub(back)).unwrap(),
                Step::Merge(entries) => _ = index.merge_step(entries).unwrap(),
                Step::Reset => {
                    index.reset().unwrap();
                    prop_assert_eq!(index.covered(), 0);
                    model.insert_uncovered(&index);
                }
                Step::Reopen => {
                    drop(index);
                    index = open(dir.path());
                    model.insert_uncovered(&index);
                }
            }
            // a record of a flushed container is not put any more
            container = container.max(index.covered());
        }
        model.check(&index);
        index.flush(container + 1).unwrap();
        model.check(&index);
        while !index.merge_step(1 << 40).unwrap().idle {}
        model.check(&index);
        drop(index);
        let index = open(dir.path());
        model.check(&index);
        prop_assert!(index.unknown_files().is_empty());
        let files = RealDisk.list(dir.path()).unwrap().len() as u64;
        let stats = index.stats();
        prop_assert_eq!(files, stats.keyed_runs + stats.sequence_runs + 1);
    }
}

#[test]
fn one_prefix_may_fill_many_pages_also_the_last_ones() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let mut model = Model::default();
    let last = (1 << PREFIX_BITS) - 1;
    for i in 0..2000 {
        model.put(&index, Put::Keyed(last), at(0, i));
        model.put(&index, Put::Keyed(0), at(1, i));
        model.put(&index, Put::Keyed(1 << 47 | u64::from(i)), at(2, i));
        model.put(&index, Put::Keyed(random(i.into()) >> 16), at(3, i));
    }
    index.flush(2).unwrap();
    model.check(&index);
    index.flush(4).unwrap();
    model.check(&index);
    for i in 0..700 {
        model.put(&index, Put::Keyed(last), at(4, i));
    }
    index.flush(5).unwrap();
    while !index.merge_step(100).unwrap().idle {}
    assert_eq!(index.stats().keyed_runs, 1);
    model.check(&index);
}

#[test]
fn first_record_of_a_key_comes_first_and_duplicates_are_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let table = TableId(1);
    for container in [0, 1, 2] {
        index.insert(table, b"twice", at(container, 7));
        index.insert_sequence(table, 5, at(container, 9));
        index.insert(table, &container.to_le_bytes(), at(container, 11));
        index.flush(container + 1).unwrap();
    }
    assert_eq!(index.take_suspects(), []);
    while !index.merge_step(100).unwrap().idle {}
    let mut suspects = index.take_suspects();
    suspects.sort_unstable();
    assert_eq!(
        suspects,
        [(at(0, 7), at(1, 7)), (at(0, 9), at(1, 9)), (at(0, 9), at(2, 9)), (at(1, 7), at(2, 7))]
    );
    assert_eq!(index.lookup(table, b"twice").unwrap(), [at(0, 7), at(1, 7), at(2, 7)]);
    assert_eq!(index.candidates(table, b"twice").next().unwrap().unwrap(), at(0, 7));
    assert_eq!(index.lookup_sequence(table, 5).unwrap(), Some(at(0, 9)));
    assert_eq!(index.lookup(table, b"never").unwrap(), []);
    assert_eq!(index.take_suspects(), []);
}

#[test]
fn long_sequences_with_and_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let [dense, sparse] = [TableId(1), TableId(2)];
    let n = 100_000u32; // more pages than one page of fences
    for i in 0..n {
        index.insert_sequence(dense, 7 + u64::from(i), at(0, i));
        index.insert_sequence(sparse, 7 + u64::from(i) * 3, at(0, i));
    }
    index.flush(1).unwrap();
    for i in (0..n).step_by(37).chain([n - 1]) {
        let (next, wide) = (u64::from(i) + 7, u64::from(i) * 3 + 7);
        assert_eq!(index.lookup_sequence(dense, next).unwrap(), Some(at(0, i)));
        assert_eq!(index.lookup_sequence(sparse, wide).unwrap(), Some(at(0, i)));
        assert_eq!(index.lookup_sequence(sparse, wide + 1).unwrap(), None);
        let range = index.range_sequence(sparse, wide - 2, 400).unwrap();
        assert_eq!((range.len(), range[0]), ((n - i).min(400) as usize, (wide, at(0, i))));
    }
    assert_eq!(index.lookup_sequence(dense, 6).unwrap(), None);
    assert_eq!(index.lookup_sequence(dense, 7 + u64::from(n)).unwrap(), None);
    assert_eq!(index.sequence_bounds(sparse).unwrap(), Some((7, 4 + 3 * u64::from(n))));
}

#[test]
fn filters_that_opening_leaves_are_loaded_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let disk = crash::DyingDisk::after(i64::MAX);
        Index::open(disk, dir.path(), &Seed::new([9; 32]), Options::default()).unwrap()
    };
    let index = open();
    for container in 0..2 {
        (0..700_000).for_each(|i| index.insert_prefix(random(i) >> 16, at(container, 1)));
        index.flush(container + 1).unwrap();
    }
    let filters = index.stats().filter_bytes;
    assert!(filters > 2 << 20);
    drop(index);
    let index = open();
    assert_eq!(index.stats().filter_bytes, 0);
    let mut steps = 0;
    while !index.merge_step(1).unwrap().idle {
        steps += 1;
    }
    assert_eq!((steps, index.stats().filter_bytes), (2, filters));
}

#[test]
fn a_merge_into_the_base_goes_on_after_a_restart() {
    // many batches, a checkpoint after each
    let options = Options { filter_bytes_free: 0, ..small() };
    let reopen = |dir: &Path| {
        let disk = crash::DyingDisk::after(i64::MAX);
        Index::open(disk, dir, &Seed::new([9; 32]), options).unwrap()
    };
    let [straight, interrupted] = [(); 2].map(|()| {
        let dir = tempfile::tempdir().unwrap();
        let index = reopen(dir.path());
        for i in 0..200_000u32 {
            index.insert_prefix(random(i.into()) >> 16, at(i / 100_000, i % 100_000));
            if i % 100_000 == 99_999 {
                index.flush(i / 100_000 + 1).unwrap();
            }
        }
        dir
    });
    let index = reopen(straight.path());
    let whole = index.merge_step(u64::MAX).unwrap();
    assert_eq!((whole.merges, whole.idle), (1, true));

    let (mut entries, mut reopened) = (0, 0);
    loop {
        let index = reopen(interrupted.path());
        let step = index.merge_step(40_000).unwrap();
        entries += step.entries;
        reopened += 1;
        assert!(reopened < 100);
        if step.idle {
            break;
        }
    }
    assert!(reopened > 3, "{reopened}");
    // only what a restart cut off in the middle of a batch is read again
    assert!(entries < 2 * whole.entries, "{entries} of {}", whole.entries);
    let names = RealDisk.list(straight.path()).unwrap();
    assert_eq!(names, RealDisk.list(interrupted.path()).unwrap());
    for name in names.iter().filter(|name| name.ends_with(".run")) {
        let [a, b] = [&straight, &interrupted].map(|dir| std::fs::read(dir.path().join(name)));
        assert!(a.unwrap() == b.unwrap(), "{name}");
    }
}

#[test]
fn another_seed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let other = Index::open(Arc::new(RealDisk), dir.path(), &Seed::new([8; 32]), small());
    assert!(matches!(other, Err(Error::WrongSeed { .. })));
}

#[test]
fn files_of_others_are_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    std::fs::write(dir.path().join("000000000099.run"), "left by a crash").unwrap();
    std::fs::write(dir.path().join("manifest.tmp"), "left by a crash").unwrap();
    let index = open(dir.path());
    assert_eq!(index.unknown_files(), ["notes.txt"]);
    assert_eq!(RealDisk.list(dir.path()).unwrap(), ["manifest", "notes.txt"]);
}

#[test]
fn readers_and_writers_run_while_flushing_and_merging() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let table = TableId(1);
    let records = 12_000u32;
    let done = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..records {
                index.insert(table, &i.to_le_bytes(), at(i / 1000, i % 1000));
                index.insert_sequence(table, i.into(), at(i / 1000, i % 1000));
                done.store(i + 1, std::sync::atomic::Ordering::Release);
            }
        });
        scope.spawn(|| {
            while index.covered() < records / 1000 {
                let inserted = done.load(std::sync::atomic::Ordering::Acquire);
                if inserted / 1000 > index.covered() {
                    index.flush(inserted / 1000).unwrap();
                }
                index.merge_step(5000).unwrap();
            }
        });
        for thread in 0..2 {
            let (index, done) = (&index, &done);
            scope.spawn(move || {
                for round in 0..10_000u64 {
                    let inserted = done.load(std::sync::atomic::Ordering::Acquire);
                    if inserted == 0 {
                        continue;
                    }
                    let i =
                        u32::try_from(random(round * 2 + thread) % u64::from(inserted)).unwrap();
                    let expected = at(i / 1000, i % 1000);
                    assert!(index.lookup(table, &i.to_le_bytes()).unwrap().contains(&expected));
                    assert_eq!(index.lookup_sequence(table, i.into()).unwrap(), Some(expected));
                }
            });
        }
    });
}

//! An index of shards that are not there, to measure what a start and lookups cost at sizes that no disk at hand holds.

use crate::{
    block::Place,
    changes::{Changes, SNAPSHOT},
    index::Writer,
    layout::{Mark, PAGE_BYTES, extent_bytes},
    segment::Segment,
    snapshot::{QuietSegment, Snapshot},
    state::Entry,
};
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::{Disk, Open, create_dir_durable};
use std::{collections::BTreeSet, io, path::Path};

/// Bytes of each shard: of a container of 100 MB at 20+80, without compression.
const SHARD_BYTES: u64 = 5_000_000;
const SEGMENT_BYTES: u64 = 1 << 30;
const LAKE: LakeId = LakeId(*b"generated shards");
const MARK: Mark = *b"of no segment...";
/// Of 64 shards in a row, so many are in the oldest run, the second, and the newest one.
const RUNS: [u64; 3] = [56, 7, 1];

/// A folder as a node leaves it that holds shards of 5 MB: index, snapshot, and a file, with nothing in it, for each
/// segment. A node that is started there opens no such file until a shard is read, which then is damaged.
///
/// The shards are spread over three runs, so that lookups ask more than one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneratedIndex {
    /// how many
    pub shards: u64,
}

impl GeneratedIndex {
    /// Their bytes, were they there.
    pub fn bytes(&self) -> u64 {
        self.shards * SHARD_BYTES
    }

    /// Files of segments.
    pub fn segments(&self) -> u64 {
        self.shards.div_ceil(SEGMENT_BYTES / extent_bytes(SHARD_BYTES))
    }

    /// The shard of a number below [`Self::shards`].
    pub fn id(&self, number: u64) -> ShardId {
        let container = ContainerId::data(u32::try_from(number).expect("fewer than 2^32 shards"));
        ShardId { lake: LAKE, container, index: ShardIndex(0) }
    }

    /// Writes the folder; `done` hears how many shards are.
    ///
    /// # Errors
    /// Those of the disk; there is something in the folder.
    pub fn write(&self, disk: &dyn Disk, dir: &Path, done: &mut dyn FnMut(u64)) -> io::Result<()> {
        let [index, segments] = ["index", "segments"].map(|name| dir.join(name));
        create_dir_durable(disk, &index)?;
        create_dir_durable(disk, &segments)?;
        let of_segment = SEGMENT_BYTES / extent_bytes(SHARD_BYTES);
        let mut runs = Vec::new();
        for (nth, generation) in (0..RUNS.len()).zip(1..) {
            let before: u64 = RUNS[..nth].iter().sum();
            let mut out = Writer::create(disk, &index, generation)?;
            for number in 0..self.shards {
                if number % 1_000_000 == 0 && nth == 0 {
                    done(number);
                }
                // scattered, so that no run has a part of the ids for itself
                let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
                if place >= before && place < before + RUNS[nth] {
                    out.put(self.id(number), Some(self.entry(number, of_segment)))?;
                }
            }
            if let Some(run) = out.finish()? {
                runs.insert(0, run.named());
            }
        }
        disk.sync_dir(&index)?;
        let generation = RUNS.len() as u64 + 1;
        let mut snapshot = Snapshot {
            generation,
            sequence: self.shards,
            durable_through: self.shards,
            runs,
            ..Snapshot::default()
        };
        for number in 0..self.segments() {
            let records = of_segment.min(self.shards - number * of_segment);
            let used_bytes = PAGE_BYTES + records * extent_bytes(SHARD_BYTES);
            let segment = QuietSegment { mark: MARK, records, used_bytes, since: 0 };
            let number = segment_number(number);
            disk.open(&segments.join(Segment::file_name(number)), Open::CreateNew)?;
            snapshot.segments.insert(number, segment);
        }
        // a start looks into the last one, and takes a file that is empty for the trace of a crash
        let last = segment_number(self.segments());
        disk.open(&segments.join(Segment::file_name(last)), Open::CreateNew)?;
        disk.sync_dir(&segments)?;
        let beside = dir.join("snapshot.tmp");
        snapshot.write(disk, &beside)?;
        debug_assert!(!disk.exists(&dir.join(SNAPSHOT))?);
        let mut changes = Changes::default();
        changes.begin();
        changes.replace(disk, dir, generation, &beside, BTreeSet::new())
    }

    fn entry(&self, number: u64, of_segment: u64) -> Entry {
        let offset = PAGE_BYTES + number % of_segment * extent_bytes(SHARD_BYTES);
        let place = Place { id: self.id(number), offset, shard_bytes: SHARD_BYTES };
        // not hashed: a hundred million of them would take a minute
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_le_bytes());
        Entry::new(segment_number(number / of_segment), place, Term(1), Digest(name))
    }
}

fn segment_number(number: u64) -> u32 {
    u32::try_from(number).expect("fewer segments than shards, and these have ids")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Node, NodeConfig, NodeError};
    use prunedb_disk::faulty::FaultyDisk;
    use std::sync::Arc;

    #[test]
    fn a_node_starts_with_what_was_generated_and_looks_at_no_segment() {
        let (disk, it) = (FaultyDisk::default(), GeneratedIndex { shards: 5000 });
        it.write(&disk, Path::new("/node"), &mut |_| {}).unwrap();
        let config = NodeConfig::new("127.0.0.1:0".parse().unwrap(), "/node", it.bytes() * 2);
        let node = Node::open(config, Arc::new(disk)).unwrap();
        let report = node.report();
        assert_eq!((report.shards, report.segments), (5000, it.segments()));
        assert_eq!((report.segments_walked, report.damage_count), (0, 0));
        for number in 0..5000 {
            let found = node.stat(it.id(number)).unwrap().unwrap();
            assert_eq!(
                (found.bytes, &found.name.as_bytes()[..8]),
                (SHARD_BYTES, &number.to_le_bytes()[..])
            );
        }
        let read = node.get(it.id(7), 0, 100);
        assert!(matches!(read, Err(NodeError::Damaged { .. })), "{read:?}");
        assert_eq!(node.list(LAKE, Some(it.id(4997)), 9).unwrap().len(), 2);
    }
}

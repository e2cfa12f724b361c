//! Where one record is: container, frame, shards, nodes, and how each is.

use crate::{
    db::{Db, Inner, Table},
    error::Error,
    lake::{Shards, Trace},
    local::Kind,
    status::ContainerPlace,
    writer::Position,
};
use prunedb_core::{ContainerId, ShardIndex, units::FRAME_BYTES};
use prunedb_store::StoreError;
use std::ops::Range;

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// its container
    pub container: ContainerId,
    /// its first byte in the container
    pub offset: u64,
    /// its length in the container
    pub record_bytes: u64,
    /// where the container is
    pub place: ContainerPlace,
    /// the frames that it touches
    pub frames: Range<u32>,
    /// their bytes of the coded stream; empty while the container is not in the lake
    pub coded: Range<u64>,
    /// the data shards that hold them
    pub touched: Vec<ShardIndex>,
    /// every shard of the container; empty while it is not in the lake
    pub shards: Vec<ShardPlace>,
}

/// One shard and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPlace {
    /// which shard
    pub shard: ShardIndex,
    /// the node of its slot
    pub node: String,
    /// `ok`, `missing`, `damaged` or `unreachable`
    pub state: &'static str,
    /// whether a read of the record asks this one
    pub touched: bool,
}

impl Db {
    /// Where a record is, and how its shards are; asks every holder.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn explain(&self, table: &Table, key: &[u8]) -> Result<Option<Explanation>, Error> {
        self.inner.explain(table, key)
    }
}

impl Inner {
    fn explain(&self, table: &Table, key: &[u8]) -> Result<Option<Explanation>, Error> {
        let Some((at, record)) = self.find(table, key, Position::END, &mut Trace::default())?
        else {
            return Ok(None);
        };
        let (offset, record_bytes) = (u64::from(at.offset), record.view().record_bytes() as u64);
        let frame_of =
            |o: u64| u32::try_from(o / FRAME_BYTES as u64).expect("at most 2,048 frames");
        let frames = frame_of(offset)..frame_of(offset + record_bytes - 1) + 1;
        let mut out = Explanation {
            container: ContainerId::data(at.container),
            offset,
            record_bytes,
            place: ContainerPlace::Active,
            frames: frames.clone(),
            coded: 0..0,
            touched: Vec::new(),
            shards: Vec::new(),
        };
        let Some(container) = self.manifest.container(ContainerId::data(at.container))? else {
            if self.files.kind(at.container) == Some(Kind::Sealed) {
                out.place = ContainerPlace::Sealed;
            }
            return Ok(Some(out));
        };
        out.place = ContainerPlace::Lake { local_bytes: self.files.allocated_bytes(at.container)? };
        let frame = |index: u32| container.frames.frame(index).expect("within the container");
        out.coded = frame(frames.start).coded.start..frame(frames.end - 1).coded.end;
        let shards = Shards::new(&self.lake, &container.entry.stream)?;
        out.touched = shards.layout().pieces(out.coded.clone()).map(|p| p.shard).collect();
        out.touched.dedup();
        let damage = self.manifest.damage_of(container.id())?;
        for (shard, stat) in shards.stats() {
            let node = shards.node(shard);
            let name = container.entry.names[shard.as_usize()];
            let state = match stat {
                Ok(Some(stat)) if stat.name == name && !damage.contains(&shard) => "ok",
                Ok(Some(_)) | Err(StoreError::Damaged { .. }) => "damaged",
                Ok(None) => "missing",
                Err(_) => "unreachable",
            };
            out.shards.push(ShardPlace {
                shard,
                node: node.store.name().into(),
                state,
                touched: out.touched.contains(&shard),
            });
        }
        Ok(Some(out))
    }
}

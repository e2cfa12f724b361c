//! One transaction of the manifest.

use super::{
    rows::{Orphan, Retired},
    tables::{
        BODY, CONTAINERS, DAMAGE, DUPLICATES, EDITS, INDEX_RUNS, LAKE, NUMBER_NAMES, NUMBERS,
        ORPHANS, Place, READ_BACK, RECORDS, RETIRED, SUSPECTS, TABLES, UNINDEXED, key, places_of,
    },
};
use crate::{indexing::Found, manifest::State};
use prunedb_core::{ContainerId, ShardIndex};
use prunedb_format::{head::HeadBody, manifest::Edit};
use prunedb_index::Suspect;
use redb::{ReadableTableMetadata, WriteTransaction};

/// More are not kept: a program that puts its keys twice would fill the disk.
const DUPLICATES_MAX: u64 = 10_000;

/// One transaction.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    pub(crate) state: Option<&'a State>,
    /// where the state's body is not the one that is stored
    pub(crate) body: Option<&'a HeadBody>,
    /// with the number of the first
    pub(crate) edits: Option<(u64, &'a [Edit])>,
    pub(crate) damage: Option<(&'a [(ContainerId, ShardIndex)], bool)>,
    pub(crate) read_back: Option<ContainerId>,
    pub(crate) retired: Option<(&'a [Retired], &'a [ContainerId])>,
    pub(crate) duplicates: &'a [Found],
    /// all of them
    pub(crate) suspects: Option<&'a [Suspect]>,
    /// all of them
    pub(crate) orphans: Option<&'a [Orphan]>,
    /// runs that get index containers, and runs that are forgotten
    pub(crate) index_runs: (&'a [(u64, u32)], &'a [u64]),
    /// containers that no run needs any more
    pub(crate) remove_containers: &'a [ContainerId],
    pub(crate) unindexed: Option<(u32, bool)>,
}

/// Writes it; `places` are those of its edits.
pub(super) fn write_batch(
    transaction: &WriteTransaction,
    batch: &Batch<'_>,
    places: &[Place],
) -> Result<(), redb::Error> {
    // every table is opened, so that all of them exist after the first transaction
    let mut edits = transaction.open_table(EDITS)?;
    let mut containers = transaction.open_table(CONTAINERS)?;
    let mut tables = transaction.open_table(TABLES)?;
    let mut records = transaction.open_table(RECORDS)?;
    let mut damage = transaction.open_table(DAMAGE)?;
    let mut read_back = transaction.open_table(READ_BACK)?;
    let mut retired = transaction.open_table(RETIRED)?;
    let mut duplicates = transaction.open_table(DUPLICATES)?;
    let mut suspects = transaction.open_table(SUSPECTS)?;
    let mut orphans = transaction.open_table(ORPHANS)?;
    let mut index_runs = transaction.open_table(INDEX_RUNS)?;
    let mut unindexed = transaction.open_table(UNINDEXED)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut body = transaction.open_table(BODY)?;
    let mut lake = transaction.open_table(LAKE)?;
    if let Some(state) = batch.state {
        let values = [
            state.head_number,
            state.term.0,
            state.next_edit,
            state.head_dirty.into(),
            state.totals.containers,
            state.totals.records,
            state.totals.container_bytes,
            state.totals.coded_bytes,
            state.totals.lake_bytes,
            state.index_edit.map_or(0, |edit| edit + 1),
            state.next_index.into(),
            state.reader.into(),
        ];
        for (name, value) in NUMBER_NAMES.iter().zip(values) {
            numbers.insert(name, value)?;
        }
        lake.insert((), state.lake.0)?;
    }
    if let Some(new) = batch.body {
        body.insert((), new.encode().as_slice())?;
    }
    let (first_edit, new_edits) = batch.edits.unwrap_or_default();
    for ((number, edit), place) in (first_edit..).zip(new_edits).zip(places) {
        edits.insert(number, place)?;
        match edit {
            Edit::Table(table) => _ = tables.insert(table.id.0, number)?,
            Edit::Container(entry) => _ = containers.insert(key(entry.stream.id), number)?,
            _ => {}
        }
    }
    if let Some(state) = batch.state.filter(|_| !new_edits.is_empty()) {
        for (table, count) in &*state.totals.table_records {
            records.insert(table.0, count)?;
        }
    }
    if let Some((shards, damaged)) = batch.damage {
        for (container, shard) in shards {
            let key = (container.kind as u8, container.number, shard.0);
            if damaged {
                damage.insert(key, ())?;
            } else {
                damage.remove(key)?;
            }
        }
    }
    if let Some(id) = batch.read_back {
        read_back.insert(key(id), ())?;
    }
    for (run, first_container) in batch.index_runs.0 {
        index_runs.insert(run, first_container)?;
    }
    for run in batch.index_runs.1 {
        index_runs.remove(run)?;
    }
    for &id in batch.remove_containers {
        containers.remove(key(id))?;
        read_back.remove(key(id))?;
    }
    match batch.unindexed {
        Some((number, true)) => _ = unindexed.insert(number, ())?,
        Some((number, false)) => _ = unindexed.remove(number)?,
        None => {}
    }
    if let Some(pairs) = batch.suspects {
        suspects.retain(|_, ()| false)?;
        for &pair in pairs {
            suspects.insert(places_of(pair), ())?;
        }
    }
    if let Some(all) = batch.orphans {
        orphans.retain(|_, _| false)?;
        for orphan in all {
            let ContainerId { kind, number } = orphan.id.container;
            let key = (orphan.node.as_str(), kind as u8, number, orphan.id.index.0);
            orphans.insert(key, (orphan.name.0, orphan.bytes, orphan.since_s))?;
        }
    }
    for Found { places, table, digests, key } in batch.duplicates {
        if duplicates.len()? < DUPLICATES_MAX {
            duplicates.insert(
                places_of(*places),
                (table.0, digests[0].0, digests[1].0, key.as_slice()),
            )?;
        }
    }
    if let Some((add, remove)) = batch.retired {
        for r in add {
            let shards = |n: usize| u8::try_from(n).expect("a policy has at most 255 shards");
            let policy = (shards(r.policy.data_shards()), shards(r.policy.parity_shards()));
            retired.insert(key(r.id), (r.since_head, r.group, policy.0, policy.1))?;
        }
        for &id in remove {
            retired.remove(key(id))?;
        }
    }
    Ok(())
}

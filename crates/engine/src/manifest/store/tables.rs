//! The tables of `manifest.redb`, and how their rows are made. No other machine reads them: a recovery makes them anew.

use prunedb_core::{ContainerId, ContainerKind};
use prunedb_index::{Location, Suspect};
use redb::TableDefinition;
use std::ops::RangeInclusive;

/// Kind and number.
pub(super) type ContainerKey = (u8, u32);

pub(super) const fn key(id: ContainerId) -> ContainerKey {
    (id.kind as u8, id.number)
}

/// All keys of a kind from a number on.
pub(super) const fn keys_from(kind: ContainerKind, number: u32) -> RangeInclusive<ContainerKey> {
    (kind as u8, number)..=(kind as u8, u32::MAX)
}

/// Where an edit is in its file: offset and length.
pub(super) type Place = (u64, u32);
pub(super) const EDITS: TableDefinition<u64, Place> = TableDefinition::new("edits");
pub(super) const CONTAINERS: TableDefinition<ContainerKey, u64> =
    TableDefinition::new("containers");
pub(super) const TABLES: TableDefinition<u32, u64> = TableDefinition::new("tables");
/// Records of each table in the containers of the lake.
pub(super) const RECORDS: TableDefinition<u32, u64> = TableDefinition::new("records");
pub(super) const DAMAGE: TableDefinition<(u8, u32, u8), ()> = TableDefinition::new("damage");
pub(super) const READ_BACK: TableDefinition<ContainerKey, ()> = TableDefinition::new("read back");
/// Since which head, group, p, q.
pub(super) type RetiredRow = (u64, u32, u8, u8);
pub(super) const RETIRED: TableDefinition<ContainerKey, RetiredRow> =
    TableDefinition::new("retired");
/// The places of two records: table, digests of their values, key.
pub(super) const DUPLICATES: TableDefinition<Places, DuplicateRow<'_>> =
    TableDefinition::new("duplicates");
/// Container and offset of the first record, then of the second.
pub(super) type Places = (u32, u32, u32, u32);
pub(super) type DuplicateRow<'a> = (u32, [u8; 32], [u8; 32], &'a [u8]);

pub(super) fn places_of((first, second): Suspect) -> Places {
    (first.container, first.offset, second.container, second.offset)
}

pub(super) fn pair_of((container, offset, other_container, other_offset): Places) -> Suspect {
    let other = Location { container: other_container, offset: other_offset };
    (Location { container, offset }, other)
}

/// Pairs of records that may have one key and could not be compared yet.
pub(super) const SUSPECTS: TableDefinition<Places, ()> = TableDefinition::new("suspects");
/// Shards on a node that nothing names: address, shard; name, length, Unix seconds since when.
pub(super) const ORPHANS: TableDefinition<OrphanKey<'_>, OrphanRow> =
    TableDefinition::new("orphans");
pub(super) type OrphanKey<'a> = (&'a str, u8, u32, u8);
pub(super) type OrphanRow = ([u8; 32], u64, u64);
/// Node, kind, number and shard of a row, and the row.
pub(super) type OrphanEntry = (String, u8, u32, u8, OrphanRow);
/// The index container that begins with the first page of a run that is copied into the lake, or about to be.
pub(super) const INDEX_RUNS: TableDefinition<u64, u32> = TableDefinition::new("index runs");
/// Containers whose records are not in the index: their footers could not be read.
pub(super) const UNINDEXED: TableDefinition<u32, ()> = TableDefinition::new("unindexed");
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
pub(super) const BODY: TableDefinition<(), &[u8]> = TableDefinition::new("body");
pub(super) const LAKE: TableDefinition<(), [u8; 16]> = TableDefinition::new("lake");

/// The names of what [`NUMBERS`] has.
pub(super) const NUMBER_NAMES: [&str; 12] = [
    "head number",
    "term",
    "next edit",
    "head dirty",
    "containers",
    "records",
    "container bytes",
    "coded bytes",
    "lake bytes",
    "index edit, plus one",
    "next index container",
    "reader",
];

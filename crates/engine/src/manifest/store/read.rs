//! Questions to the manifest's tables.

use super::{
    Store,
    rows::{Orphan, Retired},
    tables::{
        CONTAINERS, ContainerKey, DAMAGE, DUPLICATES, EDITS, INDEX_RUNS, ORPHANS, OrphanEntry,
        READ_BACK, RETIRED, RetiredRow, SUSPECTS, TABLES, UNINDEXED, key, keys_from, pair_of,
    },
};
use crate::{error::Error, indexing::Found};
use prunedb_core::{
    ContainerId, ContainerKind, Digest, LakeId, Policy, ShardId, ShardIndex, TableId,
};
use prunedb_format::manifest::Edit;
use prunedb_index::Suspect;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};
use std::collections::{BTreeMap, BTreeSet};

impl Store {
    /// Reads in one transaction.
    fn query<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let transaction = self.database.begin_read().map_err(redb::Error::from);
        transaction.and_then(|it| read(&it)).map_err(|e| self.failed(e))
    }

    pub(crate) fn table_edits(&self) -> Result<Vec<u64>, Error> {
        self.query(|read| read.open_table(TABLES)?.iter()?.map(|row| Ok(row?.1.value())).collect())
    }

    pub(crate) fn container_edit(&self, id: ContainerId) -> Result<Option<u64>, Error> {
        self.query(|read| Ok(read.open_table(CONTAINERS)?.get(key(id))?.map(|g| g.value())))
    }

    /// Numbers of the containers of a kind, from one on, rising.
    pub(crate) fn container_numbers(
        &self,
        kind: ContainerKind,
        first: u32,
    ) -> Result<Vec<u32>, Error> {
        self.query(|read| {
            let table = read.open_table(CONTAINERS)?;
            table.range(keys_from(kind, first))?.map(|row| Ok(row?.0.value().1)).collect()
        })
    }

    pub(crate) fn last_container(&self, kind: ContainerKind) -> Result<Option<u32>, Error> {
        self.query(|read| {
            let table = read.open_table(CONTAINERS)?;
            let last = table.range(keys_from(kind, 0))?.next_back().transpose()?;
            Ok(last.map(|row| row.0.value().1))
        })
    }

    pub(crate) fn damage(&self) -> Result<BTreeSet<(ContainerId, ShardIndex)>, Error> {
        let rows: Vec<(u8, u32, u8)> = self.query(|read| {
            read.open_table(DAMAGE)?.iter()?.map(|row| Ok(row?.0.value())).collect()
        })?;
        rows.into_iter()
            .map(|(kind, number, shard)| {
                Ok((ContainerId { kind: self.kind(kind)?, number }, ShardIndex(shard)))
            })
            .collect()
    }

    fn kind(&self, kind: u8) -> Result<ContainerKind, Error> {
        ContainerKind::from_byte(kind).ok_or_else(|| self.damaged(format!("container kind {kind}")))
    }

    pub(crate) fn damage_of(&self, container: ContainerId) -> Result<Vec<ShardIndex>, Error> {
        let of = |shard: u8| (container.kind as u8, container.number, shard);
        self.query(|read| {
            let table = read.open_table(DAMAGE)?;
            let rows = table.range(of(0)..=of(u8::MAX))?;
            rows.map(|row| Ok(ShardIndex(row?.0.value().2))).collect()
        })
    }

    /// Those of the shards whose damage is not noted (or, for `damaged` false, not cleared) yet.
    pub(crate) fn not_in_damage(
        &self,
        shards: impl IntoIterator<Item = (ContainerId, ShardIndex)>,
        damaged: bool,
    ) -> Result<Vec<(ContainerId, ShardIndex)>, Error> {
        self.query(|read| {
            let table = read.open_table(DAMAGE)?;
            let mut out = Vec::new();
            for (container, shard) in shards {
                let noted = table.get((container.kind as u8, container.number, shard.0))?;
                if noted.is_some() != damaged {
                    out.push((container, shard));
                }
            }
            Ok(out)
        })
    }

    pub(crate) fn has_container_edit_from(&self, first: u64) -> Result<bool, Error> {
        let end = self
            .query(|read| {
                let table = read.open_table(EDITS)?;
                let last = table.last()?.map(|row| row.0.value());
                Ok(last)
            })?
            .map_or(0, |last| last + 1);
        for number in first..end {
            if matches!(self.edit(number)?, Edit::Container(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn is_read_back(&self, id: ContainerId) -> Result<bool, Error> {
        self.query(|read| Ok(read.open_table(READ_BACK)?.get(key(id))?.is_some()))
    }

    pub(crate) fn duplicates(&self) -> Result<Vec<Found>, Error> {
        self.query(|read| {
            let table = read.open_table(DUPLICATES)?;
            let found = table.iter()?.map(|row| {
                let (places, row) = row?;
                let (table, first, second, key) = row.value();
                Ok(Found {
                    places: pair_of(places.value()),
                    table: TableId(table),
                    digests: [Digest(first), Digest(second)],
                    key: key.to_vec(),
                })
            });
            found.collect()
        })
    }

    pub(crate) fn suspects(&self) -> Result<Vec<Suspect>, Error> {
        self.query(|read| {
            let table = match read.open_table(SUSPECTS) {
                // nothing was written since there is such a table
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            table.iter()?.map(|row| Ok(pair_of(row?.0.value()))).collect()
        })
    }

    /// Shards of a lake that nothing names.
    pub(crate) fn orphans(&self, lake: LakeId) -> Result<Vec<Orphan>, Error> {
        let rows: Vec<OrphanEntry> = self.query(|read| {
            let table = match read.open_table(ORPHANS) {
                // nothing was written since there is such a table
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows = table.iter()?.map(|row| {
                let (key, row) = row?;
                let (node, kind, number, index) = key.value();
                Ok((node.to_owned(), kind, number, index, row.value()))
            });
            rows.collect()
        })?;
        rows.into_iter()
            .map(|(node, kind, number, index, (name, bytes, since_s))| {
                let container = ContainerId { kind: self.kind(kind)?, number };
                let id = ShardId { lake, container, index: ShardIndex(index) };
                Ok(Orphan { node, id, name: Digest(name), bytes, since_s })
            })
            .collect()
    }

    /// Runs that have index containers, with the number of the first one.
    pub(crate) fn index_runs(&self) -> Result<BTreeMap<u64, u32>, Error> {
        self.query(|read| {
            let table = read.open_table(INDEX_RUNS)?;
            table
                .iter()?
                .map(|row| row.map(|(run, n)| (run.value(), n.value())).map_err(Into::into))
                .collect()
        })
    }

    pub(crate) fn unindexed(&self) -> Result<BTreeSet<u32>, Error> {
        self.query(|read| {
            let table = read.open_table(UNINDEXED)?;
            table.iter()?.map(|row| Ok(row?.0.value())).collect()
        })
    }

    pub(crate) fn duplicate_count(&self) -> Result<u64, Error> {
        self.query(|read| Ok(read.open_table(DUPLICATES)?.len()?))
    }

    pub(crate) fn retired(&self) -> Result<Vec<Retired>, Error> {
        let rows: Vec<(ContainerKey, RetiredRow)> = self.query(|read| {
            let table = read.open_table(RETIRED)?;
            table
                .iter()?
                .map(|row| row.map(|(k, v)| (k.value(), v.value())).map_err(Into::into))
                .collect()
        })?;
        rows.into_iter()
            .map(|((kind, number), (since_head, group, p, q))| {
                let policy =
                    Policy::new(p.into(), q.into()).map_err(|e| self.damaged(e.to_string()))?;
                let id = ContainerId { kind: self.kind(kind)?, number };
                Ok(Retired { id, since_head, group, policy })
            })
            .collect()
    }
}

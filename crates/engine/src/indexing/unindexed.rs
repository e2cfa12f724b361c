//! Containers that nobody could look into: "not there" is not said of a key that one of them may have.
//!
//! A container is noted in the manifest before the index claims to cover it, and the note goes only when runs that have its
//! records are durable. So every record of a container below [`Index::covered`](prunedb_index::Index::covered) is in the runs,
//! or its container is noted. The index in the lake, which others begin with, covers nothing from the first noted one on.

use crate::{
    db::{Inner, Table},
    error::Error,
};
use prunedb_core::ContainerId;
use std::{collections::BTreeSet, ops::RangeInclusive};

impl Inner {
    /// Refuses to say "not there" of keys of which a container may have one that was `noted` before the index was asked.
    ///
    /// # Errors
    /// [`Error::Unindexed`].
    pub(crate) fn refuse_noted(
        &self,
        noted: &BTreeSet<u32>,
        table: &Table,
        keys: RangeInclusive<&[u8]>,
    ) -> Result<(), Error> {
        for &number in noted {
            let id = ContainerId::data(number);
            // a reader's, whose edit is about to come
            let Some(container) = self.manifest.container(id)? else { continue };
            let has_some =
                |first: &[u8], last: &[u8]| first <= *keys.end() && *keys.start() <= last;
            let of_table = container.entry.tables.iter().find(|t| t.table.id == table.id);
            if of_table.is_some_and(|t| has_some(&t.first_key, &t.last_key)) {
                return Err(Error::Unindexed { container: id });
            }
        }
        Ok(())
    }

    /// Looks into noted containers again: their nodes may be back.
    pub(crate) fn index_noted(&self) -> Result<(), Error> {
        let noted = self.manifest.unindexed();
        if noted.is_empty() {
            return Ok(());
        }
        self.healing(|| {
            let mut indexed = Vec::new();
            for &number in &noted {
                if !self.manifest.is_offloaded(number)? {
                    continue;
                }
                match self.index_container(number) {
                    Ok(()) => indexed.push(number),
                    Err(Error::Lost { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.forget_noted(&indexed, self.index_end())
        })
    }

    /// Takes the notes of containers away whose records are in the index now, once that is durable. The index has all records
    /// of containers below `end`, or notes them.
    pub(super) fn forget_noted(&self, indexed: &[u32], end: u32) -> Result<(), Error> {
        if indexed.is_empty() {
            return Ok(());
        }
        self.index.flush(end)?;
        indexed.iter().try_for_each(|&number| self.manifest.set_unindexed(number, false))
    }
}

//! Shards in the way of others: what an upload left that never counted, of an earlier writer or under another policy.
//!
//! A node keeps the first shard that it gets under a name. Which shard a name belongs to is for the manifest of the writer with
//! the newest term to say: what it names, or named until a few heads ago, is never touched; anything else under the name of a
//! container of ours was never part of a container, or of one that no head names any more.

use crate::{
    db::Inner,
    error::Error,
    lake::{Node, Target, within},
};
use prunedb_core::{Policy, ShardId};
use prunedb_store::StoreError;

impl Inner {
    /// Deletes what lies in the way of these shards, as far as the manifest does not name it; whether there was anything.
    ///
    /// # Errors
    /// [`Error::Fenced`] where another writer has the lake, and those of the local manifest.
    pub(crate) fn delete_strays(&self, conflicts: &[Target]) -> Result<bool, Error> {
        let mut term = self.term()?;
        let mut strays = Vec::new();
        for Target { id, node } in conflicts {
            if self.is_named(*id, node)? {
                continue;
            }
            let stat = within(node.store.name(), node.store.stat(*id));
            if let Ok(Some(stat)) = self.lake.runtime.block_on(stat) {
                strays.push((*id, node, stat.term));
            }
        }
        // of our own term: ours, or of a writer that recovered from the same head; the next term tells who of the two it is
        if strays.iter().any(|(_, _, of)| *of >= term) {
            term = self.next_term()?;
        }
        let mut deleted = 0;
        for (id, node, _) in strays {
            let delete = within(node.store.name(), node.store.delete(id, term));
            match self.lake.runtime.block_on(delete) {
                Ok(was_there) => deleted += u64::from(was_there),
                Err(StoreError::Fenced { term, seen, .. }) => {
                    return Err(Error::Fenced { term, seen });
                }
                Err(error) => tracing::debug!(%id, %error, "a stray shard was not deleted"),
            }
        }
        Ok(deleted > 0)
    }

    /// The node that is to have a shard, where the manifest names it.
    pub(crate) fn holder(&self, shard: ShardId) -> Result<Option<Node>, Error> {
        let Some(now) = self.subject(shard.container)? else { return Ok(None) };
        let slots = self.lake.slots(shard.container, now.stream.group, now.stream.policy)?;
        Ok(slots.into_iter().nth(shard.index.as_usize()))
    }

    /// Whether the manifest names the shard of a node: now, or as one that readers of an older head may still read.
    pub(crate) fn is_named(&self, shard: ShardId, node: &Node) -> Result<bool, Error> {
        let is_in = |group: u32, policy: Policy| -> Result<bool, Error> {
            let slots = self.lake.slots(shard.container, group, policy)?;
            let slot = slots.get(shard.index.as_usize());
            Ok(slot.is_some_and(|slot| slot.address == node.address))
        };
        if self.holder(shard)?.is_some_and(|holder| holder.address == node.address) {
            return Ok(true);
        }
        for old in self.manifest.retired()?.iter().filter(|old| old.id == shard.container) {
            if is_in(old.group, old.policy)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

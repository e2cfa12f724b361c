//! The manifest's way into the lake: new edits become a manifest container, then the head that names it goes to all
//! nodes.
//!
//! A manifest container takes in those before it that are not larger than what it has so far: each edit is rewritten
//! about log2(n) times, and the head names about log2(n) containers. The replaced ones are deleted some heads later,
//! so that readers of an older head can still finish.

use crate::{
    committed::HeadName,
    db::Inner,
    error::Error,
    lake::{SealedHead, fenced, open_head, seal_head},
    manifest::Retired,
};
use bytes::Bytes;
use prunedb_codec::MemorySpool;
use prunedb_core::{ContainerId, Digest, Policy, ShardId, Term};
use prunedb_format::{
    container::{ContainerHeader, EDITS_TABLE, FooterBuilder, TableKind, TableName, encode_record},
    head::{HeadBody, ManifestRef},
};
use prunedb_store::StoredHead;
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

/// A manifest container does not grow past this by taking others in.
const MERGED_BYTES_MAX: u64 = 64 << 20;
/// Edits that one manifest container takes at most, in bytes.
const EDITS_BYTES_MAX: usize = 96 << 20;
/// Heads for which a replaced manifest container is kept.
const KEPT_FOR_HEADS: u64 = 16;

impl Inner {
    /// Publishes what the lake's head does not say yet.
    ///
    /// # Errors
    /// [`Error::Offload`], [`Error::Quorum`], [`Error::Fenced`]; the next call tries again.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let state = self.manifest.state();
            let edits = state.next_edit > state.body.next_edit;
            if !edits && !state.head_dirty {
                return Ok(());
            }
            self.require_placed()?;
            self.term()?;
            let mut body = HeadBody::clone(&state.body);
            let next_data = self.writer.next_number();
            body.next_data = body.next_data.max(next_data);
            let mut replaced = if edits { self.write_manifest(&mut body)? } else { Vec::new() };
            self.recode_manifests(&mut body, &mut replaced)?;
            let term = self.term()?;
            // durable before it is sent: no two heads have one number, even where the first did not reach enough nodes
            let number = self.manifest.update(|state| {
                state.head_number += 1;
                state.head_number
            })?;
            if let Err(error) = self.put_head(term, number, &body) {
                if matches!(error, Error::Fenced { .. }) {
                    // from now on the other writer's head is the newer one
                    self.manifest.update(|state| state.head_number = number - 1)?;
                    *self.term.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                return Err(error);
            }
            let name = HeadName::new(&self.lake.secret, term, number, &body);
            *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
            let retired: Vec<Retired> = replaced
                .iter()
                .map(|old| Retired {
                    id: old.stream.id,
                    since_head: number,
                    group: old.stream.group,
                    policy: old.stream.policy,
                })
                .collect();
            self.manifest.set_published(body, &retired)?;
            let runs = self.index.runs().runs.into_iter().map(|run| (run.number, run.pages));
            self.manifest.retire_index(number, &runs.collect())?;
            self.delete_retired(term, number)?;
        }
    }

    /// Writes the next manifest container and names it in `body`; those that it replaces.
    fn write_manifest(&self, body: &mut HeadBody) -> Result<Vec<ManifestRef>, Error> {
        let mut first_edit = body.next_edit;
        let mut replaced = Vec::new();
        let fresh = self.manifest.edits_from(first_edit, EDITS_BYTES_MAX)?;
        let mut bytes: u64 = fresh.iter().map(|(_, edit)| edit.len() as u64).sum();
        while let Some(last) = body.manifests.last()
            && last.stream.container_bytes <= bytes.max(1 << 16)
            && bytes + last.stream.container_bytes <= MERGED_BYTES_MAX
        {
            bytes += last.stream.container_bytes;
            first_edit = last.first_edit;
            replaced.extend(body.manifests.pop());
        }
        let edits = self.manifest.edits_from(first_edit, EDITS_BYTES_MAX)?;
        let written = self.store_edits(body, first_edit, &edits)?;
        body.next_edit = first_edit + written.edits;
        body.manifests.push(written);
        Ok(replaced)
    }

    /// Writes manifest containers of an earlier policy anew; those that they replace join `replaced`.
    fn recode_manifests(
        &self,
        body: &mut HeadBody,
        replaced: &mut Vec<ManifestRef>,
    ) -> Result<(), Error> {
        for position in 0..body.manifests.len() {
            let old = body.manifests[position];
            if old.stream.policy == body.policy {
                continue;
            }
            let mut edits = self.manifest.edits_from(old.first_edit, EDITS_BYTES_MAX)?;
            edits.truncate(usize::try_from(old.edits).unwrap_or(usize::MAX));
            let written = self.store_edits(body, old.first_edit, &edits)?;
            if written.edits != old.edits {
                let reason = format!("{} of its {} edits are here", written.edits, old.edits);
                return Err(Error::Codec { container: old.stream.id, reason });
            }
            body.manifests[position] = written;
            replaced.push(old);
        }
        Ok(())
    }

    /// Stores edits as the next manifest container.
    fn store_edits(
        &self,
        body: &mut HeadBody,
        first_edit: u64,
        edits: &[(u64, Vec<u8>)],
    ) -> Result<ManifestRef, Error> {
        // the number is durable before it is used: ids are never reused
        let number = self.manifest.update(|state| {
            let body = Arc::make_mut(&mut state.body);
            body.next_manifest += 1;
            body.next_manifest - 1
        })?;
        body.next_manifest = number + 1;
        let id = ContainerId::manifest(number);
        let container = manifest_container(self.lake.id, id, edits);
        let group = self.group_for(body.policy, number);
        let mut spool = MemorySpool::with_capacity(container.len());
        let stored = self.store(&container, container.len() as u64, id, group, &mut spool)?;
        self.manifest.set_damage(stored.uploaded.missing.iter().map(|&shard| (id, shard)), true)?;
        Ok(ManifestRef { first_edit, edits: edits.len() as u64, stream: stored.stream })
    }

    /// Puts a head on all nodes; all but `q` of them must take it, so that any `q+1` know it.
    fn put_head(&self, term: Term, number: u64, body: &HeadBody) -> Result<(), Error> {
        let salt = self.lake.runtime.random()?;
        let SealedHead { term, number, bytes } =
            seal_head(&self.lake.secret, term, number, salt, body);
        let (lake, bytes) = (self.lake.id, Bytes::from(bytes));
        let answers = self.lake.all(|store| {
            let head = StoredHead { term, number, bytes: bytes.clone() };
            Box::pin(async move { store.put_head(lake, head).await })
        });
        if let Some(error) = fenced(&answers) {
            return Err(error);
        }
        // a store keeps a head that is as new, without a word: another writer's, who took the same term
        let stored = self.lake.all(|store| Box::pin(async move { store.head(lake).await }));
        for head in stored.iter().flatten().flatten() {
            if (head.term, head.number) >= (term, number)
                && head.bytes != bytes
                && open_head(&self.lake.secret, &head.bytes).is_some()
            {
                return Err(Error::Fenced { term, seen: head.term });
            }
        }
        let has = |a: &Result<Option<StoredHead>, _>| matches!(a, Ok(Some(h)) if h.bytes == bytes);
        let answered = stored.iter().filter(|a| has(a)).count();
        let needed = head_threshold(body.policy, answers.len());
        if answered < needed {
            let failures = self.lake.failures(&answers);
            return Err(Error::Quorum { what: "publishing the head", answered, needed, failures });
        }
        Ok(())
    }

    fn delete_retired(&self, term: Term, head: u64) -> Result<(), Error> {
        let due: Vec<Retired> = self
            .manifest
            .retired()?
            .into_iter()
            .filter(|r| r.since_head + KEPT_FOR_HEADS <= head)
            .collect();
        for retired in &due {
            let container = retired.id;
            let slots = self.lake.slots(container, retired.group, retired.policy)?;
            // coded anew: a slot that moved may have the new shard of the same number
            let now = self.manifest.container(container)?;
            let names = now.as_ref().map_or(&[][..], |now| &now.entry.names);
            for (index, node) in retired.policy.shards().zip(slots) {
                let id = ShardId { lake: self.lake.id, container, index };
                if let Some(name) = names.get(index.as_usize()) {
                    let stat = crate::lake::within(node.store.name(), node.store.stat(id));
                    let stat = self.lake.runtime.block_on(stat);
                    if !matches!(stat, Ok(Some(stat)) if stat.name != *name) {
                        continue;
                    }
                }
                let call = crate::lake::within(node.store.name(), node.store.delete(id, term));
                if let Err(e) = self.lake.runtime.block_on(call) {
                    tracing::debug!(%id, error = %e, "a retired shard was not deleted");
                }
            }
        }
        let ids: BTreeSet<ContainerId> = due.iter().map(|r| r.id).collect();
        let mut gone = Vec::new();
        for (id, shard) in self.manifest.damage()? {
            if ids.contains(&id) && self.subject(id)?.is_none() {
                gone.push((id, shard));
            }
        }
        self.manifest.set_damage(gone, false)?;
        let ids: Vec<ContainerId> = ids.into_iter().collect();
        self.manifest.remove_retired(&ids)
    }
}

/// Nodes that must have a head, so that any `q+1` of them include one that has it.
pub(crate) const fn head_threshold(policy: Policy, nodes: usize) -> usize {
    nodes.saturating_sub(policy.parity_shards())
}

/// A container of manifest edits: records of the sequence table 0.
fn manifest_container(
    lake: prunedb_core::LakeId,
    id: ContainerId,
    edits: &[(u64, Vec<u8>)],
) -> Vec<u8> {
    let mut out = ContainerHeader { lake, id }.encode().to_vec();
    let mut footer = FooterBuilder::default();
    for (i, (number, edit)) in edits.iter().enumerate() {
        let key = number.to_be_bytes();
        footer.add(EDITS_TABLE, out.len() as u64, &key);
        encode_record(&mut out, EDITS_TABLE, &key, edit, i + 1 == edits.len());
    }
    let name =
        TableName { id: EDITS_TABLE, kind: TableKind::Sequence, name: "manifest/edits".into() };
    let (directory, trailer) = footer.finish(out.len() as u64, |_| name.clone());
    out.extend_from_slice(&directory);
    let digest = Digest(*blake3::hash(&out).as_bytes());
    out.extend_from_slice(&trailer.encode(digest));
    out
}

//! Finding the newest head of a lake, and reading the edits that it names: for recoveries and for readers.

use crate::{
    error::{Error, Failure, Failures},
    executor::Executor,
    lake::{Connect, Lake, Shards, open_head, within},
    publish::head_threshold,
};
use prunedb_codec::LakeSecret;
use prunedb_core::Digest;
use prunedb_format::{
    container::{EDITS_TABLE, HEADER_BYTES, RecordView, TRAILER_BYTES, Trailer},
    head::{HeadBody, HeadPrefix, ManifestRef},
    manifest::Edit,
};
use prunedb_store::ShardStore;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A head, and how sure it is that there is no newer one.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) prefix: HeadPrefix,
    pub(crate) body: HeadBody,
    /// nodes that answered
    pub(crate) answered: usize,
    /// answers that rule out a newer head: any q+1 nodes have one that knows it
    pub(crate) needed: usize,
    /// what the others said
    pub(crate) failures: Failures,
}

impl Found {
    pub(crate) const fn is_newest(&self) -> bool {
        self.answered >= self.needed
    }
}

/// The newest head that the seeds and the nodes that their head names know.
///
/// # Errors
/// [`Error::NoHead`].
pub(crate) fn newest_from_seeds(
    secret: &LakeSecret,
    seeds: &[String],
    connect: &Connect,
    runtime: &Executor,
) -> Result<Found, Error> {
    let connected = |addresses: &[String]| -> Vec<Arc<dyn ShardStore>> {
        addresses.iter().map(|a| connect(a)).collect()
    };
    let found = newest(secret, &connected(seeds), |_| usize::MAX, runtime)?;
    match newest(secret, &connected(&found.body.nodes), |_| usize::MAX, runtime) {
        // all nodes may be reached through other addresses now
        Err(Error::NoHead { answered, failures, .. }) => Ok(Found { answered, failures, ..found }),
        Ok(asked) if order(&asked.prefix) < order(&found.prefix) => {
            Ok(Found { answered: asked.answered, failures: asked.failures, ..found })
        }
        asked => asked,
    }
}

/// The highest head that is signed and sealed with the secret. `enough` says how many of so many stores must answer;
/// one more is asked for each that fails.
///
/// # Errors
/// [`Error::NoHead`].
pub(crate) fn newest(
    secret: &LakeSecret,
    stores: &[Arc<dyn ShardStore>],
    enough: impl FnOnce(usize) -> usize,
    runtime: &Executor,
) -> Result<Found, Error> {
    let lake = secret.lake_id();
    let mut waiting = stores.iter().cloned();
    let mut calls = JoinSet::new();
    let ask = |store: Arc<dyn ShardStore>, calls: &mut JoinSet<_>| {
        let call =
            async move { (store.name().to_owned(), within(store.name(), store.head(lake)).await) };
        calls.spawn_on(call, runtime.handle());
    };
    waiting.by_ref().take(enough(stores.len())).for_each(|store| ask(store, &mut calls));
    let mut newest: Option<(HeadPrefix, HeadBody)> = None;
    let (mut answered, mut failures) = (0, Failures::default());
    runtime.block_on(async {
        while let Some(done) = calls.join_next().await {
            let (node, answer) = done.expect("a call to a store does not panic");
            let reason = match answer {
                Ok(head) => {
                    answered += 1;
                    let Some(head) = head else { continue };
                    if let Some((prefix, body)) = open_head(secret, &head.bytes) {
                        if newest.as_ref().is_none_or(|n| order(&n.0) < order(&prefix)) {
                            newest = Some((prefix, body));
                        }
                        continue;
                    }
                    "its head is not signed with this secret".to_owned()
                }
                Err(e) => {
                    waiting.next().into_iter().for_each(|store| ask(store, &mut calls));
                    e.to_string()
                }
            };
            failures.0.push(Failure { shard: None, node, reason });
        }
    });
    match newest {
        Some((prefix, body)) => {
            let needed = answers_needed(&body);
            Ok(Found { prefix, body, answered, needed, failures })
        }
        None => Err(Error::NoHead { lake, answered, asked: stores.len(), failures }),
    }
}

/// Which of two heads is the newer one.
pub(crate) const fn order(prefix: &HeadPrefix) -> (u64, u64) {
    (prefix.term.0, prefix.number)
}

/// Nodes that must answer, so that one of them knows the newest head.
pub(crate) fn answers_needed(body: &HeadBody) -> usize {
    body.nodes.len() + 1 - head_threshold(body.policy, body.nodes.len())
}

/// The edits of a manifest container that the head names, in order.
///
/// # Errors
/// [`Error::Lost`], [`Error::Codec`] where the container is not what the head says.
pub(crate) fn read_edits(lake: &Arc<Lake>, manifest: &ManifestRef) -> Result<Vec<Edit>, Error> {
    let shards = Shards::new(lake, &manifest.stream)?;
    let bytes = shards.read_stream(&shards.order(&[]))?;
    let damaged = |reason: String| Error::Codec { container: manifest.stream.id, reason };
    let (found, expected) =
        (Digest(*blake3::hash(&bytes).as_bytes()), manifest.stream.stream_digest);
    if found != expected {
        return Err(damaged(format!("hashes to {found}, the head says {expected}")));
    }
    parse_edits(manifest, &bytes).map_err(damaged)
}

/// The edits in a manifest container.
fn parse_edits(manifest: &ManifestRef, bytes: &[u8]) -> Result<Vec<Edit>, String> {
    let trailer = bytes.last_chunk::<TRAILER_BYTES>().ok_or("is too short")?;
    let trailer = Trailer::decode(trailer, bytes.len() as u64).map_err(|e| e.to_string())?;
    let records_end = usize::try_from(trailer.records_end).map_err(|e| e.to_string())?;
    let mut rest = bytes.get(HEADER_BYTES..records_end).ok_or("has no records")?;
    let mut edits = Vec::new();
    while !rest.is_empty() {
        let record = RecordView::decode(rest).map_err(|e| e.to_string())?;
        let number = manifest.first_edit + edits.len() as u64;
        if record.table != EDITS_TABLE || record.key != number.to_be_bytes() {
            return Err(format!("edit {number} is not where it belongs"));
        }
        edits.push(Edit::decode(record.value).map_err(|e| format!("edit {number}: {e}"))?);
        rest = &rest[record.record_bytes()..];
    }
    if edits.len() as u64 != manifest.edits {
        return Err(format!("holds {} edits, the head says {}", edits.len(), manifest.edits));
    }
    Ok(edits)
}

//! The lake as the engine sees it: stores, who holds which slot, and how each node has been doing.

mod fetch;
mod head;
mod upload;

pub use fetch::Trace;
pub(crate) use fetch::{Shards, layout_of};
pub(crate) use head::{SealedHead, open_head, seal_head};
pub(crate) use upload::{Uploaded, upload};

use crate::error::{Error, Failure, Failures};
use prunedb_codec::LakeSecret;
use prunedb_core::{ContainerId, LakeId, Policy, ShardIndex, Term};
use prunedb_erasure::ReedSolomon;
use prunedb_format::head::{Group, HeadPrefix};
use prunedb_store::{ShardStore, StoreError};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinSet, time::Instant};

/// Makes the store behind a node's address.
pub type Connect = dyn Fn(&str) -> Arc<dyn ShardStore> + Send + Sync;

/// A call to a store that takes longer has failed.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// A node that could not be reached is not the first choice for so long.
const AVOID_FOR: Duration = Duration::from_secs(5);

pub(crate) struct Lake {
    pub(crate) id: LakeId,
    pub(crate) secret: LakeSecret,
    pub(crate) runtime: Handle,
    nodes: RwLock<Arc<Vec<Node>>>,
    groups: RwLock<Arc<Vec<Group>>>,
    codes: Mutex<HashMap<Policy, Arc<ReedSolomon>>>,
    started: Instant,
}

/// One storage node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) store: Arc<dyn ShardStore>,
    /// milliseconds since the lake was opened until when it is avoided
    avoid_until_ms: Arc<AtomicU64>,
}

impl Lake {
    pub(crate) fn new(
        secret: LakeSecret,
        runtime: Handle,
        addresses: &[String],
        groups: Vec<Group>,
        connect: &Connect,
    ) -> Self {
        let nodes = addresses
            .iter()
            .map(|a| Node { store: connect(a), avoid_until_ms: Arc::default() })
            .collect();
        Self {
            id: secret.lake_id(),
            secret,
            runtime,
            nodes: RwLock::new(Arc::new(nodes)),
            groups: RwLock::new(Arc::new(groups)),
            codes: Mutex::default(),
            started: Instant::now(),
        }
    }

    pub(crate) fn nodes(&self) -> Arc<Vec<Node>> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_groups(&self, groups: Vec<Group>) {
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(groups);
    }

    pub(crate) fn groups(&self) -> Arc<Vec<Group>> {
        Arc::clone(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The nodes of a container's group, one for each shard.
    ///
    /// # Errors
    /// [`Error::Codec`] where the placement has no such group.
    pub(crate) fn slots(
        &self,
        container: ContainerId,
        group: u32,
        policy: Policy,
    ) -> Result<Vec<Node>, Error> {
        let (nodes, groups) = (self.nodes(), self.groups());
        let found = groups.get(group as usize).filter(|g| g.policy == policy);
        let slots = found
            .and_then(|g| g.slots.iter().map(|&slot| nodes.get(slot as usize).cloned()).collect());
        slots.ok_or_else(|| Error::Codec {
            container,
            reason: format!(
                "the placement has no group {group} of policy {policy}: manifest and head do not fit"
            ),
        })
    }

    /// The heads that the nodes have, those that are signed and sealed with our secret.
    pub(crate) fn heads(&self) -> Vec<HeadPrefix> {
        let lake = self.id;
        let answers = self.all(|store| Box::pin(async move { store.head(lake).await }));
        let heads = answers.into_iter().flatten().flatten();
        heads.filter_map(|head| Some(open_head(&self.secret, &head.bytes)?.0)).collect()
    }

    /// The code of a policy, made once.
    pub(crate) fn code(&self, policy: Policy) -> Arc<ReedSolomon> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(codes.entry(policy).or_insert_with(|| {
            let code = ReedSolomon::new(policy.data_shards(), policy.parity_shards());
            Arc::new(code.expect("every Policy is one that the code can do"))
        }))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_avoided(&self, node: &Node) -> bool {
        node.avoid_until_ms.load(Ordering::Relaxed) > self.now_ms()
    }

    /// Remembers how a call went.
    pub(crate) fn note<T>(&self, node: &Node, result: &Result<T, StoreError>) {
        let until = match result {
            Err(e) if e.is_unreachable() => {
                self.now_ms() + u64::try_from(AVOID_FOR.as_millis()).expect("seconds")
            }
            _ => 0,
        };
        node.avoid_until_ms.store(until, Ordering::Relaxed);
    }

    /// Calls all nodes at once; the answers in the order of the nodes.
    pub(crate) fn all<T, F>(&self, call: F) -> Vec<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Fn(Arc<dyn ShardStore>) -> prunedb_store::Pending<'static, T>,
    {
        let nodes = self.nodes();
        let mut calls = JoinSet::new();
        for (position, node) in nodes.iter().enumerate() {
            let (name, answer) = (node.store.name().to_owned(), call(Arc::clone(&node.store)));
            calls.spawn_on(async move { (position, within(&name, answer).await) }, &self.runtime);
        }
        let mut answers: Vec<Option<Result<T, StoreError>>> = nodes.iter().map(|_| None).collect();
        self.runtime.block_on(async {
            while let Some(done) = calls.join_next().await {
                let (position, answer) = done.expect("a call to a store does not panic");
                answers[position] = Some(answer);
            }
        });
        let answers: Vec<_> = answers.into_iter().map(|a| a.expect("every call ended")).collect();
        for (node, answer) in nodes.iter().zip(&answers) {
            self.note(node, answer);
        }
        answers
    }

    /// Makes every node refuse terms below ours. Enough slots of each group must answer that an older writer can no
    /// longer reach its write threshold.
    ///
    /// # Errors
    /// [`Error::Fenced`] where a node has seen a higher term, [`Error::Quorum`] where too few answer.
    pub(crate) fn fence(&self, term: Term) -> Result<(), Error> {
        let lake = self.id;
        let answers = self.all(|store| Box::pin(async move { store.fence(lake, term).await }));
        if let Some(error) = fenced(&answers) {
            return Err(error);
        }
        for group in self.groups().iter() {
            let answered = group.slots.iter().filter(|&&s| answers[s as usize].is_ok()).count();
            let needed = group.policy.total_shards() - write_threshold(group.policy) + 1;
            if answered < needed {
                let failures = self.failures(&answers);
                return Err(Error::Quorum {
                    what: "taking over the lake",
                    answered,
                    needed,
                    failures,
                });
            }
        }
        Ok(())
    }

    /// The nodes that failed, for a message.
    pub(crate) fn failures<T>(&self, answers: &[Result<T, StoreError>]) -> Failures {
        let nodes = self.nodes();
        let failed = nodes.iter().zip(answers).filter_map(|(node, answer)| {
            let reason = answer.as_ref().err()?.to_string();
            Some(Failure { shard: None, node: node.store.name().into(), reason })
        });
        Failures(failed.collect())
    }
}

/// Shards that must be stored before a container counts as offloaded; the rest is left to repair.
pub(crate) const fn write_threshold(policy: Policy) -> usize {
    policy.data_shards() + policy.parity_shards().div_ceil(2)
}

/// The first answer that says that a newer writer exists.
pub(crate) fn fenced<T>(answers: &[Result<T, StoreError>]) -> Option<Error> {
    answers.iter().find_map(|answer| match answer {
        Err(StoreError::Fenced { term, seen, .. }) => {
            Some(Error::Fenced { term: *term, seen: *seen })
        }
        _ => None,
    })
}

/// A call with the deadline of all calls.
pub(crate) async fn within<T>(
    name: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unreachable {
            store: name.into(),
            reason: format!("no answer within {} s", CALL_DEADLINE.as_secs()),
        }),
    }
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A failure of one shard, for a message.
pub(crate) fn shard_failure(shard: ShardIndex, node: &Node, reason: impl ToString) -> Failure {
    Failure { shard: Some(shard), node: node.store.name().into(), reason: reason.to_string() }
}

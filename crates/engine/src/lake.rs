//! The lake as the engine sees it: stores, who holds which slot, and how each node has been doing.

mod fetch;
mod head;
mod health;
mod lanes;
#[cfg(test)]
mod tests;
mod throttle;
mod upload;

pub use fetch::Trace;
pub(crate) use fetch::{Hurry, Opened, Shards, layout_of};
pub(crate) use head::{SealedHead, head_root, open_head, seal_head};
pub(crate) use lanes::{Lanes, Manner, Message, Target};
pub(crate) use upload::{Attempt, Uploaded, upload};

use crate::{
    error::{Error, Failure, Failures},
    executor::Executor,
    placement::NodeDomains,
};
use health::{Health, Sketch};
use prunedb_codec::LakeSecret;
use prunedb_core::{ContainerId, LakeId, Policy, ShardIndex, Term};
use prunedb_erasure::ReedSolomon;
use prunedb_format::head::{Group, HeadBody, HeadPrefix};
use prunedb_store::{ShardStore, StoreError};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use throttle::Throttle;
use tokio::{task::JoinSet, time::Instant};

/// Makes the store behind a node's address.
pub type Connect = dyn Fn(&str) -> Arc<dyn ShardStore> + Send + Sync;

/// A call to a store that takes longer has failed.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// A read is hedged when a node took longer than for this share of its answers, and twice its median: a hedge costs
/// `p` times the traffic of the read, so that of a hundred ordinary reads one may be hedged, not five...
const HEDGE_SHARE: f32 = 0.95;
/// ...but not before this...
const HEDGE_AFTER_MIN: Duration = Duration::from_millis(10);
/// ...and after this where little is known of the nodes, or the lake is near.
const HEDGE_AFTER: Duration = Duration::from_millis(250);

pub(crate) struct Lake {
    pub(crate) id: LakeId,
    pub(crate) secret: LakeSecret,
    pub(crate) runtime: Executor,
    /// what repair may read
    pub(crate) repairs: Throttle,
    placement: RwLock<Arc<Placement>>,
    codes: Mutex<HashMap<Policy, Arc<ReedSolomon>>>,
    /// how long reads take, of all nodes together
    reads: Mutex<Sketch>,
    started: Instant,
}

/// The nodes, and who of them holds which slot: changed together, so that a slot never names another node.
#[derive(Clone)]
pub(crate) struct Placement {
    pub(crate) nodes: Vec<Node>,
    pub(crate) groups: Vec<Group>,
}

/// One storage node.
#[derive(Clone)]
pub(crate) struct Node {
    /// as the head names it
    pub(crate) address: String,
    pub(crate) store: Arc<dyn ShardStore>,
    /// what fails together with it
    pub(crate) domains: NodeDomains,
    health: Arc<Health>,
}

impl Lake {
    pub(crate) fn new(
        secret: LakeSecret,
        runtime: Executor,
        addresses: &[String],
        groups: Vec<Group>,
        domains: &BTreeMap<String, NodeDomains>,
        connect: &Connect,
        repair_bytes_per_s: u64,
    ) -> Self {
        let nodes = addresses.iter().map(|address| {
            let domains = domains.get(address).cloned().unwrap_or_default();
            Node::in_domains(address, connect(address), domains)
        });
        let nodes = nodes.collect();
        Self {
            id: secret.lake_id(),
            secret,
            runtime,
            repairs: Throttle::new(repair_bytes_per_s),
            placement: RwLock::new(Arc::new(Placement { nodes, groups })),
            codes: Mutex::default(),
            reads: Mutex::default(),
            started: Instant::now(),
        }
    }

    pub(crate) fn placement(&self) -> Arc<Placement> {
        Arc::clone(&self.placement.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_placement(&self, placement: Placement) {
        *self.placement.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(placement);
    }

    /// Goes over to the placement of a newer head.
    pub(crate) fn follow_placement(&self, body: &HeadBody, connect: &Connect) {
        let known = self.placement();
        let node = |address: &String| {
            let node = known.nodes.iter().find(|node| node.address == *address).cloned();
            node.unwrap_or_else(|| Node::new(address, connect(address)))
        };
        let (nodes, groups) = (body.nodes.iter().map(node).collect(), body.groups.clone());
        self.set_placement(Placement { nodes, groups });
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
        let placement = self.placement();
        let found = placement.groups.get(group as usize).filter(|g| g.policy == policy);
        let node = |&slot: &u32| placement.nodes.get(slot as usize).cloned();
        let slots = found.and_then(|g| g.slots.iter().map(node).collect());
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

    /// Time since it was opened.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether reads should try others first.
    pub(crate) fn is_avoided(&self, node: &Node) -> bool {
        node.health.avoid_for_reads(self.now_ms())
    }

    /// Whether a node has taken what was sent to it lately, as far as is known.
    pub(crate) fn takes_uploads(&self, node: &Node) -> bool {
        !node.health.avoid_for_uploads(self.now_ms())
    }

    /// Remembers whether a node could be reached.
    pub(crate) fn note<T>(&self, node: &Node, result: &Result<T, StoreError>) {
        let reached = !matches!(result, Err(e) if e.is_unreachable());
        node.health.reached(self.now_ms(), reached);
    }

    /// Remembers how long a read took.
    fn note_read(&self, node: &Node, took: Duration, bytes: u64) {
        let now_ms = self.now_ms();
        node.health.read(now_ms, took, bytes);
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).add(now_ms, took, bytes);
    }

    /// How long to wait for a node before others are asked for the same.
    fn patience(&self, node: &Node, bytes: u64) -> Duration {
        let now_ms = self.now_ms();
        let (usual, median) = {
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            (reads.quantile(now_ms, HEDGE_SHARE, bytes), reads.quantile(now_ms, 0.5, bytes))
        };
        let own = node.health.quantile(now_ms, HEDGE_SHARE, bytes);
        let own_median = node.health.quantile(now_ms, 0.5, bytes);
        let (usual, usual_median) = (own.or(usual), own_median.or(median));
        let most = median.map_or(HEDGE_AFTER, |median| HEDGE_AFTER.max(median * 4));
        let after = usual.max(usual_median.map(|median| median * 2)).unwrap_or(HEDGE_AFTER);
        after.clamp(HEDGE_AFTER_MIN, most)
    }

    /// How far away a node is, in steps of a factor of two; what answers within 2 ms is here, and who never answered.
    fn distance(&self, node: &Node) -> u32 {
        node.health.round_trip().as_millis().max(1).ilog2()
    }

    /// Calls all nodes at once; the answers in the order of the nodes.
    pub(crate) fn all<T, F>(&self, call: F) -> Vec<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Fn(Arc<dyn ShardStore>) -> prunedb_store::Pending<'static, T>,
    {
        self.each(&self.placement().nodes, call)
    }

    /// Calls these nodes at once; the answers in their order.
    pub(crate) fn each<T, F>(&self, nodes: &[Node], call: F) -> Vec<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Fn(Arc<dyn ShardStore>) -> prunedb_store::Pending<'static, T>,
    {
        let mut calls = JoinSet::new();
        for (position, node) in nodes.iter().enumerate() {
            let (name, answer) = (node.store.name().to_owned(), call(Arc::clone(&node.store)));
            let asked = Instant::now();
            calls.spawn_on(
                async move { (position, within(&name, answer).await, asked.elapsed()) },
                self.runtime.handle(),
            );
        }
        let mut answers: Vec<Option<Result<T, StoreError>>> = nodes.iter().map(|_| None).collect();
        self.runtime.block_on(async {
            while let Some(done) = calls.join_next().await {
                let (position, answer, took) = done.expect("a call to a store does not panic");
                if answer.is_ok() {
                    nodes[position].health.answered(took);
                }
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
        let (lake, placement) = (self.id, self.placement());
        let answers = self
            .each(&placement.nodes, |store| Box::pin(async move { store.fence(lake, term).await }));
        if let Some(error) = fenced(&answers) {
            return Err(error);
        }
        for group in &placement.groups {
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
        let placement = self.placement();
        let failed = placement.nodes.iter().zip(answers).filter_map(|(node, answer)| {
            let reason = answer.as_ref().err()?.to_string();
            Some(Failure { shard: None, node: node.store.name().into(), reason })
        });
        Failures(failed.collect())
    }
}

impl Node {
    /// A node of which nothing is known.
    pub(crate) fn new(address: impl Into<String>, store: Arc<dyn ShardStore>) -> Self {
        Self::in_domains(address, store, NodeDomains::default())
    }

    /// The same, where it is known what fails together with it.
    pub(crate) fn in_domains(
        address: impl Into<String>,
        store: Arc<dyn ShardStore>,
        domains: NodeDomains,
    ) -> Self {
        Self { address: address.into(), store, domains, health: Arc::default() }
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

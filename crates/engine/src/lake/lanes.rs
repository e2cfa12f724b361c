//! Many uploads at once, none of which holds the others up.
//!
//! Each node has a short queue and a task. The pace is that of the node that is `needed`th fastest. Who falls behind it
//! by a full queue is waited for a little (the patience, and a tenth of the time that the uploads took so far, in all);
//! then it is given up.
//!
//! Memory: [`CHUNKS_WAITING`] and one chunks for each node.

use super::{Lake, Node, within};
use bytes::Bytes;
use prunedb_core::{Digest, ShardId, Term};
use prunedb_store::{PutMode, StoreError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout_at},
};

/// Chunks that wait for each node.
pub(crate) const CHUNKS_WAITING: usize = 2;
/// How long uploads wait, when enough shards are stored, for the commits of the others; or half of the time so far.
const COMMIT_PATIENCE: Duration = Duration::from_secs(1);

/// What goes to a node next.
pub(crate) enum Message {
    Bytes(Bytes),
    Commit(Digest),
}

/// A shard and the node that is to store it.
pub(crate) struct Target {
    pub(crate) id: ShardId,
    pub(crate) node: Node,
}

/// How uploads are done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) term: Term,
    pub(crate) mode: PutMode,
    /// length of each shard
    pub(crate) shard_bytes: u64,
    /// uploads that set the pace, and that are waited for as long as they live
    pub(crate) needed: usize,
    /// so many are needed in any case; beyond them those count whose node makes its shard itself
    pub(crate) least: usize,
    /// how long those behind are waited for
    pub(crate) patience: Duration,
}

/// Uploads under way, in the order of their targets.
pub(crate) struct Lanes<'a> {
    lake: &'a Lake,
    manner: Manner,
    lanes: Vec<Lane>,
    uploads: JoinSet<(usize, Result<(), StoreError>)>,
    /// some queue has more room, or some upload has ended
    moved: Arc<Notify>,
    /// nodes that make their shards themselves
    reserved: Arc<AtomicUsize>,
    started: Instant,
    /// time spent so far in waiting for nodes that are behind
    waited: Duration,
}

/// One node's queue; `None` once nothing more goes to it.
struct Lane {
    target: Target,
    queue: Option<mpsc::Sender<Message>>,
    upload: Option<AbortHandle>,
    result: Option<Result<(), StoreError>>,
}

impl Lane {
    fn is_open(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    fn is_full(&self) -> bool {
        self.is_open() && self.queue.as_ref().is_some_and(|queue| queue.capacity() == 0)
    }

    fn failed(&mut self, reason: &str) {
        let store = self.target.node.store.name().into();
        self.result = Some(Err(StoreError::Unreachable { store, reason: reason.into() }));
        self.queue = None;
    }
}

impl<'a> Lanes<'a> {
    /// Begins an upload for each target. With `leave_out`, nodes that failed a moment ago are not tried, as long as the
    /// others are enough.
    pub(crate) fn open(
        lake: &'a Lake,
        manner: Manner,
        targets: impl IntoIterator<Item = Target>,
        leave_out: bool,
    ) -> Self {
        let lane = |target| Lane { target, queue: None, upload: None, result: None };
        let mut out = Self {
            lake,
            manner,
            lanes: targets.into_iter().map(lane).collect(),
            uploads: JoinSet::new(),
            moved: Arc::default(),
            reserved: Arc::default(),
            started: Instant::now(),
            waited: Duration::ZERO,
        };
        let is_well = |lane: &&Lane| lake.takes_uploads(&lane.target.node);
        let leave_out = leave_out && out.lanes.iter().filter(is_well).count() >= manner.needed;
        for (position, lane) in out.lanes.iter_mut().enumerate() {
            if leave_out && !is_well(&&*lane) {
                lane.failed("not tried, it failed a moment ago");
                continue;
            }
            let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
            let (id, node, moved) =
                (lane.target.id, lane.target.node.clone(), Arc::clone(&out.moved));
            let reserved = Arc::clone(&out.reserved);
            let upload = async move {
                let result = put_shard(&node, id, manner, receiver, &moved).await;
                if result.as_ref().is_err_and(StoreError::is_reserved) {
                    reserved.fetch_add(1, Relaxed);
                }
                moved.notify_one();
                (position, result)
            };
            lane.upload = Some(out.uploads.spawn_on(upload, lake.runtime.handle()));
            lane.queue = Some(sender);
        }
        out
    }

    /// Uploads that it takes, as far as is known now.
    pub(crate) fn needed(&self) -> usize {
        let Manner { needed, least, .. } = self.manner;
        needed.saturating_sub(self.reserved.load(Relaxed)).max(least)
    }

    /// Uploads that still go on.
    pub(crate) fn open_count(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_open()).count()
    }

    /// Waits until every queue has room, or those that are behind have been waited for long enough.
    pub(crate) async fn wait_for_room(&mut self) {
        loop {
            let full = self.lanes.iter().filter(|lane| lane.is_full()).count();
            if full == 0 {
                return;
            }
            if self.open_count() - full < self.needed() {
                // this is the common pace; an upload that hangs ends by its own deadline
                self.moved.notified().await;
                continue;
            }
            let patience = self.manner.patience.max(self.started.elapsed() / 10);
            let since = Instant::now();
            let until = since + patience.saturating_sub(self.waited);
            let in_time = timeout_at(until, self.moved.notified()).await.is_ok();
            self.waited += since.elapsed();
            if !in_time {
                self.give_up(Lane::is_full);
                return;
            }
        }
    }

    /// Hands every open queue its next message; there is room.
    pub(crate) fn send(&mut self, messages: impl Iterator<Item = Message>) {
        for (lane, message) in self.lanes.iter_mut().zip(messages) {
            // an upload that ended has said why, and the others go on
            if lane.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_err()) {
                lane.queue = None;
            }
        }
    }

    /// Ends uploads that keep the others waiting.
    fn give_up(&mut self, which: impl Fn(&Lane) -> bool) {
        for lane in self.lanes.iter_mut().filter(|lane| which(lane)) {
            if let Some(upload) = lane.upload.take() {
                upload.abort();
                lane.failed("slower than the others");
                let node = &lane.target.node;
                node.health.uploaded(self.lake.now_ms(), false);
                tracing::warn!(node = node.store.name(), id = %lane.target.id, "too slow: given up");
            }
        }
    }

    /// Waits for the commits: for as many as are needed, and a little for the rest. What became of each target.
    pub(crate) async fn collect(mut self) -> Vec<(Target, Result<(), StoreError>)> {
        self.lanes.iter_mut().for_each(|lane| lane.queue = None);
        let mut stored = 0;
        let mut until = None;
        loop {
            let next = self.uploads.join_next();
            let done = match until {
                None => next.await,
                Some(until) => match timeout_at(until, next).await {
                    Ok(done) => done,
                    Err(_) => break,
                },
            };
            let (position, result) = match done {
                Some(Ok(done)) => done,
                Some(Err(e)) if e.is_cancelled() => continue, // given up, and noted
                Some(Err(e)) => panic!("an upload does not panic: {e}"),
                None => break,
            };
            let lane = &mut self.lanes[position];
            if lane.upload.take().is_none() {
                continue; // it ended while it was given up
            }
            self.lake.note(&lane.target.node, &result);
            if result.is_ok() {
                lane.target.node.health.uploaded(self.lake.now_ms(), true);
                stored += 1;
            }
            lane.result = Some(result);
            if stored >= self.needed() {
                let patience = COMMIT_PATIENCE.max(self.started.elapsed() / 2);
                until.get_or_insert_with(|| Instant::now() + patience);
            }
        }
        self.give_up(|lane| lane.upload.is_some());
        let results = self
            .lanes
            .into_iter()
            .map(|lane| (lane.target, lane.result.expect("an upload ended, or was given up")));
        results.collect()
    }
}

async fn put_shard(
    node: &Node,
    id: ShardId,
    manner: Manner,
    mut chunks: mpsc::Receiver<Message>,
    moved: &Notify,
) -> Result<(), StoreError> {
    let Manner { term, mode, shard_bytes, .. } = manner;
    let name = node.store.name();
    let mut upload = within(name, node.store.put(id, term, shard_bytes, mode)).await?;
    while let Some(message) = chunks.recv().await {
        moved.notify_one();
        match message {
            Message::Bytes(bytes) => within(name, upload.write(bytes)).await?,
            Message::Commit(digest) => return within(name, upload.commit(digest)).await,
        }
    }
    Err(StoreError::Rejected { store: name.into(), reason: "the upload was given up".into() })
}

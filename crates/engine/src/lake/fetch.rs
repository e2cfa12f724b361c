//! Reading a container's shards: one node where it can be, any `p` of them where it must be.

use super::{Lake, Node, shard_failure, within};
use crate::{
    error::{Error, Failures},
    executor::Executor,
};
use bytes::Bytes;
use prunedb_codec::{
    CodecVersion, CodedStream, OpenError, Opener, Piece, Rebuilder, ShardLayout, StreamParams,
};
use prunedb_core::{ContainerId, Digest, ShardId, ShardIndex};
use prunedb_erasure::ReedSolomon;
use prunedb_format::manifest::StreamEntry;
use prunedb_store::{GET_BYTES_MAX, ShardStat, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// What one request for a part of a whole shard asks for.
const WHOLE_READ_BYTES: u64 = 256 << 10;

/// What a read did, for `explain`, the demo and tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// nodes asked, each as often as it was asked
    pub asked: Vec<String>,
    /// frames that came from the lake
    pub frames_fetched: u64,
    /// ranges that had to be rebuilt from other shards
    pub rebuilt: u64,
}

impl Trace {
    pub(crate) fn absorb(&mut self, other: Self) {
        self.asked.extend(other.asked);
        self.frames_fetched += other.frames_fetched;
        self.rebuilt += other.rebuilt;
    }
}

/// One container's shards, ready to be read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shards(Arc<Inner>);

struct Inner {
    lake: Arc<Lake>,
    container: ContainerId,
    layout: ShardLayout,
    params: StreamParams,
    opener: Opener,
    code: Arc<ReedSolomon>,
    nodes: Vec<Node>,
    /// shards found damaged or missing on a node that answered
    bad: Mutex<BTreeSet<ShardIndex>>,
    trace: Mutex<Trace>,
}

/// Whether somebody waits for a read of many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// time matters more than traffic: a quarter more are asked than needed
    Reader,
    /// traffic matters more than time: more are asked only when those are slow
    None,
}

/// Opened payloads of some shards, all of the same leaves.
pub(crate) type Opened = BTreeMap<ShardIndex, Vec<u8>>;

impl Shards {
    pub(crate) fn new(lake: &Arc<Lake>, stream: &StreamEntry) -> Result<Self, Error> {
        let codec = |e: &dyn std::fmt::Display| Error::Codec {
            container: stream.id,
            reason: e.to_string(),
        };
        let codec_version = CodecVersion::new(stream.codec).map_err(|e| codec(&e))?;
        let params = StreamParams {
            lake: lake.id,
            container: stream.id,
            policy: stream.policy,
            codec: codec_version,
            generation: stream.generation,
        };
        let coded = CodedStream {
            container_bytes: stream.container_bytes,
            coded_bytes: stream.coded_bytes,
            digest: stream.stream_digest,
        };
        let key = lake.secret.lake_key(stream.generation);
        let opener = Opener::new(&key, params, coded).map_err(|e| codec(&e))?;
        let layout = *opener.layout();
        Ok(Self(Arc::new(Inner {
            lake: Arc::clone(lake),
            container: stream.id,
            layout,
            params,
            opener,
            code: lake.code(stream.policy),
            nodes: lake.slots(stream.id, stream.group, stream.policy)?,
            bad: Mutex::default(),
            trace: Mutex::default(),
        })))
    }

    pub(crate) fn layout(&self) -> ShardLayout {
        self.0.layout
    }

    pub(crate) fn node(&self, shard: ShardIndex) -> &Node {
        &self.0.nodes[shard.as_usize()]
    }

    pub(crate) fn id(&self, shard: ShardIndex) -> ShardId {
        ShardId { lake: self.0.lake.id, container: self.0.container, index: shard }
    }

    /// Shards that were found damaged or missing so far.
    pub(crate) fn bad(&self) -> Vec<ShardIndex> {
        self.0.bad.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// What was asked since the last call.
    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.0.trace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn runtime(&self) -> &Executor {
        &self.0.lake.runtime
    }

    /// Reads a range of the coded stream.
    ///
    /// # Errors
    /// [`Error::Lost`] where fewer than `p` shards can be read.
    pub(crate) fn read_coded(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.runtime().block_on(self.coded(range))
    }

    /// As [`Self::read_coded`], within a runtime.
    pub(super) async fn coded(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let bytes = usize::try_from(range.end - range.start).expect("a range that fits in memory");
        let mut out = Vec::with_capacity(bytes);
        for piece in self.0.layout.pieces(range) {
            let opened = self.piece(piece).await?;
            out.extend_from_slice(&opened[piece.skip..piece.skip + piece.take]);
        }
        Ok(out)
    }

    /// Opened leaves of one data shard: from its own node, or rebuilt.
    async fn piece(&self, piece: Piece) -> Result<Vec<u8>, Error> {
        let leaves = piece.first_leaf..piece.first_leaf + piece.leaf_count;
        let mut order = self.order(&[piece.shard]);
        order.push(piece.shard); // slow is better than never
        let mut opened = self.any(leaves, order, Some(piece.shard), Hurry::Reader).await?;
        if let Some(own) = opened.remove(&piece.shard) {
            return Ok(own);
        }
        self.0.trace.lock().unwrap_or_else(PoisonError::into_inner).rebuilt += 1;
        Ok(self.complete(opened, &[piece.shard])?.remove(&piece.shard).expect("it was asked for"))
    }

    /// All shards but some: those that are well in front, near ones before far ones, data before parity.
    pub(crate) fn order(&self, without: &[ShardIndex]) -> Vec<ShardIndex> {
        let mut shards: Vec<_> =
            self.0.params.policy.shards().filter(|s| !without.contains(s)).collect();
        shards.sort_by_cached_key(|&s| {
            let (lake, node) = (&self.0.lake, self.node(s));
            (self.is_bad(s), lake.is_avoided(node), lake.distance(node), s)
        });
        shards
    }

    /// Known to be damaged, missing or out of reach.
    pub(crate) fn is_unlikely(&self, shard: ShardIndex) -> bool {
        self.is_bad(shard) || self.0.lake.is_avoided(self.node(shard))
    }

    /// Checks leaves of one shard against their seals.
    pub(crate) fn open(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        sealed: &[u8],
    ) -> Result<(), OpenError> {
        self.0.opener.open_leaves(shard, first_leaf, sealed, &mut Vec::with_capacity(sealed.len()))
    }

    /// Seals rebuilt payloads: the bytes that the encoder made.
    pub(crate) fn seal(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        payload: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let layout = self.0.opener.layout();
        let mut sealed = vec![0; payload.len() / layout.payload_bytes() * layout.leaf_bytes()];
        self.0
            .opener
            .seal_leaves(shard, first_leaf, payload, &mut sealed)
            .map_err(|e| Error::Codec { container: self.0.container, reason: e.to_string() })?;
        Ok(sealed)
    }

    /// What each holder says of its shard; all are asked at once.
    pub(crate) fn stats(&self) -> BTreeMap<ShardIndex, Result<Option<ShardStat>, StoreError>> {
        let mut calls = JoinSet::new();
        for shard in self.0.params.policy.shards() {
            let this = self.clone();
            let call = async move {
                let node = this.node(shard);
                (shard, within(node.store.name(), node.store.stat(this.id(shard))).await)
            };
            calls.spawn_on(call, self.runtime().handle());
        }
        self.runtime().block_on(async {
            let mut stats = BTreeMap::new();
            while let Some(done) = calls.join_next().await {
                let (shard, stat) = done.expect("a call to a store does not panic");
                stats.insert(shard, stat);
            }
            stats
        })
    }

    /// Whether a node, of any slot, has a shard under the name that is known of it.
    pub(crate) async fn is_on(&self, node: &Node, shard: ShardIndex, name: Option<Digest>) -> bool {
        let stat = within(node.store.name(), node.store.stat(self.id(shard))).await;
        let (Ok(Some(stat)), Some(name)) = (stat, name) else { return false };
        (stat.name, stat.bytes) == (name, self.layout().shard_bytes())
    }

    /// The shard names that the holders claim, where together they make up the container's root; else none.
    pub(crate) fn claimed_names(&self, stream: &StreamEntry) -> Vec<Option<Digest>> {
        let stats = self.stats().into_values();
        let all: Option<Vec<Digest>> = stats.map(|stat| Some(stat.ok()??.name)).collect();
        let facts = self.0.params.facts(self.0.opener.stream(), &self.0.layout);
        let rooted = all.filter(|names| facts.root(names).is_ok_and(|root| root == stream.root));
        rooted.map_or(vec![None; stream.policy.total_shards()], |names| {
            names.into_iter().map(Some).collect()
        })
    }

    fn is_bad(&self, shard: ShardIndex) -> bool {
        self.0.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&shard)
    }

    /// The same leaves of any `p` of the shards in `order`, or of one that suffices alone. The first wins, and what
    /// is still under way is cancelled.
    ///
    /// One that suffices is asked alone, unless it is known to be bad. When it fails, or takes longer than it usually
    /// does, `p` and a quarter more are asked at once (just `p` where there is no hurry); then one more for each that
    /// fails, and another quarter whenever the slowest of them should have answered.
    pub(crate) async fn any(
        &self,
        leaves: Range<u64>,
        order: Vec<ShardIndex>,
        suffices: Option<ShardIndex>,
        hurry: Hurry,
    ) -> Result<Opened, Error> {
        let needed = self.0.params.policy.data_shards();
        let quarter = needed.div_ceil(4);
        let first = match hurry {
            Hurry::Reader => needed + quarter,
            Hurry::None => needed,
        };
        let alone = suffices.filter(|&shard| !self.is_unlikely(shard));
        let mut race = Race {
            shards: self,
            leaves,
            waiting: order.into_iter().filter(|&shard| Some(shard) != alone).collect(),
            calls: JoinSet::new(),
            wave: first,
            quarter,
            next_wave: Instant::now(),
        };
        match alone {
            Some(shard) => {
                race.waiting.push_front(shard);
                race.ask(1);
            }
            None => race.widen(),
        }
        let mut opened = Opened::new();
        let mut failures = Failures::default();
        while let Some((shard, answer)) = race.next().await {
            match answer {
                Ok(payload) => {
                    opened.insert(shard, payload);
                    if opened.len() == needed || suffices == Some(shard) {
                        return Ok(opened);
                    }
                }
                Err(reason) => {
                    failures.0.push(shard_failure(shard, self.node(shard), reason));
                    race.replace();
                }
            }
        }
        failures.0.sort_by_key(|f| f.shard);
        Err(Error::Lost { container: self.0.container, found: opened.len(), needed, failures })
    }

    /// The wanted shards' payloads, rebuilt from what was opened where they are not among it.
    pub(crate) fn complete(
        &self,
        mut opened: Opened,
        wanted: &[ShardIndex],
    ) -> Result<Opened, Error> {
        let rebuild: Vec<ShardIndex> =
            wanted.iter().copied().filter(|w| !opened.contains_key(w)).collect();
        if !rebuild.is_empty() {
            let codec = |e: prunedb_codec::RebuildError| Error::Codec {
                container: self.0.container,
                reason: e.to_string(),
            };
            let have: Vec<ShardIndex> = opened.keys().copied().collect();
            let payloads: Vec<&[u8]> = opened.values().map(Vec::as_slice).collect();
            let rebuilder = Rebuilder::new(&self.0.code, &have, &rebuild).map_err(codec)?;
            let rebuilt = rebuilder.rebuild(&payloads).map_err(codec)?;
            opened.extend(rebuild.into_iter().zip(rebuilt));
        }
        opened.retain(|shard, _| wanted.contains(shard));
        Ok(opened)
    }

    /// Reads and opens leaves of one shard; what is wrong with it is remembered.
    async fn leaves(&self, shard: ShardIndex, leaves: Range<u64>) -> Result<Vec<u8>, String> {
        let node = self.node(shard);
        let bytes = (leaves.end - leaves.start) * self.0.layout.leaf_bytes() as u64;
        let timed = Timed::start(&self.0.lake, node, bytes);
        let sealed = self.sealed(shard, leaves.clone()).await;
        timed.ended(sealed.is_ok());
        self.0.lake.note(node, &sealed);
        let sealed = sealed.map_err(|e| {
            if matches!(
                e,
                StoreError::Absent { .. } | StoreError::Damaged { .. } | StoreError::Range { .. }
            ) {
                self.mark_bad(shard);
            }
            e.to_string()
        })?;
        let mut opened = Vec::with_capacity(sealed.len());
        self.0.opener.open_leaves(shard, leaves.start, &sealed, &mut opened).map_err(|e| {
            self.mark_bad(shard);
            e.to_string()
        })?;
        Ok(opened)
    }

    fn mark_bad(&self, shard: ShardIndex) {
        self.0.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
    }

    /// Sealed bytes of a range of leaves.
    pub(crate) async fn sealed(
        &self,
        shard: ShardIndex,
        leaves: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let node = self.node(shard);
        let leaf_bytes = self.0.layout.leaf_bytes() as u64;
        let (start, end) = (leaves.start * leaf_bytes, leaves.end * leaf_bytes);
        self.0
            .trace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .asked
            .push(node.store.name().into());
        let bytes = u32::try_from(end - start).ok().filter(|&b| b <= GET_BYTES_MAX);
        let bytes = bytes.expect("callers keep ranges below the limit of a get");
        let answer =
            within(node.store.name(), node.store.get(self.id(shard), start, bytes)).await?;
        if answer.len() as u64 != end - start {
            return Err(StoreError::Rejected {
                store: node.store.name().into(),
                reason: format!("{} bytes where {bytes} were asked for", answer.len()),
            });
        }
        Ok(answer)
    }

    /// Leaves of one shard that one request asks for where a whole container is read: `p` of them, sealed and opened,
    /// are in memory at once.
    pub(crate) fn leaves_per_get(&self) -> u64 {
        (WHOLE_READ_BYTES / self.0.layout.leaf_bytes() as u64).max(1)
    }

    /// The whole coded stream, from the shards that come first in `order`.
    ///
    /// # Errors
    /// [`Error::Lost`] where fewer than `p` shards can be read.
    pub(crate) fn read_stream(&self, order: &[ShardIndex]) -> Result<Vec<u8>, Error> {
        self.runtime().block_on(self.stream(order))
    }

    async fn stream(&self, order: &[ShardIndex]) -> Result<Vec<u8>, Error> {
        let layout = self.0.layout;
        let data: Vec<ShardIndex> =
            self.0.params.policy.shards().take(self.0.params.policy.data_shards()).collect();
        let slice = usize::try_from(layout.slice_bytes()).expect("a container fits in memory");
        let coded = usize::try_from(layout.coded_bytes()).expect("a container fits in memory");
        let mut stream = vec![0; slice * data.len()];
        let payload = layout.leaf_bytes() - prunedb_core::units::TAG_BYTES;
        let mut leaf = 0;
        while leaf < layout.leaves_per_shard() {
            let leaves = leaf..(leaf + self.leaves_per_get()).min(layout.leaves_per_shard());
            let at = usize::try_from(leaf).expect("a container fits in memory") * payload;
            leaf = leaves.end;
            let opened = self.any(leaves, order.to_vec(), None, Hurry::Reader).await?;
            for (shard, bytes) in self.complete(opened, &data)? {
                let start = shard.as_usize() * slice + at;
                stream[start..start + bytes.len()].copy_from_slice(&bytes);
            }
        }
        stream.truncate(coded);
        Ok(stream)
    }
}

/// Shards that are asked for the same leaves.
struct Race<'a> {
    shards: &'a Shards,
    leaves: Range<u64>,
    /// those that were not asked yet
    waiting: VecDeque<ShardIndex>,
    calls: JoinSet<(ShardIndex, Result<Vec<u8>, String>)>,
    /// how many are asked at the next wave, and at those behind it
    wave: usize,
    quarter: usize,
    /// when those that were asked should have answered
    next_wave: Instant,
}

impl Race<'_> {
    /// Asks the next `count` shards.
    fn ask(&mut self, count: usize) {
        let bytes =
            (self.leaves.end - self.leaves.start) * self.shards.0.layout.leaf_bytes() as u64;
        let mut patience = Duration::ZERO;
        for shard in self.waiting.drain(..count.min(self.waiting.len())) {
            patience = patience.max(self.shards.0.lake.patience(self.shards.node(shard), bytes));
            let (this, leaves) = (self.shards.clone(), self.leaves.clone());
            self.calls.spawn(async move { (shard, this.leaves(shard, leaves).await) });
        }
        if !patience.is_zero() {
            self.next_wave = Instant::now() + patience;
        }
    }

    /// Asks the next wave.
    fn widen(&mut self) {
        let wave = std::mem::replace(&mut self.wave, self.quarter);
        self.ask(wave);
    }

    /// Asks in place of one that failed: where it was alone, everybody who is needed.
    fn replace(&mut self) {
        if self.wave > self.quarter { self.widen() } else { self.ask(1) }
    }

    /// The next answer; asks more whenever it takes too long. `None` when all have answered.
    async fn next(&mut self) -> Option<(ShardIndex, Result<Vec<u8>, String>)> {
        while !self.waiting.is_empty() {
            match timeout_at(self.next_wave, self.calls.join_next()).await {
                Ok(answer) => return answer.map(|done| done.expect("a read does not panic")),
                Err(_) => self.widen(),
            }
        }
        self.calls.join_next().await.map(|done| done.expect("a read does not panic"))
    }
}

/// Tells the lake how long a read took; dropped before it ended, that it was overtaken.
struct Timed<'a> {
    lake: &'a Lake,
    node: &'a Node,
    bytes: u64,
    started: Instant,
    /// what was to be expected of the node
    patience: Duration,
    over: bool,
}

impl<'a> Timed<'a> {
    fn start(lake: &'a Lake, node: &'a Node, bytes: u64) -> Self {
        let patience = lake.patience(node, bytes);
        Self { lake, node, bytes, started: Instant::now(), patience, over: false }
    }

    fn ended(mut self, answered: bool) {
        self.over = true;
        if answered {
            self.lake.note_read(self.node, self.started.elapsed(), self.bytes);
        }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if !self.over {
            let after = self.started.elapsed();
            self.node.health.given_up(self.lake.now_ms(), after, after >= self.patience);
        }
    }
}

/// The shape of a container's shards.
pub(crate) fn layout_of(stream: &StreamEntry) -> Result<ShardLayout, Error> {
    ShardLayout::new(stream.policy, stream.id.kind, stream.coded_bytes)
        .map_err(|e| Error::Codec { container: stream.id, reason: e.to_string() })
}

//! A store in memory, for tests: exact in what it refuses, and with faults to switch on.

use crate::{
    GET_BYTES_MAX, HEAD_BYTES_MAX, Pending, PutMode, ShardStat, ShardStore, ShardUpload,
    StoreError, StoreSpace, StoredHead,
};
use bytes::{Bytes, BytesMut};
use prunedb_core::{Digest, LakeId, ShardId, ShardIndex, Term, units::LEAF_BYTES};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A store in memory. Clones share what they hold.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    shards: BTreeMap<ShardId, Shard>,
    fences: HashMap<LakeId, Term>,
    heads: HashMap<LakeId, StoredHead>,
    capacity_bytes: u64,
    offline: bool,
    delay: Duration,
    gets: u64,
}

#[derive(Debug)]
struct Shard {
    bytes: Bytes,
    name: Digest,
    term: Term,
    /// start of a block that the store knows to be damaged
    damaged: Option<u64>,
}

impl MemoryStore {
    /// An empty store without a limit.
    pub fn new(name: impl Into<String>) -> Self {
        let state = State { capacity_bytes: u64::MAX, ..State::default() };
        Self { name: name.into(), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every call fails as unreachable, or no longer.
    pub fn set_offline(&self, offline: bool) {
        self.lock().offline = offline;
    }

    /// From now on every call takes at least so long.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Bytes that it may hold.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Damages the block around a byte; the store notices when it is read. Whether there is such a byte.
    pub fn corrupt(&self, id: ShardId, offset: u64) -> bool {
        let block = LEAF_BYTES as u64;
        match self.lock().shards.get_mut(&id) {
            Some(shard) if offset < shard.bytes.len() as u64 => {
                shard.damaged = Some(offset / block * block);
                true
            }
            _ => false,
        }
    }

    /// Flips a byte that the store does not notice, as a store that lies would. Whether there is such a byte.
    pub fn falsify(&self, id: ShardId, offset: u64) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        match self.lock().shards.get_mut(&id) {
            Some(shard) if offset < shard.bytes.len() => {
                let mut bytes = BytesMut::from(&shard.bytes[..]);
                bytes[offset] ^= 0xff;
                shard.bytes = bytes.freeze();
                true
            }
            _ => false,
        }
    }

    /// Throws a shard away behind everybody's back. Whether there was one.
    pub fn lose(&self, id: ShardId) -> bool {
        self.lock().shards.remove(&id).is_some()
    }

    /// How many ranges were asked for so far.
    pub fn gets(&self) -> u64 {
        self.lock().gets
    }

    /// Waits and fails as it is told to.
    async fn enter(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let delay = self.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let state = self.lock();
        if state.offline {
            let reason = "switched off".into();
            return Err(StoreError::Unreachable { store: self.name.clone(), reason });
        }
        Ok(state)
    }

    fn rejected<T>(&self, reason: &str) -> Result<T, StoreError> {
        Err(StoreError::Rejected { store: self.name.clone(), reason: reason.into() })
    }

    /// Refuses an old term, and remembers a new one.
    fn fenced(&self, state: &mut State, lake: LakeId, term: Term) -> Result<(), StoreError> {
        let seen = state.fences.entry(lake).or_default();
        if *seen > term {
            return Err(StoreError::Fenced { store: self.name.clone(), term, seen: *seen });
        }
        *seen = term;
        Ok(())
    }
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.shards.values().map(|shard| shard.bytes.len() as u64).sum()
    }
}

fn stat(id: ShardId, shard: &Shard) -> ShardStat {
    ShardStat { id, bytes: shard.bytes.len() as u64, name: shard.name, term: shard.term }
}

struct MemoryUpload {
    store: MemoryStore,
    id: ShardId,
    term: Term,
    expected: u64,
    mode: PutMode,
    bytes: BytesMut,
}

impl ShardStore for MemoryStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        Box::pin(async move {
            let state = self.enter().await?;
            let seen = state.fences.get(&id.lake).copied().unwrap_or_default();
            if seen > term {
                return Err(StoreError::Fenced { store: self.name.clone(), term, seen });
            }
            let free_bytes = state.capacity_bytes.saturating_sub(state.used_bytes());
            match state.shards.get(&id) {
                Some(shard) if shard.bytes.len() as u64 != bytes => {
                    return Err(StoreError::Conflict { store: self.name.clone(), id });
                }
                None if bytes > free_bytes => {
                    return Err(StoreError::Full { store: self.name.clone(), free_bytes });
                }
                _ => {}
            }
            drop(state);
            let upload = MemoryUpload {
                store: self.clone(),
                id,
                term,
                expected: bytes,
                mode,
                bytes: BytesMut::new(),
            };
            Ok(Box::new(upload) as Box<dyn ShardUpload>)
        })
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        Box::pin(async move {
            let mut state = self.enter().await?;
            state.gets += 1;
            let store = self.name.clone();
            let Some(shard) = state.shards.get(&id) else {
                return Err(StoreError::Absent { store, id });
            };
            let end = offset.saturating_add(u64::from(bytes));
            let within = end <= shard.bytes.len() as u64 && (1..=GET_BYTES_MAX).contains(&bytes);
            let (Ok(from), Ok(to), true) = (usize::try_from(offset), usize::try_from(end), within)
            else {
                return Err(StoreError::Range { store, id, offset, bytes: u64::from(bytes) });
            };
            match shard.damaged {
                Some(block) if block < end && offset < block + LEAF_BYTES as u64 => {
                    Err(StoreError::Damaged { store, id, offset: block })
                }
                _ => Ok(shard.bytes.slice(from..to)),
            }
        })
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        Box::pin(
            async move { Ok(self.enter().await?.shards.get(&id).map(|shard| stat(id, shard))) },
        )
    }

    fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Pending<'_, Vec<ShardStat>> {
        Box::pin(async move {
            let state = self.enter().await?;
            if !(1..=1000).contains(&count) {
                return self.rejected("a count is 1 to 1000");
            }
            let container = prunedb_core::ContainerId::data(0);
            let first = ShardId { lake, container, index: ShardIndex(0) };
            let from = match after {
                Some(after) if after >= first => Bound::Excluded(after),
                _ => Bound::Included(first),
            };
            let behind = state.shards.range((from, Bound::Unbounded));
            let behind = behind.take_while(|(id, _)| id.lake == lake);
            let count = usize::try_from(count).expect("at most 1000");
            Ok(behind.take(count).map(|(id, shard)| stat(*id, shard)).collect())
        })
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        Box::pin(async move {
            let mut state = self.enter().await?;
            self.fenced(&mut state, id.lake, term)?;
            Ok(state.shards.remove(&id).is_some())
        })
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut state = self.enter().await?;
            self.fenced(&mut state, lake, term)
        })
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut state = self.enter().await?;
            if head.bytes.len() > HEAD_BYTES_MAX {
                return self.rejected("a head has at most 1 MiB");
            }
            self.fenced(&mut state, lake, head.term)?;
            let newer = state
                .heads
                .get(&lake)
                .is_none_or(|stored| (stored.term, stored.number) < (head.term, head.number));
            if newer {
                state.heads.insert(lake, head);
            }
            Ok(())
        })
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        Box::pin(async move { Ok(self.enter().await?.heads.get(&lake).cloned()) })
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        Box::pin(async move {
            let state = self.enter().await?;
            Ok(StoreSpace {
                capacity_bytes: state.capacity_bytes,
                used_bytes: state.used_bytes(),
                shards: state.shards.len() as u64,
            })
        })
    }
}

impl ShardUpload for MemoryUpload {
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            drop(self.store.enter().await?);
            if (self.bytes.len() + bytes.len()) as u64 > self.expected {
                return self.store.rejected("more bytes than announced");
            }
            self.bytes.extend_from_slice(&bytes);
            Ok(())
        })
    }

    fn commit(self: Box<Self>, name: Digest) -> Pending<'static, ()> {
        Box::pin(async move {
            let Self { store, id, term, expected, mode, bytes } = *self;
            let mut state = store.enter().await?;
            if bytes.len() as u64 != expected {
                return store.rejected("fewer bytes than announced");
            }
            if Digest(*blake3::hash(&bytes).as_bytes()) != name {
                return store.rejected("the bytes have another name");
            }
            store.fenced(&mut state, id.lake, term)?;
            match state.shards.get(&id) {
                Some(stored) if stored.name != name => {
                    return Err(StoreError::Conflict { store: store.name.clone(), id });
                }
                Some(_) if mode == PutMode::IfAbsent => return Ok(()),
                _ => {}
            }
            let shard = Shard { bytes: bytes.freeze(), name, term, damaged: None };
            state.shards.insert(id, shard);
            Ok(())
        })
    }
}

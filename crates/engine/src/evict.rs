//! Dropping local copies: never of what is not in the lake, read back and equal.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Shards, write_threshold},
    local::Kind,
    progress::{Job, OnProgress},
};
use prunedb_codec::FrameDecoder;
use prunedb_core::{ContainerId, Digest, ShardIndex};
use std::sync::PoisonError;

/// What an eviction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evicted {
    /// containers whose local bytes are gone
    pub containers: u64,
    /// bytes of disk that came back
    pub bytes: u64,
    /// containers that stay, and why
    pub kept: Vec<(ContainerId, String)>,
}

impl Db {
    /// Drops every local copy of records. First everything put so far is offloaded, read back from random shards and
    /// compared; what is put meanwhile stays. The index goes to the lake, too, where enough nodes answer, and stays here:
    /// see [`Self::evict_index`].
    ///
    /// # Errors
    /// Those of [`Self::flush`]; a container that cannot be read back is kept and named in the result.
    pub fn evict(&self, report: &mut OnProgress<'_>) -> Result<Evicted, Error> {
        let end = self.inner.flush(report)?;
        // what leaves must be found again without its bytes
        self.inner.flush_index()?;
        let evicted = self.inner.evict(end, report)?;
        match self.lake_index() {
            // footers build it anew
            Err(error @ Error::Offload { .. }) => {
                tracing::warn!(%error, "the index is not in the lake yet");
            }
            other => _ = other?,
        }
        Ok(evicted)
    }

    /// Drops the local files of the index: lookups read its pages from the lake, one leaf of one node each. Without them a
    /// database opens as always, and answers for what it had before while enough nodes do. Returns the bytes of disk that
    /// came back.
    ///
    /// # Errors
    /// Those of an offload: the index stays.
    pub fn evict_index(&self) -> Result<u64, Error> {
        self.inner.flush_index()?;
        if !self.lake_index()? {
            return Ok(0);
        }
        Ok(self.inner.index.evict()?)
    }

    /// Brings the index to the lake; whether it is there. A reader never writes.
    fn lake_index(&self) -> Result<bool, Error> {
        if self.is_reader() || !self.inner.offload_index()? {
            return Ok(false);
        }
        self.inner.publish()?;
        Ok(true)
    }
}

impl Inner {
    fn evict(&self, end: u32, report: &mut OnProgress<'_>) -> Result<Evicted, Error> {
        let mut sealed = self.files.numbers(Kind::Sealed);
        sealed.retain(|&number| number < end);
        let mut total = 0;
        for &number in &sealed {
            total += self.files.sealed(number)?.map_or(0, |s| s.container_bytes);
        }
        let mut job = Job::start("read back", total, report);
        let mut evicted = Evicted::default();
        for number in sealed {
            let id = ContainerId::data(number);
            let container_bytes = self.files.sealed(number)?.map_or(0, |s| s.container_bytes);
            match self.make_safe(number) {
                Ok(()) => {
                    evicted.bytes += self.files.allocated_bytes(number)?;
                    evicted.containers += 1;
                    self.files.remove(number)?;
                }
                Err(reason) => evicted.kept.push((id, reason.to_string())),
            }
            job.did(container_bytes, id);
        }
        for number in self.files.numbers(Kind::Cache) {
            evicted.bytes += self.files.allocated_bytes(number)?;
            evicted.containers += 1;
            self.files.remove(number)?;
        }
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(evicted)
    }

    /// Makes sure that the lake alone gives a container back, now and after the next losses.
    ///
    /// # Errors
    /// [`Error::NotSafe`], and those of [`Self::read_back`].
    fn make_safe(&self, number: u32) -> Result<(), Error> {
        if self.manifest.is_offloaded(number)? {
            self.read_back(number)?;
        }
        self.is_safe_in_lake(number)?;
        self.require_prunable(number)
    }

    /// Whether a container may lose its local copy: a head names it, it was read back once, and it is not at risk.
    ///
    /// # Errors
    /// [`Error::NotSafe`] where it may not.
    pub(crate) fn is_safe_in_lake(&self, number: u32) -> Result<(), Error> {
        let id = ContainerId::data(number);
        let not_safe = |reason: String| Err(Error::NotSafe { container: id, reason });
        if !self.manifest.is_published(id)? {
            return not_safe("no published head names it yet: `prunedb flush` publishes".into());
        }
        if !self.manifest.is_read_back(id)? {
            return not_safe("it was not read back from the lake yet".into());
        }
        let policy = self.offloaded(number)?.entry.stream.policy;
        let damaged = self.manifest.damage_of(id)?.len();
        let (good, needed) = (policy.total_shards() - damaged, write_threshold(policy));
        if good < needed {
            return not_safe(format!(
                "{good} of its {} shards are good, {needed} are needed: repair first",
                policy.total_shards()
            ));
        }
        Ok(())
    }

    /// Reads a container from a random set of `p` shards, once in its life, and compares it with what was stored.
    ///
    /// # Errors
    /// [`Error::Lost`], or [`Error::Codec`] where the bytes differ.
    pub(crate) fn read_back(&self, number: u32) -> Result<(), Error> {
        let id = ContainerId::data(number);
        if self.manifest.is_read_back(id)? {
            return Ok(());
        }
        let container = self.offloaded(number)?;
        let stream = &container.entry.stream;
        let shards = Shards::new(&self.lake, stream)?;
        let coded = shards.read_stream(&self.random_order(&shards)?);
        self.manifest
            .set_damage(shards.bad().into_iter().map(|shard| (container.id(), shard)), true)?;
        let coded = coded?;
        let differs = |reason: String| Error::Codec { container: container.id(), reason };
        let found = Digest(*blake3::hash(&coded).as_bytes());
        if found != stream.stream_digest {
            return Err(differs(format!(
                "read back as {found}, stored as {}",
                stream.stream_digest
            )));
        }
        let (mut decoder, mut frame_bytes) = (FrameDecoder::new(), Vec::new());
        for frame in container.frames.frames() {
            let at = |offset: u64| usize::try_from(offset).expect("a container fits in memory");
            let part = &coded[at(frame.coded.start)..at(frame.coded.end)];
            frame_bytes.clear();
            decoder
                .decode(container.id(), &frame, part, &mut frame_bytes)
                .map_err(|e| differs(e.to_string()))?;
        }
        self.manifest.set_read_back(id)
    }

    /// All shards in a random order, those known to be bad or out of reach last.
    pub(crate) fn random_order(&self, shards: &Shards) -> Result<Vec<ShardIndex>, Error> {
        let mut order = shards.order(&[]);
        let random: [u8; 255] = self.lake.runtime.random()?;
        order.sort_by_key(|s| (shards.is_unlikely(*s), random[s.as_usize()]));
        Ok(order)
    }

    /// Brings the local copies below the cache's limit: whole containers go, the oldest first. One that must stay
    /// does not keep the others here.
    ///
    /// # Errors
    /// Why the first of those that stay does, where the limit is exceeded.
    pub(crate) fn shrink_cache(&self) -> Result<(), Error> {
        let mut bytes = self.files.total_bytes()?;
        let mut stays = Ok(());
        for number in self.files.numbers(Kind::Sealed) {
            if bytes <= self.options.cache_bytes {
                return Ok(());
            }
            if !self.manifest.is_published(ContainerId::data(number))? {
                continue;
            }
            if self.index.covered() <= number {
                self.flush_index()?;
            }
            if let Err(error) = self.make_safe(number) {
                stays = stays.and(Err(error));
                continue;
            }
            bytes = bytes.saturating_sub(self.files.allocated_bytes(number)?);
            self.files.remove(number)?;
            tracing::info!(container = %ContainerId::data(number), "evicted");
        }
        stays
    }
}

//! A data container as the registry's batch: what everybody who has the same records says of it.
//!
//! A batch is a data container, and its blocks are the container's records: counted over all data containers, they have no
//! gap, whatever tables and chains they are of. Who has not offloaded the container itself codes it without storing it.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Manner, Node, Sent, layout_of, send},
    offload::{GENERATION, LocalContainer},
};
use prunedb_codec::{CodecVersion, CodedStream, Encoder, MemorySpool, StreamParams, compress};
use prunedb_core::{ContainerId, Digest, Policy, ShardIndex, Term};
use prunedb_format::manifest::StreamEntry;
use prunedb_proof::ContainerFacts;
use prunedb_store::{PutMode, ShardStore, StoreError};
use std::{num::NonZero, sync::Arc, time::Duration};

/// A data container as a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFacts {
    /// its number, and the container's
    pub number: u32,
    /// records in the containers before it
    pub first_record: u64,
    /// its records
    pub records: u32,
    /// digest of the container under a key of the lake: says nothing to those who do not have it
    pub container_digest: Digest,
    /// what the root commits to besides the shard names
    pub facts: ContainerFacts,
    /// its root
    pub root: Digest,
    /// names of the shards, data shards first
    pub names: Vec<Digest>,
    /// its group, where it is in the lake
    pub group: Option<u32>,
}

impl Db {
    /// A data container of the lake as a batch; `None` where it is not in the lake.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn batch(&self, number: u32) -> Result<Option<BatchFacts>, Error> {
        self.inner.batch(number)
    }

    /// The batch that this machine's own records make under a policy: from the manifest where it was stored so, otherwise the
    /// sealed container is coded, and nothing is stored. `None` where the container is not here (yet).
    ///
    /// # Errors
    /// Those of the disk; [`Error::Codec`].
    pub fn own_batch(&self, number: u32, policy: Policy) -> Result<Option<BatchFacts>, Error> {
        if let Some(batch) = self.inner.batch(number)?.filter(|b| b.facts.policy == policy) {
            return Ok(Some(batch));
        }
        Ok(self.inner.encode_own(number, policy, None)?.map(|(batch, _)| batch))
    }

    /// Makes one shard of a container from this machine's own records, and stores it: nothing is read from the lake. Whether
    /// the sealed container is here.
    ///
    /// # Errors
    /// [`Error::Store`] where the store does not take it, and those of [`Self::own_batch`].
    pub fn put_own_shard(
        &self,
        number: u32,
        policy: Policy,
        shard: ShardIndex,
        store: &Arc<dyn ShardStore>,
    ) -> Result<bool, Error> {
        let mut term = Term(0);
        // the store says which term it has seen: who makes its own shard is nobody's rival
        for _ in 0..2 {
            let target = (shard, Node::new(store.name(), Arc::clone(store)), term);
            let Some((_, sent)) = self.inner.encode_own(number, policy, Some(target))? else {
                return Ok(false);
            };
            match sent.results.into_iter().find_map(|(_, result)| result.err()) {
                None => return Ok(true),
                Some(StoreError::Fenced { seen, .. }) if seen > term => term = seen,
                Some(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl Inner {
    pub(crate) fn batch(&self, number: u32) -> Result<Option<BatchFacts>, Error> {
        let id = ContainerId::data(number);
        let Some(container) = self.manifest.container(id)? else { return Ok(None) };
        let Some(first_record) = self.records_before(number)? else { return Ok(None) };
        let entry = &container.entry;
        let mut batch =
            self.facts(&entry.stream, first_record, entry.record_count, entry.digest)?;
        batch.names.clone_from(&entry.names);
        batch.group = Some(entry.stream.group);
        Ok(Some(batch))
    }

    fn facts(
        &self,
        stream: &StreamEntry,
        first_record: u64,
        records: u32,
        digest: Digest,
    ) -> Result<BatchFacts, Error> {
        let layout = layout_of(stream)?;
        let key = self.lake.secret.batch_key();
        let count = |n: u64| u32::try_from(n).expect("a container has at most 256 MiB");
        Ok(BatchFacts {
            number: stream.id.number,
            first_record,
            records,
            container_digest: Digest(*blake3::keyed_hash(&key, &digest.0).as_bytes()),
            facts: ContainerFacts {
                lake: self.lake.id,
                container: stream.id,
                policy: stream.policy,
                codec: stream.codec,
                generation: stream.generation,
                leaf_bytes: u32::try_from(layout.leaf_bytes()).expect("4 or 16 KiB"),
                leaves_per_shard: count(layout.leaves_per_shard()),
                container_bytes: stream.container_bytes,
                coded_bytes: stream.coded_bytes,
            },
            root: stream.root,
            names: Vec::new(),
            group: None,
        })
    }

    /// Records of all data containers before one; `None` where one of them is not here.
    fn records_before(&self, number: u32) -> Result<Option<u64>, Error> {
        let known = |sums: &Vec<u64>| (sums.len(), sums.last().copied().unwrap_or(0));
        let mut sums = self.record_sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while sums.len() < number as usize {
            let (next, sum) = known(&sums);
            let next = u32::try_from(next).expect("below a container's number");
            let Some(records) = self.records_of(next)? else { return Ok(None) };
            sums.push(sum + records);
        }
        Ok(Some((number as usize).checked_sub(1).map_or(0, |last| sums[last])))
    }

    fn records_of(&self, number: u32) -> Result<Option<u64>, Error> {
        if let Some(container) = self.manifest.container(ContainerId::data(number))? {
            return Ok(Some(container.entry.record_count.into()));
        }
        let Some(sealed) = self.files.sealed(number)? else { return Ok(None) };
        Ok(Some(self.files.footer(&sealed)?.trailer().record_count.into()))
    }

    /// Codes a sealed container, and stores one shard where that is wanted; `None` where it is not here.
    fn encode_own(
        &self,
        number: u32,
        policy: Policy,
        target: Option<(ShardIndex, Node, Term)>,
    ) -> Result<Option<(BatchFacts, Sent)>, Error> {
        let id = ContainerId::data(number);
        let Some(sealed) = self.files.sealed(number)? else { return Ok(None) };
        let Some(first_record) = self.records_before(number)? else { return Ok(None) };
        let container_bytes = sealed.container_bytes;
        let footer = self.files.footer(&sealed)?;
        let source = LocalContainer(sealed.file);
        source.check_digest(id, container_bytes, &footer)?;
        let codec =
            |e: &dyn std::fmt::Display| Error::Codec { container: id, reason: e.to_string() };
        let (version, generation) = (CodecVersion::CURRENT, GENERATION);
        let threads = NonZero::new(self.options.threads).unwrap_or(NonZero::<usize>::MIN);
        let mut spool = MemorySpool::with_capacity(0);
        let (_, coded) = compress(&source, container_bytes, id.kind, version, threads, &mut spool)
            .map_err(|e| codec(&e))?;
        let params =
            StreamParams { lake: self.lake.id, container: id, policy, codec: version, generation };
        let term = target.as_ref().map_or(Term(0), |(.., term)| *term);
        let target = target.map(|(shard, node, _)| (shard, node));
        let sent = self.code(params, coded, &spool, target, term)?;
        let encoded = sent.encoded.as_ref().expect("it goes on without anybody who takes shards");
        let stream = StreamEntry {
            id,
            policy,
            codec: version.number(),
            generation,
            group: 0,
            term,
            container_bytes,
            coded_bytes: coded.coded_bytes,
            stream_digest: coded.digest,
            root: encoded.root,
        };
        let trailer = footer.trailer();
        let mut batch = self.facts(&stream, first_record, trailer.record_count, trailer.digest)?;
        batch.names.clone_from(&encoded.names);
        Ok(Some((batch, sent)))
    }

    /// Codes a stream, and stores one shard where that is wanted.
    pub(crate) fn code(
        &self,
        params: StreamParams,
        coded: CodedStream,
        spool: &MemorySpool,
        target: Option<(ShardIndex, Node)>,
        term: Term,
    ) -> Result<Sent, Error> {
        let key = self.lake.secret.lake_key(params.generation);
        let encoder = Encoder::new(&key, params, coded, self.lake.code(params.policy))
            .map_err(|e| Error::Codec { container: params.container, reason: e.to_string() })?;
        let manner = Manner {
            term,
            mode: PutMode::IfAbsent,
            shard_bytes: encoder.layout().shard_bytes(),
            needed: 0,
            patience: Duration::ZERO,
        };
        let targets = target.into_iter().collect();
        self.lake.runtime.block_on(send(&self.lake, params, encoder, spool, targets, manner))
    }
}

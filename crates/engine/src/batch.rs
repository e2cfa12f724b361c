//! A data container as the registry's batch: what everybody who has the same records says of it.
//!
//! A batch is a data container, and its blocks are the container's records: counted over all data containers, they have no
//! gap, whatever tables and chains they are of. Who has not offloaded the container itself codes it without storing it.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::layout_of,
    offload::{GENERATION, LocalContainer},
};
use prunedb_codec::{
    CodecVersion, CodedStream, EncodeError, EncodedContainer, Encoder, LakeSecret, MemorySpool,
    ReadAt, ShardBuffers, StreamParams, compress,
};
use prunedb_core::{ContainerId, Digest, Policy, ShardIndex, Term};
use prunedb_format::{container::Trailer, manifest::StreamEntry};
use prunedb_proof::ContainerFacts;
use std::num::NonZero;

/// Rows that are coded at once where nothing is sent.
const ROWS: u64 = 16;

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
        self.inner.encode_own(number, policy)
    }
}

impl Inner {
    pub(crate) fn batch(&self, number: u32) -> Result<Option<BatchFacts>, Error> {
        let id = ContainerId::data(number);
        let Some(container) = self.manifest.container(id)? else { return Ok(None) };
        let Some(first_record) = self.records_before(number)? else { return Ok(None) };
        let entry = &container.entry;
        let mut batch = facts(
            &self.lake.secret,
            &entry.stream,
            first_record,
            entry.record_count,
            entry.digest,
        )?;
        batch.names.clone_from(&entry.names);
        batch.group = Some(entry.stream.group);
        Ok(Some(batch))
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

    pub(crate) fn records_of(&self, number: u32) -> Result<Option<u64>, Error> {
        if let Some(container) = self.manifest.container(ContainerId::data(number))? {
            return Ok(Some(container.entry.record_count.into()));
        }
        let Some(sealed) = self.files.sealed(number)? else { return Ok(None) };
        Ok(Some(self.files.footer(&sealed)?.trailer().record_count.into()))
    }

    /// Codes a sealed container; `None` where it is not here.
    fn encode_own(&self, number: u32, policy: Policy) -> Result<Option<BatchFacts>, Error> {
        let id = ContainerId::data(number);
        let Some(sealed) = self.files.sealed(number)? else { return Ok(None) };
        let Some(first_record) = self.records_before(number)? else { return Ok(None) };
        let container_bytes = sealed.container_bytes;
        let footer = self.files.footer(&sealed)?;
        let source = LocalContainer(sealed.file);
        source.check_digest(id, container_bytes, &footer)?;
        let Trailer { record_count, digest, .. } = *footer.trailer();
        let made = Made { number, first_record, records: record_count, container_bytes, digest };
        self.encode_batch(&self.lake.secret, &source, made, policy, None).map(|(b, _)| Some(b))
    }

    /// Compresses and codes a container as a lake's batch; with `shard`, that one's bytes are kept. Nothing is stored.
    pub(crate) fn encode_batch(
        &self,
        lake: &LakeSecret,
        source: &dyn ReadAt,
        made: Made,
        policy: Policy,
        shard: Option<ShardIndex>,
    ) -> Result<(BatchFacts, Option<Vec<u8>>), Error> {
        let id = ContainerId::data(made.number);
        let codec =
            |e: &dyn std::fmt::Display| Error::Codec { container: id, reason: e.to_string() };
        let (version, generation) = (CodecVersion::CURRENT, GENERATION);
        let threads = NonZero::new(self.options.threads).unwrap_or(NonZero::<usize>::MIN);
        let mut spool = MemorySpool::with_capacity(0);
        let container_bytes = made.container_bytes;
        let (_, coded) = compress(source, container_bytes, id.kind, version, threads, &mut spool)
            .map_err(|e| codec(&e))?;
        let params = StreamParams {
            lake: lake.lake_id(),
            container: id,
            policy,
            codec: version,
            generation,
        };
        let (encoded, shard) = self.code(lake, params, coded, &spool, shard)?;
        let stream = StreamEntry {
            id,
            policy,
            codec: version.number(),
            generation,
            group: 0,
            term: Term(0),
            container_bytes,
            coded_bytes: coded.coded_bytes,
            stream_digest: coded.digest,
            root: encoded.root,
        };
        let mut batch = facts(lake, &stream, made.first_record, made.records, made.digest)?;
        batch.names = encoded.names;
        Ok((batch, shard))
    }

    /// Codes a stream; the bytes of one shard, where that is wanted. Nothing is stored.
    pub(crate) fn code(
        &self,
        lake: &LakeSecret,
        params: StreamParams,
        coded: CodedStream,
        spool: &MemorySpool,
        shard: Option<ShardIndex>,
    ) -> Result<(EncodedContainer, Option<Vec<u8>>), Error> {
        let key = lake.lake_key(params.generation);
        Encoder::new(&key, params, coded, self.lake.code(params.policy))
            .and_then(|encoder| encode(encoder, spool, params.policy, shard))
            .map_err(|e| Error::Codec { container: params.container, reason: e.to_string() })
    }
}

/// A container, and which of a lake's it is.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) number: u32,
    /// records in the containers before it
    pub(crate) first_record: u64,
    pub(crate) records: u32,
    pub(crate) container_bytes: u64,
    pub(crate) digest: Digest,
}

fn facts(
    lake: &LakeSecret,
    stream: &StreamEntry,
    first_record: u64,
    records: u32,
    digest: Digest,
) -> Result<BatchFacts, Error> {
    let layout = layout_of(stream)?;
    let count = |n: u64| u32::try_from(n).expect("a container has at most 256 MiB");
    Ok(BatchFacts {
        number: stream.id.number,
        first_record,
        records,
        container_digest: Digest(*blake3::keyed_hash(&lake.batch_key(), &digest.0).as_bytes()),
        facts: ContainerFacts {
            lake: lake.lake_id(),
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

/// Codes a whole stream; the bytes of one shard, where that is wanted.
fn encode(
    mut encoder: Encoder,
    spool: &dyn ReadAt,
    policy: Policy,
    wanted: Option<ShardIndex>,
) -> Result<(EncodedContainer, Option<Vec<u8>>), EncodeError> {
    let layout = encoder.layout();
    let count = layout.leaves_per_shard();
    let run_bytes =
        |rows: u64| usize::try_from(rows).expect("a shard at most") * layout.leaf_bytes();
    let mut buffers = ShardBuffers::new(policy.total_shards(), run_bytes(ROWS.min(count)));
    let mut shard = wanted.map(|_| Vec::with_capacity(run_bytes(count)));
    let mut row = 0;
    while row < count {
        let rows = row..(row + ROWS).min(count);
        row = rows.end;
        let bytes = run_bytes(rows.end - rows.start);
        let mut runs: Vec<_> = buffers.runs_mut().map(|run| &mut run[..bytes]).collect();
        encoder.encode_rows(spool, rows, &mut runs)?;
        if let (Some(shard), Some(wanted)) = (&mut shard, wanted) {
            shard.extend_from_slice(&buffers.run(wanted.as_usize())[..bytes]);
        }
    }
    Ok((encoder.finish()?, shard))
}

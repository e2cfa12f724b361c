//! A batch cut anew from this machine's own records, whatever containers they lie in here.
//!
//! ```text
//! own records, from the batch's first one on ──> its container ──> coded ──> names, root, and one shard where it is wanted
//! ```
//! The database is an archive of its own: another lake, other containers, sealed at other times. What a batch is made of is said
//! by three numbers, its own, that of its first record, and how many it has. Records are counted over all data containers, in
//! the order in which they were put, so two machines that were given the same records in the same order cut the same bytes.
//! Nothing is read from the batch's lake. Cost: the container twice in memory, one coding of it.

use crate::{
    batch::{BatchFacts, Made},
    db::{Db, Inner},
    error::Error,
    lake::Trace,
    read::Walk,
};
use prunedb_codec::LakeSecret;
use prunedb_core::{
    ContainerId, Digest, Policy, ShardIndex, TableId,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX},
};
use prunedb_format::container::{
    ContainerHeader, FooterBuilder, TABLE_NAME_BYTES_MAX, TRAILER_BYTES, encode_record,
};
use prunedb_index::Location;
use std::sync::PoisonError;

/// What a footer says of a table, at most: a name, two keys, a few numbers.
const TABLE_BYTES_MAX: usize = TABLE_NAME_BYTES_MAX + 2 * KEY_BYTES_MAX + 32;
/// End mark, trailer, and the head of one more entry.
const FOOTER_BYTES: usize = TRAILER_BYTES + 64;

/// Which records make a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// the batch's number, and its container's
    pub number: u32,
    /// records before it
    pub first_record: u64,
    /// its records
    pub records: u32,
}

/// A batch as it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutBatch {
    /// what there is to say of it; it has no group here
    pub batch: BatchFacts,
    /// sealed bytes of the shard that was wanted
    pub shard: Option<Vec<u8>>,
}

impl Db {
    /// Cuts a batch of a lake from the records of this database, which need not be that lake's, and codes it under a policy;
    /// with `shard`, that one's bytes are kept. `None` where not all of its records are here and durable (yet).
    ///
    /// # Errors
    /// Those of reading the records; [`Error::Codec`] where these records make no container: they are too many, or end within
    /// a put.
    pub fn cut_batch(
        &self,
        lake: &LakeSecret,
        cut: Cut,
        policy: Policy,
        shard: Option<ShardIndex>,
    ) -> Result<Option<CutBatch>, Error> {
        self.inner.cut_batch(lake, cut, policy, shard)
    }
}

impl Inner {
    fn cut_batch(
        &self,
        lake: &LakeSecret,
        cut: Cut,
        policy: Policy,
        shard: Option<ShardIndex>,
    ) -> Result<Option<CutBatch>, Error> {
        if !self.has_records(cut)? {
            return Ok(None);
        }
        let Some((container, digest)) = self.cut_container(lake, cut)? else { return Ok(None) };
        let Cut { number, first_record, records } = cut;
        let container_bytes = container.len() as u64;
        let made = Made { number, first_record, records, container_bytes, digest };
        let (batch, shard) = self.encode_batch(lake, &container, made, policy, shard)?;
        Ok(Some(CutBatch { batch, shard }))
    }

    /// Whether all of these records are here and durable: told without reading one.
    fn has_records(&self, cut: Cut) -> Result<bool, Error> {
        let last = cut.first_record.saturating_add(cut.records.saturating_sub(1).into());
        let (container, before) = self.container_with(last)?;
        let records = self.durable_records(container)?.map_or(0, |records| records.len() as u64);
        Ok(last - before < records)
    }

    /// The container that some records make, and its digest; `None` where they are not all here.
    fn cut_container(
        &self,
        lake: &LakeSecret,
        cut: Cut,
    ) -> Result<Option<(Vec<u8>, Digest)>, Error> {
        let id = ContainerId::data(cut.number);
        let wrong = |reason: &str| Error::Codec { container: id, reason: reason.into() };
        let mut bytes = ContainerHeader { lake: lake.lake_id(), id }.encode().to_vec();
        let mut footer = FooterBuilder::default();
        let mut walk = Walk::new(self, TableId(0));
        let footer_bytes = self.manifest.tables().len() * TABLE_BYTES_MAX + FOOTER_BYTES;
        let room = CONTAINER_BYTES_MAX.saturating_sub(footer_bytes) as u64;
        let mut is_whole_put = false;
        let (mut container, before) = self.container_with(cut.first_record)?;
        let skipped = cut.first_record - before;
        let mut skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        while footer.record_count() < cut.records {
            let Some(places) = self.durable_records(container)? else { return Ok(None) };
            for (table, offset) in places.into_iter().skip(skipped) {
                if footer.record_count() == cut.records {
                    break;
                }
                let record = walk.record(Location { container, offset }, &mut Trace::default())?;
                let at = bytes.len();
                // the directory takes the keys once more
                let taken = at as u64 + footer.directory_bytes();
                if taken + (record.record_bytes() + record.key.len()) as u64 > room {
                    return Err(wrong("so many records are longer than a container may be"));
                }
                encode_record(&mut bytes, table, record.key, record.value, record.end_of_put);
                footer.add(table, at as u64, record.key);
                is_whole_put = record.end_of_put;
            }
            (container, skipped) = (container + 1, 0);
        }
        if !is_whole_put {
            return Err(wrong(
                "so many records end within a put: others were put here than where the batch was made",
            ));
        }
        let name_of = |table| self.manifest.table_by_id(table).expect("its records were put here");
        let (directory, trailer) = footer.finish(bytes.len() as u64, name_of);
        bytes.extend_from_slice(&directory);
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        bytes.extend_from_slice(&trailer.encode(digest));
        Ok(Some((bytes, digest)))
    }

    /// The data container that has a record, and how many records are in those before it; where no sealed one has it, the
    /// first one that is not sealed.
    fn container_with(&self, record: u64) -> Result<(u32, u64), Error> {
        let mut sums = self.record_sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = sums.last().copied().unwrap_or(0);
        while last <= record {
            let next = u32::try_from(sums.len()).expect("containers are counted in u32");
            let Some(records) = self.records_of(next)? else { break };
            last += records;
            sums.push(last);
        }
        let number = sums.partition_point(|&sum| sum <= record);
        let before = number.checked_sub(1).map_or(0, |last| sums[last]);
        Ok((u32::try_from(number).expect("containers are counted in u32"), before))
    }

    /// Table and place of every durable record of a data container; `None` where there is no such container.
    fn durable_records(&self, number: u32) -> Result<Option<Vec<(TableId, u32)>>, Error> {
        if let Some(places) = self.writer.active_records(number, |_| true) {
            return Ok(Some(places).filter(|places| !places.is_empty()));
        }
        let is_here = self.files.sealed(number)?.is_some();
        if !is_here && !self.manifest.is_offloaded(number)? {
            return Ok(None);
        }
        let footer = self.footer(number)?;
        Ok(Some(footer.entries().map(|entry| (entry.table, entry.offset)).collect()))
    }
}

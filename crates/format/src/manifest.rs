//! Manifest edits: numbered steps that, replayed in order, say what the lake holds.
//!
//! ```text
//! edit:  version u8 = 1 · kind u8 · body · crc u32 (CRC-32C of all before)
//! ```
//! Kinds: 1 table, 2 container, 3 index. An edit never changes an older one: a container entry that repeats an id replaces the
//! entry before it, and an index edit replaces the one before. Unknown kinds are an error: a reader must not act on half of a manifest.

use crate::{
    FormatError,
    bytes::{Reader, count_u32, put_long, put_policy},
    container::{TableName, TableSummary, decode_name, decode_tables, encode_name, encode_tables},
    crc32c,
    error::impossible,
};
use prunedb_core::{
    ContainerId, ContainerKind, Digest, Generation, Policy, Term, units::CONTAINER_BYTES_MAX,
};

const VERSION: u8 = 1;
const KIND_TABLE: u8 = 1;
const KIND_CONTAINER: u8 = 2;
const KIND_INDEX: u8 = 3;
const WHAT: &str = "manifest edit";

/// One step of the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Edit {
    /// A table was created.
    Table(TableName),
    /// A container is in the lake.
    Container(Box<ContainerEntry>),
    /// An index is in the lake.
    Index(Box<IndexEntry>),
}

/// An index of everything below a data container, whose runs are in index containers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexEntry {
    /// records of data containers below this one are in the runs
    pub covered: u32,
    /// number of the next index container: all that are named have lower ones
    pub next_container: u32,
    /// number of the next run: all that are named have lower ones
    pub next_run: u64,
    /// the runs
    pub runs: Vec<IndexRun>,
}

/// A run of the index (format: index page) in consecutive index containers of [`INDEX_CONTAINER_PAGES`] pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexRun {
    /// number of the run
    pub number: u64,
    /// number of the index container that begins with its first page
    pub first_container: u32,
    /// its level
    pub level: u8,
    /// the first bytes of its first page; all others there are zero
    pub header: [u8; INDEX_HEADER_BYTES],
}

/// Pages of an index container; the last one of a run may have fewer.
pub const INDEX_CONTAINER_PAGES: u32 = 256;
/// Bytes of a run's first page that say something.
pub const INDEX_HEADER_BYTES: usize = 72;
/// More runs than any index has.
const INDEX_RUNS_MAX: usize = 65_536;

/// Everything that is needed to find, read, check and rebuild a container's shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerEntry {
    /// how to read it
    pub stream: StreamEntry,
    /// records in it
    pub record_count: u32,
    /// BLAKE3 of its bytes before the trailer, as in the trailer
    pub digest: Digest,
    /// what it holds of each table
    pub tables: Vec<TableSummary>,
    /// shard names, data shards first: p+q of them
    pub names: Vec<Digest>,
    /// the frame table's bytes (format: frame table)
    pub frame_table: Vec<u8>,
}

/// The part of an entry that suffices to read a container whole; the head holds it for manifest containers.
///
/// ```text
///  0  1  kind            1  1  p          2  1  q          3  1  zero
///  4  4  number u32      8  4  codec u32 12  4  generation u32
/// 16  4  group u32      20  8  term u64  28  8  container_bytes u64  36  8  coded_bytes u64
/// 44 32  stream digest  76 32  root
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamEntry {
    /// which container
    pub id: ContainerId,
    /// its policy
    pub policy: Policy,
    /// codec version
    pub codec: u32,
    /// generation of the lake key
    pub generation: Generation,
    /// its placement group, for ever
    pub group: u32,
    /// term under which it was written
    pub term: Term,
    /// length of the container
    pub container_bytes: u64,
    /// length of the coded stream
    pub coded_bytes: u64,
    /// BLAKE3 of the coded stream: part of the shard keys
    pub stream_digest: Digest,
    /// the container root
    pub root: Digest,
}

impl StreamEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.fault().is_none(), "containers are bounded");
        out.push(self.id.kind as u8);
        put_policy(out, self.policy);
        out.push(0);
        out.extend_from_slice(&self.id.number.to_le_bytes());
        out.extend_from_slice(&self.codec.to_le_bytes());
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&self.container_bytes.to_le_bytes());
        out.extend_from_slice(&self.coded_bytes.to_le_bytes());
        out.extend_from_slice(&self.stream_digest.0);
        out.extend_from_slice(&self.root.0);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let kind = reader.u8()?;
        let kind = ContainerKind::from_byte(kind).ok_or(impossible("kind of a container", kind))?;
        let policy = reader.policy()?;
        reader.zeros(1)?;
        let entry = Self {
            id: ContainerId { kind, number: reader.u32()? },
            policy,
            codec: reader.u32()?,
            generation: Generation(reader.u32()?),
            group: reader.u32()?,
            term: Term(reader.u64()?),
            container_bytes: reader.u64()?,
            coded_bytes: reader.u64()?,
            stream_digest: reader.digest()?,
            root: reader.digest()?,
        };
        entry.fault().map_or(Ok(entry), Err)
    }

    /// What is wrong with it, where something is: a reader allocates by these lengths.
    fn fault(&self) -> Option<FormatError> {
        let too_long = |bytes: u64| bytes > CONTAINER_BYTES_MAX as u64;
        if too_long(self.container_bytes) {
            return Some(impossible("length of a container", self.container_bytes));
        }
        // a frame that does not shrink is stored as it is
        too_long(self.coded_bytes).then(|| impossible("length of a coded stream", self.coded_bytes))
    }
}

impl Edit {
    /// The edit's bytes.
    ///
    /// # Panics
    /// Where a container entry has another number of names than its policy has shards, lengths that no container has,
    /// or tables that are not sorted or do not add up: bugs of the caller.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Table(table) => {
                out.push(KIND_TABLE);
                encode_name(&mut out, table);
            }
            Self::Container(entry) => {
                let records = entry.tables.iter().map(|t| u64::from(t.records)).sum::<u64>();
                assert_eq!(records, entry.record_count.into(), "every record is of a table");
                assert_eq!(
                    entry.names.len(),
                    entry.stream.policy.total_shards(),
                    "one name a shard"
                );
                out.push(KIND_CONTAINER);
                entry.stream.encode(&mut out);
                out.extend_from_slice(&entry.record_count.to_le_bytes());
                out.extend_from_slice(&entry.digest.0);
                encode_tables(&mut out, &entry.tables);
                for name in &entry.names {
                    out.extend_from_slice(&name.0);
                }
                put_long(&mut out, &entry.frame_table);
            }
            Self::Index(entry) => {
                assert!(entry.runs.len() <= INDEX_RUNS_MAX, "merges keep the runs few");
                out.push(KIND_INDEX);
                out.extend_from_slice(&entry.covered.to_le_bytes());
                out.extend_from_slice(&entry.next_container.to_le_bytes());
                out.extend_from_slice(&entry.next_run.to_le_bytes());
                out.extend_from_slice(&count_u32(entry.runs.len()));
                for run in &entry.runs {
                    out.extend_from_slice(&run.number.to_le_bytes());
                    out.extend_from_slice(&run.first_container.to_le_bytes());
                    out.extend_from_slice(&[run.level, 0, 0, 0]);
                    out.extend_from_slice(&run.header);
                }
            }
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads an edit.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let short = FormatError::Truncated { what: WHAT, needed: 6, found: bytes.len() as u64 };
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(short)?;
        let expected = u32::from_le_bytes(*crc);
        let found = crc32c(body);
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        let mut reader = Reader::new(WHAT, body);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(FormatError::Version {
                what: WHAT,
                found: version.into(),
                known: VERSION.into(),
            });
        }
        let edit = match reader.u8()? {
            KIND_TABLE => Self::Table(decode_name(&mut reader)?),
            KIND_CONTAINER => Self::Container(Box::new(decode_entry(&mut reader)?)),
            KIND_INDEX => Self::Index(Box::new(decode_index(&mut reader)?)),
            kind => return Err(impossible("kind of a manifest edit", kind)),
        };
        reader.end()?;
        Ok(edit)
    }
}

fn decode_index(reader: &mut Reader<'_>) -> Result<IndexEntry, FormatError> {
    let mut entry = IndexEntry {
        covered: reader.u32()?,
        next_container: reader.u32()?,
        next_run: reader.u64()?,
        runs: Vec::new(),
    };
    for _ in 0..reader.u32()? {
        let run = IndexRun {
            number: reader.u64()?,
            first_container: reader.u32()?,
            level: reader.u8()?,
            header: {
                reader.zeros(3)?;
                reader.array()?
            },
        };
        if run.number >= entry.next_run {
            return Err(impossible("number of a run", run.number));
        }
        if run.first_container >= entry.next_container {
            return Err(impossible("container of a run", run.first_container));
        }
        entry.runs.push(run);
    }
    Ok(entry)
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<ContainerEntry, FormatError> {
    let stream = StreamEntry::decode(reader)?;
    let record_count = reader.u32()?;
    let digest = reader.digest()?;
    let tables = decode_tables(reader, record_count)?;
    let mut names = Vec::with_capacity(stream.policy.total_shards());
    for _ in 0..stream.policy.total_shards() {
        names.push(reader.digest()?);
    }
    let frame_table = reader.long_bytes()?.to_vec();
    Ok(ContainerEntry { stream, record_count, digest, tables, names, frame_table })
}

#[cfg(test)]
pub(crate) mod tests;

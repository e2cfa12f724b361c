//! The answers of native commands, both ways: value to [`Reply`], [`Reply`] to value.
//!
//! Error replies are not looked at here: [`Refusal::parse`](crate::Refusal::parse) reads them first.

use crate::{HEAD_BYTES_MAX, Reply, number::Digits, number::parse_u64};
use bytes::Bytes;
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_proof::{PATH_MAX, SAMPLE_BYTES, SampleProof};

/// What a node says of one shard; sent as 72 bytes.
///
/// ```text
/// offset  size  field
///      0    24  shard id
///     24     8  sealed bytes, u64, little-endian
///     32     8  term, u64, little-endian
///     40    32  name
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// which shard
    pub id: ShardId,
    /// sealed bytes
    pub bytes: u64,
    /// term under which it was committed
    pub term: Term,
    /// BLAKE3 of the sealed bytes
    pub name: Digest,
}

/// Size of a [`Stat`] as sent.
const STAT_BYTES: usize = 72;
const _: () = assert!(STAT_BYTES == ShardId::BYTES + 8 + 8 + 32);

/// Answer to `PDB.PUT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutAnswer {
    /// names the upload on its connection
    pub handle: u32,
    /// the name that is stored already under this id: send no data, commit at once
    pub stored: Option<Digest>,
}

/// Answer to `PDB.SPACE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// bytes the node may hold
    pub capacity_bytes: u64,
    /// bytes it holds
    pub used_bytes: u64,
    /// shards it holds
    pub shards: u64,
}

/// Answer to `PDB.SCRUB`: eight numbers. Times are in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrub {
    /// rounds that were completed
    pub rounds: u64,
    /// when the last of them ended; zero before the first one
    pub last_ended: u64,
    /// when this round began; zero between two rounds
    pub began: u64,
    /// shards checked in this round
    pub shards: u64,
    /// their bytes
    pub bytes: u64,
    /// bytes of all shards, with what keeps them
    pub total_bytes: u64,
    /// bytes per second that are to be checked
    pub pace: u64,
    /// shards found damaged so far
    pub damaged: u64,
}

/// Answer to `PDB.HEADGET`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// term of its writer
    pub term: Term,
    /// its number
    pub number: u64,
    /// the sealed head
    pub bytes: Bytes,
}

/// A reply that does not fit its command: the other side speaks something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unexpected answer: expected {want}")]
pub struct AnswerError {
    /// what belongs there
    pub want: &'static str,
}

fn refuse<T>(want: &'static str) -> Result<T, AnswerError> {
    Err(AnswerError { want })
}

fn number(n: u64) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(Digits::new(n).as_bytes()))
}

fn read_number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Bulk(digits) => parse_u64(digits),
        Reply::Integer(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

impl Stat {
    fn to_bytes(self) -> Bytes {
        let mut out = Vec::with_capacity(STAT_BYTES);
        out.extend_from_slice(&self.id.to_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.into()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (term, name) = rest.split_first_chunk()?;
        Some(Self {
            id: ShardId::from_bytes(id)?,
            bytes: u64::from_le_bytes(*length),
            term: Term(u64::from_le_bytes(*term)),
            name: Digest(name.try_into().ok()?),
        })
    }
}

/// `+OK`.
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_ok(reply: &Reply) -> Result<(), AnswerError> {
    if *reply == Reply::OK { Ok(()) } else { refuse("OK") }
}

/// Answer to `PDB.DATA`: bytes received so far.
pub fn data(received: u64) -> Reply {
    Reply::Integer(i64::try_from(received).unwrap_or(i64::MAX))
}

/// Reads [`data`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_data(reply: &Reply) -> Result<u64, AnswerError> {
    read_number(reply).map_or_else(|| refuse("a count of bytes"), Ok)
}

/// Answer to `PDB.DEL`: whether there was a shard.
pub fn deleted(was: bool) -> Reply {
    Reply::Integer(i64::from(was))
}

/// Reads [`deleted`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_deleted(reply: &Reply) -> Result<bool, AnswerError> {
    match reply {
        Reply::Integer(0) => Ok(false),
        Reply::Integer(1) => Ok(true),
        _ => refuse("0 or 1"),
    }
}

/// Answer to `PDB.PUT`.
pub fn put(answer: PutAnswer) -> Reply {
    let stored = answer.stored.map_or(Reply::Nil, |name| Reply::Bulk(name.0.to_vec().into()));
    Reply::Array(vec![Reply::Integer(i64::from(answer.handle)), stored])
}

/// Reads [`put`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_put(reply: &Reply) -> Result<PutAnswer, AnswerError> {
    const WANT: &str = "a handle, and a name or nil";
    let Reply::Array(elements) = reply else { return refuse(WANT) };
    let [Reply::Integer(handle), stored] = &elements[..] else { return refuse(WANT) };
    let Ok(handle) = u32::try_from(*handle) else { return refuse(WANT) };
    let stored = match stored {
        Reply::Nil => None,
        Reply::Bulk(name) => match name[..].try_into() {
            Ok(name) => Some(Digest(name)),
            Err(_) => return refuse(WANT),
        },
        _ => return refuse(WANT),
    };
    Ok(PutAnswer { handle, stored })
}

/// Answer to `PDB.GET`, checked to be as long as asked.
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_get(reply: Reply, bytes: u32) -> Result<Bytes, AnswerError> {
    match reply {
        Reply::Bulk(range) if range.len() as u64 == u64::from(bytes) => Ok(range),
        _ => refuse("as many bytes as asked"),
    }
}

/// Answer to `PDB.PROVE`: a bulk string for each sample, its 1,024 bytes and then its path.
pub fn prove(shown: &[SampleProof]) -> Reply {
    let bulk = |proof: &SampleProof| {
        let mut out = Vec::with_capacity(SAMPLE_BYTES + 32 * proof.path.len());
        out.extend_from_slice(&proof.sample[..]);
        proof.path.iter().for_each(|value| out.extend_from_slice(value));
        Reply::Bulk(out.into())
    };
    Reply::Array(shown.iter().map(bulk).collect())
}

/// Reads [`prove`], checked to show as many samples as asked; whether they are right is for
/// [`Audit::verify`](prunedb_proof::Audit::verify).
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_prove(reply: &Reply, samples: u16) -> Result<Vec<SampleProof>, AnswerError> {
    const WANT: &str = "as many samples as asked, each with its path";
    let Reply::Array(elements) = reply else { return refuse(WANT) };
    if elements.len() != usize::from(samples) {
        return refuse(WANT);
    }
    let read = |element: &Reply| {
        let Reply::Bulk(bytes) = element else { return refuse(WANT) };
        let Some((sample, path)) = bytes.split_first_chunk() else { return refuse(WANT) };
        let (path, rest) = path.as_chunks();
        if path.len() > PATH_MAX || !rest.is_empty() {
            return refuse(WANT);
        }
        Ok(SampleProof { sample: Box::new(*sample), path: path.to_vec() })
    };
    elements.iter().map(read).collect()
}

/// Answer to `PDB.STAT`.
pub fn stat(answer: Option<Stat>) -> Reply {
    answer.map_or(Reply::Nil, |stat| Reply::Bulk(stat.to_bytes()))
}

/// Reads [`stat`], checked to be of this shard.
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_stat(reply: &Reply, id: ShardId) -> Result<Option<Stat>, AnswerError> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Bulk(bytes) => match Stat::from_bytes(bytes) {
            Some(stat) if stat.id == id => Ok(Some(stat)),
            _ => refuse("72 bytes about the shard asked for"),
        },
        _ => refuse("72 bytes or nil"),
    }
}

/// Answer to `PDB.LIST`.
pub fn list(stats: &[Stat]) -> Reply {
    Reply::Array(stats.iter().map(|stat| Reply::Bulk(stat.to_bytes())).collect())
}

/// Reads [`list`], checked to be of this lake, behind `after`, in order, and not more than asked.
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_list(
    reply: &Reply,
    lake: LakeId,
    after: Option<ShardId>,
    count: u32,
) -> Result<Vec<Stat>, AnswerError> {
    let Reply::Array(elements) = reply else { return refuse("an array") };
    if elements.len() as u64 > u64::from(count) {
        return refuse("not more shards than asked");
    }
    let mut last = after;
    let mut stats = Vec::with_capacity(elements.len());
    for element in elements {
        let Reply::Bulk(bytes) = element else { return refuse("72 bytes per shard") };
        let Some(stat) = Stat::from_bytes(bytes) else { return refuse("72 bytes per shard") };
        if stat.id.lake != lake || last.is_some_and(|last| stat.id <= last) {
            return refuse("shards of the lake, in order");
        }
        last = Some(stat.id);
        stats.push(stat);
    }
    Ok(stats)
}

/// Answer to `PDB.HEADGET`.
pub fn head(answer: Option<Head>) -> Reply {
    answer.map_or(Reply::Nil, |head| {
        Reply::Array(vec![number(head.term.0), number(head.number), Reply::Bulk(head.bytes)])
    })
}

/// Reads [`head`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_head(reply: Reply) -> Result<Option<Head>, AnswerError> {
    const WANT: &str = "term, number and head, or nil";
    let elements = match reply {
        Reply::Nil => return Ok(None),
        Reply::Array(elements) => elements,
        _ => return refuse(WANT),
    };
    let [term, number, Reply::Bulk(bytes)] = &elements[..] else { return refuse(WANT) };
    match (read_number(term), read_number(number)) {
        (Some(term), Some(number)) if bytes.len() <= HEAD_BYTES_MAX => {
            Ok(Some(Head { term: Term(term), number, bytes: bytes.clone() }))
        }
        _ => refuse(WANT),
    }
}

/// Answer to `PDB.SPACE`.
pub fn space(space: Space) -> Reply {
    Reply::Array([space.capacity_bytes, space.used_bytes, space.shards].map(number).into())
}

/// Reads [`space`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_space(reply: &Reply) -> Result<Space, AnswerError> {
    const WANT: &str = "capacity, used bytes and shards";
    let Reply::Array(elements) = reply else { return refuse(WANT) };
    let numbers: Option<Vec<u64>> = elements.iter().map(read_number).collect();
    match numbers.as_deref() {
        Some(&[capacity_bytes, used_bytes, shards]) => {
            Ok(Space { capacity_bytes, used_bytes, shards })
        }
        _ => refuse(WANT),
    }
}

/// Answer to `PDB.SCRUB`.
pub fn scrub(scrub: Scrub) -> Reply {
    let Scrub { rounds, last_ended, began, shards, bytes, total_bytes, pace, damaged } = scrub;
    let numbers = [rounds, last_ended, began, shards, bytes, total_bytes, pace, damaged];
    Reply::Array(numbers.map(number).into())
}

/// Reads [`scrub`].
///
/// # Errors
/// [`AnswerError`] for everything else.
pub fn read_scrub(reply: &Reply) -> Result<Scrub, AnswerError> {
    const WANT: &str = "eight numbers about scrubbing";
    let Reply::Array(elements) = reply else { return refuse(WANT) };
    let numbers: Option<Vec<u64>> = elements.iter().map(read_number).collect();
    match numbers.as_deref() {
        Some(&[rounds, last_ended, began, shards, bytes, total_bytes, pace, damaged]) => {
            Ok(Scrub { rounds, last_ended, began, shards, bytes, total_bytes, pace, damaged })
        }
        _ => refuse(WANT),
    }
}

//! The native commands, both ways: arguments to [`Command`], [`Command`] to bytes.

use crate::{
    ACCESS_BYTES_MAX, CRLF, DATA_BYTES_MAX, GET_BYTES_MAX, HEAD_BYTES_MAX, LIST_COUNT_MAX,
    number::parse_u64,
    request::{put_array_head, put_bulk, put_bulk_head, put_number},
};
use bytes::{BufMut, Bytes, BytesMut};
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_proof::{AUDIT_SAMPLES_MAX, Audit};

/// What a put does where the shard is stored already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// `ABSENT`: same name: nothing is written; another name is a conflict.
    IfAbsent,
    /// `REPLACE`: same name: the new copy takes the place of the old one; another name is a conflict.
    Replace,
}

/// A native command. Names match in any letter case.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are the arguments of `docs/format/node-protocol.md`")]
pub enum Command {
    /// `PING`
    Ping,
    /// `INFO`
    Info,
    /// `PDB.PUT id term bytes mode`
    Put { id: ShardId, term: Term, bytes: u64, mode: PutMode },
    /// `PDB.DATA handle offset chunk`
    Data { handle: u32, offset: u64, chunk: Bytes },
    /// `PDB.COMMIT handle name term`
    Commit { handle: u32, name: Digest, term: Term },
    /// `PDB.ABORT handle`
    Abort { handle: u32 },
    /// `PDB.GET id offset bytes`
    Get { id: ShardId, offset: u64, bytes: u32 },
    /// `PDB.PROVE id seed samples`
    Prove(Audit),
    /// `PDB.STAT id`
    Stat { id: ShardId },
    /// `PDB.LIST lake after count`
    List { lake: LakeId, after: Option<ShardId>, count: u32 },
    /// `PDB.DEL id term`
    Delete { id: ShardId, term: Term },
    /// `PDB.FENCE lake term`
    Fence { lake: LakeId, term: Term },
    /// `PDB.HEADPUT lake term number bytes`
    HeadPut { lake: LakeId, term: Term, number: u64, bytes: Bytes },
    /// `PDB.HEADGET lake`
    HeadGet { lake: LakeId },
    /// `PDB.SPACE`
    Space,
    /// `PDB.SCRUB`
    Scrub,
    /// `PDB.ACCESS capability`
    Access { capability: Bytes },
}

/// Arguments that are no command; the connection may go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No such command.
    #[error("unknown command '{name}'")]
    Unknown {
        /// its first bytes
        name: String,
    },
    /// Too few or too many arguments.
    #[error("wrong number of arguments for '{name}'")]
    Count {
        /// which command
        name: &'static str,
    },
    /// An argument out of its domain.
    #[error("'{name}' wants {want}")]
    Argument {
        /// which command
        name: &'static str,
        /// what belongs there
        want: &'static str,
    },
}

const NAMES: [&str; 17] = [
    "PING",
    "INFO",
    "PDB.PUT",
    "PDB.DATA",
    "PDB.COMMIT",
    "PDB.ABORT",
    "PDB.GET",
    "PDB.PROVE",
    "PDB.STAT",
    "PDB.LIST",
    "PDB.DEL",
    "PDB.FENCE",
    "PDB.HEADPUT",
    "PDB.HEADGET",
    "PDB.SPACE",
    "PDB.SCRUB",
    "PDB.ACCESS",
];

/// The arguments of one command, with its name for error messages.
struct Arguments<'a> {
    name: &'static str,
    list: &'a [Bytes],
}

impl Arguments<'_> {
    fn refuse(&self, want: &'static str) -> CommandError {
        CommandError::Argument { name: self.name, want }
    }

    fn fixed<const N: usize>(
        &self,
        at: usize,
        want: &'static str,
    ) -> Result<[u8; N], CommandError> {
        self.list[at][..].try_into().map_err(|_| self.refuse(want))
    }

    fn id(&self, at: usize) -> Result<ShardId, CommandError> {
        const WANT: &str = "a shard id of 24 bytes";
        ShardId::from_bytes(&self.fixed(at, WANT)?).ok_or_else(|| self.refuse(WANT))
    }

    fn lake(&self, at: usize) -> Result<LakeId, CommandError> {
        self.fixed(at, "a lake id of 16 bytes").map(LakeId)
    }

    fn number(&self, at: usize) -> Result<u64, CommandError> {
        parse_u64(&self.list[at]).ok_or_else(|| self.refuse("a whole number in decimal digits"))
    }

    fn term(&self, at: usize) -> Result<Term, CommandError> {
        self.number(at).map(Term)
    }

    fn handle(&self, at: usize) -> Result<u32, CommandError> {
        u32::try_from(self.number(at)?).map_err(|_| self.refuse("a handle below 2^32"))
    }

    fn at_most(&self, at: usize, max: u32, want: &'static str) -> Result<u32, CommandError> {
        match u32::try_from(self.number(at)?) {
            Ok(n) if (1..=max).contains(&n) => Ok(n),
            _ => Err(self.refuse(want)),
        }
    }

    fn bytes(&self, at: usize, max: usize, want: &'static str) -> Result<Bytes, CommandError> {
        let bytes = &self.list[at];
        if bytes.len() <= max { Ok(bytes.clone()) } else { Err(self.refuse(want)) }
    }
}

impl Command {
    /// The command that the arguments of a request stand for.
    ///
    /// # Errors
    /// [`CommandError`] says which argument is wrong.
    pub fn parse(arguments: &[Bytes]) -> Result<Self, CommandError> {
        let first = arguments.first().map_or(&b""[..], |name| name);
        let Some(&name) = NAMES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(first))
        else {
            let shown = &first[..first.len().min(64)];
            return Err(CommandError::Unknown { name: shown.escape_ascii().to_string() });
        };
        let a = Arguments { name, list: &arguments[1..] };
        match (name, a.list.len()) {
            ("PING", 0) => Ok(Self::Ping),
            ("INFO", 0) => Ok(Self::Info),
            ("PDB.PUT", 4) => {
                let mode = match &a.list[3] {
                    mode if mode.eq_ignore_ascii_case(b"ABSENT") => PutMode::IfAbsent,
                    mode if mode.eq_ignore_ascii_case(b"REPLACE") => PutMode::Replace,
                    _ => return Err(a.refuse("ABSENT or REPLACE")),
                };
                Ok(Self::Put { id: a.id(0)?, term: a.term(1)?, bytes: a.number(2)?, mode })
            }
            ("PDB.DATA", 3) => Ok(Self::Data {
                handle: a.handle(0)?,
                offset: a.number(1)?,
                chunk: a.bytes(2, DATA_BYTES_MAX, "at most 1 MiB of data")?,
            }),
            ("PDB.COMMIT", 3) => Ok(Self::Commit {
                handle: a.handle(0)?,
                name: Digest(a.fixed(1, "a name of 32 bytes")?),
                term: a.term(2)?,
            }),
            ("PDB.ABORT", 1) => Ok(Self::Abort { handle: a.handle(0)? }),
            ("PDB.GET", 3) => Ok(Self::Get {
                id: a.id(0)?,
                offset: a.number(1)?,
                bytes: a.at_most(2, GET_BYTES_MAX, "1 byte to 4 MiB")?,
            }),
            ("PDB.PROVE", 3) => {
                let max = u32::from(AUDIT_SAMPLES_MAX);
                let samples = a.at_most(2, max, "1 to 64 samples")?;
                Ok(Self::Prove(Audit {
                    shard: a.id(0)?,
                    seed: a.fixed(1, "a seed of 32 bytes")?,
                    samples: u16::try_from(samples).expect("at most 64"),
                }))
            }
            ("PDB.STAT", 1) => Ok(Self::Stat { id: a.id(0)? }),
            ("PDB.LIST", 3) => Ok(Self::List {
                lake: a.lake(0)?,
                after: if a.list[1].is_empty() { None } else { Some(a.id(1)?) },
                count: a.at_most(2, LIST_COUNT_MAX, "a count from 1 to 1000")?,
            }),
            ("PDB.DEL", 2) => Ok(Self::Delete { id: a.id(0)?, term: a.term(1)? }),
            ("PDB.FENCE", 2) => Ok(Self::Fence { lake: a.lake(0)?, term: a.term(1)? }),
            ("PDB.HEADPUT", 4) => Ok(Self::HeadPut {
                lake: a.lake(0)?,
                term: a.term(1)?,
                number: a.number(2)?,
                bytes: a.bytes(3, HEAD_BYTES_MAX, "a head of at most 1 MiB")?,
            }),
            ("PDB.HEADGET", 1) => Ok(Self::HeadGet { lake: a.lake(0)? }),
            ("PDB.SPACE", 0) => Ok(Self::Space),
            ("PDB.SCRUB", 0) => Ok(Self::Scrub),
            ("PDB.ACCESS", 1) => Ok(Self::Access {
                capability: a.bytes(0, ACCESS_BYTES_MAX, "a capability of at most 1 KiB")?,
            }),
            _ => Err(CommandError::Count { name }),
        }
    }

    /// Appends the request's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut begin = |name: &str, arguments: usize| {
            put_array_head(arguments + 1, out);
            put_bulk(name.as_bytes(), out);
        };
        match self {
            Self::Ping => begin("PING", 0),
            Self::Info => begin("INFO", 0),
            Self::Put { id, term, bytes, mode } => {
                begin("PDB.PUT", 4);
                put_bulk(&id.to_bytes(), out);
                put_number(term.0, out);
                put_number(*bytes, out);
                let mode: &[u8] = match mode {
                    PutMode::IfAbsent => b"ABSENT",
                    PutMode::Replace => b"REPLACE",
                };
                put_bulk(mode, out);
            }
            Self::Data { handle, offset, chunk } => {
                encode_data_head(*handle, *offset, chunk.len(), out);
                out.put_slice(chunk);
                out.put_slice(CRLF);
            }
            Self::Commit { handle, name, term } => {
                begin("PDB.COMMIT", 3);
                put_number(u64::from(*handle), out);
                put_bulk(name.as_bytes(), out);
                put_number(term.0, out);
            }
            Self::Abort { handle } => {
                begin("PDB.ABORT", 1);
                put_number(u64::from(*handle), out);
            }
            Self::Get { id, offset, bytes } => {
                begin("PDB.GET", 3);
                put_bulk(&id.to_bytes(), out);
                put_number(*offset, out);
                put_number(u64::from(*bytes), out);
            }
            Self::Prove(Audit { shard, seed, samples }) => {
                begin("PDB.PROVE", 3);
                put_bulk(&shard.to_bytes(), out);
                put_bulk(seed, out);
                put_number(u64::from(*samples), out);
            }
            Self::Stat { id } => {
                begin("PDB.STAT", 1);
                put_bulk(&id.to_bytes(), out);
            }
            Self::List { lake, after, count } => {
                begin("PDB.LIST", 3);
                put_bulk(&lake.0, out);
                match after {
                    Some(id) => put_bulk(&id.to_bytes(), out),
                    None => put_bulk(b"", out),
                }
                put_number(u64::from(*count), out);
            }
            Self::Delete { id, term } => {
                begin("PDB.DEL", 2);
                put_bulk(&id.to_bytes(), out);
                put_number(term.0, out);
            }
            Self::Fence { lake, term } => {
                begin("PDB.FENCE", 2);
                put_bulk(&lake.0, out);
                put_number(term.0, out);
            }
            Self::HeadPut { lake, term, number, bytes } => {
                begin("PDB.HEADPUT", 4);
                put_bulk(&lake.0, out);
                put_number(term.0, out);
                put_number(*number, out);
                put_bulk(bytes, out);
            }
            Self::HeadGet { lake } => {
                begin("PDB.HEADGET", 1);
                put_bulk(&lake.0, out);
            }
            Self::Space => begin("PDB.SPACE", 0),
            Self::Scrub => begin("PDB.SCRUB", 0),
            Self::Access { capability } => {
                begin("PDB.ACCESS", 1);
                put_bulk(capability, out);
            }
        }
    }
}

/// Appends a `PDB.DATA` up to its chunk: the caller sends the chunk's bytes as they are, then [`CRLF`].
pub fn encode_data_head(handle: u32, offset: u64, chunk_bytes: usize, out: &mut BytesMut) {
    put_array_head(4, out);
    put_bulk(b"PDB.DATA", out);
    put_number(u64::from(handle), out);
    put_number(offset, out);
    put_bulk_head(chunk_bytes, out);
}

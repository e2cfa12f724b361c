//! A live node's blocks over its binary port, row by row as the node stores them.
//!
//! ```text
//! header by height -> hash -> rows: header, body, signatures, approvals' hashes, transfers -> transactions: each, what it did, its approvals
//! ```
//! A row comes as it lies in the node's database, and its type says in which generation's; only transfers are sent otherwise and put back
//! into their form. Nothing is believed: an answer must repeat its request and be of the type that was asked for, sizes are bounded, and what a
//! block promises is the verifier's to check.
//!
//! Cost: six requests for a block and three for each transaction. Memory: one block, 64 MiB a part at most.

use super::{
    AVAILABLE_RANGE, HEADER_BY, HEADER_TYPE, NETWORK_NAME, NETWORK_NAME_TYPE, NO_COMPLETE_BLOCKS,
    RANGE_TYPE, TRANSFERS_TYPE, VERSION, record_kind, type_of,
};
use crate::{
    block::{body::Body, header::Header, transfers},
    bytesrepr::{Reader, ShapeError},
    database::{Database, Kind, Row, Rows},
    lmdb::VALUE_BYTES_MAX,
    verify::{BLOCK, HEADER, TRANSACTIONS},
};
use prunedb_chains::contract::{Hash, RawBlock, RawPart};
use std::{io, ops::RangeInclusive};

/// What a node says that is asked too often.
const THROTTLED: u16 = 87;

/// A connection to a node.
pub trait Port {
    /// The answer to a request; both without their lengths on the wire.
    ///
    /// # Errors
    /// When the node does not answer, however often it is asked.
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>>;
}

/// Why a node's block cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// It does not answer.
    #[error(transparent)]
    Port(#[from] io::Error),
    /// It says no.
    #[error("asked for {what}, it answers with error {code}")]
    Refused {
        /// what it was asked for
        what: String,
        /// its error's number
        code: u16,
    },
    /// Its answer is to another question, or of another type.
    #[error("asked for {what}, it answers something else")]
    Otherwise {
        /// what it was asked for
        what: String,
    },
    /// Its answer is not of the expected shape.
    #[error("asked for {what}, it answers: {error}")]
    Shape {
        /// what it was asked for
        what: String,
        /// what is wrong with the answer
        error: ShapeError,
    },
    /// It says that it has the block, and has not all of it.
    #[error("it lacks {what}")]
    Missing {
        /// what it was asked for
        what: String,
    },
    /// A block that cannot be stored.
    #[error("block {height}: more than {VALUE_BYTES_MAX} bytes in one part")]
    TooLong {
        /// the block's height
        height: u64,
    },
}

/// A live node.
#[derive(Debug)]
pub struct Node<P> {
    port: P,
    next_id: u16,
}

/// A type, and what came.
type Answer = Option<(u8, Vec<u8>)>;

impl<P: Port> Node<P> {
    /// The node behind a connection.
    pub const fn new(port: P) -> Self {
        Self { port, next_id: 0 }
    }

    /// The network's name.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn network(&mut self) -> Result<String, NodeError> {
        let what = || "the network's name".to_owned();
        let bytes = expect(self.ask(1, NETWORK_NAME, &[], what)?, NETWORK_NAME_TYPE, what)?;
        let mut reader = Reader::new(&bytes);
        let name = reader.bytes().and_then(|name| reader.end().map(|()| name));
        let name = name.map_err(|error| NodeError::Shape { what: what(), error })?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// The blocks that it has whole without a gap, up to its tip; `None` if it has none.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn available(&mut self) -> Result<Option<RangeInclusive<u64>>, NodeError> {
        let what = || "the range of its blocks".to_owned();
        let answer = match self.ask(1, AVAILABLE_RANGE, &[], what) {
            Err(NodeError::Refused { code: NO_COMPLETE_BLOCKS, .. }) => return Ok(None),
            answer => answer?,
        };
        let bytes = expect(answer, RANGE_TYPE, what)?;
        let mut reader = Reader::new(&bytes);
        let range = reader.u64().and_then(|low| Ok(low..=reader.u64()?));
        let range = range.and_then(|range| reader.end().map(|()| range));
        let range = range.map_err(|error| NodeError::Shape { what: what(), error })?;
        Ok(Some(range).filter(|range| !range.is_empty()))
    }

    /// The rows of a block that it has whole.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn block(&mut self, height: u64) -> Result<RawBlock, NodeError> {
        let header = self.header(height)?;
        let (hash, mut parts) = (header.hash, Vec::with_capacity(3));
        let mut rows = Part::new(HEADER, height);
        let legacy = self.row(&mut rows, Kind::Header, &hash)?;
        let legacy = legacy.ok_or_else(|| NodeError::Missing { what: of(Kind::Header, &hash) })?;
        parts.push(rows.done());

        let mut rows = Part::new(BLOCK, height);
        if self.row(&mut rows, Kind::Body, &header.body_hash)?.is_none() {
            return Err(NodeError::Missing { what: of(Kind::Body, &header.body_hash) });
        }
        let body = rows
            .first(Body::of_row)
            .map_err(|error| NodeError::Shape { what: of(Kind::Body, &header.body_hash), error })?;
        self.row(&mut rows, Kind::Signatures, &hash)?;
        self.row(&mut rows, Kind::ApprovalsHashes, &hash)?;
        self.transfers(&mut rows, &hash, legacy)?;
        parts.push(rows.done());

        let mut rows = Part::new(TRANSACTIONS, height);
        for id in body.transactions {
            let key = id.key();
            // 1.x has its transactions, all deploys, by the hash alone
            let keys = [&key[..], &id.hash];
            let keys = if id.is_v1 { &keys[..1] } else { &keys };
            for kind in [Kind::Transaction, Kind::Execution, Kind::FinalizedApprovals] {
                let mut found = false;
                for key in keys {
                    found = found || self.row(&mut rows, kind, key)?.is_some();
                }
                if !found && kind == Kind::Transaction {
                    return Err(NodeError::Missing { what: of(kind, &key) });
                }
            }
        }
        parts.push(rows.done());
        Ok(RawBlock { height, parts })
    }

    /// The header of a height, as one of 2.x.
    fn header(&mut self, height: u64) -> Result<Header, NodeError> {
        let what = || format!("the header of block {height}");
        let key = [&[1, 1][..], &height.to_le_bytes()].concat();
        let answer = self.ask(1, HEADER_BY, &key, what)?;
        let value = expect(answer, HEADER_TYPE, what)?;
        let database = database(Kind::Header, false);
        Header::of_row(&Row { database, key: &[], value: &value })
            .map_err(|error| NodeError::Shape { what: what(), error })
    }

    /// Adds the row of a key, if there is one; gives whether it is one of 1.x.
    fn row(&mut self, rows: &mut Part, kind: Kind, key: &[u8]) -> Result<Option<bool>, NodeError> {
        let what = || of(kind, key);
        let Some((found, value)) = self.ask(0, record(kind), key, what)? else { return Ok(None) };
        let of_1_x = type_of(kind).expect("all kinds but transfers");
        let legacy = match found.checked_sub(of_1_x) {
            Some(0) => true,
            Some(1) => false,
            _ => return Err(NodeError::Otherwise { what: what() }),
        };
        rows.push(Row { database: database(kind, legacy), key, value: &value })?;
        Ok(Some(legacy))
    }

    fn transfers(&mut self, rows: &mut Part, hash: &Hash, legacy: bool) -> Result<(), NodeError> {
        let what = || of(Kind::Transfers, hash);
        let answer = self.ask(0, record(Kind::Transfers), hash, what)?;
        if answer.is_none() {
            return Ok(());
        }
        let sent = expect(answer, TRANSFERS_TYPE, what)?;
        let value = transfers::stored(&sent, legacy)
            .map_err(|error| NodeError::Shape { what: what(), error })?;
        rows.push(Row { database: database(Kind::Transfers, legacy), key: hash, value: &value })
    }

    /// Asks, and takes the answer apart; `None` where the node has not got it.
    fn ask(
        &mut self,
        how: u8,
        about: u16,
        key: &[u8],
        what: impl Fn() -> String,
    ) -> Result<Answer, NodeError> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let key_bytes = u32::try_from(key.len()).expect("some 33 bytes").to_le_bytes();
        let (version, id, about) = (VERSION.to_le_bytes(), id.to_le_bytes(), about.to_le_bytes());
        let request = [&version[..], &[0], &id, &[how], &about, &key_bytes, key].concat();
        let answer = self.port.ask(&request)?;
        let shape = |error| NodeError::Shape { what: what(), error };
        let (echo, error, answer) = read_answer(&answer).map_err(shape)?;
        match (echo == request, error) {
            (false, _) => Err(NodeError::Otherwise { what: what() }),
            (true, 0) => Ok(answer),
            (true, code) => Err(NodeError::Refused { what: what(), code }),
        }
    }
}

/// The request that an answer repeats, the error, the answer.
fn read_answer(bytes: &[u8]) -> Result<(&[u8], u16, Answer), ShapeError> {
    let mut reader = Reader::new(bytes);
    let framed = reader.bytes()?;
    let mut echo = Reader::new(framed);
    let request = echo.bytes()?;
    echo.end()?;
    let version = reader.u16()?;
    if version != VERSION {
        return Err(reader.tag(2, "version of an answer", version.into()));
    }
    let error = reader.u16()?;
    let kind = match reader.flag("type of an answer")? {
        true => Some(reader.u8()?),
        false => None,
    };
    let payload = reader.bytes()?.to_vec();
    reader.end()?;
    Ok((request, error, kind.map(|kind| (kind, payload))))
}

/// Whether the answer is that requests come too often: it may be asked again a little later.
pub fn is_throttled(answer: &[u8]) -> bool {
    matches!(read_answer(answer), Ok((_, THROTTLED, _)))
}

/// Whether the answer is that there is no such thing.
pub fn is_nothing(answer: &[u8]) -> bool {
    matches!(read_answer(answer), Ok((_, 0, None)))
}

/// The payload of an answer that must be there, and of this type.
fn expect(answer: Answer, expected: u8, what: impl Fn() -> String) -> Result<Vec<u8>, NodeError> {
    match answer {
        Some((found, payload)) if found == expected => Ok(payload),
        Some(_) => Err(NodeError::Otherwise { what: what() }),
        None => Err(NodeError::Missing { what: what() }),
    }
}

/// The number of a kind of rows in requests.
fn record(kind: Kind) -> u16 {
    (0..).find(|&number| record_kind(number) == Some(kind)).expect("every kind that is asked for")
}

fn database(kind: Kind, legacy: bool) -> Database {
    let mut both = Database::of(kind);
    both.find(|database| database.is_legacy() == legacy).expect("each kind has both")
}

/// A row, in words.
fn of(kind: Kind, key: &[u8]) -> String {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("the row of {} {key}", database(kind, false).name())
}

/// Rows of a block on their way.
struct Part {
    table: &'static str,
    height: u64,
    rows: Rows,
    bytes: u64,
}

impl Part {
    fn new(table: &'static str, height: u64) -> Self {
        Self { table, height, rows: Rows::new(), bytes: 0 }
    }

    fn push(&mut self, row: Row<'_>) -> Result<(), NodeError> {
        // seven bytes are written before a row, one before all
        self.bytes += (row.key.len() + row.value.len() + 8) as u64;
        if self.bytes > VALUE_BYTES_MAX {
            return Err(NodeError::TooLong { height: self.height });
        }
        self.rows.push(row);
        Ok(())
    }

    fn first<T>(
        &self,
        read: impl FnOnce(&Row<'_>) -> Result<T, ShapeError>,
    ) -> Result<T, ShapeError> {
        let bytes = self.rows.clone().into_bytes();
        let rows = Rows::read(&bytes).expect("made of rows here");
        read(rows.first().expect("one was pushed"))
    }

    fn done(self) -> RawPart {
        RawPart { table: self.table, bytes: self.rows.into_bytes() }
    }
}

#[cfg(test)]
mod tests;

//! The node's binary port: which requests the archive can answer, and the answers, byte for byte as a node gives them.
//!
//! ```text
//! request   version u16 = 1, kind u8, id u16; kind 0 asks for something: how u8 (0 a row, 1 by meaning), what u16, key (u32 length, bytes)
//! answer    request with its length before it (twice: as bytes, and as a frame), version u16 = 1, error u16, type (0, or 1 and u8), payload
//! ```
//! All little-endian; each has its length (u32) before it on the wire. A node that has not what is asked for says so with error 0, no type and no
//! payload: a pruned one of old blocks, too. So whoever stands before it may answer those.
//!
//! Not answered here: bodies by their own hash, of which there is no index. [`mod@node`] asks; [`mod@file`] answers as the node of a file would.

pub mod file;
pub mod node;

use crate::{
    archived::{ArchivedBlock, ArchivedBlocks},
    block::{legacy, transfers},
    database::{Kind, Row},
    verify::CasperVerifier,
};
use prunedb_chains::{
    archive::Archive,
    contract::{ChainError, Hash},
};

/// The longest request or answer that is passed on; a node's own limit is 4 MiB for requests.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The version of requests and answers.
const VERSION: u16 = 1;
/// Types of answers, as nodes number them.
const HEADER_TYPE: u8 = 1;
const TRANSFERS_TYPE: u8 = 13;
const BLOCK_WITH_SIGNATURES_TYPE: u8 = 16;
const TRANSACTION_WITH_EXECUTION_TYPE: u8 = 17;
const NETWORK_NAME_TYPE: u8 = 21;
const RANGE_TYPE: u8 = 24;
/// What is asked for by meaning.
const HEADER_BY: u16 = 0;
const BLOCK_WITH_SIGNATURES: u16 = 1;
const TRANSACTION: u16 = 2;
const NETWORK_NAME: u16 = 7;
const AVAILABLE_RANGE: u16 = 10;
/// What a node says that has no whole block.
const NO_COMPLETE_BLOCKS: u16 = 11;
/// What nodes say where something of their own is wrong.
const INTERNAL_ERROR: u16 = 6;

/// What a request asks for, as far as the archive may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// a row of a block
    OfBlock(Kind, Hash),
    /// a row of a transaction, under its key: of 1.x without the number of its kind before it
    OfTransaction(Kind, Hash),
    Header(At),
    Block(At),
    /// whether with its finalized approvals
    Transaction([u8; 33], bool),
}

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Hash(Hash),
    Height(u64),
}

/// How a request asks, for what, and its key; `None` for one that asks for nothing.
fn asked(request: &[u8]) -> Option<(u8, u16, &[u8])> {
    let (&[v0, v1, 0, _, _, how, w0, w1], rest) = request.split_first_chunk::<8>()? else {
        return None;
    };
    let (length, key) = rest.split_first_chunk::<4>()?;
    let whole = u32::from_le_bytes(*length) as usize == key.len();
    (whole && u16::from_le_bytes([v0, v1]) == VERSION).then_some((
        how,
        u16::from_le_bytes([w0, w1]),
        key,
    ))
}

/// The question, and the key that it comes with.
fn question(request: &[u8]) -> Option<(Question, &[u8])> {
    let (how, what, key) = asked(request)?;
    let hash = || Hash::try_from(key).ok();
    let in_key = || key.last_chunk().filter(|_| key.len() <= 33).copied();
    let question = match (how, what) {
        (0, number) => match record_kind(number)? {
            Kind::Body => return None,
            kind @ (Kind::Transaction | Kind::Execution | Kind::FinalizedApprovals) => {
                Question::OfTransaction(kind, in_key()?)
            }
            kind => Question::OfBlock(kind, hash()?),
        },
        (1, HEADER_BY) => Question::Header(at(key)?),
        (1, BLOCK_WITH_SIGNATURES) => Question::Block(at(key)?),
        (1, TRANSACTION) => match key.split_first_chunk::<33>()? {
            (id, &[finalized @ (0 | 1)]) => Question::Transaction(*id, finalized == 1),
            _ => return None,
        },
        _ => return None,
    };
    Some((question, key))
}

/// The kind of rows that a number asks for.
const fn record_kind(number: u16) -> Option<Kind> {
    Some(match number {
        0 => Kind::Header,
        1 => Kind::Body,
        2 => Kind::ApprovalsHashes,
        3 => Kind::Signatures,
        4 => Kind::Transaction,
        5 => Kind::Execution,
        6 => Kind::Transfers,
        7 => Kind::FinalizedApprovals,
        _ => return None,
    })
}

/// By hash or height; without either the node's tip is meant.
fn at(key: &[u8]) -> Option<At> {
    match key.split_first_chunk::<2>()? {
        ([1, 0], hash) => hash.try_into().ok().map(At::Hash),
        ([1, 1], height) => height.try_into().ok().map(u64::from_le_bytes).map(At::Height),
        _ => None,
    }
}

/// The answer to a request, if the archive has it; without their lengths on the wire.
///
/// # Errors
/// When the store cannot read, or what it has is damaged.
pub fn answer<A: Archive + ?Sized>(
    archive: &A,
    verifier: &CasperVerifier,
    request: &[u8],
) -> Result<Option<Vec<u8>>, ChainError> {
    let Some((question, key)) = question(request) else { return Ok(None) };
    let archived = ArchivedBlocks::new(archive, verifier);
    let height = match question {
        Question::OfBlock(_, hash)
        | Question::Header(At::Hash(hash))
        | Question::Block(At::Hash(hash)) => archived.height_of(&hash)?,
        Question::Header(At::Height(height)) | Question::Block(At::Height(height)) => Some(height),
        Question::OfTransaction(_, hash) => archived.height_with(&hash)?,
        Question::Transaction(id, _) => archived.height_with(&hash_in(&id))?,
    };
    let Some(block) = height.map(|height| archived.at(height)).transpose()?.flatten() else {
        return Ok(None);
    };
    let payload = match question {
        Question::OfBlock(kind, _) => block.row(kind).and_then(|row| typed(&row)),
        Question::OfTransaction(kind, hash) => {
            block.row_of(&hash, kind).filter(|row| row.key == key).and_then(|row| typed(&row))
        }
        Question::Header(_) => {
            block.row(Kind::Header).and_then(|row| current(&row)).map(|v| (HEADER_TYPE, v))
        }
        Question::Block(_) => {
            block_with_signatures(&block).map(|v| (BLOCK_WITH_SIGNATURES_TYPE, v))
        }
        Question::Transaction(id, finalized) => {
            with_execution(&block, &id, finalized).map(|v| (TRANSACTION_WITH_EXECUTION_TYPE, v))
        }
    };
    Ok(payload.map(|(kind, payload)| encode(request, 0, Some(kind), &payload)))
}

/// The answer of a node that cannot answer.
pub fn cannot_answer(request: &[u8]) -> Vec<u8> {
    encode(request, INTERNAL_ERROR, None, &[])
}

fn encode(request: &[u8], error: u16, kind: Option<u8>, payload: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).expect("64 MiB at most").to_le_bytes();
    let mut answer = Vec::with_capacity(request.len() + payload.len() + 24);
    answer.extend(length(request.len() + 4));
    answer.extend(length(request.len()));
    answer.extend(request);
    answer.extend(VERSION.to_le_bytes());
    answer.extend(error.to_le_bytes());
    answer.push(u8::from(kind.is_some()));
    answer.extend(kind);
    answer.extend(length(payload.len()));
    answer.extend(payload);
    answer
}

/// The hash in a transaction's name, which says first of which kind it is.
fn hash_in(id: &[u8; 33]) -> Hash {
    id[1..].try_into().expect("33 bytes")
}

/// The type of an answer with a row of 1.x of this kind; of 2.x it is one more.
const fn type_of(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Header => 0,
        Kind::Body => 2,
        Kind::ApprovalsHashes => 4,
        Kind::Signatures => 6,
        Kind::Transaction => 8,
        Kind::Execution => 10,
        Kind::FinalizedApprovals => 14,
        Kind::Transfers | Kind::State => return None,
    })
}

/// The type of an answer with this row, and the row as it is sent.
fn typed(row: &Row<'_>) -> Option<(u8, Vec<u8>)> {
    match type_of(row.database.kind()) {
        Some(of_1_x) => Some((of_1_x + u8::from(!row.database.is_legacy()), row.value.to_vec())),
        None => transfers::sent(row).ok().map(|sent| (TRANSFERS_TYPE, sent)),
    }
}

/// A row's value as one of 2.x has it, its tag before it.
fn current(row: &Row<'_>) -> Option<Vec<u8>> {
    if !row.database.is_legacy() {
        return Some(row.value.to_vec());
    }
    let tagged = |bytes: Vec<u8>| [&[0][..], &bytes].concat();
    match row.database.kind() {
        Kind::Header => legacy::header(row.value).ok().map(tagged),
        Kind::Body => legacy::body(row.value).ok().map(tagged),
        Kind::Transaction => legacy::deploy(row.value).ok().map(tagged),
        Kind::Signatures => legacy::signatures(row.value).ok(),
        _ => None,
    }
}

/// Version, hash, header, body; signatures.
fn block_with_signatures(block: &ArchivedBlock) -> Option<Vec<u8>> {
    let header = current(&block.row(Kind::Header)?)?;
    let body = current(&block.row(Kind::Body)?)?;
    let signatures = current(&block.row(Kind::Signatures)?)?;
    Some([&header[..1], block.hash(), &header[1..], &body[1..], &signatures].concat())
}

/// Transaction; the block that it is in, and what executing it did.
fn with_execution(block: &ArchivedBlock, id: &[u8; 33], finalized: bool) -> Option<Vec<u8>> {
    let of = |kind| block.row_of(&hash_in(id), kind);
    if finalized && of(Kind::FinalizedApprovals).is_some() {
        return None; // it would have to be put together anew
    }
    let transaction = current(&of(Kind::Transaction)?)?;
    let execution = of(Kind::Execution).filter(|row| !row.database.is_legacy())?;
    let (hash, height) = (block.hash(), block.height().to_le_bytes());
    Some([&transaction[..], &[1], hash, &height, &[1], execution.value].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn questions_as_nodes_get_them() {
        let request = |how: u8, what: u16, key: &[u8]| {
            let length = u32::try_from(key.len()).unwrap().to_le_bytes();
            [&[1, 0, 0, 9, 0, how][..], &what.to_le_bytes(), &length, key].concat()
        };
        let hash = [7; 32];
        let question = |request: &[u8]| question(request).map(|(question, _)| question);
        assert_eq!(
            question(&request(0, 3, &hash)),
            Some(Question::OfBlock(Kind::Signatures, hash))
        );
        let of_transaction = Some(Question::OfTransaction(Kind::Execution, hash));
        assert_eq!(question(&request(0, 5, &hash)), of_transaction);
        assert_eq!(question(&request(0, 5, &[&[1][..], &hash].concat())), of_transaction);
        let by_height = [&[1, 1][..], &5u64.to_le_bytes()].concat();
        assert_eq!(question(&request(1, 0, &by_height)), Some(Question::Header(At::Height(5))));
        let id = [1; 33];
        let with_flag = [&id[..], &[1]].concat();
        assert_eq!(question(&request(1, 2, &with_flag)), Some(Question::Transaction(id, true)));
        // the tip, a body, a node's own affairs, an unknown row: the node's to answer
        for (how, what, key) in [
            (1, 0, &[0][..]),
            (0, 1, &hash),
            (0, 8, &hash),
            (1, 14, &[]),
            (0, 99, &hash),
            (0, 3, &hash[1..]),
        ] {
            assert_eq!(question(&request(how, what, key)), None, "{how} {what}");
        }
        let mut other_version = request(0, 3, &hash);
        other_version[0] = 2;
        assert_eq!(question(&other_version), None);
    }

    proptest! {
        #[test]
        fn any_request_is_a_question_or_passed_on(mut bytes in prop::collection::vec(any::<u8>(), 0..60), how in 0u8..2, what in 0u8..8) {
            if bytes.len() > 12 {
                let key = u8::try_from(bytes.len() - 12).unwrap();
                bytes[..12].copy_from_slice(&[1, 0, 0, 0, 0, how, what, 0, key, 0, 0, 0]);
            }
            _ = question(&bytes);
        }
    }
}

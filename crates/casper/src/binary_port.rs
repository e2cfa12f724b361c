//! The node's binary port: which requests the archive can answer, and the answers, byte for byte as a node gives them.
//!
//! ```text
//! request   version u16 = 1, kind u8, id u16; kind 0 asks for something: how u8 (0 a row, 1 by meaning), what u16, key (u32 length, bytes)
//! answer    request with its length before it (twice: as bytes, and as a frame), version u16 = 1, error u16, type (0, or 1 and u8), payload
//! ```
//! All little-endian; each has its length (u32) before it on the wire. A node that has not what is asked for says so with error 0, no type and no
//! payload: a pruned one of old blocks, too. So whoever stands before it may answer those.
//!
//! Not answered here: bodies by their own hash (there is no index of them), transfers (sent in another form than they are stored in), rows that are stored
//! in both generations.

use crate::{
    block::legacy,
    database::{Kind, Row, Rows},
    verify::{BLOCK, CasperVerifier, HEADER, TRANSACTIONS},
};
use prunedb_chains::{
    archive::Archive,
    contract::{ChainError, Hash, RawBlock, Stored},
};

/// The longest request or answer that is passed on; a node's own limit is 4 MiB for requests.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The version of requests and answers.
const VERSION: u16 = 1;
/// Kinds of answers, as nodes number them: of 1.x, and of 2.x one more.
const HEADER_TYPE: u8 = 0;
const APPROVALS_HASHES_TYPE: u8 = 4;
const SIGNATURES_TYPE: u8 = 6;
const TRANSACTION_TYPE: u8 = 8;
const EXECUTION_TYPE: u8 = 10;
const FINALIZED_TYPE: u8 = 14;
const BLOCK_WITH_SIGNATURES_TYPE: u8 = 16;
const TRANSACTION_WITH_EXECUTION_TYPE: u8 = 17;
/// What nodes say where something of their own is wrong.
const INTERNAL_ERROR: u16 = 6;

/// What a request asks for, as far as the archive may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// a row of a block
    OfBlock(Kind, Hash),
    /// a row of a transaction
    OfTransaction(Kind, [u8; 33]),
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

fn question(request: &[u8]) -> Option<Question> {
    let (&[v0, v1, 0, _, _, how, w0, w1], rest) = request.split_first_chunk::<8>()? else {
        return None;
    };
    let (length, key) = rest.split_first_chunk::<4>()?;
    if u16::from_le_bytes([v0, v1]) != VERSION || u32::from_le_bytes(*length) as usize != key.len()
    {
        return None;
    }
    let hash = || Hash::try_from(key).ok();
    let id = || <[u8; 33]>::try_from(key).ok();
    Some(match (how, u16::from_le_bytes([w0, w1])) {
        (0, 0) => Question::OfBlock(Kind::Header, hash()?),
        (0, 2) => Question::OfBlock(Kind::ApprovalsHashes, hash()?),
        (0, 3) => Question::OfBlock(Kind::Signatures, hash()?),
        (0, 4) => Question::OfTransaction(Kind::Transaction, id()?),
        (0, 5) => Question::OfTransaction(Kind::Execution, id()?),
        (0, 7) => Question::OfTransaction(Kind::FinalizedApprovals, id()?),
        (1, 0) => Question::Header(at(key)?),
        (1, 1) => Question::Block(at(key)?),
        (1, 2) => match key.split_first_chunk::<33>()? {
            (id, &[finalized @ (0 | 1)]) => Question::Transaction(*id, finalized == 1),
            _ => return None,
        },
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
    let Some(question) = question(request) else { return Ok(None) };
    let stored = Stored::new(archive, verifier);
    let height = match question {
        Question::OfBlock(_, hash)
        | Question::Header(At::Hash(hash))
        | Question::Block(At::Hash(hash)) => stored.height_of(&hash)?,
        Question::Header(At::Height(height)) | Question::Block(At::Height(height)) => Some(height),
        Question::OfTransaction(_, id) | Question::Transaction(id, _) => {
            let hash: Hash = id[1..].try_into().expect("33 bytes");
            stored.place_of(&hash)?.map(|place| place.height)
        }
    };
    let Some(block) = height.map(|height| stored.raw(height)).transpose()?.flatten() else {
        return Ok(None);
    };
    let hash = stored.check(&block)?.hash;
    let payload = match question {
        Question::OfBlock(kind, _) => {
            let part = if kind == Kind::Header { HEADER } else { BLOCK };
            row(&block, part, kind, &hash).and_then(|row| typed(&row))
        }
        Question::OfTransaction(kind, id) => row(&block, TRANSACTIONS, kind, &id[1..])
            .filter(|row| row.database.is_legacy() || row.key == id)
            .and_then(|row| typed(&row)),
        Question::Header(_) => row(&block, HEADER, Kind::Header, &hash)
            .and_then(|row| current(&row))
            .map(|v| (HEADER_TYPE + 1, v)),
        Question::Block(_) => {
            block_with_signatures(&block, &hash).map(|v| (BLOCK_WITH_SIGNATURES_TYPE, v))
        }
        Question::Transaction(id, finalized) => with_execution(&block, &hash, &id, finalized)
            .map(|v| (TRANSACTION_WITH_EXECUTION_TYPE, v)),
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

/// The only row of a kind whose key ends with `key`; none where there are two, because nodes prefer one.
fn row<'a>(block: &'a RawBlock, part: &str, kind: Kind, key: &[u8]) -> Option<Row<'a>> {
    let rows = Rows::read(block.part(part)?).ok()?;
    let mut found =
        rows.into_iter().filter(|row| row.database.kind() == kind && row.key.ends_with(key));
    found.next().filter(|_| found.next().is_none())
}

/// The type of an answer with this row, and the row.
fn typed(row: &Row<'_>) -> Option<(u8, Vec<u8>)> {
    let of_1_x = match row.database.kind() {
        Kind::Header => HEADER_TYPE,
        Kind::ApprovalsHashes => APPROVALS_HASHES_TYPE,
        Kind::Signatures => SIGNATURES_TYPE,
        Kind::Transaction => TRANSACTION_TYPE,
        Kind::Execution => EXECUTION_TYPE,
        Kind::FinalizedApprovals => FINALIZED_TYPE,
        Kind::Body | Kind::Transfers | Kind::State => return None,
    };
    Some((of_1_x + u8::from(!row.database.is_legacy()), row.value.to_vec()))
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
fn block_with_signatures(block: &RawBlock, hash: &Hash) -> Option<Vec<u8>> {
    let header = current(&row(block, HEADER, Kind::Header, hash)?)?;
    let body = current(&row(block, BLOCK, Kind::Body, &[])?)?;
    let signatures = current(&row(block, BLOCK, Kind::Signatures, hash)?)?;
    Some([&header[..1], hash, &header[1..], &body[1..], &signatures].concat())
}

/// Transaction; the block that it is in, and what executing it did.
fn with_execution(
    block: &RawBlock,
    hash: &Hash,
    id: &[u8; 33],
    finalized: bool,
) -> Option<Vec<u8>> {
    let of = |kind| row(block, TRANSACTIONS, kind, &id[1..]);
    if finalized && of(Kind::FinalizedApprovals).is_some() {
        return None; // it would have to be put together anew
    }
    let transaction = current(&of(Kind::Transaction)?)?;
    let execution = of(Kind::Execution).filter(|row| !row.database.is_legacy())?;
    let height = block.height.to_le_bytes();
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
        assert_eq!(
            question(&request(0, 3, &hash)),
            Some(Question::OfBlock(Kind::Signatures, hash))
        );
        let by_height = [&[1, 1][..], &5u64.to_le_bytes()].concat();
        assert_eq!(question(&request(1, 0, &by_height)), Some(Question::Header(At::Height(5))));
        let id = [1; 33];
        let with_flag = [&id[..], &[1]].concat();
        assert_eq!(question(&request(1, 2, &with_flag)), Some(Question::Transaction(id, true)));
        // the tip, a body, transfers, a node's own affairs, an unknown row: the node's to answer
        for (how, what, key) in [
            (1, 0, &[0][..]),
            (0, 1, &hash),
            (0, 6, &hash),
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

//! The approvals of a block against the state's root: the checksum of all of them is a value of the state, and a proof leads from there to the
//! root that the header names.
//!
//! ```text
//! approvals' hashes --blake2b--> checksum, in the registry --leaf--> node --> extension --> ... --> state root
//! ```

use super::{body::Body, transaction};
use crate::{
    bytesrepr::{Reader, ShapeError},
    hash::blake2b,
};
use prunedb_chains::contract::Hash;

/// The tag of the registry's key in the state; zeros follow.
const REGISTRY_KEY: u8 = 14;
/// Under which name the registry has the checksum.
const CHECKSUM_NAME: &[u8] = b"approvals_checksum";
/// Pages of the state above this size are hashed in chunks; a registry of two checksums never is.
const CHUNK_BYTES: usize = 8 << 20;
/// The pointers of a node.
const RADIX: usize = 256;

/// What is wrong with a block's approvals' hashes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalsError {
    /// Not of the expected shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// They are another block's.
    #[error("they are those of another block")]
    OtherBlock,
    /// There is not one for each transaction.
    #[error("{found} hashes for {expected} transactions")]
    Count {
        /// transactions of the block
        expected: usize,
        /// hashes
        found: usize,
    },
    /// The proof does not end at the header's root.
    #[error("the proof leads to another state root than the header's")]
    Root,
    /// The proof is about something else, or has no checksum.
    #[error("the proof is not one of an approvals checksum")]
    NoChecksum,
    /// The hashes are not those that the state has.
    #[error("the state has another checksum of approvals")]
    Checksum,
}

/// Verifies a row of approvals' hashes, and gives them in the order of the block's transactions.
pub(crate) fn verify(
    row: &[u8],
    block: &Hash,
    state_root: &Hash,
    body: &Body,
) -> Result<Vec<Hash>, ApprovalsError> {
    let mut reader = Reader::new(row);
    if reader.hash()? != *block {
        return Err(ApprovalsError::OtherBlock);
    }
    let mut hashes = Vec::new();
    reader.many(|reader| {
        hashes.push(reader.hash()?);
        Ok(())
    })?;
    if hashes.len() != body.transactions.len() {
        let (expected, found) = (body.transactions.len(), hashes.len());
        return Err(ApprovalsError::Count { expected, found });
    }
    let checksum = walk_proof(&mut reader, state_root)?;
    reader.end()?;
    let mut ids = u32::try_from(hashes.len()).expect("counted by a u32").to_le_bytes().to_vec();
    for (transaction, hash) in body.transactions.iter().zip(&hashes) {
        match body.is_v2 {
            true => ids.extend(transaction.key()),
            false => ids.extend(transaction.hash),
        }
        ids.extend(hash);
    }
    if blake2b(&[&ids]) != checksum {
        return Err(ApprovalsError::Checksum);
    }
    Ok(hashes)
}

/// Follows a proof from the registry to the root; gives the checksum.
fn walk_proof(reader: &mut Reader<'_>, state_root: &Hash) -> Result<Hash, ApprovalsError> {
    let leaf = reader.offset();
    if reader.u8()? != REGISTRY_KEY {
        return Err(ApprovalsError::NoChecksum);
    }
    reader.hash()?; // zeros
    if reader.u8()? != 0 {
        return Err(ApprovalsError::NoChecksum); // not a plain value
    }
    let registry = reader.bytes()?;
    transaction::cl_type(reader, 0)?;
    let leaf = reader.since(leaf);
    if leaf.len() >= CHUNK_BYTES {
        return Err(ApprovalsError::NoChecksum);
    }
    let mut hash = blake2b(&[&[0], leaf]);
    // what points to the leaf says so, by a tag
    let mut pointer_tag = 0;
    let mut steps = Ok(());
    reader.many(|reader| {
        let pointer = pointer(pointer_tag, &hash);
        pointer_tag = 1;
        match reader.u8()? {
            0 => {
                let mut slots: [Option<[u8; 33]>; RADIX] = [None; RADIX];
                slots[usize::from(reader.u8()?)] = Some(pointer);
                reader.many(|reader| {
                    let slot = usize::from(reader.u8()?);
                    slots[slot] = Some(reader.array()?);
                    Ok(())
                })?;
                let mut node = vec![1];
                for slot in slots {
                    node.push(u8::from(slot.is_some()));
                    node.extend(slot.iter().flatten());
                }
                hash = blake2b(&[&node]);
            }
            1 => {
                let affix = reader.bytes()?;
                let length = u32::try_from(affix.len()).expect("read with a u32").to_le_bytes();
                hash = blake2b(&[&[2], &length, affix, &pointer]);
            }
            _ => steps = Err(ApprovalsError::Root),
        }
        Ok(())
    })?;
    steps?;
    if hash != *state_root {
        return Err(ApprovalsError::Root);
    }
    checksum_of(registry)
}

/// A pointer in a node: what it points to, by a tag, and its hash.
fn pointer(tag: u8, hash: &Hash) -> [u8; 33] {
    let mut pointer = [tag; 33];
    pointer[1..].copy_from_slice(hash);
    pointer
}

/// The checksum in a registry: a map of names to digests.
fn checksum_of(registry: &[u8]) -> Result<Hash, ApprovalsError> {
    let (mut reader, mut checksum) = (Reader::new(registry), None);
    reader.many(|reader| {
        let name = reader.bytes()?;
        let digest = reader.hash()?;
        if name == CHECKSUM_NAME {
            checksum = Some(digest);
        }
        Ok(())
    })?;
    reader.end()?;
    checksum.ok_or(ApprovalsError::NoChecksum)
}

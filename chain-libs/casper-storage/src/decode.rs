//! Archived rows as the chain's own types.
//!
//! Rows of 2.x are in the chain's own encoding, rows of 1.x in bincode, as `casper-storage` writes and reads them.

use casper_storage::block_store::types::{ApprovalsHashes, BlockHashHeightAndEra};
use casper_types::{
    Approval, ApprovalsHash, Block, BlockBody, BlockBodyV1, BlockHash, BlockHeader, BlockHeaderV1,
    BlockSignatures, BlockSignaturesV1, Deploy, Digest, Key, StoredValue, Transaction,
    TransactionHash, Transfer, TransferV1,
    bytesrepr::{self, FromBytes},
    execution::{ExecutionResult, ExecutionResultV1},
    global_state::TrieMerkleProof,
};
use prunedb_casper::{ArchivedBlock, Kind, Row};
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};

/// An archived row that is not what its database holds, though it hashes to what the chain promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A row of 2.x.
    #[error("block {height}: a row of {database}: {error}")]
    Current {
        /// the block's height
        height: u64,
        /// the row's database
        database: &'static str,
        /// what is wrong with it
        error: bytesrepr::Error,
    },
    /// A row of 1.x.
    #[error("block {height}: a row of {database}: {error}")]
    Legacy {
        /// the block's height
        height: u64,
        /// the row's database
        database: &'static str,
        /// what is wrong with it
        #[source]
        error: bincode::Error,
    },
    /// A row of 1.x about an execution has the block that it happened in, and has none.
    #[error("block {height}: a row of deploy_metadata names no execution")]
    NotExecuted {
        /// the block's height
        height: u64,
    },
    /// Header and body are of different generations.
    #[error("block {height}: {error}")]
    Block {
        /// the block's height
        height: u64,
        /// what the chain's own library says
        error: String,
    },
}

/// A row of either generation.
fn decode<T, L>(block: &ArchivedBlock, row: &Row<'_>) -> Result<T, DecodeError>
where
    T: FromBytes + From<L>,
    L: DeserializeOwned,
{
    match row.database.is_legacy() {
        true => decode_legacy::<L>(block, row).map(T::from),
        false => decode_current(block, row),
    }
}

fn decode_current<T: FromBytes>(block: &ArchivedBlock, row: &Row<'_>) -> Result<T, DecodeError> {
    let (height, database) = (block.height(), row.database.name());
    bytesrepr::deserialize_from_slice(row.value).map_err(|error| DecodeError::Current {
        height,
        database,
        error,
    })
}

fn decode_legacy<L: DeserializeOwned>(
    block: &ArchivedBlock,
    row: &Row<'_>,
) -> Result<L, DecodeError> {
    let (height, database) = (block.height(), row.database.name());
    bincode::deserialize(row.value).map_err(|error| DecodeError::Legacy { height, database, error })
}

/// What is read of a block.
pub trait OfBlock: Sized {
    /// Of this archived one, if its archive has it.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError>;
}

impl OfBlock for BlockHeader {
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError> {
        let Some(row) = block.row(Kind::Header) else { return Ok(None) };
        let header: Self = decode::<_, BlockHeaderV1>(block, &row)?;
        header.set_block_hash(BlockHash::new(Digest::from(*block.hash())));
        Ok(Some(header))
    }
}

impl OfBlock for Block {
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError> {
        let Some(header) = BlockHeader::of_block(block)? else { return Ok(None) };
        let Some(row) = block.row(Kind::Body) else { return Ok(None) };
        let body: BlockBody = decode::<_, BlockBodyV1>(block, &row)?;
        let whole = Self::new_from_header_and_body(header, body);
        whole.map(Some).map_err(|error| {
            let (height, error) = (block.height(), error.to_string());
            DecodeError::Block { height, error }
        })
    }
}

impl OfBlock for BlockSignatures {
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError> {
        let row = block.row(Kind::Signatures);
        row.map(|row| decode::<_, BlockSignaturesV1>(block, &row)).transpose()
    }
}

impl OfBlock for ApprovalsHashes {
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError> {
        /// As 1.x wrote them.
        type Legacy = (BlockHash, Vec<ApprovalsHash>, TrieMerkleProof<Key, StoredValue>);
        let Some(row) = block.row(Kind::ApprovalsHashes) else { return Ok(None) };
        if !row.database.is_legacy() {
            return decode_current(block, &row).map(Some);
        }
        let (hash, hashes, proof) = decode_legacy::<Legacy>(block, &row)?;
        Ok(Some(Self::new(hash, hashes, proof)))
    }
}

impl OfBlock for Vec<Transfer> {
    fn of_block(block: &ArchivedBlock) -> Result<Option<Self>, DecodeError> {
        let Some(row) = block.row(Kind::Transfers) else { return Ok(None) };
        if !row.database.is_legacy() {
            return decode_current(block, &row).map(Some);
        }
        let transfers: Vec<TransferV1> = decode_legacy(block, &row)?;
        Ok(Some(transfers.into_iter().map(Transfer::V1).collect()))
    }
}

/// What is read of a transaction.
pub trait OfTransaction: Sized {
    /// Of the transaction with this hash in its archived block, if its archive has it.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn of_transaction(
        block: &ArchivedBlock,
        hash: &TransactionHash,
    ) -> Result<Option<Self>, DecodeError>;
}

/// The row of a kind of a transaction. A deploy and a transaction of 2.x are told apart by the key.
fn row_of<'a>(block: &'a ArchivedBlock, hash: &TransactionHash, kind: Kind) -> Option<Row<'a>> {
    let row = block.row_of(&hash.digest().value(), kind)?;
    let of_1_x = matches!(hash, TransactionHash::Deploy(_));
    let named = match row.key.split_first_chunk::<1>() {
        Some(([tag], hash)) if hash.len() == 32 => (*tag == 0) == of_1_x,
        _ => of_1_x,
    };
    named.then_some(row)
}

impl OfTransaction for Transaction {
    fn of_transaction(
        block: &ArchivedBlock,
        hash: &TransactionHash,
    ) -> Result<Option<Self>, DecodeError> {
        let row = row_of(block, hash, Kind::Transaction);
        row.map(|row| decode::<_, Deploy>(block, &row)).transpose()
    }
}

impl OfTransaction for BTreeSet<Approval> {
    fn of_transaction(
        block: &ArchivedBlock,
        hash: &TransactionHash,
    ) -> Result<Option<Self>, DecodeError> {
        let row = row_of(block, hash, Kind::FinalizedApprovals);
        row.map(|row| decode::<_, Self>(block, &row)).transpose()
    }
}

impl OfTransaction for ExecutionResult {
    fn of_transaction(
        block: &ArchivedBlock,
        hash: &TransactionHash,
    ) -> Result<Option<Self>, DecodeError> {
        /// As 1.x wrote it: by the one block that the deploy was executed in.
        type Legacy = HashMap<BlockHash, ExecutionResultV1>;
        let Some(row) = row_of(block, hash, Kind::Execution) else { return Ok(None) };
        if !row.database.is_legacy() {
            return decode_current(block, &row).map(Some);
        }
        let (_, result) = decode_legacy::<Legacy>(block, &row)?
            .into_iter()
            .next()
            .ok_or(DecodeError::NotExecuted { height: block.height() })?;
        Ok(Some(Self::V1(result)))
    }
}

impl OfTransaction for BlockHashHeightAndEra {
    fn of_transaction(
        block: &ArchivedBlock,
        _: &TransactionHash,
    ) -> Result<Option<Self>, DecodeError> {
        let header = BlockHeader::of_block(block)?;
        Ok(header.map(|header| Self::new(header.block_hash(), header.height(), header.era_id())))
    }
}

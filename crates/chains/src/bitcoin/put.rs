//! Verified blocks into the store: what belongs to a block is one put.

use super::{
    block::{HEADER_BYTES, Transaction},
    error::BitcoinError,
    hash::Hash,
    query::stored_height,
    tables::Tables,
};
use crate::{
    archive::{Archive, Record},
    contract::TransactionPlace,
};

/// A verified block of the chain.
pub(crate) struct ChainBlock<'a> {
    pub(crate) hash: Hash,
    pub(crate) height: u64,
    /// whether its coinbase says the same
    pub(crate) says_height: bool,
    pub(crate) transactions: &'a [Transaction],
    pub(crate) bytes: &'a [u8],
    /// its undo data, where it comes with it
    pub(crate) undo: Option<&'a [u8]>,
}

/// Puts a block; `false` if it is there.
pub(crate) fn put_block<A: Archive + ?Sized>(
    archive: &mut A,
    tables: &Tables,
    block: &ChainBlock<'_>,
) -> Result<bool, BitcoinError> {
    let &ChainBlock { hash, height, says_height, transactions, bytes, undo } = block;
    if stored_height(archive, tables, hash)?.is_some() {
        return Ok(false);
    }
    let at = height.to_be_bytes();
    let mut records = Vec::with_capacity(4 + transactions.len());
    records.push(Record::sequence(&tables.block, height, bytes));
    records.push(Record::sequence(&tables.header, height, &bytes[..HEADER_BYTES]));
    records.extend(undo.map(|undo| Record::sequence(&tables.undo, height, undo)));
    records.push(Record::keyed(&tables.block_hash, &hash.0[..], at.to_vec()));
    for (index, transaction) in transactions.iter().enumerate() {
        let txid = transaction.txid;
        // before heights were in coinbases, two of them had the ids of older ones
        let repeated =
            index == 0 && !says_height && archive.get(&tables.tx_hash, &txid.0)?.is_some();
        if !repeated {
            let index = u32::try_from(index).expect("fewer than bytes of a block");
            let place = TransactionPlace { height, index }.to_bytes();
            records.push(Record::keyed(&tables.tx_hash, &transaction.txid.0[..], place));
        }
    }
    archive.put(&records)?;
    Ok(true)
}

/// Puts a block without a height, by its hash; `false` if it is there.
pub(crate) fn put_side_block<A: Archive + ?Sized>(
    archive: &mut A,
    tables: &Tables,
    hash: Hash,
    bytes: &[u8],
) -> Result<bool, BitcoinError> {
    let table = &tables.side_block;
    if archive.get(table, &hash.0)?.is_some() {
        return Ok(false);
    }
    archive.put(&[Record::keyed(table, &hash.0[..], bytes)])?;
    Ok(true)
}

/// Puts the undo data of a block that is there, or comes with the same file.
pub(crate) fn put_undo<A: Archive + ?Sized>(
    archive: &mut A,
    tables: &Tables,
    hash: Hash,
    height: Option<u64>,
    undo: &[u8],
) -> Result<(), BitcoinError> {
    let record = match height {
        Some(height) => Record::sequence(&tables.undo, height, undo),
        None => Record::keyed(&tables.side_undo, &hash.0[..], undo),
    };
    match archive.get(record.table, &record.key)? {
        None => archive.put(&[record])?,
        Some(stored) if stored == undo => {}
        Some(_) => return Err(BitcoinError::OtherUndo { block: hash }),
    }
    Ok(())
}

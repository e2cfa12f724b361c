//! A reader of both: the node's store first, then the archive.

use crate::{
    decode::{DecodeError, OfBlock, OfTransaction},
    store::ArchivedBlockStore,
};
use casper_storage::block_store::{
    BlockStoreError, BlockStoreProvider, BlockStoreTransaction, DataReader, DbRawBytesSpec,
    lmdb::DbTableId,
    types::{BlockHeight, LatestSwitchBlock, StateStoreKey, Tip},
};
use casper_types::{BlockHash, BlockHeader, EraId, TransactionHash};
use prunedb_casper::{ArchivedBlock, Kind};
use prunedb_chains::{archive::Archive, contract::Hash};
use std::fmt;

/// A read transaction of the node's store, with the archive behind it.
pub struct ArchivedReader<'a, P: BlockStoreProvider + 'a, A> {
    recent: P::Reader<'a>,
    store: &'a ArchivedBlockStore<P, A>,
}

impl<'a, P: BlockStoreProvider, A: Archive> ArchivedReader<'a, P, A> {
    pub(crate) const fn new(recent: P::Reader<'a>, store: &'a ArchivedBlockStore<P, A>) -> Self {
        Self { recent, store }
    }
}

impl<'a, P: BlockStoreProvider + 'a, A> fmt::Debug for ArchivedReader<'a, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchivedReader").finish_non_exhaustive()
    }
}

impl<'a, P: BlockStoreProvider + 'a, A> BlockStoreTransaction for ArchivedReader<'a, P, A> {
    fn commit(self) -> Result<(), BlockStoreError> {
        self.recent.commit()
    }

    fn rollback(self) {
        self.recent.rollback();
    }
}

/// What an archived block has of something.
fn found<B: AsRef<ArchivedBlock>, T>(
    block: Option<B>,
    read: impl FnOnce(&ArchivedBlock) -> Result<Option<T>, DecodeError>,
) -> Result<Option<T>, BlockStoreError> {
    let Some(block) = block else { return Ok(None) };
    read(block.as_ref()).map_err(|error| BlockStoreError::InternalStorage(error.into()))
}

fn block_hash(hash: &BlockHash) -> Hash {
    hash.inner().value()
}

impl<'a, P, A, T> DataReader<BlockHash, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<BlockHash, T>,
    A: Archive,
    T: OfBlock,
{
    fn read(&self, key: BlockHash) -> Result<Option<T>, BlockStoreError> {
        match self.recent.read(key)? {
            Some(recent) => Ok(Some(recent)),
            None => found(self.store.block(&block_hash(&key))?, T::of_block),
        }
    }

    fn exists(&self, key: BlockHash) -> Result<bool, BlockStoreError> {
        Ok(self.recent.exists(key)? || DataReader::<_, T>::read(self, key)?.is_some())
    }
}

impl<'a, P, A, T> DataReader<BlockHeight, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<BlockHeight, T>,
    A: Archive,
    T: OfBlock,
{
    fn read(&self, key: BlockHeight) -> Result<Option<T>, BlockStoreError> {
        match self.recent.read(key)? {
            Some(recent) => Ok(Some(recent)),
            None => found(self.store.block_at(key)?, T::of_block),
        }
    }

    fn exists(&self, key: BlockHeight) -> Result<bool, BlockStoreError> {
        Ok(self.recent.exists(key)? || DataReader::<_, T>::read(self, key)?.is_some())
    }
}

/// The switch block of an era.
impl<'a, P, A, T> DataReader<EraId, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<EraId, T> + DataReader<EraId, BlockHeader>,
    A: Archive,
    T: OfBlock,
{
    fn read(&self, key: EraId) -> Result<Option<T>, BlockStoreError> {
        if let Some(recent) = DataReader::<_, T>::read(&self.recent, key)? {
            return Ok(Some(recent));
        }
        match DataReader::<_, BlockHeader>::read(&self.recent, key)? {
            Some(header) => {
                found(self.store.block(&block_hash(&header.block_hash()))?, T::of_block)
            }
            None => Ok(None),
        }
    }

    fn exists(&self, key: EraId) -> Result<bool, BlockStoreError> {
        let recent = DataReader::<_, T>::exists(&self.recent, key)?;
        Ok(recent || DataReader::<_, T>::read(self, key)?.is_some())
    }
}

/// The node has it.
impl<'a, P, A, T> DataReader<Tip, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<Tip, T>,
{
    fn read(&self, key: Tip) -> Result<Option<T>, BlockStoreError> {
        self.recent.read(key)
    }

    fn exists(&self, key: Tip) -> Result<bool, BlockStoreError> {
        self.recent.exists(key)
    }
}

/// The node has it.
impl<'a, P, A, T> DataReader<LatestSwitchBlock, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<LatestSwitchBlock, T>,
{
    fn read(&self, key: LatestSwitchBlock) -> Result<Option<T>, BlockStoreError> {
        self.recent.read(key)
    }

    fn exists(&self, key: LatestSwitchBlock) -> Result<bool, BlockStoreError> {
        self.recent.exists(key)
    }
}

/// The node's own notes are never archived.
impl<'a, P, A> DataReader<StateStoreKey, Vec<u8>> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<StateStoreKey, Vec<u8>>,
{
    fn read(&self, key: StateStoreKey) -> Result<Option<Vec<u8>>, BlockStoreError> {
        self.recent.read(key)
    }

    fn exists(&self, key: StateStoreKey) -> Result<bool, BlockStoreError> {
        self.recent.exists(key)
    }
}

impl<'a, P, A, T> DataReader<TransactionHash, T> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<TransactionHash, T>,
    A: Archive,
    T: OfTransaction,
{
    fn read(&self, key: TransactionHash) -> Result<Option<T>, BlockStoreError> {
        match self.recent.read(key)? {
            Some(recent) => Ok(Some(recent)),
            None => {
                let block = self.store.block_with(&key.digest().value())?;
                found(block, |block| T::of_transaction(block, &key))
            }
        }
    }

    fn exists(&self, key: TransactionHash) -> Result<bool, BlockStoreError> {
        Ok(self.recent.exists(key)? || DataReader::<_, T>::read(self, key)?.is_some())
    }
}

/// A row as it lies in its database.
impl<'a, P, A> DataReader<(DbTableId, Vec<u8>), DbRawBytesSpec> for ArchivedReader<'a, P, A>
where
    P: BlockStoreProvider + 'a,
    P::Reader<'a>: DataReader<(DbTableId, Vec<u8>), DbRawBytesSpec>,
    A: Archive,
{
    fn read(
        &self,
        (table, key): (DbTableId, Vec<u8>),
    ) -> Result<Option<DbRawBytesSpec>, BlockStoreError> {
        if let Some(recent) = self.recent.read((table, key.clone()))? {
            return Ok(Some(recent));
        }
        let kind = match table {
            DbTableId::BlockHeader => Kind::Header,
            DbTableId::BlockBody => return Err(BlockStoreError::UnsupportedOperation),
            DbTableId::ApprovalsHashes => Kind::ApprovalsHashes,
            DbTableId::BlockMetadata => Kind::Signatures,
            DbTableId::Transfer => Kind::Transfers,
            DbTableId::Transaction => Kind::Transaction,
            DbTableId::ExecutionResult => Kind::Execution,
            DbTableId::FinalizedTransactionApprovals => Kind::FinalizedApprovals,
        };
        // a transaction's key of 2.x says first of which kind it is
        let hash: Option<&Hash> = match key.len() {
            32 | 33 => key.last_chunk(),
            _ => None,
        };
        let Some(hash) = hash else { return Ok(None) };
        let block = match kind {
            Kind::Transaction | Kind::Execution | Kind::FinalizedApprovals => {
                self.store.block_with(hash)?
            }
            _ => self.store.block(hash)?,
        };
        let Some(block) = block else { return Ok(None) };
        let row = block.row(kind).or_else(|| block.row_of(hash, kind));
        Ok(row.filter(|row| row.key == key).map(|row| match row.database.is_legacy() {
            true => DbRawBytesSpec::new_legacy(row.value),
            false => DbRawBytesSpec::new_current(row.value),
        }))
    }

    fn exists(&self, key: (DbTableId, Vec<u8>)) -> Result<bool, BlockStoreError> {
        self.read(key).map(|row| row.is_some())
    }
}

//! The store: a node's own, and the archive behind it.

use crate::reader::ArchivedReader;
use casper_storage::block_store::{BlockStoreError, BlockStoreProvider};
use prunedb_casper::{ArchivedBlock, ArchivedBlocks, CasperVerifier};
use prunedb_chains::{
    archive::Archive,
    contract::{ChainError, Hash},
};
use std::sync::{Arc, Mutex, PoisonError};

/// A node's block store, with the archive behind it.
///
/// The last archived block that was read is kept: whoever asks for one thing of a block asks for the next one, too.
#[derive(Debug)]
pub struct ArchivedBlockStore<P, A> {
    recent: P,
    archive: A,
    verifier: CasperVerifier,
    last: Mutex<Option<Arc<ArchivedBlock>>>,
}

impl<P, A: Archive> ArchivedBlockStore<P, A> {
    /// The node's store, and the archived blocks of the verifier's network.
    pub const fn new(recent: P, archive: A, verifier: CasperVerifier) -> Self {
        Self { recent, archive, verifier, last: Mutex::new(None) }
    }

    /// The archived block of a height.
    pub(crate) fn block_at(
        &self,
        height: u64,
    ) -> Result<Option<Arc<ArchivedBlock>>, BlockStoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = last.as_ref().filter(|block| block.height() == height) {
            return Ok(Some(Arc::clone(block)));
        }
        let found = self.blocks().at(height).map_err(unreadable)?.map(Arc::new);
        if found.is_some() {
            last.clone_from(&found);
        }
        Ok(found)
    }

    /// The archived block with this hash.
    pub(crate) fn block(&self, hash: &Hash) -> Result<Option<Arc<ArchivedBlock>>, BlockStoreError> {
        let height = self.blocks().height_of(hash).map_err(unreadable)?;
        height.map_or(Ok(None), |height| self.block_at(height))
    }

    /// The archived block with this transaction.
    pub(crate) fn block_with(
        &self,
        transaction: &Hash,
    ) -> Result<Option<Arc<ArchivedBlock>>, BlockStoreError> {
        let height = self.blocks().height_with(transaction).map_err(unreadable)?;
        height.map_or(Ok(None), |height| self.block_at(height))
    }

    fn blocks(&self) -> ArchivedBlocks<'_, A> {
        ArchivedBlocks::new(&self.archive, &self.verifier)
    }
}

fn unreadable(error: ChainError) -> BlockStoreError {
    BlockStoreError::InternalStorage(error.into())
}

impl<P: BlockStoreProvider, A: Archive> BlockStoreProvider for ArchivedBlockStore<P, A> {
    type Reader<'a>
        = ArchivedReader<'a, P, A>
    where
        Self: 'a;
    type ReaderWriter<'a>
        = P::ReaderWriter<'a>
    where
        Self: 'a;

    fn checkout_ro(&self) -> Result<Self::Reader<'_>, BlockStoreError> {
        Ok(ArchivedReader::new(self.recent.checkout_ro()?, self))
    }

    /// The node's own: what is archived is never written again.
    fn checkout_rw(&mut self) -> Result<Self::ReaderWriter<'_>, BlockStoreError> {
        self.recent.checkout_rw()
    }
}

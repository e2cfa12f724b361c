//! The bytes of a file that cannot be made again from its blocks.

use crate::{
    archive::{Archive, Record},
    ethereum::{
        error::EthereumError,
        hash::Hash32,
        tables::{ORIGINAL_CHUNK_BYTES, Tables, original_key},
    },
};

/// Cuts a file into chunks and puts them, except those that are there.
pub(crate) struct Original<'a> {
    sha256: Hash32,
    tables: &'a Tables,
    chunk: u32,
    pending: Vec<u8>,
}

impl<'a> Original<'a> {
    pub(crate) fn new(sha256: &Hash32, tables: &'a Tables) -> Self {
        Self { sha256: *sha256, tables, chunk: 0, pending: Vec::new() }
    }

    /// Takes the file's next bytes; gives how many bytes were put.
    pub(crate) fn push<A: Archive + ?Sized>(
        &mut self,
        archive: &mut A,
        bytes: &[u8],
    ) -> Result<u64, EthereumError> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() / ORIGINAL_CHUNK_BYTES * ORIGINAL_CHUNK_BYTES;
        let rest = self.pending.split_off(whole);
        let full = std::mem::replace(&mut self.pending, rest);
        self.put(archive, &full)
    }

    /// Puts what is left.
    pub(crate) fn finish<A: Archive + ?Sized>(
        mut self,
        archive: &mut A,
    ) -> Result<u64, EthereumError> {
        let rest = std::mem::take(&mut self.pending);
        self.put(archive, &rest)
    }

    fn put<A: Archive + ?Sized>(
        &mut self,
        archive: &mut A,
        bytes: &[u8],
    ) -> Result<u64, EthereumError> {
        let mut put_bytes = 0;
        for chunk in bytes.chunks(ORIGINAL_CHUNK_BYTES) {
            let key = original_key(&self.sha256, self.chunk);
            // the key has the file's hash in it: what is there is equal
            if archive.get(&self.tables.era1_original, &key)?.is_none() {
                archive.put(&[Record::keyed(&self.tables.era1_original, key, chunk)])?;
                put_bytes += chunk.len() as u64;
            }
            self.chunk += 1;
        }
        Ok(put_bytes)
    }
}

//! Where container bytes come from, and where the coded stream waits to be coded.

use std::io;

/// Bytes that can be read at any offset, from several threads at once.
pub trait ReadAt: Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the medium; [`io::ErrorKind::UnexpectedEof`] where the bytes end before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Takes the coded stream in order and gives it back at any offset.
pub trait Spool: ReadAt + Send {
    /// Appends the next bytes.
    ///
    /// # Errors
    /// Those of the medium. The spool is of no use after one.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A spool in memory.
#[derive(Debug, Default)]
pub struct MemorySpool(Vec<u8>);

impl MemorySpool {
    /// An empty spool with room for a stream of that length; a coded stream is never longer than its container.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl ReadAt for MemorySpool {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.as_slice().read_exact_at(buffer, offset)
    }
}

impl Spool for MemorySpool {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

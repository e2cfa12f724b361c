//! Where container bytes come from, and where the coded stream waits to be coded.

use std::{io, ops::Range};

/// Bytes that can be read at any offset, from several threads at once.
pub trait ReadAt: Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the medium; [`io::ErrorKind::UnexpectedEof`] where the bytes end before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The bytes of a range, where they lie in memory: then they need not be copied.
    fn in_memory(&self, range: Range<u64>) -> Option<&[u8]> {
        let _ = range;
        None
    }
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

    /// Forgets the stream and keeps its memory for the next one: fresh memory costs a page fault each 4 KiB.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl ReadAt for MemorySpool {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn in_memory(&self, range: Range<u64>) -> Option<&[u8]> {
        part(self.as_slice(), range)
    }
}

impl Spool for MemorySpool {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        buffer.copy_from_slice(part(self, offset..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn in_memory(&self, range: Range<u64>) -> Option<&[u8]> {
        part(self, range)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn in_memory(&self, range: Range<u64>) -> Option<&[u8]> {
        part(self, range)
    }
}

fn part(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

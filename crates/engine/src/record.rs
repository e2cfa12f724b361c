//! One record, from wherever its container's bytes come.

use crate::error::Error;
use prunedb_core::{ContainerId, TableId};
use prunedb_format::{
    FormatError,
    container::{RECORD_HEADER_BYTES, RecordHeader, RecordView},
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A record's bytes, verified once, when they were read.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    parts: Parts,
}

/// What a record's bytes are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    table: TableId,
    key_bytes: usize,
    value_bytes: usize,
    end_of_put: bool,
}

impl Parts {
    /// Verifies the record at the start of some bytes.
    pub(crate) fn verify(bytes: &[u8]) -> Result<Self, FormatError> {
        let RecordView { table, key, value, end_of_put } = RecordView::decode(bytes)?;
        Ok(Self { table, key_bytes: key.len(), value_bytes: value.len(), end_of_put })
    }

    /// Takes the same bytes apart.
    pub(crate) fn view<'a>(&self, bytes: &'a [u8]) -> RecordView<'a> {
        let (key, rest) = bytes[RECORD_HEADER_BYTES..].split_at(self.key_bytes);
        let (table, end_of_put) = (self.table, self.end_of_put);
        RecordView { table, key, value: &rest[..self.value_bytes], end_of_put }
    }
}

impl Record {
    pub(crate) fn view(&self) -> RecordView<'_> {
        self.parts.view(&self.bytes)
    }

    /// Its value, in the memory that it was read into.
    pub(crate) fn into_value(mut self) -> Vec<u8> {
        let start = RECORD_HEADER_BYTES + self.parts.key_bytes;
        self.bytes.truncate(start + self.parts.value_bytes);
        self.bytes.drain(..start);
        self.bytes
    }
}

/// Reads the record at `offset`, `guess` bytes at first. `read` gives bytes of the container, fewer only at its end.
///
/// # Errors
/// [`Error::Damaged`] where the bytes are no record, and those of `read`.
pub(crate) fn read_record(
    id: ContainerId,
    offset: u64,
    guess: usize,
    mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, Error>,
) -> Result<Record, Error> {
    let damaged = |e: FormatError| Error::Damaged { container: id, offset, reason: e.to_string() };
    let mut bytes = read(offset, guess)?;
    let header = bytes.first_chunk::<RECORD_HEADER_BYTES>().ok_or_else(|| {
        damaged(FormatError::Truncated { what: "record", needed: 16, found: bytes.len() as u64 })
    })?;
    let header = RecordHeader::decode(header).map_err(damaged)?;
    if header.record_bytes() > bytes.len() {
        let rest = read(offset + bytes.len() as u64, header.record_bytes() - bytes.len())?;
        bytes.extend_from_slice(&rest);
    }
    let parts = Parts::verify(&bytes).map_err(damaged)?;
    Ok(Record { bytes, parts })
}

/// How long the records of each table are, so that most of them take one read. Tables share places: a wrong guess costs
/// a second read, or some bytes too many, and no more.
#[derive(Debug)]
pub(crate) struct ReadSizes([AtomicUsize; 16]);

const GUESS_BYTES_MIN: usize = 1024;
const GUESS_BYTES_MAX: usize = 128 << 10;

impl Default for ReadSizes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicUsize::new(4096)))
    }
}

impl ReadSizes {
    fn of(&self, table: TableId) -> &AtomicUsize {
        &self.0[table.0 as usize % self.0.len()]
    }

    /// Bytes to read at first.
    pub(crate) fn guess(&self, table: TableId) -> usize {
        self.of(table).load(Relaxed)
    }

    /// A record had so many bytes: the next guess is no shorter, and comes down slowly.
    pub(crate) fn learn(&self, table: TableId, bytes: usize) {
        let bytes = bytes.clamp(GUESS_BYTES_MIN, GUESS_BYTES_MAX);
        let guess = self.guess(table);
        if bytes != guess {
            let lower = guess.saturating_sub(guess.abs_diff(bytes) / 8 + 1);
            self.of(table).store(lower.max(bytes), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_follow_the_records() {
        let (sizes, table) = (ReadSizes::default(), TableId(3));
        sizes.learn(table, 20_000);
        assert_eq!(sizes.guess(table), 20_000);
        sizes.learn(table, 2000);
        assert!((15_000..20_000).contains(&sizes.guess(table)));
        (0..200).for_each(|_| sizes.learn(table, 2000));
        assert_eq!(sizes.guess(table), 2000);
        sizes.learn(table, usize::MAX);
        assert_eq!(sizes.guess(table), GUESS_BYTES_MAX);
        assert_eq!(sizes.guess(TableId(4)), 4096);
    }
}

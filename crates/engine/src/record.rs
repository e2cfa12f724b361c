//! One record, from wherever its container's bytes come.

use crate::error::Error;
use prunedb_core::ContainerId;
use prunedb_format::{
    FormatError,
    container::{RECORD_HEADER_BYTES, RecordHeader, RecordView},
};

/// A record's bytes, verified; [`RecordView`] takes them apart again for free.
#[derive(Debug, Clone)]
pub(crate) struct Record(Vec<u8>);

impl Record {
    pub(crate) fn view(&self) -> RecordView<'_> {
        RecordView::decode(&self.0).expect("verified when it was read")
    }
}

/// Reads the record at `offset`. `read` gives bytes of the container, fewer only at its end.
///
/// # Errors
/// [`Error::Damaged`] where the bytes are no record, and those of `read`.
pub(crate) fn read_record(
    id: ContainerId,
    offset: u64,
    mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, Error>,
) -> Result<Record, Error> {
    let damaged = |e: FormatError| Error::Damaged { container: id, offset, reason: e.to_string() };
    // most records fit into the first read
    let mut bytes = read(offset, FIRST_READ_BYTES)?;
    let header = bytes.first_chunk::<RECORD_HEADER_BYTES>().ok_or_else(|| {
        damaged(FormatError::Truncated { what: "record", needed: 16, found: bytes.len() as u64 })
    })?;
    let header = RecordHeader::decode(header).map_err(damaged)?;
    if header.record_bytes() > bytes.len() {
        let rest = read(offset + bytes.len() as u64, header.record_bytes() - bytes.len())?;
        bytes.extend_from_slice(&rest);
    }
    RecordView::decode(&bytes).map_err(damaged)?;
    Ok(Record(bytes))
}

const FIRST_READ_BYTES: usize = 4096;

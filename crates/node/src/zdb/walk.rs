//! Walking over the records of a log, forwards and backwards.
//!
//! Forwards, what lies densely is read 64 KiB at a time, and what is far apart by its headers alone.

use super::{
    layout::{FIRST_UNIT, HEADER_BYTES, KEY_BYTES_MAX, RecordHeader, UNIT_BYTES},
    log::{Damaged, Log},
};
use std::sync::Arc;

/// Bytes read where records follow closely.
const DENSE_BYTES: usize = 64 << 10;
/// Bytes read where they do not.
const SPARSE_BYTES: usize = 512;
const _: () = assert!(SPARSE_BYTES >= HEADER_BYTES + KEY_BYTES_MAX);
/// Bytes that the search behind damage looks at in one read.
const SEARCH_BYTES: u64 = 256 << 10;

/// A record as a walk sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) unit: u32,
    pub(crate) header: RecordHeader,
    pub(crate) key: Vec<u8>,
}

/// Goes from record to record.
#[derive(Debug)]
pub(crate) struct Walk {
    log: Arc<Log>,
    /// the next record's unit
    pub(crate) at: u32,
    /// where the records end
    end: u32,
    window: Vec<u8>,
    /// byte offset of the window
    window_at: u64,
}

impl Walk {
    /// A walk from a record on, to the end of what is written.
    pub(crate) fn new(log: Arc<Log>, from: u32, end: u32) -> Self {
        Self { log, at: from.max(FIRST_UNIT), end, window: Vec::new(), window_at: 0 }
    }

    /// The next record, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>, Damaged> {
        if self.at >= self.end {
            return Ok(None);
        }
        self.fill()?;
        let unit = self.at;
        let from = usize::try_from(u64::from(unit) * UNIT_BYTES - self.window_at);
        let bytes = &self.window[from.expect("within the window")..];
        let parsed = RecordHeader::parse(&self.log.header.mark, self.log.at(unit), bytes);
        let (header, key) = parsed.ok_or_else(|| self.log.damaged(unit, None))?;
        let seen = Seen { unit, header, key: key.to_vec() };
        self.at = self.at.saturating_add(header.units());
        Ok(Some(seen))
    }

    /// Has the window hold the next record's head, if the file is long enough.
    fn fill(&mut self) -> Result<(), Damaged> {
        let offset = u64::from(self.at) * UNIT_BYTES;
        let held_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + SPARSE_BYTES as u64 > held_end {
            let near = offset <= held_end && !self.window.is_empty();
            self.window.resize(if near { DENSE_BYTES } else { SPARSE_BYTES }, 0);
            let read = self.log.file.read_at(&mut self.window, offset);
            let read = read.map_err(|e| self.log.damaged(self.at, Some(e)))?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        Ok(())
    }

    /// Goes on at the first good record behind a bad one; `false` where there is none.
    pub(crate) fn skip(&mut self) -> Result<bool, Damaged> {
        let mut from = self.at.saturating_add(1);
        let units = u32::try_from(SEARCH_BYTES / UNIT_BYTES).expect("small");
        let mut bytes = vec![0; DENSE_BYTES + SPARSE_BYTES];
        bytes.resize(usize::try_from(SEARCH_BYTES).expect("small") + SPARSE_BYTES, 0);
        while from < self.end {
            let read = self.log.file.read_at(&mut bytes, u64::from(from) * UNIT_BYTES);
            let read = read.map_err(|e| self.log.damaged(from, Some(e)))?;
            for nth in 0..units.min(self.end - from) {
                let start = nth as usize * 16;
                if start >= read {
                    break;
                }
                let at = self.log.at(from + nth);
                if RecordHeader::parse(&self.log.header.mark, at, &bytes[start..read]).is_some() {
                    self.at = from + nth;
                    return Ok(true);
                }
            }
            from = from.saturating_add(units);
        }
        self.at = self.end;
        Ok(false)
    }
}

/// Goes from record to record, towards the beginning.
#[derive(Debug)]
pub(crate) struct WalkBack {
    log: Arc<Log>,
    /// the next record's unit; 0 at the end
    pub(crate) at: u32,
}

impl WalkBack {
    /// A walk that begins with the record at a unit.
    pub(crate) fn new(log: Arc<Log>, from: u32) -> Self {
        Self { log, at: from }
    }

    /// The next record, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>, Damaged> {
        if self.at < FIRST_UNIT {
            return Ok(None);
        }
        let head = match self.log.head_only(self.at) {
            Ok(head) => head,
            Err(_) => match self.good_before()? {
                Some(unit) => self.log.head_only(unit)?,
                None => return Ok(None),
            },
        };
        let seen = Seen { unit: head.unit(), header: head.header, key: head.key().to_vec() };
        // a record is always behind the one before it: this ends
        self.at = if seen.header.before < seen.unit { seen.header.before } else { 0 };
        Ok(Some(seen))
    }

    /// The last good record in front of a bad one.
    fn good_before(&self) -> Result<Option<u32>, Damaged> {
        let mut walk = Walk::new(Arc::clone(&self.log), FIRST_UNIT, self.at);
        let mut last = None;
        loop {
            match walk.next() {
                Ok(Some(seen)) => last = Some(seen.unit),
                Ok(None) => return Ok(last),
                Err(_) => _ = walk.skip()?,
            }
        }
    }
}

//! The blocks on this machine's disk, each with its certificate.
//!
//! ```text
//! <dir>/blocks-<first height, 20 digits>.log     one block after another, a new file after 16 MiB or 64 blocks
//!
//! offset  size  field
//!      0     4  bytes        of the rest, u32
//!      4     4  crc          CRC-32C of the rest
//!      8     4  certificate  its length, u32, and its bytes
//!      .     .  block        height u64; checkpoint 0, or 1 with height u64 and root; count u32 of transactions, each behind its
//!                            length as u32
//! ```
//! A block is synced before [`Journal::append`] returns, so that at most the last one is torn: it is cut off at the next
//! start. Anything else that cannot be read is damage, and is said. After a failed append the journal takes no more.
//! Memory: 8 bytes for each block that is kept.

use crate::block::{BLOCK_BYTES_MAX, Finalized};
use prunedb_disk::{Disk, File, Lock, Open, create_dir_durable};
use prunedb_format::{
    FormatError,
    bytes::{Reader, put_long},
    crc32c,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SEGMENT_BYTES: u64 = 16 << 20;
const SEGMENT_BLOCKS: usize = 64;
const HEADER_BYTES: usize = 8;
/// Longest certificate: of 255 validators, with room.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// A block that may be, with its height and its checkpoint, and a certificate.
const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 64;

/// A journal that cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk said no.
    #[error("{what}: {path}: {message}")]
    Io {
        /// what was tried
        what: &'static str,
        /// where
        path: PathBuf,
        /// what the disk said
        message: String,
    },
    /// Bytes that are no blocks.
    #[error(
        "{path}, at byte {offset}: {problem}: the file is damaged; recover it from a copy or another validator"
    )]
    Damaged {
        /// which file
        path: PathBuf,
        /// where in it
        offset: u64,
        /// what is wrong
        problem: String,
    },
    /// Another process has it.
    #[error("{path} is in use by another process")]
    InUse {
        /// its lock
        path: PathBuf,
    },
    /// The block was dropped.
    #[error("block {height} was pruned, the first one kept is {first}: begin with a snapshot")]
    Pruned {
        /// which block
        height: u64,
        /// the first one that is kept
        first: u64,
    },
    /// Not the next one.
    #[error("block {found} follows on block {last}")]
    Height {
        /// the last one
        last: u64,
        /// the one to append
        found: u64,
    },
    /// An append failed before.
    #[error("the journal takes no more blocks since a write failed: start again")]
    Dead,
}

impl JournalError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { what, path: path.into(), message: error.to_string() }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segments: Mutex<Segments>,
    _lock: Box<dyn Lock>,
}

#[derive(Debug, Default)]
struct Segments {
    /// by rising height, none but the last one empty
    list: Vec<Segment>,
    last: u64,
    is_dead: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: Arc<dyn File>,
    first: u64,
    /// where each block begins, and where the last one ends
    offsets: Vec<u64>,
}

impl Segment {
    /// The height of the block that would come next.
    const fn next_height(&self) -> u64 {
        self.first + self.offsets.len() as u64 - 1
    }

    fn end(&self) -> u64 {
        *self.offsets.last().expect("there is always an end")
    }

    fn is_full(&self) -> bool {
        self.end() >= SEGMENT_BYTES || self.offsets.len() > SEGMENT_BLOCKS
    }
}

impl Journal {
    /// Opens or creates the journal of a folder; cuts a torn block off.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, JournalError> {
        create_dir_durable(&*disk, dir).map_err(|e| JournalError::io("creating", dir, &e))?;
        let path = dir.join("lock");
        let lock = disk.lock(&path).map_err(|e| JournalError::io("locking", &path, &e))?;
        let lock = lock.ok_or(JournalError::InUse { path })?;
        let names = disk.list(dir).map_err(|e| JournalError::io("listing", dir, &e))?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| first_height(name)).collect();
        firsts.sort_unstable();
        let mut segments = Segments::default();
        for (position, &first) in firsts.iter().enumerate() {
            let path = segment_path(dir, first);
            if position > 0 && first != segments.last + 1 {
                let problem = format!("begins with block {first}, after block {}", segments.last);
                return Err(JournalError::Damaged { path, offset: 0, problem });
            }
            let is_last = position + 1 == firsts.len();
            let segment = Segment::open(&*disk, path, first, is_last)?;
            segments.last = segment.next_height() - 1;
            segments.list.push(segment);
        }
        Ok(Self { disk, dir: dir.into(), segments: Mutex::new(segments), _lock: lock })
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last block; 0 where there is none.
    pub(crate) fn last_height(&self) -> u64 {
        self.segments().last
    }

    /// The first block that is kept; the next one where there is none.
    pub(crate) fn first_height(&self) -> u64 {
        let segments = self.segments();
        segments.list.first().map_or(segments.last + 1, |segment| segment.first)
    }

    /// Appends the next block and syncs it. The first block of an empty journal may have any height: what was before is
    /// in a snapshot.
    pub(crate) fn append(&self, block: &Finalized, certificate: &[u8]) -> Result<(), JournalError> {
        let mut segments = self.segments();
        if segments.is_dead {
            return Err(JournalError::Dead);
        }
        let is_first = segments.list.is_empty();
        if block.height == 0 || (!is_first && block.height != segments.last + 1) {
            return Err(JournalError::Height { last: segments.last, found: block.height });
        }
        segments.is_dead = true;
        if segments.list.last().is_none_or(Segment::is_full) {
            let path = segment_path(&self.dir, block.height);
            let file = self.disk.open(&path, Open::CreateNew);
            let file = file.map_err(|e| JournalError::io("creating", &path, &e))?;
            self.disk
                .sync_dir(&self.dir)
                .map_err(|e| JournalError::io("syncing", &self.dir, &e))?;
            segments.list.push(Segment { path, file, first: block.height, offsets: vec![0] });
        }
        let segment = segments.list.last_mut().expect("one was made where there was none");
        let record = record(block, certificate);
        let end = segment.end();
        let written =
            segment.file.write_all_at(&record, end).and_then(|()| segment.file.sync_data());
        written.map_err(|e| JournalError::io("writing", &segment.path, &e))?;
        segment.offsets.push(end + record.len() as u64);
        segments.last = block.height;
        segments.is_dead = false;
        Ok(())
    }

    /// A block and its certificate; `None` behind the last one.
    pub(crate) fn read(&self, height: u64) -> Result<Option<(Finalized, Vec<u8>)>, JournalError> {
        let (path, file, start, end) = {
            let segments = self.segments();
            if height > segments.last {
                return Ok(None);
            }
            let position = segments.list.partition_point(|segment| segment.first <= height);
            let Some(position) = position.checked_sub(1) else {
                drop(segments);
                return Err(JournalError::Pruned { height, first: self.first_height() });
            };
            let segment = &segments.list[position];
            let at = usize::try_from(height - segment.first).expect("as many as are in memory");
            let (start, end) = (segment.offsets[at], segment.offsets[at + 1]);
            (segment.path.clone(), Arc::clone(&segment.file), start, end)
        };
        let mut bytes = vec![0; usize::try_from(end - start).expect("bounded by a record")];
        file.read_exact_at(&mut bytes, start)
            .map_err(|e| JournalError::io("reading", &path, &e))?;
        match parse(&bytes, height) {
            Ok(Some(found)) if found.bytes == bytes.len() => {
                Ok(Some((found.block, found.certificate)))
            }
            Ok(_) => Err(JournalError::Damaged {
                path,
                offset: start,
                problem: "a block has another length".into(),
            }),
            Err(error) => {
                Err(JournalError::Damaged { path, offset: start, problem: error.to_string() })
            }
        }
    }

    /// Removes all blocks: they come to an end before those of a snapshot begin.
    #[cfg(feature = "simplex")]
    pub(crate) fn clear(&self) -> Result<(), JournalError> {
        let mut segments = self.segments();
        while let Some(segment) = segments.list.first() {
            let path = &segment.path;
            self.disk.remove(path).map_err(|e| JournalError::io("removing", path, &e))?;
            segments.list.remove(0);
        }
        segments.last = 0;
        self.disk.sync_dir(&self.dir).map_err(|e| JournalError::io("syncing", &self.dir, &e))
    }

    /// Removes the files whose blocks are all below a height; never the last one.
    pub(crate) fn prune(&self, below: u64) -> Result<(), JournalError> {
        let mut segments = self.segments();
        let is_below = |segment: &Segment| segment.next_height() <= below;
        while segments.list.len() > 1 && segments.list.first().is_some_and(is_below) {
            let path = &segments.list[0].path;
            self.disk.remove(path).map_err(|e| JournalError::io("removing", path, &e))?;
            segments.list.remove(0);
        }
        self.disk.sync_dir(&self.dir).map_err(|e| JournalError::io("syncing", &self.dir, &e))
    }
}

impl Segment {
    fn open(
        disk: &dyn Disk,
        path: PathBuf,
        first: u64,
        is_last: bool,
    ) -> Result<Self, JournalError> {
        let failed = |what, e: &io::Error| JournalError::io(what, &path, e);
        let file = disk.open(&path, Open::ReadWrite).map_err(|e| failed("opening", &e))?;
        let length = file.len().map_err(|e| failed("reading", &e))?;
        let most = SEGMENT_BYTES + RECORD_BYTES_MAX as u64 + HEADER_BYTES as u64;
        let damaged = |offset: usize, problem: String| JournalError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            problem,
        };
        if length > most {
            return Err(damaged(0, format!("{length} bytes, {most} at most")));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("a few MiB")];
        file.read_exact_at(&mut bytes, 0).map_err(|e| failed("reading", &e))?;
        let (mut at, mut offsets) = (0, vec![0]);
        while at < bytes.len() {
            let height = first + offsets.len() as u64 - 1;
            match parse(&bytes[at..], height) {
                Ok(Some(record)) => {
                    at += record.bytes;
                    offsets.push(at as u64);
                }
                Ok(None) if is_last && !has_record(&bytes[at..], height + 1) => break,
                Ok(None) => return Err(damaged(at, format!("block {height} is cut off"))),
                Err(_) if is_last && !has_record(&bytes[at..], height + 1) => break,
                Err(error) => return Err(damaged(at, error.to_string())),
            }
        }
        if at < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - at, "cut a torn block off");
            file.set_len(at as u64)
                .and_then(|()| file.sync_data())
                .map_err(|e| failed("cutting", &e))?;
        }
        Ok(Self { path, file, first, offsets })
    }
}

/// The heights of the blocks that a folder has, from the first one to before the next one. Nobody may have it open.
///
/// # Errors
/// [`JournalError`].
pub fn kept_blocks(disk: Arc<dyn Disk>, dir: &Path) -> Result<std::ops::Range<u64>, JournalError> {
    let journal = Journal::open(disk, dir)?;
    Ok(journal.first_height()..journal.last_height() + 1)
}

struct Record {
    block: Finalized,
    certificate: Vec<u8>,
    /// of all of it
    bytes: usize,
}

fn record(block: &Finalized, certificate: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    put_long(&mut out, certificate);
    block.put(&mut out);
    let rest = out.len() - HEADER_BYTES;
    assert!(rest <= RECORD_BYTES_MAX, "blocks and certificates have their bounds");
    out[..4].copy_from_slice(&prunedb_format::bytes::count_u32(rest));
    let crc = crc32c(&out[HEADER_BYTES..]);
    out[4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The record at the start of some bytes; `None` where they end before it does.
fn parse(bytes: &[u8], height: u64) -> Result<Option<Record>, FormatError> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    let mut header = Reader::new("block", header);
    let (length, expected) = (header.u32()?, header.u32()?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > RECORD_BYTES_MAX {
        return Err(FormatError::Value { what: "block: length", found: length as u64 });
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let found = crc32c(rest);
    if found != expected {
        return Err(FormatError::Checksum { what: "block", expected, found });
    }
    let mut from = Reader::new("block", rest);
    let certificate = from.long_bytes()?.to_vec();
    let block = Finalized::get(&mut from)?;
    from.end()?;
    if block.height != height {
        return Err(FormatError::Value { what: "block: height", found: block.height });
    }
    Ok(Some(Record { block, certificate, bytes: HEADER_BYTES + length }))
}

/// Whether the record of a height is anywhere in these bytes: then what is before it was not torn by a crash.
fn has_record(bytes: &[u8], height: u64) -> bool {
    (1..bytes.len()).any(|at| matches!(parse(&bytes[at..], height), Ok(Some(_))))
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("blocks-{first:020}.log"))
}

fn first_height(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("blocks-")?.strip_suffix(".log")?;
    let first = (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    first.filter(|&first| first > 0)
}

#[cfg(test)]
mod tests;

//! A run's file: a header page, then regions of pages; written once, then only read.
//!
//! Header page (page 0):
//! ```text
//! offset  size  field
//!      0     4  crc            as of every page
//!      4     4  version        1
//!      8     8  magic          "PDBRUN\x00\x01"
//!     16     8  run            number of the run
//!     24     1  kind           1 keyed, 2 sequence
//!     25     1  prefix_bits    keyed: bits of the hash that entries carry, 40..=48; else 0
//!     26     2  zero
//!     28    16  pages          4 x u32: pages of each region, in file order
//!     44     4  home_pages     keyed: the pages that hashes are spread over; else 0
//!     48     8  entries
//!     56     8  filter_blocks  keyed: blocks of the filter, 0 without one; else 0
//!     64     4  container_min  lowest container of any entry
//!     68     4  container_max  highest container of any entry
//!     72  4020  zero
//! ```
//! Regions of a keyed run: entries, filter. Of a sequence run: entries, fences, fences of fences, tables.
//! The header is written last; a run counts only when the index manifest, which holds the header's checksum, names it.

use crate::{
    error::Error,
    page::{self, CRC_BYTES, PAGE_BYTES, Page, SLOT_BYTES, u32_at, u64_at},
};
use prunedb_disk::{Disk, File, Open};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

pub(crate) const RUN_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"PDBRUN\x00\x01";
/// Pages that are written at once: few enough to be in the processor's second cache.
const WRITE_PAGES: usize = 64;

/// What a run holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub(crate) enum RunKind {
    Keyed = 1,
    Sequence = 2,
}

impl RunKind {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Keyed),
            2 => Some(Self::Sequence),
            _ => None,
        }
    }
}

/// The header page's fields. See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunHeader {
    pub(crate) kind: RunKind,
    pub(crate) prefix_bits: u8,
    pub(crate) pages: [u32; 4],
    pub(crate) home_pages: u32,
    pub(crate) entries: u64,
    pub(crate) filter_blocks: u64,
    pub(crate) container_min: u32,
    pub(crate) container_max: u32,
}

impl RunHeader {
    pub(crate) fn write(&self, run: u64) -> Page {
        let mut page = [0; PAGE_BYTES];
        page[4..8].copy_from_slice(&RUN_VERSION.to_le_bytes());
        page[8..16].copy_from_slice(MAGIC);
        page[16..24].copy_from_slice(&run.to_le_bytes());
        page[24] = self.kind as u8;
        page[25] = self.prefix_bits;
        for (pages, out) in self.pages.iter().zip(page[28..44].chunks_exact_mut(4)) {
            out.copy_from_slice(&pages.to_le_bytes());
        }
        page[44..48].copy_from_slice(&self.home_pages.to_le_bytes());
        page[48..56].copy_from_slice(&self.entries.to_le_bytes());
        page[56..64].copy_from_slice(&self.filter_blocks.to_le_bytes());
        page[64..68].copy_from_slice(&self.container_min.to_le_bytes());
        page[68..72].copy_from_slice(&self.container_max.to_le_bytes());
        page::seal(&mut page, run, 0);
        page
    }

    /// Reads a page whose checksum fits; says what is wrong with it otherwise.
    pub(crate) fn read(page: &Page, run: u64) -> Result<Self, &'static str> {
        if &page[8..16] != MAGIC || u64_at(page, 16) != run {
            return Err("the first page is no header of this run");
        }
        let kind = RunKind::from_byte(page[24]).ok_or("unknown kind of run")?;
        let header = Self {
            kind,
            prefix_bits: page[25],
            pages: std::array::from_fn(|i| u32_at(page, 28 + 4 * i)),
            home_pages: u32_at(page, 44),
            entries: u64_at(page, 48),
            filter_blocks: u64_at(page, 56),
            container_min: u32_at(page, 64),
            container_max: u32_at(page, 68),
        };
        if header.pages.iter().map(|&p| u64::from(p)).sum::<u64>() >= u64::from(u32::MAX) {
            return Err("more pages than a run can have");
        }
        Ok(header)
    }

    /// Number of the first page of a region.
    pub(crate) fn region_start(&self, region: usize) -> u32 {
        1 + self.pages[..region].iter().sum::<u32>()
    }

    /// Pages with the header.
    pub(crate) fn total_pages(&self) -> u32 {
        self.region_start(self.pages.len())
    }
}

/// The file name of a run.
pub(crate) fn file_name(run: u64) -> String {
    format!("{run:012}.run")
}

/// The run that a file name stands for.
pub(crate) fn run_of_file_name(name: &str) -> Option<u64> {
    let run = name.strip_suffix(".run")?.parse().ok()?;
    (file_name(run) == name).then_some(run)
}

/// Pages of runs that lie elsewhere, each run whole: in a lake.
pub trait RemotePages: fmt::Debug + Send + Sync {
    /// The first bytes of a run's first page, whose others are zero; `None` where the run is not there.
    fn header(&self, run: u64) -> Option<[u8; RUN_HEADER_BYTES]>;

    /// Reads consecutive pages of a run that is there: 4,092 bytes each, as many as fit into `pages`.
    ///
    /// # Errors
    /// Why they cannot be read now.
    fn read(&self, run: u64, first_page: u32, pages: &mut [u8]) -> io::Result<()>;

    /// A number above those of all runs that are there, or were: an index that begins anew takes none of them.
    fn next_run(&self) -> u64;
}

/// Bytes of a header page that say something.
pub const RUN_HEADER_BYTES: usize = 72;

/// An open run: its file here, its pages elsewhere, or both.
#[derive(Debug)]
pub(crate) struct RunFile {
    file: RwLock<Option<Arc<dyn File>>>,
    remote: Option<Arc<dyn RemotePages>>,
    path: PathBuf,
    number: u64,
    header: RunHeader,
}

impl RunFile {
    /// Opens a finished run; `header_crc` is the checksum of its header page as the manifest has it. Where its file is
    /// not here it is read from elsewhere.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        header_crc: u32,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        let damaged = |reason| Error::DamagedRun { run: number, reason };
        let path = dir.join(file_name(number));
        let file = match disk.open(&path, Open::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let header = remote.as_ref().and_then(|remote| remote.header(number));
                let bytes = header.ok_or_else(|| damaged("its file is missing"))?;
                let mut page = [0; PAGE_BYTES];
                page[..RUN_HEADER_BYTES].copy_from_slice(&bytes);
                check(&page, number, 0)?;
                let header = Self::read_header(&page, &path, number, header_crc)?;
                return Ok(Self { file: RwLock::new(None), remote, path, number, header });
            }
            other => other.map_err(Error::io("open", &path))?,
        };
        let bytes = file.len().map_err(Error::io("measure", &path))?;
        if bytes < SLOT_BYTES as u64 {
            return Err(damaged("its file has no header"));
        }
        let mut page = [0; PAGE_BYTES];
        read_page(&*file, &path, number, 0, &mut page)?;
        let header = Self::read_header(&page, &path, number, header_crc)?;
        if bytes != u64::from(header.total_pages()) * SLOT_BYTES as u64 {
            return Err(damaged("its file has another length than its header says"));
        }
        Ok(Self { file: RwLock::new(Some(file)), remote, path, number, header })
    }

    fn read_header(
        page: &Page,
        path: &Path,
        number: u64,
        header_crc: u32,
    ) -> Result<RunHeader, Error> {
        let damaged = |reason| Error::DamagedRun { run: number, reason };
        let found = u32_at(page, 4);
        if found > RUN_VERSION {
            let path = path.into();
            return Err(Error::NewerVersion { path, found, supported: RUN_VERSION });
        }
        if u32_at(page, 0) != header_crc {
            return Err(damaged("its header is not the one that the manifest names"));
        }
        RunHeader::read(page, number).map_err(damaged)
    }

    /// The run's file, where it is here.
    fn local(&self) -> Option<Arc<dyn File>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads from elsewhere from now on, if the run is there; whether it did not before.
    pub(crate) fn leave(&self) -> bool {
        let page = self.header.write(self.number);
        let there = |remote: &Arc<dyn RemotePages>| {
            remote.header(self.number).is_some_and(|header| page.starts_with(&header))
        };
        let there = self.remote.as_ref().is_some_and(there);
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        there && file.take().is_some()
    }

    /// Whether its file is here.
    pub(crate) fn is_here(&self) -> bool {
        self.local().is_some()
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads pages from elsewhere, unchecked.
    fn read_remote(&self, first: u32, pages: &mut [u8]) -> Result<(), Error> {
        let remote = self.remote.as_ref();
        let remote = remote.ok_or_else(|| self.damaged("its file is missing"))?;
        remote.read(self.number, first, pages).map_err(Error::io("fetch pages of", &self.path))
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn header(&self) -> &RunHeader {
        &self.header
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.header.total_pages()) * SLOT_BYTES as u64
    }

    pub(crate) fn damaged(&self, reason: &'static str) -> Error {
        Error::DamagedRun { run: self.number, reason }
    }

    /// Reads and checks one page.
    pub(crate) fn read_page(&self, number: u32, page: &mut Page) -> Result<(), Error> {
        if let Some(file) = self.local() {
            return read_page(&*file, &self.path, self.number, number, page);
        }
        self.read_remote(number, page)?;
        check(page, self.number, number)
    }

    /// Reads and checks consecutive pages, with the padding of their slots.
    pub(crate) fn read_slots(
        &self,
        first: u32,
        count: u32,
        slots: &mut Vec<u8>,
    ) -> Result<(), Error> {
        slots.resize(count as usize * SLOT_BYTES, 0);
        if let Some(file) = self.local() {
            file.read_exact_at(slots, u64::from(first) * SLOT_BYTES as u64)
                .map_err(Error::io("read", &self.path))?;
        } else {
            let mut pages = vec![0; count as usize * PAGE_BYTES];
            self.read_remote(first, &mut pages)?;
            for (slot, page) in slots.chunks_exact_mut(SLOT_BYTES).zip(pages.chunks(PAGE_BYTES)) {
                slot[..PAGE_BYTES].copy_from_slice(page);
            }
        }
        for (number, slot) in (first..).zip(slots.chunks_exact(SLOT_BYTES)) {
            check(page_of(slot), self.number, number)?;
        }
        Ok(())
    }
}

/// The page in a slot.
pub(crate) fn page_of(slot: &[u8]) -> &Page {
    slot[..PAGE_BYTES].try_into().expect("a slot is longer than a page")
}

fn check(page: &Page, run: u64, number: u32) -> Result<(), Error> {
    page::check(page, run, number).map_err(|e| Error::DamagedPage {
        run,
        page: number,
        expected: e.expected,
        found: e.found,
    })
}

fn read_page(
    file: &dyn File,
    path: &Path,
    run: u64,
    number: u32,
    page: &mut Page,
) -> Result<(), Error> {
    file.read_exact_at(page, u64::from(number) * SLOT_BYTES as u64)
        .map_err(Error::io("read", path))?;
    check(page, run, number)
}

/// Writes a run page by page. Dropped before [`Self::finish`] or [`Self::checkpoint`], it removes its file.
#[derive(Debug)]
pub(crate) struct RunWriter {
    disk: Arc<dyn Disk>,
    remote: Option<Arc<dyn RemotePages>>,
    dir: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    number: u64,
    buffer: Vec<u8>,
    written_pages: u32,
    keep: bool,
}

impl RunWriter {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        number: u64,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        let path = dir.join(file_name(number));
        let file = disk.open(&path, Open::CreateNew).map_err(Error::io("create", &path))?;
        Ok(Self {
            disk,
            remote,
            dir: dir.into(),
            path,
            file,
            number,
            buffer: Vec::with_capacity(WRITE_PAGES * SLOT_BYTES),
            written_pages: 1,
            keep: false,
        })
    }

    /// Goes on with a run whose first `pages` pages after the header were made durable by [`Self::checkpoint`].
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        number: u64,
        pages: u32,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        let path = dir.join(file_name(number));
        let file = disk.open(&path, Open::ReadWrite).map_err(Error::io("open", &path))?;
        let written_pages = pages + 1;
        let bytes = u64::from(written_pages) * SLOT_BYTES as u64;
        if file.len().map_err(Error::io("measure", &path))? < bytes {
            return Err(Error::DamagedRun {
                run: number,
                reason: "it is shorter than its checkpoint",
            });
        }
        file.set_len(bytes).map_err(Error::io("cut", &path))?;
        let buffer = Vec::with_capacity(WRITE_PAGES * SLOT_BYTES);
        let dir = dir.into();
        Ok(Self { disk, remote, dir, path, file, number, buffer, written_pages, keep: true })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Reads back a page that is written.
    pub(crate) fn read_page(&self, number: u32, page: &mut Page) -> Result<(), Error> {
        read_page(&*self.file, &self.path, self.number, number, page)
    }

    /// Makes all pages so far durable. From now on the file stays when the writer is dropped.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Error> {
        self.write_buffer()?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.keep = true;
        Ok(())
    }

    /// Gives the run up: the file goes when the writer is dropped.
    pub(crate) fn abandon(&mut self) {
        self.keep = false;
    }

    /// Number of the page that comes next.
    pub(crate) fn next_page(&self) -> u32 {
        self.written_pages
            + u32::try_from(self.buffer.len() / SLOT_BYTES).expect("a buffer of few pages")
    }

    /// Seals and appends a page.
    pub(crate) fn append(&mut self, page: &mut Page) -> Result<(), Error> {
        page::seal(page, self.number, self.next_page());
        self.buffer.extend_from_slice(page);
        self.buffer.extend_from_slice(&[0; SLOT_BYTES - PAGE_BYTES]);
        if self.buffer.len() == WRITE_PAGES * SLOT_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        let at = u64::from(self.written_pages) * SLOT_BYTES as u64;
        self.file.write_all_at(&self.buffer, at).map_err(Error::io("write", &self.path))?;
        self.written_pages = self.next_page();
        self.buffer.clear();
        Ok(())
    }

    /// Writes the header and makes the file durable; the checksum of the header is what the manifest names it by.
    pub(crate) fn finish(mut self, header: &RunHeader) -> Result<FinishedRun, Error> {
        self.keep = false;
        self.write_buffer()?;
        assert_eq!(self.written_pages, header.total_pages());
        let page = header.write(self.number);
        let mut slot = [0; SLOT_BYTES];
        slot[..PAGE_BYTES].copy_from_slice(&page);
        self.file.write_all_at(&slot, 0).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.keep = true;
        Ok(FinishedRun {
            header_crc: u32_at(&page, 0),
            file: RunFile {
                file: RwLock::new(Some(self.file.clone())),
                remote: self.remote.clone(),
                path: self.path.clone(),
                number: self.number,
                header: *header,
            },
        })
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.keep {
            // best effort: what stays is removed as an orphan by the next open
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// A run that is durable but not yet named by the manifest.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(crate) file: RunFile,
    pub(crate) header_crc: u32,
}

const _: () = assert!(CRC_BYTES == 4 && SLOT_BYTES > PAGE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_refused(bytes in proptest::collection::vec(any::<u8>(), 80), magic: bool) {
            let mut page = [0; PAGE_BYTES];
            page[..80].copy_from_slice(&bytes);
            if magic {
                page[8..16].copy_from_slice(MAGIC);
                page[16..24].copy_from_slice(&9u64.to_le_bytes());
                page[24] = 1 + bytes[24] % 2;
            }
            if let Ok(header) = RunHeader::read(&page, 9) {
                prop_assert_eq!(RunHeader::read(&header.write(9), 9), Ok(header));
                let _ = header.total_pages();
            }
        }
    }

    #[test]
    fn file_names() {
        assert_eq!(file_name(12), "000000000012.run");
        assert_eq!(run_of_file_name("000000000012.run"), Some(12));
        for name in ["12.run", "000000000012.tmp", "manifest", ".run", "+00000000012.run"] {
            assert_eq!(run_of_file_name(name), None, "{name}");
        }
    }
}

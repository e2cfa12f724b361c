//! Reading LMDB files that nobody vouches for.
//!
//! liblmdb maps the file and follows whatever is in it: a truncated or damaged file ends the process. This reader reads page by page,
//! checks each page before it is used, bounds each value, and ends with an error that says which page. It never writes. The
//! file must not be written to meanwhile: [`lock`] sees to that.
//!
//! Memory: a cache of pages (16 MiB), and one value. Finding a row costs one page where the branches are cached.

pub(crate) mod lock;
mod page;
pub(crate) mod write;

pub(crate) use page::Tree;

use page::{HEADER_BYTES, META_BYTES, Meta, NO_PAGE, Page, Value, check_overflow};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

/// Pages kept.
const CACHE_PAGES: usize = 4096;
/// The longest value read: what a record of the store may have.
pub(crate) const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Most named databases looked at; a node has 17.
const DATABASES_MAX: u64 = 64;

/// What is wrong with an LMDB file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LmdbFault {
    /// No LMDB file.
    #[error("page {page}: not an LMDB file (it has {found:#010x} where 0xbeefc0de belongs)")]
    NotLmdb {
        /// which of the first two pages
        page: u64,
        /// what is there
        found: u32,
    },
    /// Something that Casper's files do not have.
    #[error("page {page}: {what} {found} is not that of a Casper node's file")]
    Unsupported {
        /// the page
        page: u64,
        /// what it is
        what: &'static str,
        /// what is there
        found: u32,
    },
    /// The file is shorter than it says.
    #[error("the file is truncated: {expected} bytes are in use, {found} are there")]
    Truncated {
        /// bytes that it says it uses
        expected: u64,
        /// its size
        found: u64,
    },
    /// A page that contradicts itself.
    #[error("page {page} is damaged: {what} is {found}")]
    Page {
        /// the page
        page: u64,
        /// what about it
        what: &'static str,
        /// what is there
        found: u64,
    },
    /// A page that lies behind the end.
    #[error("page {page} is named, the last one is {last}")]
    NoSuchPage {
        /// the page
        page: u64,
        /// the last page in use
        last: u64,
    },
    /// Keys that are not in order.
    #[error("page {page} is damaged: its keys are not in order")]
    Order {
        /// the page
        page: u64,
    },
    /// A tree that has other rows than it says.
    #[error("the database {name} has {found} rows, {expected} by its own count")]
    Count {
        /// the database
        name: String,
        /// by its own count
        expected: u64,
        /// found
        found: u64,
    },
    /// A value that is too long to be one.
    #[error("page {page}: a value of {found} bytes, at most {VALUE_BYTES_MAX} are possible")]
    TooLong {
        /// the page
        page: u64,
        /// its length
        found: u64,
    },
    /// A database that is not there.
    #[error("it has no database {0}: not a Casper node's file")]
    NoDatabase(&'static str),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmdbError {
    /// The system cannot read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error(transparent)]
    Fault(#[from] LmdbFault),
}

/// Bytes at offsets.
pub(crate) trait ReadAt {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    fn bytes(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
impl ReadAt for Vec<u8> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).expect("a test's file");
        let bytes = self.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An LMDB file, open for reading.
pub(crate) struct Lmdb<R = File> {
    file: R,
    meta: Meta,
    /// a page lies at its number modulo the length
    cache: Vec<Option<(u64, Arc<[u8]>)>>,
}

impl<R> std::fmt::Debug for Lmdb<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lmdb").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Lmdb {
    pub(crate) fn open(path: &Path) -> Result<Self, LmdbError> {
        Self::new(File::open(path)?)
    }
}

impl<R: ReadAt> Lmdb<R> {
    pub(crate) fn new(file: R) -> Result<Self, LmdbError> {
        let bytes = file.bytes()?;
        let read_meta = |page: u64, at: u64| {
            let mut meta = [0; META_BYTES];
            if bytes < at + META_BYTES as u64 {
                let expected = at + META_BYTES as u64;
                return Err(LmdbError::from(LmdbFault::Truncated { expected, found: bytes }));
            }
            file.read_at(at, &mut meta)?;
            Ok(Meta::read(&meta, page)?)
        };
        let first = read_meta(0, 0)?;
        let second = read_meta(1, first.page_bytes as u64)?;
        let meta = if second.transaction > first.transaction { second } else { first };
        if second.page_bytes != first.page_bytes {
            let found = second.page_bytes as u64;
            return Err(LmdbFault::Page { page: 1, what: "size of a page", found }.into());
        }
        let expected = (meta.last_page + 1) * meta.page_bytes as u64;
        if bytes < expected {
            return Err(LmdbFault::Truncated { expected, found: bytes }.into());
        }
        Ok(Self { file, meta, cache: vec![None; CACHE_PAGES] })
    }

    /// The size of its map: how large it may grow.
    pub(crate) const fn map_bytes(&self) -> u64 {
        self.meta.map_bytes
    }

    /// Bytes up to the end of its last page.
    pub(crate) const fn used_bytes(&self) -> u64 {
        (self.meta.last_page + 1) * self.meta.page_bytes as u64
    }

    /// Its named databases.
    pub(crate) fn databases(&mut self) -> Result<Vec<(String, Tree)>, LmdbError> {
        let main = self.meta.main;
        if main.entries > DATABASES_MAX {
            let what = "the count of databases";
            return Err(LmdbFault::Page { page: main.root, what, found: main.entries }.into());
        }
        let (mut cursor, mut databases) = (Cursor::new("main", main), Vec::new());
        while let Some((page, index)) = cursor.next_place(self)? {
            let page_bytes = self.page(page)?;
            let (name, value) = Page::check(&page_bytes, page)?.row(index)?;
            let Value::Tree(tree) = value else { continue };
            if tree.len() != Tree::BYTES {
                let found = tree.len() as u64;
                return Err(LmdbFault::Page { page, what: "a tree's length", found }.into());
            }
            let name = String::from_utf8_lossy(name).into_owned();
            databases.push((name, Tree::read(tree, page)?));
        }
        Ok(databases)
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, tree: &Tree, key: &[u8]) -> Result<Option<Vec<u8>>, LmdbError> {
        let mut number = tree.root;
        for level in (0..tree.depth).rev() {
            let bytes = self.page(number)?;
            let page = self.level_page(&bytes, number, level)?;
            // the first key of a branch is below all others, whatever it says
            let skip = usize::from(!page.is_leaf);
            let (mut low, mut high) = (skip, page.count());
            while low < high {
                let middle = usize::midpoint(low, high);
                if page.key(middle)? <= key { low = middle + 1 } else { high = middle }
            }
            if !page.is_leaf {
                number = page.child(low - 1)?;
                continue;
            }
            let Some(index) = low.checked_sub(1) else { return Ok(None) };
            let (found, value) = page.row(index)?;
            return if found == key { self.value(number, value).map(Some) } else { Ok(None) };
        }
        Ok(None)
    }

    /// The bytes of a value of page `page`.
    fn value(&self, page: u64, value: Value<'_>) -> Result<Vec<u8>, LmdbError> {
        let (first, bytes) = match value {
            Value::Here(bytes) | Value::Tree(bytes) => return Ok(bytes.to_vec()),
            Value::Pages { first, bytes } => (first, bytes),
        };
        if bytes > VALUE_BYTES_MAX {
            return Err(LmdbFault::TooLong { page, found: bytes }.into());
        }
        let at = self.offset_of(first)?;
        let end = at + HEADER_BYTES as u64 + bytes;
        if end > self.used_bytes() {
            return Err(LmdbFault::NoSuchPage { page: first, last: self.meta.last_page }.into());
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_at(at, &mut header)?;
        check_overflow(&header, first, bytes, self.meta.page_bytes)?;
        let mut value = vec![0; usize::try_from(bytes).expect("64 MiB at most")];
        self.file.read_at(at + HEADER_BYTES as u64, &mut value)?;
        Ok(value)
    }

    fn offset_of(&self, page: u64) -> Result<u64, LmdbFault> {
        let last = self.meta.last_page;
        if page < 2 || page > last {
            return Err(LmdbFault::NoSuchPage { page, last });
        }
        Ok(page * self.meta.page_bytes as u64)
    }

    fn page(&mut self, number: u64) -> Result<Arc<[u8]>, LmdbError> {
        let slot = usize::try_from(number % CACHE_PAGES as u64).expect("below CACHE_PAGES");
        if let Some((cached, bytes)) = &self.cache[slot]
            && *cached == number
        {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; self.meta.page_bytes];
        self.file.read_at(self.offset_of(number)?, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.cache[slot] = Some((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// A page of a tree at a level; leaves are at level 0.
    fn level_page<'a>(
        &self,
        bytes: &'a [u8],
        number: u64,
        level: u16,
    ) -> Result<Page<'a>, LmdbFault> {
        let page = Page::check(bytes, number)?;
        if page.is_leaf != (level == 0) {
            return Err(LmdbFault::Page { page: number, what: "its level", found: level.into() });
        }
        Ok(page)
    }
}

/// A key and its value.
pub(crate) type KeyValue = (Vec<u8>, Vec<u8>);

/// Goes through the rows of a database in the order of their keys.
pub(crate) struct Cursor {
    name: String,
    tree: Tree,
    /// page and next index, from the root down
    stack: Vec<(u64, usize)>,
    previous: Option<Vec<u8>>,
    rows: u64,
}

impl Cursor {
    pub(crate) fn new(name: &str, tree: Tree) -> Self {
        let stack = if tree.root == NO_PAGE { Vec::new() } else { vec![(tree.root, 0)] };
        Self { name: name.into(), tree, stack, previous: None, rows: 0 }
    }

    /// The next row.
    pub(crate) fn next<R: ReadAt>(
        &mut self,
        file: &mut Lmdb<R>,
    ) -> Result<Option<KeyValue>, LmdbError> {
        let Some((number, index)) = self.next_place(file)? else { return Ok(None) };
        let bytes = file.page(number)?;
        let (key, value) = Page::check(&bytes, number)?.row(index)?;
        Ok(Some((key.to_vec(), file.value(number, value)?)))
    }

    /// Page and index of the next row; keys rise, so that no page comes twice.
    fn next_place<R: ReadAt>(
        &mut self,
        file: &mut Lmdb<R>,
    ) -> Result<Option<(u64, usize)>, LmdbError> {
        while let Some(&mut (number, ref mut index)) = self.stack.last_mut() {
            let at = *index;
            *index += 1;
            let bytes = file.page(number)?;
            let level = self.tree.depth - u16::try_from(self.stack.len()).expect("32 at most");
            let page = file.level_page(&bytes, number, level)?;
            if at >= page.count() {
                self.stack.pop();
                continue;
            }
            if !page.is_leaf {
                self.stack.push((page.child(at)?, 0));
                continue;
            }
            let key = page.key(at)?;
            if self.previous.as_ref().is_some_and(|previous| &previous[..] >= key) {
                return Err(LmdbFault::Order { page: number }.into());
            }
            self.previous = Some(key.to_vec());
            self.rows += 1;
            if self.rows > self.tree.entries {
                break;
            }
            return Ok(Some((number, at)));
        }
        if self.rows != self.tree.entries {
            let (name, expected, found) = (self.name.clone(), self.tree.entries, self.rows);
            return Err(LmdbFault::Count { name, expected, found }.into());
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

//! Pages of an LMDB file: what is where, checked before it is used.
//!
//! ```text
//! page    offset size
//! all          0    8  number of the page
//!              8    2  unused
//!             10    2  flags: 1 branch, 2 leaf, 4 overflow, 8 meta
//!             12    2  end of the pointers (an overflow page: u32, its count of pages)
//!             14    2  start of the nodes
//!             16    2  pointer to a node, for each in the order of keys
//! meta        16    4  0xBEEFC0DE
//!             20    4  version 1
//!             32    8  size of the map
//!             40   48  the tree of free pages; its first u32 is the size of a page
//!             88   48  the tree of named databases
//!            136    8  last page in use
//!            144    8  number of the transaction; of the two metas the higher one counts
//! node         0    4  a leaf: length of the value; a branch: lower bits of a page's number
//!              4    2  a leaf: 1 the value is on overflow pages, 2 it is a tree; a branch: upper bits of the number
//!              6    2  length of the key; then the key, then the value or the number of its first overflow page
//! ```
//! All numbers are little-endian: the file is as the machine that wrote it, and Casper's nodes run on no others.

use super::LmdbFault;

/// Before the pointers.
pub(super) const HEADER_BYTES: usize = 16;
/// A meta page up to its end.
pub(super) const META_BYTES: usize = 152;
/// What a tree without pages has for a root.
pub(super) const NO_PAGE: u64 = u64::MAX;

const MAGIC: u32 = 0xBEEF_C0DE;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const META: u16 = 8;
const NODE_BYTES: usize = 8;
const BIG: u16 = 1;
const TREE: u16 = 2;
/// More levels than any file of this size has.
const DEPTH_MAX: u16 = 32;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// A tree of pages: one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(super) depth: u16,
    /// rows in it
    pub(crate) entries: u64,
    pub(super) root: u64,
}

impl Tree {
    pub(super) const BYTES: usize = 48;
    /// Without rows.
    pub(crate) const EMPTY: Self = Self { depth: 0, entries: 0, root: NO_PAGE };

    /// Reads a tree's record; `page` is where it lies.
    pub(super) fn read(bytes: &[u8], page: u64) -> Result<Self, LmdbFault> {
        let (flags, depth) = (u16_at(bytes, 4), u16_at(bytes, 6));
        let (entries, root) = (u64_at(bytes, 32), u64_at(bytes, 40));
        if flags != 0 {
            return Err(LmdbFault::Unsupported {
                page,
                what: "database flags",
                found: flags.into(),
            });
        }
        if depth > DEPTH_MAX || (depth == 0) != (root == NO_PAGE) || (depth == 0) != (entries == 0)
        {
            return Err(LmdbFault::Page { page, what: "a tree's depth", found: depth.into() });
        }
        Ok(Self { depth, entries, root })
    }
}

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: usize,
    pub(super) map_bytes: u64,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    pub(super) transaction: u64,
}

impl Meta {
    /// Reads the first bytes of page `page`.
    pub(super) fn read(bytes: &[u8], page: u64) -> Result<Self, LmdbFault> {
        let magic = u32_at(bytes, 16);
        if u16_at(bytes, 10) & META == 0 || magic != MAGIC {
            return Err(LmdbFault::NotLmdb { page, found: magic });
        }
        let version = u32_at(bytes, 20);
        if version != 1 {
            return Err(LmdbFault::Unsupported { page, what: "version", found: version });
        }
        let found = u32_at(bytes, 40);
        let page_bytes = found as usize;
        if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
            return Err(LmdbFault::Unsupported { page, what: "size of a page", found });
        }
        let (map_bytes, last_page) = (u64_at(bytes, 32), u64_at(bytes, 136));
        let used = last_page.checked_add(1).and_then(|pages| pages.checked_mul(page_bytes as u64));
        if used.is_none_or(|used| used > map_bytes) || last_page == 0 {
            return Err(LmdbFault::Page { page, what: "the last page", found: last_page });
        }
        let main = Tree::read(&bytes[88..88 + Tree::BYTES], page)?;
        Ok(Self { page_bytes, map_bytes, main, last_page, transaction: u64_at(bytes, 144) })
    }
}

/// A branch or leaf page whose header and pointers were checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    number: u64,
    pub(super) is_leaf: bool,
}

/// A value in a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Here(&'a [u8]),
    /// on overflow pages from this one on
    Pages {
        first: u64,
        bytes: u64,
    },
    Tree(&'a [u8]),
}

impl<'a> Page<'a> {
    /// Checks the page `number`.
    pub(super) fn check(bytes: &'a [u8], number: u64) -> Result<Self, LmdbFault> {
        let fault = |what, found| Err(LmdbFault::Page { page: number, what, found });
        let (found, flags) = (u64_at(bytes, 0), u16_at(bytes, 10));
        if found != number {
            return fault("its number", found);
        }
        let is_leaf = flags & (BRANCH | LEAF | OVERFLOW | META | 0x20 | 0x40) == LEAF;
        if !is_leaf && flags & (BRANCH | LEAF | OVERFLOW | META | 0x20 | 0x40) != BRANCH {
            return fault("its flags", flags.into());
        }
        let (lower, upper) = (usize::from(u16_at(bytes, 12)), usize::from(u16_at(bytes, 14)));
        if lower < HEADER_BYTES || lower % 2 != 0 || lower > upper || upper > bytes.len() {
            return fault("the end of its pointers", lower as u64);
        }
        let page = Self { bytes, number, is_leaf };
        if page.count() < if is_leaf { 1 } else { 2 } {
            return fault("its count of nodes", page.count() as u64);
        }
        Ok(page)
    }

    pub(super) fn count(&self) -> usize {
        (usize::from(u16_at(self.bytes, 12)) - HEADER_BYTES) / 2
    }

    /// The bytes of a node, from its header on, and its key.
    fn node(&self, index: usize) -> Result<(&'a [u8], &'a [u8]), LmdbFault> {
        let at = usize::from(u16_at(self.bytes, HEADER_BYTES + 2 * index));
        let fault = LmdbFault::Page { page: self.number, what: "a pointer", found: at as u64 };
        let node =
            self.bytes.get(at..).filter(|node| at >= HEADER_BYTES && node.len() >= NODE_BYTES);
        let Some(node) = node else { return Err(fault) };
        let key = node[NODE_BYTES..].get(..usize::from(u16_at(node, 6))).ok_or(fault)?;
        Ok((node, key))
    }

    pub(super) fn key(&self, index: usize) -> Result<&'a [u8], LmdbFault> {
        self.node(index).map(|(_, key)| key)
    }

    /// The page below a node of a branch.
    pub(super) fn child(&self, index: usize) -> Result<u64, LmdbFault> {
        let (node, _) = self.node(index)?;
        Ok(u64::from(u32_at(node, 0)) | u64::from(u16_at(node, 4)) << 32)
    }

    /// The key and value of a node of a leaf.
    pub(super) fn row(&self, index: usize) -> Result<(&'a [u8], Value<'a>), LmdbFault> {
        let (node, key) = self.node(index)?;
        let (length, flags) = (u32_at(node, 0), u16_at(node, 4));
        let rest = &node[NODE_BYTES + key.len()..];
        let short =
            LmdbFault::Page { page: self.number, what: "a value's length", found: length.into() };
        let value = match flags {
            0 | TREE => {
                let value = rest.get(..length as usize).ok_or(short)?;
                if flags == TREE { Value::Tree(value) } else { Value::Here(value) }
            }
            BIG => {
                let first = rest.get(..8).ok_or(short)?;
                Value::Pages { first: u64_at(first, 0), bytes: length.into() }
            }
            found => {
                let what = "flags of a node";
                return Err(LmdbFault::Unsupported {
                    page: self.number,
                    what,
                    found: found.into(),
                });
            }
        };
        Ok((key, value))
    }
}

/// Checks the first bytes of overflow pages, which hold a value of `bytes` bytes.
pub(super) fn check_overflow(
    header: &[u8],
    number: u64,
    bytes: u64,
    page_bytes: usize,
) -> Result<(), LmdbFault> {
    let (found, flags, pages) = (u64_at(header, 0), u16_at(header, 10), u32_at(header, 12));
    let needed = (HEADER_BYTES as u64 + bytes).div_ceil(page_bytes as u64);
    if found != number || flags & (BRANCH | LEAF | OVERFLOW | META) != OVERFLOW {
        return Err(LmdbFault::Page { page: number, what: "its number or flags", found });
    }
    if u64::from(pages) < needed {
        return Err(LmdbFault::Page {
            page: number,
            what: "its count of pages",
            found: pages.into(),
        });
    }
    Ok(())
}

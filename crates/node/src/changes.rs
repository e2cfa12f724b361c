//! Which segments were written to since the last snapshot: a start walks these, and believes the snapshot about the others.
//!
//! ```text
//! changed-<generation>   header | number, number, ...     each listed before the first write
//! ```
//! A snapshot is taken while the node works: segments that something was changing when it began, or has changed since,
//! are listed from the beginning. format: node-index.
//!
//! Cost: one sync per segment that is written to for the first time since the snapshot.

use crate::layout::{crc32c, u32_at, u64_at};
use prunedb_disk::{Disk, File, Open, read_all, write_atomic};
use std::{collections::BTreeSet, io, path::Path, sync::Arc};

/// The snapshot's file.
pub(crate) const SNAPSHOT: &str = "snapshot";
const PREFIX: &str = "changed";
const MAGIC: &[u8; 8] = b"PDBCHNG\x02";
const ITEM_BYTES: usize = 16;
/// Segments of a list that is believed.
const LISTED_MAX: usize = 1 << 20;

/// Which segments were written to.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    listed: BTreeSet<u32>,
    /// `None` where there is no snapshot: nothing needs to be listed
    list: Option<List>,
    /// since a snapshot that is being taken began
    meanwhile: Option<BTreeSet<u32>>,
    /// there may be a snapshot without a list that is kept up: nothing may change
    broken: bool,
}

#[derive(Debug)]
struct List {
    file: Arc<dyn File>,
    generation: u64,
    bytes: u64,
}

impl Changes {
    /// The list that belongs to a snapshot; `None` where it is missing or damaged.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path, generation: u64) -> io::Result<Option<Self>> {
        let path = dir.join(file_name(generation));
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let bytes = read_all(disk, &path, ITEM_BYTES * (LISTED_MAX + 1))?;
        let Some(listed) = decode(generation, &bytes) else { return Ok(None) };
        let file = disk.open(&path, Open::ReadWrite)?;
        let list = List { file, generation, bytes: bytes.len() as u64 };
        Ok(Some(Self { listed, list: Some(list), ..Self::default() }))
    }

    /// To be called before a segment is written to for the first time.
    pub(crate) fn note(&mut self, segment: u32) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "a snapshot could not be taken back: start the node anew",
            ));
        }
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.insert(segment);
        }
        let Some(list) = &mut self.list else { return Ok(()) };
        if self.listed.contains(&segment) {
            return Ok(());
        }
        list.file.write_all_at(&item(list.generation, segment), list.bytes)?;
        list.file.sync_data()?;
        list.bytes += ITEM_BYTES as u64;
        self.listed.insert(segment);
        Ok(())
    }

    /// The segments that have changed since the snapshot.
    pub(crate) fn listed(&self) -> &BTreeSet<u32> {
        &self.listed
    }

    /// How many segments have changed since the snapshot, if there is one.
    pub(crate) fn count(&self) -> Option<usize> {
        self.list.as_ref().map(|_| self.listed.len())
    }

    /// A snapshot is being taken from now on.
    pub(crate) fn begin(&mut self) {
        self.meanwhile = Some(BTreeSet::new());
    }

    /// It failed; the one before counts.
    pub(crate) fn give_up(&mut self) {
        self.meanwhile = None;
    }

    /// Puts the new snapshot, which lies beside, into the place of the one before. `in_flux` was being changed when it
    /// began.
    pub(crate) fn replace(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        generation: u64,
        beside: &Path,
        mut in_flux: BTreeSet<u32>,
    ) -> io::Result<()> {
        let meanwhile = self.meanwhile.take();
        in_flux.extend(meanwhile.ok_or_else(|| io::Error::other("it was given up meanwhile"))?);
        let mut bytes = header(generation).to_vec();
        in_flux.iter().for_each(|segment| bytes.extend_from_slice(&item(generation, *segment)));
        let path = dir.join(file_name(generation));
        let written = write_atomic(disk, &path, &bytes);
        let opened = written.and_then(|()| disk.open(&path, Open::ReadWrite));
        let file = opened.inspect_err(|_| self.remove_others(disk, dir))?;
        let renamed = disk.rename(beside, &dir.join(SNAPSHOT)).and_then(|()| disk.sync_dir(dir));
        if let Err(e) = renamed {
            // either one may be there after a crash
            self.forget(disk, dir)?;
            return Err(e);
        }
        self.list = Some(List { file, generation, bytes: bytes.len() as u64 });
        self.listed = in_flux;
        self.remove_others(disk, dir);
        Ok(())
    }

    /// Removes lists that are not kept up, as far as the disk lets us: without their snapshot they say nothing.
    fn remove_others(&self, disk: &dyn Disk, dir: &Path) {
        let kept = self.list.as_ref().map(|list| file_name(list.generation));
        let names = disk.list(dir).unwrap_or_default().into_iter();
        for name in names.filter(|name| name.starts_with(PREFIX) && Some(name) != kept.as_ref()) {
            _ = disk.remove(&dir.join(name));
        }
    }

    /// There is no snapshot any more.
    pub(crate) fn forget(&mut self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        *self = Self { broken: true, ..Self::default() };
        let names = disk.list(dir)?;
        // a crash in between leaves a snapshot without its list, which is not believed
        for name in names.iter().filter(|name| name.starts_with(PREFIX) || *name == SNAPSHOT) {
            disk.remove(&dir.join(name))?;
        }
        disk.sync_dir(dir)?;
        self.broken = false;
        Ok(())
    }
}

fn file_name(generation: u64) -> String {
    format!("{PREFIX}-{generation:08}")
}

/// The first item of a list.
fn header(generation: u64) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..].copy_from_slice(&generation.to_le_bytes());
    out
}

/// A segment in a list: the generation, its number, and a check of both.
fn item(generation: u64, segment: u32) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..8].copy_from_slice(&generation.to_le_bytes());
    out[8..12].copy_from_slice(&segment.to_le_bytes());
    let check = crc32c(&out[..12]);
    out[12..].copy_from_slice(&check.to_le_bytes());
    out
}

/// What is in a list; `None` where a byte is not as it was written.
fn decode(generation: u64, bytes: &[u8]) -> Option<BTreeSet<u32>> {
    let (items, rest) = bytes.as_chunks::<ITEM_BYTES>();
    let (first, items) = items.split_first().filter(|_| rest.is_empty())?;
    if *first != header(generation) {
        return None;
    }
    let read = |found: &[u8; ITEM_BYTES]| {
        let segment = u32_at(found, 8);
        (*found == item(u64_at(found, 0), segment) && u64_at(found, 0) == generation)
            .then_some(segment)
    };
    items.iter().map(read).collect()
}

//! Kills the index at any operation of the disk and opens what is left.

use super::*;
use prunedb_disk::{File, Lock, Open};
use std::{
    io,
    sync::atomic::{AtomicI64, Ordering::SeqCst},
};

/// Does a number of changing operations, then fails each. The last one that is done may be a write of half its bytes.
/// Syncs are counted, not done.
#[derive(Debug)]
pub(super) struct DyingDisk {
    left: Arc<AtomicI64>,
    free_bytes: u64,
}

impl DyingDisk {
    pub(super) fn after(operations: i64) -> Arc<Self> {
        Arc::new(Self { left: Arc::new(AtomicI64::new(operations)), free_bytes: 1 << 40 })
    }

    fn change(&self) -> io::Result<()> {
        spend(&self.left).map(|_| ())
    }
}

/// Whether this is the last operation before the death.
fn spend(left: &AtomicI64) -> io::Result<bool> {
    match left.fetch_sub(1, SeqCst) {
        ..=0 => Err(io::Error::other("the disk died")),
        n => Ok(n == 1),
    }
}

#[derive(Debug)]
struct DyingFile {
    file: Arc<dyn File>,
    left: Arc<AtomicI64>,
}

impl Disk for DyingDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how != Open::Read {
            self.change()?;
        }
        Ok(Arc::new(DyingFile { file: RealDisk.open(path, how)?, left: self.left.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.remove(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.change()
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free_bytes)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        RealDisk.lock(path)
    }
}

impl File for DyingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if spend(&self.left)? {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("the disk died"));
        }
        self.file.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left).map(|_| ())
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.file.set_len(bytes)
    }
    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.file.punch_hole(offset, bytes)
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }
    fn drop_cached(&self) -> io::Result<()> {
        self.file.drop_cached()
    }
}

/// Ten containers, each flushed, with merges between; stops at the first error. The containers that were filled.
fn work(index: &Index, model: &mut Model) -> Result<(), Error> {
    for container in 0..10 {
        for i in 0..110 {
            model.put(index, some_put(3 + u64::from(container) * 8, i.into()), at(container, i));
        }
        index.flush(container)?;
        index.merge_step(30)?;
        model.check(index);
    }
    while !index.merge_step(1 << 40)?.idle {}
    Ok(())
}

#[test]
fn dying_at_any_operation_loses_nothing_that_is_covered() {
    let (mut operations, mut resumed) = (0, 0);
    loop {
        let dir = tempfile::tempdir().unwrap();
        let disk = DyingDisk::after(operations);
        let mut model = Model::default();
        let done = open_on(disk, dir.path()).is_ok_and(|index| {
            let done = work(&index, &mut model);
            // the process lives on with a dead disk: what it knew it still knows
            model.check(&index);
            done.is_ok()
        });
        let index = open(dir.path());
        resumed += u32::from(index.merge.lock().unwrap().is_some());
        assert!(index.unknown_files().is_empty());
        model.insert_uncovered(&index);
        model.check(&index);
        // and goes on
        index.flush(11).unwrap();
        while !index.merge_step(1 << 40).unwrap().idle {}
        model.check(&index);
        let stats = index.stats();
        let files = RealDisk.list(dir.path()).unwrap().len() as u64;
        assert_eq!(files, stats.keyed_runs + stats.sequence_runs + 1, "after {operations}");
        if done {
            break;
        }
        operations += 1;
    }
    println!("{operations} operations, {resumed} merges resumed");
    assert!(operations > 100 && resumed > 0);
}

#[test]
fn a_merge_waits_for_space() {
    let dir = tempfile::tempdir().unwrap();
    let full = DyingDisk { free_bytes: 64 << 20, left: Arc::new(AtomicI64::new(i64::MAX)) };
    let index = open_on(Arc::new(full), dir.path()).unwrap();
    for container in 0..3u32 {
        index.insert(TableId(0), &container.to_le_bytes(), at(container, 0));
        index.flush(container + 1).unwrap();
    }
    let step = index.merge_step(1).unwrap();
    // three runs of a header, a page of entries and one of filter
    assert_eq!((step.idle, step.merges, step.lacking_bytes), (true, 0, 9 * 4096));
    drop(index);
    assert_eq!(open(dir.path()).merge_step(1 << 40).unwrap().merges, 1);
}

#[test]
fn a_disk_that_comes_back_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DyingDisk::after(i64::MAX);
    let left = disk.left.clone();
    let index = open_on(disk, dir.path()).unwrap();
    let mut model = Model::default();
    for container in 0..12 {
        for i in 0..30 {
            model.put(&index, some_put(5, (container * 30 + i).into()), at(container, i));
        }
        for operations in 0..14 {
            left.store(operations, SeqCst);
            let _ = index.flush(container + 1);
            let _ = index.merge_step(1 << 40);
            model.check(&index);
        }
        left.store(i64::MAX, SeqCst);
        index.flush(container + 1).unwrap();
        assert_eq!(index.covered(), container + 1);
    }
    drop(index);
    model.check(&open(dir.path()));
}

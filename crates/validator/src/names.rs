//! Names of shards, by the root of their batch: what is too long for the chain, and follows from it.
//!
//! ```text
//! record = root 32 || count u8 || names, 32 each || CRC-32C of all before, u32 little-endian
//! ```
//! One file of records, only appended to; a torn last one is cut off at the start. Whoever asks checks them against the root.
//! Memory: about 60 bytes a batch.

use prunedb_core::Digest;
use prunedb_disk::{Disk, File, Open};
use prunedb_format::crc32c;
use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

const FILE: &str = "names.log";
/// Most shards of a batch.
const NAMES_MAX: usize = 255;

/// The names that a validator knows.
#[derive(Debug)]
pub(crate) struct Names {
    file: Arc<dyn File>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// where the names of a root are, and how many
    places: HashMap<Digest, (u64, u8)>,
    end: u64,
    /// an append failed: what is behind the end is not known
    is_dead: bool,
}

fn record_bytes(count: usize) -> usize {
    33 + count * 32 + 4
}

fn encode(root: &Digest, names: &[Digest]) -> Vec<u8> {
    let mut record = root.0.to_vec();
    record.push(u8::try_from(names.len()).expect("at most 255 shards"));
    names.iter().for_each(|name| record.extend_from_slice(&name.0));
    let crc = crc32c(&record);
    record.extend_from_slice(&crc.to_le_bytes());
    record
}

/// Root and names of the record that begins here; `None` where there is none that is whole.
fn decode(bytes: &[u8]) -> Option<(Digest, Vec<Digest>)> {
    let count = usize::from(*bytes.get(32)?);
    let record = bytes.get(..record_bytes(count))?;
    let (body, crc) = record.split_last_chunk::<4>()?;
    if count == 0 || crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let root = Digest(*body.first_chunk()?);
    let (names, _) = body[33..].as_chunks::<32>();
    Some((root, names.iter().map(|name| Digest(*name)).collect()))
}

impl Names {
    /// Opens or creates the file of a folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = if disk.exists(&path)? {
            disk.open(&path, Open::ReadWrite)?
        } else {
            let file = disk.open(&path, Open::CreateNew)?;
            disk.sync_dir(dir)?;
            file
        };
        let mut known = Known::default();
        let mut record = vec![0; record_bytes(NAMES_MAX)];
        loop {
            let read = file.read_at(&mut record, known.end)?;
            let Some((root, names)) = decode(&record[..read]) else { break };
            let count = u8::try_from(names.len()).expect("it was read from a byte");
            known.places.insert(root, (known.end, count));
            known.end += record_bytes(names.len()) as u64;
        }
        if file.len()? > known.end {
            tracing::warn!(path = %path.display(), at = known.end, "a torn record is cut off");
            file.set_len(known.end)?;
            file.sync_data()?;
        }
        Ok(Self { file, known: Mutex::new(known) })
    }

    /// Keeps the names of a root, durably; they are known to be its.
    ///
    /// # Errors
    /// Those of the disk; no more are taken then until the next start.
    pub(crate) fn put(&self, root: &Digest, names: &[Digest]) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.places.contains_key(root) {
            return Ok(());
        }
        if known.is_dead {
            return Err(io::Error::other("a write of names failed before: start again"));
        }
        let record = encode(root, names);
        known.is_dead = true;
        self.file.write_all_at(&record, known.end)?;
        self.file.sync_data()?;
        known.is_dead = false;
        let count = u8::try_from(names.len()).expect("at most 255 shards");
        let end = known.end;
        known.places.insert(*root, (end, count));
        known.end += record.len() as u64;
        Ok(())
    }

    /// The names of a root; empty where they are not known.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where the record is damaged.
    pub(crate) fn get(&self, root: &Digest) -> io::Result<Vec<Digest>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&(at, count)) = known.places.get(root) else { return Ok(Vec::new()) };
        drop(known);
        let mut record = vec![0; record_bytes(count.into())];
        self.file.read_exact_at(&mut record, at)?;
        let damaged = || {
            let text = format!("{FILE}: the record at {at} is damaged");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        decode(&record)
            .filter(|(found, _)| found == root)
            .map(|(_, names)| names)
            .ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_disk::faulty::{FaultyDisk, Unsynced};

    #[test]
    fn names_come_back_after_a_crash_and_a_torn_record_goes() {
        let disk = FaultyDisk::new(3);
        let dir = Path::new("/registry");
        disk.create_dir_all(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let of = |n: u8| (Digest([n; 32]), vec![Digest([n + 1; 32]); usize::from(n)]);
        let names = Names::open(&disk, dir).unwrap();
        for n in 1..9 {
            let (root, list) = of(n);
            names.put(&root, &list).unwrap();
            names.put(&root, &list).unwrap();
        }
        let path = dir.join(FILE);
        let whole = disk.file(&path);
        let disk = disk.crashed(Unsynced::Lost);
        let mut torn = whole.clone();
        torn.extend_from_slice(&encode(&Digest([99; 32]), &[Digest([1; 32]); 3])[..70]);
        disk.put_file(&path, torn);
        let names = Names::open(&disk, dir).unwrap();
        assert_eq!(disk.file(&path), whole);
        for n in 1..9 {
            let (root, list) = of(n);
            assert_eq!(names.get(&root).unwrap(), list);
        }
        assert!(names.get(&Digest([99; 32])).unwrap().is_empty());
        disk.flip(&path, 40, 1);
        assert_eq!(names.get(&of(1).0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

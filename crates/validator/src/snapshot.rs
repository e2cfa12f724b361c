//! Snapshots of the state, so that a restart need not begin at the first block.
//!
//! ```text
//! offset  size  field
//!      0     8  magic     "PDBREG\x00\x01"
//!      8    32  root of the state
//!     40     8  length of the events that follow, u64
//!     48        events: a canonical list
//!               the state, as `State::snapshot` has it
//!   last    32  BLAKE3 of everything before
//! ```
//! Numbers are little-endian. A snapshot is one file, written beside, synced and renamed: it is there whole or not at all, so
//! height and state are always of one block. The newest two are kept; one that is damaged is passed over, loudly.

use crate::history::Happened;
use prunedb_core::Digest;
use prunedb_disk::{Disk, read_all, write_atomic};
use prunedb_format::bytes::Reader;
use prunedb_registry::{State, canonical::Canonical};
use std::{
    io,
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"PDBREG\x00\x01";
/// Largest snapshot that is read: ten times the state of a million batches.
pub(crate) const BYTES_MAX: usize = 2 << 30;
/// Snapshots that are kept.
const KEPT: usize = 2;

pub(crate) fn path(dir: &Path, height: u64) -> PathBuf {
    dir.join(format!("snapshot-{height:020}"))
}

/// Heights of the snapshots of a folder.
///
/// # Errors
/// Those of the disk.
pub(crate) fn heights(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let names = disk.list(dir)?;
    let of = |name: &String| name.strip_prefix("snapshot-")?.parse().ok();
    Ok(names.iter().filter_map(of).collect())
}

/// Writes a snapshot and removes those that are not needed any more; the height of the oldest that is kept.
///
/// # Errors
/// Those of the disk.
pub(crate) fn save(
    disk: &dyn Disk,
    dir: &Path,
    state: &State,
    events: &[Happened],
) -> io::Result<u64> {
    let events = events.to_vec().to_bytes();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&state.root().0);
    bytes.extend_from_slice(&(events.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&events);
    bytes.extend_from_slice(&state.snapshot());
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    write_atomic(disk, &path(dir, state.height()), &bytes)?;
    let mut kept = heights(disk, dir)?;
    kept.sort_unstable_by(|a, b| b.cmp(a));
    for old in kept.drain(KEPT.min(kept.len())..) {
        disk.remove(&path(dir, old))?;
    }
    Ok(kept.last().copied().unwrap_or(0))
}

/// Height of the newest snapshot of a folder, whole or not; 0 where there is none.
///
/// # Errors
/// Those of the disk.
pub fn kept_height(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    if !disk.exists(dir)? {
        return Ok(0);
    }
    Ok(heights(disk, dir)?.into_iter().max().unwrap_or(0))
}

/// The newest snapshot that is whole.
///
/// # Errors
/// Those of the disk.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Option<(State, Vec<Happened>)>> {
    let mut heights = heights(disk, dir)?;
    heights.sort_unstable_by(|a, b| b.cmp(a));
    for height in heights {
        let path = path(dir, height);
        // what the disk does not give back is as damaged as what it gives back wrong
        let bytes = read_all(disk, &path, BYTES_MAX).map_err(|e| e.to_string());
        match bytes.and_then(|bytes| decode(&bytes)) {
            Ok(found) => return Ok(Some(found)),
            Err(problem) => {
                tracing::error!(path = %path.display(), problem, "a damaged snapshot is passed over");
            }
        }
    }
    Ok(None)
}

/// What is in a snapshot's bytes.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn decode(bytes: &[u8]) -> Result<(State, Vec<Happened>), String> {
    let (body, digest) = bytes.split_last_chunk::<32>().ok_or("too short")?;
    if blake3::hash(body).as_bytes() != digest {
        return Err("its checksum is wrong".into());
    }
    let text = |e: prunedb_format::FormatError| e.to_string();
    let mut from = Reader::new("snapshot", body);
    if from.array::<8>().map_err(text)? != *MAGIC {
        return Err("it is none, or of another version".into());
    }
    let root: Digest = from.digest().map_err(text)?;
    let length = usize::try_from(from.u64().map_err(text)?).map_err(|e| e.to_string())?;
    let events = from.take(length).map_err(text)?;
    let events = Vec::from_bytes("events", events).map_err(text)?;
    let state = from.take(from.remaining()).map_err(text)?;
    Ok((State::restore(state, &root).map_err(|e| e.to_string())?, events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_core::LakeId;
    use prunedb_disk::faulty::FaultyDisk;
    use prunedb_registry::{Genesis, Key, Params};

    #[test]
    fn the_newest_whole_snapshot_comes_back() {
        let disk = FaultyDisk::new(1);
        let dir = Path::new("/registry");
        disk.create_dir_all(dir).unwrap();
        assert!(load(&disk, dir).unwrap().is_none());
        let params = Params::permissioned(Key([1; 32]));
        let genesis = Genesis { lake: LakeId([2; 16]), params, validators: vec![Key([3; 32])] };
        let mut state = State::new(&genesis).unwrap();
        let event = Happened { kind: "closed".into(), ..Happened::default() };
        for height in 1..=5 {
            state.advance(height).unwrap();
            save(&disk, dir, &state, std::slice::from_ref(&event)).unwrap();
        }
        assert_eq!(heights(&disk, dir).unwrap(), [4, 5]);
        let (found, events) = load(&disk, dir).unwrap().unwrap();
        assert_eq!((found.root(), events), (state.root(), vec![event]));
        for at in [0, 20, 44, 60, 200] {
            disk.flip(path(dir, 5), at, 1);
            assert_eq!(load(&disk, dir).unwrap().unwrap().0.height(), 4, "byte {at}");
            disk.flip(path(dir, 5), at, 1);
        }
        assert_eq!(load(&disk, dir).unwrap().unwrap().0.height(), 5);
    }
}

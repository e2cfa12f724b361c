//! Damage done on purpose: bytes flipped in a node's segment files, while it runs.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// One byte of so many is flipped.
const EVERY_BYTES: u64 = 64 << 10;
/// Behind the segment's header, so that it is shards that are hit.
const FIRST_BYTE: u64 = 12_345;

/// Flips bytes all over the segments of a node; gives how many.
///
/// # Errors
/// Those of the files; [`io::ErrorKind::NotFound`] where there is nothing to damage.
pub fn flip_bytes(node_dir: &Path) -> io::Result<u64> {
    let mut flipped = 0;
    for entry in fs::read_dir(node_dir.join("segments"))? {
        let file = OpenOptions::new().read(true).write(true).open(entry?.path())?;
        let mut at = FIRST_BYTE;
        while at < file.metadata()?.len() {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[!byte[0]], at)?;
            flipped += 1;
            at += EVERY_BYTES;
        }
    }
    if flipped == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no shards to damage"));
    }
    Ok(flipped)
}

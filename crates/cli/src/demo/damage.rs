//! Damage done on purpose: bytes flipped in a node's segment files, while it runs.

use anyhow::{Context, ensure};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

/// One byte of so many is flipped.
const EVERY_BYTES: u64 = 64 << 10;
/// Behind the segment's header, so that it is shards that are hit.
const FIRST_BYTE: u64 = 12_345;

/// Flips bytes all over the segments of a node; gives how many.
pub(super) fn flip_bytes(node_dir: &Path) -> anyhow::Result<u64> {
    let segments = node_dir.join("segments");
    let mut flipped = 0;
    for entry in
        fs::read_dir(&segments).with_context(|| format!("cannot read {}", segments.display()))?
    {
        let path = entry?.path();
        let damaging = || format!("cannot damage {}", path.display());
        let file = OpenOptions::new().read(true).write(true).open(&path).with_context(damaging)?;
        let mut at = FIRST_BYTE;
        while at < file.metadata().with_context(damaging)?.len() {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).with_context(damaging)?;
            file.write_all_at(&[!byte[0]], at).with_context(damaging)?;
            flipped += 1;
            at += EVERY_BYTES;
        }
    }
    ensure!(flipped > 0, "{} holds no shards to damage", segments.display());
    Ok(flipped)
}

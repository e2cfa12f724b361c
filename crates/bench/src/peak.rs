//! The memory that coding a container takes, beside its coded stream.
//!
//! The whole process's most resident memory, less what was resident before, less the coded stream, which lies in memory
//! here. So this needs a process of its own. Counted: the compressor, the frames in flight, a row of leaves, the encoder
//! and its tables, and the pages of the program that are touched for the first time. Not counted: where the container
//! comes from (made frame by frame) and where the leaves go (nobody takes them).

use crate::{
    codec::{Coding, compress_into_memory},
    process::{self, resident},
    shards::fill_random,
};
use prunedb_codec::ReadAt;
use prunedb_core::Policy;
use std::{io, num::NonZero, process::Command};

/// Length of the container.
pub const CONTAINER_BYTES: u64 = 100_000_000;

/// Bytes that no compressor shortens, at any offset.
struct Endless;

impl ReadAt for Endless {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        fill_random(offset + 1, buffer);
        Ok(())
    }
}

/// Compresses (on `threads` threads) and codes a container of 100 MB; bytes that this process held at most, beside it.
///
/// # Errors
/// Where the system does not tell how much memory a process has, and as [`Coding::new`].
pub fn peak_bytes(policy: Policy, threads: NonZero<usize>) -> io::Result<u64> {
    let before = resident("VmRSS:")?;
    let coding = Coding::new(policy).map_err(io::Error::other)?;
    let (spool, stream) = compress_into_memory(&Endless, CONTAINER_BYTES, threads);
    let encoded = coding.encode(&spool, stream, &mut coding.ring());
    std::hint::black_box(encoded);
    let most = resident("VmHWM:")?;
    Ok(most.saturating_sub(before).saturating_sub(stream.coded_bytes))
}

/// Runs a command that writes what [`peak_bytes`] says.
///
/// # Errors
/// Where it cannot be run or fails; the message is what it wrote to stderr.
pub fn ask(command: &mut Command) -> io::Result<u64> {
    let said = process::ask(command)?;
    said.parse().map_err(|_| io::Error::other(said))
}

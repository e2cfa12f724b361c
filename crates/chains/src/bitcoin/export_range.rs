//! A range of the chain as one file: blocks in their order, framed as in block files, without a key and without undo data.
//!
//! A node takes it in with `-loadblock=FILE`, whatever it has; `prunedb import bitcoin FILE` does, too.

use super::{
    error::BitcoinError,
    export::hash_file,
    network::Network,
    verifier::{BLOCK, BitcoinVerifier},
};
use crate::{
    archive::Archive,
    contract::{ChainError, ChainSink, Progress, RawBlock, export},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// A file that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExportedRange {
    /// where it is
    pub path: PathBuf,
    /// its length
    pub file_bytes: u64,
    /// its hash
    pub sha256: [u8; 32],
    /// the same file was there before
    pub kept: bool,
}

/// Writes the blocks of these heights into a file of the folder, verified and linked.
///
/// # Errors
/// See [`ChainError`]: a block that is not stored, before anything is written; a file that is not complete has another name.
pub fn export_range<A: Archive + Sync + ?Sized>(
    archive: &A,
    network: Network,
    heights: RangeInclusive<u64>,
    out: &Path,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportedRange, ChainError> {
    let name = format!("blocks-{:07}-{:07}.dat", heights.start(), heights.end());
    let path = out.join(name);
    let sink = |error: BitcoinError| ChainError::Sink(error.into());
    std::fs::create_dir_all(out).map_err(|e| sink(BitcoinError::io(out)(e)))?;
    let mut file = RangeFile::create(&path, network).map_err(sink)?;
    export(archive, &BitcoinVerifier::new(network), heights, threads, &mut file, progress)?;
    file.rename(path).map_err(sink)
}

struct RangeFile {
    out: BufWriter<File>,
    unfinished: PathBuf,
    network: Network,
    sha256: Sha256,
    bytes: u64,
}

impl RangeFile {
    fn create(path: &Path, network: Network) -> Result<Self, BitcoinError> {
        let unfinished = path.with_extension("dat.unfinished");
        let file = File::create(&unfinished).map_err(BitcoinError::io(&unfinished))?;
        let out = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { out, unfinished, network, sha256: Sha256::new(), bytes: 0 })
    }

    fn rename(self, path: PathBuf) -> Result<ExportedRange, BitcoinError> {
        let Self { unfinished, sha256, bytes: file_bytes, .. } = self;
        let sha256: [u8; 32] = sha256.finalize().into();
        let kept = path.exists();
        if !kept {
            std::fs::rename(&unfinished, &path).map_err(BitcoinError::io(&path))?;
        } else {
            std::fs::remove_file(&unfinished).map_err(BitcoinError::io(&unfinished))?;
            if hash_file(&path)? != sha256 {
                return Err(BitcoinError::Exists { path });
            }
        }
        Ok(ExportedRange { path, file_bytes, sha256, kept })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BitcoinError> {
        self.out.write_all(bytes).map_err(BitcoinError::io(&self.unfinished))?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl ChainSink for RangeFile {
    type Error = BitcoinError;

    fn put_block(&mut self, block: &RawBlock) -> Result<(), BitcoinError> {
        let bytes = block.part(BLOCK).expect("every stored block has its first part");
        let length = u32::try_from(bytes.len()).expect("it was verified: 4 MB at most");
        self.write(&self.network.magic())?;
        self.write(&length.to_le_bytes())?;
        self.write(bytes)
    }

    fn finish(&mut self) -> Result<(), BitcoinError> {
        let io = BitcoinError::io(&self.unfinished);
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(io)
    }
}

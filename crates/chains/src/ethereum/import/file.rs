//! What is done with every history file, whatever its format: whose it is, its checksum, whether it changed.

use super::{ImportOptions, Progress, Stage, finish};
use crate::ethereum::{e2store::read_up_to, error::EthereumError, hash::Hash32, network::Network};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    io::{Read, Seek, SeekFrom},
};

/// Bytes put between two commits.
pub(super) const COMMIT_BYTES: u64 = 64 << 20;

/// The network that a file is of: by its name, or as it is said.
pub(super) fn network_of(
    file: &str,
    by_name: Option<&Network>,
    options: &ImportOptions,
) -> Result<Network, EthereumError> {
    match (by_name, &options.network) {
        (Some(found), Some(expected)) if found != expected => Err(EthereumError::OtherNetwork {
            file: file.into(),
            expected: expected.name().into(),
            found: found.name().into(),
        }),
        (Some(network), _) | (None, Some(network)) => Ok(network.clone()),
        (None, None) => Err(EthereumError::NetworkUnknown { file: file.into() }),
    }
}

/// The SHA-256 of a whole file.
pub(super) fn hash_file<R: Read + Seek>(
    input: &mut R,
    file: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Hash32, EthereumError> {
    let io = || EthereumError::io(file);
    let bytes_total = input.seek(SeekFrom::End(0)).map_err(io())?;
    input.rewind().map_err(io())?;
    let (mut hasher, mut buffer, mut bytes_done) = (Sha256::new(), Vec::new(), 0);
    loop {
        buffer.clear();
        let read = read_up_to(input, 1 << 20, &mut buffer).map_err(io())?;
        if read == 0 {
            return Ok(finish(&hasher));
        }
        hasher.update(&buffer);
        bytes_done += read;
        progress(&Progress { stage: Stage::Comparing, bytes_done, bytes_total, blocks_done: 0 });
    }
}

pub(super) fn check_sha256(
    file: &str,
    options: &ImportOptions,
    found: Hash32,
) -> Result<(), EthereumError> {
    match options.sha256 {
        Some(expected) if expected != found => {
            Err(EthereumError::Checksum { file: file.into(), expected, found })
        }
        _ => Ok(()),
    }
}

/// A file that no longer verifies has changed; a disk that fails has not.
pub(super) fn or_changed(error: EthereumError, changed: EthereumError) -> EthereumError {
    if matches!(error, EthereumError::Io { .. }) { error } else { changed }
}

/// Checks what a name says of an epoch.
pub(super) fn check_epoch(file: &str, by_name: u64, found: u64) -> Result<(), EthereumError> {
    if by_name == found {
        return Ok(());
    }
    let (file, expected, found) = (file.into(), by_name.to_string(), found.to_string());
    Err(EthereumError::Name { file, field: "epoch", expected, found })
}

/// Checks the first bytes of a hash in a name.
pub(super) fn check_prefix(
    file: &str,
    field: &'static str,
    by_name: [u8; 4],
    found: Hash32,
) -> Result<(), EthereumError> {
    let found = *found.0.first_chunk().expect("a hash has 32 bytes");
    if by_name == found {
        return Ok(());
    }
    let (expected, found) = (Prefix(by_name).to_string(), Prefix(found).to_string());
    Err(EthereumError::Name { file: file.into(), field, expected, found })
}

struct Prefix([u8; 4]);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

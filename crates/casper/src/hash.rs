//! Casper's digest: BLAKE2b with 32 bytes.

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use prunedb_chains::contract::Hash;

/// The digest of these bytes, one slice after another.
pub(crate) fn blake2b(slices: &[&[u8]]) -> Hash {
    let mut hasher = Blake2b::<U32>::new();
    slices.iter().for_each(|slice| hasher.update(slice));
    hasher.finalize().into()
}

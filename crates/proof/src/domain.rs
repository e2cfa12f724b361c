//! Hashing under a context string, so that no two uses of BLAKE3 can be taken for one another.

use prunedb_core::Digest;

/// BLAKE3 in its key derivation mode: `context` sets this use apart from every other one.
pub(crate) fn hash(context: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

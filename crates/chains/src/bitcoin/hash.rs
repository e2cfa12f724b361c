//! SHA-256 twice, the hash of everything in Bitcoin, and the Merkle tree over transactions.

use prunedb_core::Digest;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// SHA-256 of SHA-256. Kept as it is hashed and stored; shown as people write it, last byte first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// A string that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash: write 64 hex digits, as Bitcoin Core shows them")]
pub struct HashError(String);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let digest: Digest = text.parse().map_err(|_| HashError(text.into()))?;
        let mut bytes = digest.0;
        bytes.reverse();
        Ok(Self(bytes))
    }
}

/// SHA-256 twice over the pieces, one after another.
pub fn sha256d(pieces: &[&[u8]]) -> Hash {
    let mut once = Sha256::new();
    pieces.iter().for_each(|piece| once.update(piece));
    Hash(Sha256::digest(once.finalize()).into())
}

/// Root of the Merkle tree over `leaves`, of which an odd last one is paired with itself; zeros for none.
///
/// `None` where two different neighbours of a pair are equal: then another, longer list has the same root
/// (CVE-2012-2459), and which of them was meant nobody can tell.
pub(crate) fn merkle_root(mut leaves: Vec<Hash>) -> Option<Hash> {
    while leaves.len() > 1 {
        let mut above = Vec::with_capacity(leaves.len().div_ceil(2));
        for pair in leaves.chunks(2) {
            let (left, right) = (pair[0], pair[pair.len() - 1]);
            if pair.len() == 2 && left == right {
                return None;
            }
            above.push(sha256d(&[&left.0, &right.0]));
        }
        leaves = above;
    }
    Some(leaves.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_last_byte_first() {
        let text = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        let hash: Hash = text.parse().unwrap();
        assert_eq!((hash.to_string(), hash.0[0], hash.0[31]), (text.into(), 0x6f, 0));
        assert!("0x12".parse::<Hash>().is_err());
        assert_eq!(sha256d(&[b"a", b"b"]), sha256d(&[b"ab"]));
    }

    #[test]
    fn a_list_that_repeats_its_end_has_no_root() {
        let leaf = |n: u8| Hash([n; 32]);
        let pair = |a: Hash, b: Hash| sha256d(&[&a.0, &b.0]);
        assert_eq!(merkle_root(vec![]), Some(Hash::default()));
        assert_eq!(merkle_root(vec![leaf(1)]), Some(leaf(1)));
        let (left, odd) = (pair(leaf(1), leaf(2)), pair(leaf(3), leaf(3)));
        assert_eq!(merkle_root(vec![leaf(1), leaf(2), leaf(3)]), Some(pair(left, odd)));
        assert_eq!(merkle_root(vec![leaf(1), leaf(2), leaf(3), leaf(3)]), None);
        let six = [1, 2, 3, 4, 5, 6].map(leaf);
        assert!(merkle_root(six.to_vec()).is_some());
        assert_eq!(merkle_root([&six[..], &six[4..]].concat()), None);
    }
}

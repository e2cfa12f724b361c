//! Hashes and addresses as Ethereum writes them, and the two hash functions.

use sha2::Digest as _;
use std::{fmt, str::FromStr};

/// A 32-byte hash, shown as `0x` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash32(pub [u8; 32]);

/// A 20-byte account address, shown as `0x` and 40 lower-case hex digits (no checksum in the case).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

/// A string that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash: write 0x and 64 hex digits")]
pub struct HashError(String);

impl Hash32 {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash32 {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let refuse = || HashError(text.into());
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let digest: prunedb_core::Digest = digits.parse().map_err(|_| refuse())?;
        Ok(Self(digest.0))
    }
}

/// Bytes shown as `0x` and lower-case hex digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // through a buffer: one call per byte makes the JSON of a full block slow
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        f.write_str("0x")?;
        let mut buffer = [0; 128];
        for chunk in self.0.chunks(buffer.len() / 2) {
            for (pair, byte) in buffer.chunks_exact_mut(2).zip(chunk) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
            let text = std::str::from_utf8(&buffer[..2 * chunk.len()]).expect("hex digits");
            f.write_str(text)?;
        }
        Ok(())
    }
}

/// Keccak-256, the hash of everything on chain.
pub fn keccak256(bytes: &[u8]) -> Hash32 {
    Hash32(sha3::Keccak256::digest(bytes).into())
}

/// SHA-256, the hash of files and of the accumulator.
pub fn sha256(bytes: &[u8]) -> Hash32 {
    Hash32(sha2::Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(keccak256(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(keccak256(b"")));
        assert_eq!(
            sha256(b"abc").to_string(),
            "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Address([0x1f; 20]).to_string(), format!("0x{}", "1f".repeat(20)));
        assert!("0x12".parse::<Hash32>().is_err());
    }

    #[test]
    fn hex_of_any_length() {
        for length in [0, 1, 63, 64, 65, 200] {
            let bytes = vec![0xa5; length];
            assert_eq!(Hex(&bytes).to_string(), format!("0x{}", "a5".repeat(length)));
        }
    }
}

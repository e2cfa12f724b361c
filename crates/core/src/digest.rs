//! A 32-byte BLAKE3 digest, shown as hex.

use std::{fmt, str::FromStr};

/// The 32 bytes of a hash; shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

/// What is wrong with a string of hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// Not the number of digits that was expected.
    #[error("expected {expected} hex digits, found {found}")]
    Length {
        /// digits expected
        expected: usize,
        /// digits found
        found: usize,
    },
    /// A character that is no hex digit.
    #[error("character {index} is not a hex digit")]
    Digit {
        /// its position, from 0
        index: usize,
    },
}

impl Digest {
    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = HexError;

    fn from_str(s: &str) -> Result<Self, HexError> {
        parse_hex(s).map(Self)
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

/// Reads exactly `N` bytes from `2 * N` hex digits of either case.
pub(crate) fn parse_hex<const N: usize>(s: &str) -> Result<[u8; N], HexError> {
    let digits = s.as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length { expected: 2 * N, found: digits.len() });
    }
    let mut out = [0; N];
    for (index, &digit) in digits.iter().enumerate() {
        let value = (digit as char).to_digit(16).ok_or(HexError::Digit { index })?;
        let value = u8::try_from(value).expect("a hex digit is below 16");
        out[index / 2] = out[index / 2] << 4 | value;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusals() {
        let digest = Digest(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("00".parse::<Digest>(), Err(HexError::Length { expected: 64, found: 2 }));
        let bad = format!("{}g0", "00".repeat(31));
        assert_eq!(bad.parse::<Digest>(), Err(HexError::Digit { index: 62 }));
    }
}

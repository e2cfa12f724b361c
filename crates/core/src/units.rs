//! Sizes that formats fix, and sizes as people write them.

use std::fmt;

/// A frame: the unit of compression, caching and random access.
pub const FRAME_BYTES: usize = 128 * 1024;
/// A leaf of a shard: the unit of encryption, transfer and hashing.
pub const LEAF_BYTES: usize = 16 * 1024;
/// A leaf of a small data container.
pub const SMALL_LEAF_BYTES: usize = 4 * 1024;
/// The AES-GCM tag at the end of each leaf.
pub const TAG_BYTES: usize = 16;
/// Records start at multiples of this, so that an offset fits in 24 bits.
pub const RECORD_ALIGN: usize = 16;
/// Longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value of a plain put.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// Largest container: a block may have one of its own.
pub const CONTAINER_BYTES_MAX: usize = 256 << 20;

/// A number of bytes for people: shown as `12.3 MB` (powers of 1000), read as `4TB`, `100 MB`, `64KiB`, `123`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ByteSize(pub u64);

/// A string that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size: write a whole number with B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)"
)]
pub struct ByteSizeError(String);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
        let (mut whole, mut rest, mut unit) = (self.0, 0, 0);
        while whole >= 1000 && unit + 1 < UNITS.len() {
            rest = whole % 1000;
            whole /= 1000;
            unit += 1;
        }
        if unit == 0 {
            write!(f, "{whole} B")
        } else {
            write!(f, "{whole}.{} {}", rest / 100, UNITS[unit])
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(s: &str) -> Result<Self, ByteSizeError> {
        let refuse = || ByteSizeError(s.into());
        let digits_end = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let number: u64 = s[..digits_end].parse().map_err(|_| refuse())?;
        let factor: u64 = match s[digits_end..].trim() {
            "" | "B" => 1,
            "KB" => 1000,
            "MB" => 1000_u64.pow(2),
            "GB" => 1000_u64.pow(3),
            "TB" => 1000_u64.pow(4),
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(refuse()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!("4TB".parse(), Ok(ByteSize(4_000_000_000_000)));
        assert_eq!("64 KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!("12".parse(), Ok(ByteSize(12)));
        for text in ["", "TB", "-1", "1.5GB", "4tb", "99999999999999999999", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(999).to_string(), "999 B");
        assert_eq!(ByteSize(12_345_678).to_string(), "12.3 MB");
        assert_eq!(ByteSize(u64::MAX).to_string(), "18446.7 PB");
    }
}

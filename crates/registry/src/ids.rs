//! Keys, amounts, and texts with a bound.

use crate::{canonical::Canonical, reject::Reject};
use prunedb_core::Digest;
use prunedb_format::{FormatError, bytes::Reader};
use std::fmt;

/// A public key, ed25519: names an account, a node, an authority, a validator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The lowest one there may be.
    pub(crate) const MIN: Self = Self([0; 32]);
    /// The highest one there may be.
    pub(crate) const MAX: Self = Self([0xff; 32]);
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Digest(self.0), f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Money, in the smallest unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Amount(pub u64);

impl Amount {
    /// The sum.
    ///
    /// # Errors
    /// [`Reject::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, Reject> {
        self.0.checked_add(other.0).map(Self).ok_or(Reject::Overflow)
    }

    /// What is left.
    ///
    /// # Errors
    /// [`Reject::Funds`] where there is not enough.
    pub fn minus(self, other: Self) -> Result<Self, Reject> {
        let left = self.0.checked_sub(other.0).map(Self);
        left.ok_or(Reject::Funds { needed: other, found: self })
    }

    /// So many parts in a million, rounded down; at most the whole.
    pub fn parts_per_million(self, parts: u32) -> Self {
        self.scaled(parts.min(1_000_000).into(), 1_000_000)
    }

    /// `self * part / whole`, rounded down, for `part <= whole`.
    pub fn scaled(self, part: u64, whole: u64) -> Self {
        debug_assert!(part <= whole, "a part of the whole");
        let scaled = u128::from(self.0) * u128::from(part) / u128::from(whole.max(1));
        Self(u64::try_from(scaled).expect("a part is at most the whole"))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a node is reached, such as `host:port`: at most 255 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Endpoint(String);

impl Endpoint {
    /// Longest endpoint.
    pub const BYTES_MAX: usize = 255;

    /// An endpoint; `None` where it is too long.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::BYTES_MAX).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Canonical for Endpoint {
    fn put(&self, out: &mut Vec<u8>) {
        prunedb_format::bytes::put_short(out, self.0.as_bytes());
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let text = from.short_str()?;
        let too_long =
            FormatError::Value { what: "length of an endpoint", found: text.len() as u64 };
        Self::new(text).ok_or(too_long)
    }
}

//! A cursor over hostile bytes: each step is checked, nothing is allocated before its bytes are seen.

use crate::{FormatError, error::impossible};
use prunedb_core::{Digest, Policy};

/// Reads fields one after another.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`; `what` names the format in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, length: bytes.len() }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], as for every other read.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let Some((head, rest)) = self.bytes.split_at_checked(count) else {
            let before = self.length - self.bytes.len();
            return Err(FormatError::Truncated {
                what: self.what,
                needed: before as u64 + count as u64,
                found: self.length as u64,
            });
        };
        self.bytes = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    /// A byte.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A digest.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn digest(&mut self) -> Result<Digest, FormatError> {
        Ok(Digest(self.array()?))
    }

    /// A policy: p and q.
    ///
    /// # Errors
    /// As [`Self::take`], and [`FormatError::Value`].
    pub fn policy(&mut self) -> Result<Policy, FormatError> {
        let (p, q) = (self.u8()?, self.u8()?);
        Policy::new(p.into(), q.into())
            .map_err(|_| impossible("policy (256 p + q)", u64::from(p) << 8 | u64::from(q)))
    }

    /// A run of bytes behind its length as u16.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn short_bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let count = self.u16()?;
        self.take(count.into())
    }

    /// A run of bytes behind its length as u32.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn long_bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let count = self.u32()?;
        self.take(usize::try_from(count).map_err(|_| impossible(self.what, count))?)
    }

    /// A string behind its length as u16.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn short_str(&mut self) -> Result<&'a str, FormatError> {
        let bytes = self.short_bytes()?;
        str::from_utf8(bytes)
            .map_err(|e| impossible("UTF-8 of a name, at byte", e.valid_up_to() as u64))
    }

    /// Bytes that a version does not use must be zero.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn zeros(&mut self, count: usize) -> Result<(), FormatError> {
        match self.take(count)?.iter().find(|&&b| b != 0) {
            None => Ok(()),
            Some(&b) => Err(FormatError::Value { what: self.what, found: b.into() }),
        }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn end(self) -> Result<(), FormatError> {
        match self.bytes.len() {
            0 => Ok(()),
            more => Err(FormatError::Excess { what: self.what, bytes: more as u64 }),
        }
    }
}

/// Appends a run of bytes behind its length as u16.
///
/// # Panics
/// Where the caller lets more than 65,535 bytes through.
pub fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let count =
        u16::try_from(bytes.len()).expect("checked at the border: names and keys are short");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a run of bytes behind its length as u32.
///
/// # Panics
/// Where the caller lets 4 GiB through.
pub fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = u32::try_from(bytes.len()).expect("no part of a manifest is 4 GiB long");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a policy as two bytes.
pub fn put_policy(out: &mut Vec<u8>, policy: Policy) {
    for n in [policy.data_shards(), policy.parity_shards()] {
        out.push(u8::try_from(n).expect("a policy has at most 255 shards"));
    }
}

/// A count of items in a format that holds few of them.
pub fn count_u32(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("bounded far below 2^32").to_le_bytes()
}

//! A cursor over hostile bytes: each step is checked, nothing is allocated before its bytes are seen.

use crate::{FormatError, error::impossible};
use prunedb_core::{Digest, Policy};

/// Reads fields one after another.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, length: bytes.len() }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
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

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn digest(&mut self) -> Result<Digest, FormatError> {
        Ok(Digest(self.array()?))
    }

    pub(crate) fn policy(&mut self) -> Result<Policy, FormatError> {
        let (p, q) = (self.u8()?, self.u8()?);
        Policy::new(p.into(), q.into())
            .map_err(|_| impossible("policy (256 p + q)", u64::from(p) << 8 | u64::from(q)))
    }

    /// A run of bytes behind its length as u16.
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let count = self.u16()?;
        self.take(count.into())
    }

    /// A run of bytes behind its length as u32.
    pub(crate) fn long_bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let count = self.u32()?;
        self.take(usize::try_from(count).map_err(|_| impossible(self.what, count))?)
    }

    /// A string behind its length as u16.
    pub(crate) fn short_str(&mut self) -> Result<&'a str, FormatError> {
        let bytes = self.short_bytes()?;
        str::from_utf8(bytes)
            .map_err(|e| impossible("UTF-8 of a name, at byte", e.valid_up_to() as u64))
    }

    /// Bytes that a version does not use must be zero.
    pub(crate) fn zeros(&mut self, count: usize) -> Result<(), FormatError> {
        match self.take(count)?.iter().find(|&&b| b != 0) {
            None => Ok(()),
            Some(&b) => Err(FormatError::Value { what: self.what, found: b.into() }),
        }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), FormatError> {
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
pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let count =
        u16::try_from(bytes.len()).expect("checked at the border: names and keys are short");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a run of bytes behind its length as u32.
///
/// # Panics
/// Where the caller lets 4 GiB through.
pub(crate) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = u32::try_from(bytes.len()).expect("no part of a manifest is 4 GiB long");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a policy as two bytes.
pub(crate) fn put_policy(out: &mut Vec<u8>, policy: Policy) {
    for n in [policy.data_shards(), policy.parity_shards()] {
        out.push(u8::try_from(n).expect("a policy has at most 255 shards"));
    }
}

/// A count of items in a format that holds few of them.
pub(crate) fn count_u32(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("bounded far below 2^32").to_le_bytes()
}

//! Walking bytes in Casper's own encoding: little-endian, lengths as u32, no padding, one way to write each value.
//!
//! Nothing is allocated: a reader gives slices of its input. What does not fit is an error that says where.

use prunedb_chains::contract::Hash;

/// Bytes that are not of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// They end in the middle.
    #[error("byte {offset}: {needed} bytes belong here, {available} are there")]
    EndsEarly {
        /// where
        offset: usize,
        /// bytes that belong there
        needed: usize,
        /// bytes that are there
        available: usize,
    },
    /// They go on after the end.
    #[error("byte {offset}: {count} bytes follow the end")]
    Trailing {
        /// where
        offset: usize,
        /// how many
        count: usize,
    },
    /// A number that says which of several things follows, and is none of them.
    #[error("byte {offset}: {found} is no {what}")]
    Tag {
        /// where
        offset: usize,
        /// what was expected
        what: &'static str,
        /// what is there
        found: u32,
    },
    /// Types within types, too deep.
    #[error("byte {offset}: types nested deeper than {depth_max}")]
    TooDeep {
        /// where
        offset: usize,
        /// the limit
        depth_max: usize,
    },
}

/// Reads bytes from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, at: 0 }
    }

    /// Where it is.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// What was read since an offset.
    pub(crate) fn since(&self, offset: usize) -> &'a [u8] {
        &self.all[offset..self.at]
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ShapeError> {
        let rest = &self.all[self.at..];
        let Some(bytes) = rest.get(..count) else {
            let (offset, available) = (self.at, rest.len());
            return Err(ShapeError::EndsEarly { offset, needed: count, available });
        };
        self.at += count;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ShapeError> {
        Ok(self.take(N)?.try_into().expect("N bytes"))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, ShapeError> {
        self.array()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ShapeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ShapeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ShapeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ShapeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length, or a count of things.
    pub(crate) fn length(&mut self) -> Result<usize, ShapeError> {
        Ok(self.u32()? as usize)
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, ShapeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.tag(1, what, found.into())),
        }
    }

    /// Bytes with their length before them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ShapeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Things of the same kind with their count before them. A count that cannot be true ends at the end of the bytes.
    pub(crate) fn many(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), ShapeError>,
    ) -> Result<(), ShapeError> {
        let count = self.length()?;
        (0..count).try_for_each(|_| {
            let before = self.at;
            each(self)?;
            debug_assert!(
                self.at > before,
                "nothing has no bytes: a count would cost time for none"
            );
            Ok(())
        })
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), ShapeError> {
        match self.all.len() - self.at {
            0 => Ok(()),
            count => Err(ShapeError::Trailing { offset: self.at, count }),
        }
    }

    /// A tag that was just read, `bytes` long, and is none.
    pub(crate) const fn tag(&self, bytes: usize, what: &'static str, found: u32) -> ShapeError {
        ShapeError::Tag { offset: self.at - bytes, what, found }
    }

    /// A public key or signature, with its tag.
    pub(crate) fn asymmetric(
        &mut self,
        what: &'static str,
        lengths: [usize; 3],
    ) -> Result<&'a [u8], ShapeError> {
        let start = self.at;
        let tag = self.u8()?;
        let Some(&length) = lengths.get(usize::from(tag)) else {
            return Err(self.tag(1, what, tag.into()));
        };
        self.take(length)?;
        Ok(self.since(start))
    }

    pub(crate) fn public_key(&mut self) -> Result<&'a [u8], ShapeError> {
        self.asymmetric("public key", [0, 32, 33])
    }

    pub(crate) fn signature(&mut self) -> Result<&'a [u8], ShapeError> {
        self.asymmetric("signature", [0, 64, 64])
    }

    /// An unsigned number of up to 64 bytes, its length in a byte before it.
    pub(crate) fn big_number(&mut self) -> Result<(), ShapeError> {
        let length = self.u8()?;
        if length > 64 {
            return Err(self.tag(1, "length of a number", length.into()));
        }
        self.take(length.into()).map(|_| ())
    }
}

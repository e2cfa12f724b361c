//! Rows of 1.x, in bincode, turned into the bytesrepr of the same value: that is what the chain hashes.
//!
//! ```text
//! bincode                                         bytesrepr
//! lengths and counts u64                          u32
//! the number of a variant u32                     u8
//! a digest has its length (32) before it          nothing
//! a key or signature has its length before it     nothing
//! ```
//! Everything else is the same in both: numbers little-endian, options with a byte before them, no padding.

use crate::bytesrepr::{Reader, ShapeError};

/// Types within types: what the chain allows.
const TYPE_DEPTH_MAX: usize = 50;

/// bincode in, bytesrepr out.
pub(super) struct Transcoder<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) out: Vec<u8>,
}

pub(super) type Done = Result<(), ShapeError>;

impl<'a> Transcoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), out: Vec::with_capacity(bytes.len()) }
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, ShapeError> {
        self.reader.end()?;
        Ok(self.out)
    }

    pub(super) fn copy(&mut self, count: usize) -> Done {
        self.out.extend(self.reader.take(count)?);
        Ok(())
    }

    /// A length that is not written.
    fn length(&mut self) -> Result<u32, ShapeError> {
        let found = self.reader.u64()?;
        u32::try_from(found).map_err(|_| self.reader.tag(8, "length", u32::MAX))
    }

    fn bytes(&mut self) -> Done {
        let length = self.length()?;
        self.out.extend(length.to_le_bytes());
        self.copy(length as usize)
    }

    /// A length that must be this one, and is not written.
    fn fixed(&mut self, bytes: usize) -> Done {
        let found = self.length()?;
        if found as usize != bytes {
            return Err(self.reader.tag(8, "length", found));
        }
        self.copy(bytes)
    }

    pub(super) fn digest(&mut self) -> Done {
        self.fixed(32)
    }

    /// A tag of `count` variants; gives its number.
    pub(super) fn variant(&mut self, what: &'static str, count: u32) -> Result<u8, ShapeError> {
        let found = self.reader.u32()?;
        match u8::try_from(found) {
            Ok(tag) if found < count => Ok(tag),
            _ => Err(self.reader.tag(4, what, found)),
        }
    }

    fn asymmetric(&mut self, what: &'static str, lengths: [usize; 3]) -> Done {
        let tag = self.variant(what, 3)?;
        self.out.push(tag);
        match tag {
            0 => Ok(()),
            tag => self.fixed(lengths[usize::from(tag)]),
        }
    }

    pub(super) fn public_key(&mut self) -> Done {
        self.asymmetric("public key", [0, 32, 33])
    }

    fn signature(&mut self) -> Done {
        self.asymmetric("signature", [0, 64, 64])
    }

    pub(super) fn many(&mut self, mut each: impl FnMut(&mut Self) -> Done) -> Done {
        let count = self.length()?;
        self.out.extend(count.to_le_bytes());
        (0..count).try_for_each(|_| each(self))
    }

    pub(super) fn option(
        &mut self,
        what: &'static str,
        some: impl FnOnce(&mut Self) -> Done,
    ) -> Done {
        let flag = self.reader.flag(what)?;
        self.out.push(flag.into());
        if flag { some(self) } else { Ok(()) }
    }

    pub(super) fn big_number(&mut self) -> Done {
        let start = self.reader.offset();
        self.reader.big_number()?;
        self.out.extend(self.reader.since(start));
        Ok(())
    }

    fn executable(&mut self) -> Done {
        let tag = self.variant("executable item", 6)?;
        self.out.push(tag);
        let version = |this: &mut Self| this.option("version of a contract", |this| this.copy(4));
        match tag {
            0 => self.bytes()?,
            1 => {
                self.digest()?;
                self.bytes()?;
            }
            2 => {
                self.bytes()?;
                self.bytes()?;
            }
            3 => {
                self.digest()?;
                version(self)?;
                self.bytes()?;
            }
            4 => {
                self.bytes()?;
                version(self)?;
                self.bytes()?;
            }
            _ => {}
        }
        self.many(|this| {
            this.bytes()?; // the argument's name
            // bincode has the type first, bytesrepr the value
            let start = this.out.len();
            this.cl_type(0)?;
            let cl_type = this.out.split_off(start);
            this.bytes()?;
            this.out.extend(cl_type);
            Ok(())
        })
    }

    fn cl_type(&mut self, depth: usize) -> Done {
        if depth >= TYPE_DEPTH_MAX {
            let offset = self.reader.offset();
            return Err(ShapeError::TooDeep { offset, depth_max: TYPE_DEPTH_MAX });
        }
        // in the order in which 1.x declares them, which is not that of the tags
        const TAGS: [u8; 23] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22, 13, 14, 15, 16, 17, 18, 19, 20, 21];
        let tag = TAGS[usize::from(self.variant("type", 23)?)];
        self.out.push(tag);
        let inner = match tag {
            15 => return self.copy(4),
            13 | 14 | 18 => 1,
            16 | 17 | 19 => 2,
            20 => 3,
            _ => 0,
        };
        (0..inner).try_for_each(|_| self.cl_type(depth + 1))
    }

    fn approvals(&mut self) -> Done {
        self.many(|this| {
            this.public_key()?;
            this.signature()
        })
    }
}

/// A block's header.
pub(crate) fn header(bytes: &[u8]) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(bytes);
    (0..3).try_for_each(|_| this.digest())?; // parent, state root, body
    this.copy(1)?; // random bit
    this.digest()?; // accumulated seed
    this.option("end of an era", |this| {
        this.many(Transcoder::public_key)?; // equivocators
        this.many(|this| {
            this.public_key()?;
            this.copy(8)
        })?; // rewards
        this.many(Transcoder::public_key)?; // inactive validators
        this.many(|this| {
            this.public_key()?;
            this.big_number()
        }) // weights of the next era's validators
    })?;
    this.copy(3 * 8 + 3 * 4)?; // timestamp, era, height, protocol version
    this.finish()
}

/// A block's body.
pub(crate) fn body(bytes: &[u8]) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(bytes);
    this.public_key()?;
    this.many(Transcoder::digest)?;
    this.many(Transcoder::digest)?;
    this.finish()
}

/// A deploy; in bincode its hash is first, in bytesrepr its header.
pub(crate) fn deploy(bytes: &[u8]) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(bytes);
    this.digest()?;
    let hash = this.out.split_off(0);
    this.public_key()?; // account
    this.copy(3 * 8)?; // timestamp, time to live, gas price
    this.digest()?; // body
    this.many(Transcoder::digest)?; // dependencies
    this.bytes()?; // chain name
    this.out.extend(hash);
    this.executable()?; // payment
    this.executable()?; // session
    this.approvals()?;
    this.finish()
}

/// The validators' signatures of a block, with the tag that 2.x has before them.
pub(crate) fn signatures(bytes: &[u8]) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(bytes);
    this.out.push(0);
    this.digest()?; // block
    this.copy(8)?; // era
    this.approvals()?;
    this.finish()
}

/// Finalized approvals.
pub(crate) fn approvals(bytes: &[u8]) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(bytes);
    this.approvals()?;
    this.finish()
}

#[cfg(test)]
mod tests;

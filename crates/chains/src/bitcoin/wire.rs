//! Bitcoin's serialization: a cursor over bytes that may be anything.

use super::error::Fault;

/// Reads forward; each read says what it was for.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What was read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(Fault::Ends {
            what,
            needed: count as u64,
            found: rest.len() as u64,
        })?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        Ok(self.take(N, what)?.try_into().expect("as many bytes as were taken"))
    }

    /// The next byte, which stays.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A count in its shortest form (CompactSize).
    pub(crate) fn compact(&mut self, what: &'static str) -> Result<u64, Fault> {
        let [first] = self.array(what)?;
        let (value, least) = match first {
            0xfd => (u64::from(u16::from_le_bytes(self.array(what)?)), 0xfd),
            0xfe => (u64::from(u32::from_le_bytes(self.array(what)?)), 0x1_0000),
            0xff => (u64::from_le_bytes(self.array(what)?), 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least { Err(Fault::Count { what, value }) } else { Ok(value) }
    }

    /// A count of things of at least `least_bytes` each, of which no more can follow than there are bytes.
    pub(crate) fn count(&mut self, least_bytes: usize, what: &'static str) -> Result<usize, Fault> {
        let value = self.compact(what)?;
        let fits = usize::try_from(value).ok().filter(|&count| count <= self.left() / least_bytes);
        fits.ok_or(Fault::Count { what, value })
    }

    /// Bytes with their count before them.
    pub(crate) fn counted(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        let count = self.count(1, what)?;
        self.take(count, what)
    }

    /// Core's own number in base 128, of which each has one form (VARINT).
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Fault> {
        let mut value = 0u64;
        loop {
            let [byte] = self.array(what)?;
            if value > u64::MAX >> 7 {
                return Err(Fault::Count { what, value });
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            value = value.checked_add(1).ok_or(Fault::Count { what, value })?;
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), Fault> {
        match self.left() {
            0 => Ok(()),
            count => Err(Fault::Trailing { what, count: count as u64 }),
        }
    }
}

/// Appends a count in its shortest form.
pub(crate) fn write_compact(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    match value {
        0..0xfd => out.push(bytes[0]),
        0xfd..0x1_0000 => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(0xfe);
            out.extend_from_slice(&bytes[..4]);
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_one_form() {
        let compact = |bytes: &[u8]| Reader::new(bytes).compact("count");
        assert_eq!(compact(&[0xfc]), Ok(0xfc));
        assert_eq!(compact(&[0xfd, 0xfd, 0]), Ok(0xfd));
        assert_eq!(compact(&[0xfe, 0, 0, 1, 0]), Ok(0x1_0000));
        assert_eq!(compact(&[0xff, 0, 0, 0, 0, 1, 0, 0, 0]), Ok(1 << 32));
        for longer in [&[0xfd, 0xfc, 0][..], &[0xfe, 0xff, 0xff, 0, 0], &[0xfd, 1]] {
            assert!(compact(longer).is_err());
        }
        assert!(Reader::new(&[3, 0, 0]).counted("script").is_err());
    }

    #[test]
    fn base_128_is_that_of_core() {
        let varint = |bytes: &[u8]| Reader::new(bytes).varint("height");
        assert_eq!(varint(&[0x7f]), Ok(127));
        assert_eq!(varint(&[0x80, 0]), Ok(128));
        assert_eq!(varint(&[0x80, 0x7f]), Ok(255));
        assert_eq!(varint(&[0x81, 0]), Ok(256));
        assert_eq!(varint(&[0xfe, 0x7f]), Ok(16_383));
        assert_eq!(varint(&[0xff, 0]), Ok(16_384));
        assert!(varint(&[0xff; 12]).is_err());
        assert!(varint(&[0x80]).is_err());
    }
}

//! RLP: Ethereum's serialisation of byte strings and lists, read strictly and written canonically.
//!
//! ```text
//! first byte   what follows
//! 00..=7f      nothing: the byte is the string
//! 80..=b7      a string of (first - 80) bytes
//! b8..=bf      (first - b7) bytes of big-endian length, then the string (56 bytes or more)
//! c0..=f7      a list of (first - c0) payload bytes
//! f8..=ff      (first - f7) bytes of big-endian length, then the payload (56 bytes or more)
//! ```
//! Every value has one encoding; any other is refused, so that what was read can be written again byte for byte.
//! Reading borrows and allocates nothing. Nesting costs the caller one call each; nothing here recurses.

use super::uint::U256;

/// Why bytes are not the RLP that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RlpError {
    /// The input ends inside an item.
    #[error("ends too early: an item needs {needed} bytes, {available} are left")]
    Truncated {
        /// bytes that the item says it has
        needed: u64,
        /// bytes left
        available: u64,
    },
    /// A longer encoding than the shortest.
    #[error("not in canonical form")]
    NotCanonical,
    /// A string where a list was expected.
    #[error("a string where a list belongs")]
    ExpectedList,
    /// A list where a string was expected.
    #[error("a list where a string belongs")]
    ExpectedString,
    /// A string of another length.
    #[error("{found} bytes where {expected} belong")]
    Length {
        /// bytes expected
        expected: u64,
        /// bytes found
        found: u64,
    },
    /// A number with leading zeros, or too large for its field.
    #[error("not a number of at most {bytes_max} bytes without leading zeros")]
    Number {
        /// most bytes that the field may have
        bytes_max: usize,
    },
    /// A list that ends before all its fields.
    #[error("the list has no such item")]
    Missing,
    /// More than was expected.
    #[error("{count} bytes too many")]
    Trailing {
        /// bytes left over
        count: u64,
    },
}

/// One item: a string or a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    raw: &'a [u8],
    payload: &'a [u8],
    list: bool,
}

impl<'a> Item<'a> {
    /// Reads the item that fills `bytes` exactly.
    ///
    /// # Errors
    /// When `bytes` are not one canonical item.
    pub fn exact(bytes: &'a [u8]) -> Result<Self, RlpError> {
        let mut items = Items { rest: bytes };
        let item = items.item()?;
        items.end()?;
        Ok(item)
    }

    /// The whole encoding, prefix included.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What the prefix announces: the string, or the items of the list.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether it is a list.
    pub const fn is_list(&self) -> bool {
        self.list
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When it is a string.
    pub fn items(&self) -> Result<Items<'a>, RlpError> {
        if self.list { Ok(Items { rest: self.payload }) } else { Err(RlpError::ExpectedList) }
    }

    /// The bytes of a string.
    ///
    /// # Errors
    /// When it is a list.
    pub fn string(&self) -> Result<&'a [u8], RlpError> {
        if self.list { Err(RlpError::ExpectedString) } else { Ok(self.payload) }
    }

    /// A string of exactly `N` bytes.
    ///
    /// # Errors
    /// When it is a list or has another length.
    pub fn array<const N: usize>(&self) -> Result<&'a [u8; N], RlpError> {
        let bytes = self.string()?;
        bytes
            .try_into()
            .map_err(|_| RlpError::Length { expected: N as u64, found: bytes.len() as u64 })
    }

    /// A number of at most 64 bits.
    ///
    /// # Errors
    /// When it is a list, too long or has leading zeros.
    pub fn u64(&self) -> Result<u64, RlpError> {
        let bytes = self.number(8)?;
        Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A number of at most 256 bits.
    ///
    /// # Errors
    /// When it is a list, too long or has leading zeros.
    pub fn u256(&self) -> Result<U256, RlpError> {
        let bytes = self.number(32)?;
        Ok(U256::from_be_slice(bytes).expect("at most 32 bytes"))
    }

    fn number(&self, bytes_max: usize) -> Result<&'a [u8], RlpError> {
        let bytes = self.string()?;
        if bytes.len() > bytes_max || bytes.first() == Some(&0) {
            return Err(RlpError::Number { bytes_max });
        }
        Ok(bytes)
    }
}

/// The items of a list, one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// Reads `bytes` as items one after another, without a list around them.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next item.
    ///
    /// # Errors
    /// [`RlpError::Missing`] at the end, or when what follows is no canonical item.
    pub fn item(&mut self) -> Result<Item<'a>, RlpError> {
        let prefix = prefix(self.rest)?.ok_or(RlpError::Missing)?;
        let needed = prefix.bytes as u64 + prefix.payload_bytes;
        let available = self.rest.len();
        let end = usize::try_from(needed)
            .ok()
            .filter(|&end| end <= available)
            .ok_or(RlpError::Truncated { needed, available: available as u64 })?;
        let (raw, rest) = self.rest.split_at(end);
        let payload = &raw[prefix.bytes..];
        if !prefix.list && raw.len() == 2 && payload[0] < 0x80 {
            return Err(RlpError::NotCanonical); // this byte is its own encoding
        }
        self.rest = rest;
        Ok(Item { raw, payload, list: prefix.list })
    }

    /// What is left, undecoded.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`RlpError::Trailing`] otherwise.
    pub const fn end(&self) -> Result<(), RlpError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RlpError::Trailing { count: self.rest.len() as u64 })
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, RlpError>;

    /// After an error nothing follows.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

/// What the first bytes of an item say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefix {
    /// size of the prefix itself; 0 where the byte is the string
    pub(crate) bytes: usize,
    /// size of what follows; at most `u64::MAX / 2`
    pub(crate) payload_bytes: u64,
    pub(crate) list: bool,
}

/// The longest prefix.
pub(crate) const PREFIX_BYTES_MAX: usize = 9;

/// Reads an item's prefix; `None` of no bytes.
pub(crate) fn prefix(bytes: &[u8]) -> Result<Option<Prefix>, RlpError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let list = first >= 0xc0;
    let short = match first {
        0..=0x7f => return Ok(Some(Prefix { bytes: 0, payload_bytes: 1, list })),
        0x80..=0xb7 => Some(first - 0x80),
        0xc0..=0xf7 => Some(first - 0xc0),
        _ => None,
    };
    if let Some(payload_bytes) = short {
        return Ok(Some(Prefix { bytes: 1, payload_bytes: payload_bytes.into(), list }));
    }
    let digits = usize::from(first - if list { 0xf7 } else { 0xb7 }); // 1..=8
    let Some(length) = bytes.get(1..=digits) else {
        let available = bytes.len() as u64;
        return Err(RlpError::Truncated { needed: 1 + digits as u64, available });
    };
    let payload_bytes = length.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    if length[0] == 0 || payload_bytes < 56 {
        return Err(RlpError::NotCanonical);
    }
    if payload_bytes > u64::MAX / 2 {
        return Err(RlpError::Truncated { needed: payload_bytes, available: bytes.len() as u64 });
    }
    Ok(Some(Prefix { bytes: 1 + digits, payload_bytes, list }))
}

/// A prefix, ready to be written.
#[derive(Clone, Copy)]
pub(crate) struct PrefixBytes {
    bytes: [u8; PREFIX_BYTES_MAX],
    len: usize,
}

impl std::ops::Deref for PrefixBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The prefix of a list whose items take `payload_bytes`.
pub(crate) fn list_prefix(payload_bytes: usize) -> PrefixBytes {
    length_prefix(0xc0, payload_bytes)
}

/// The prefix of a string; empty where the string is its own encoding.
pub(crate) fn string_prefix(string: &[u8]) -> PrefixBytes {
    match string {
        [0..=0x7f] => PrefixBytes { bytes: [0; PREFIX_BYTES_MAX], len: 0 },
        _ => length_prefix(0x80, string.len()),
    }
}

fn length_prefix(base: u8, length: usize) -> PrefixBytes {
    let mut bytes = [0; PREFIX_BYTES_MAX];
    let be = (length as u64).to_be_bytes();
    if length < 56 {
        bytes[0] = base + be[7];
        return PrefixBytes { bytes, len: 1 };
    }
    let zeros = be.iter().take_while(|&&byte| byte == 0).count();
    let digits = &be[zeros..];
    bytes[0] = base + 55 + u8::try_from(digits.len()).expect("at most 8");
    bytes[1..=digits.len()].copy_from_slice(digits);
    PrefixBytes { bytes, len: 1 + digits.len() }
}

/// Appends a list of items that are encoded already.
pub(crate) fn write_list(out: &mut Vec<u8>, encoded_items: &[&[u8]]) {
    out.extend_from_slice(&list_prefix(encoded_items.iter().map(|item| item.len()).sum()));
    encoded_items.iter().for_each(|item| out.extend_from_slice(item));
}

/// Appends a string.
pub(crate) fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(&string_prefix(string));
    out.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Tree {
        String(Vec<u8>),
        List(Vec<Tree>),
    }

    fn encode(tree: &Tree) -> Vec<u8> {
        let mut out = Vec::new();
        match tree {
            Tree::String(bytes) => write_string(&mut out, bytes),
            Tree::List(items) => {
                let items: Vec<_> = items.iter().map(encode).collect();
                write_list(&mut out, &items.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        }
        out
    }

    fn decode(item: Item<'_>) -> Result<Tree, RlpError> {
        Ok(match item.string() {
            Ok(bytes) => Tree::String(bytes.to_vec()),
            Err(_) => Tree::List(
                item.items()?.map(|item| decode(item?)).collect::<Result<_, RlpError>>()?,
            ),
        })
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop::collection::vec(any::<u8>(), 0..80).prop_map(Tree::String);
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop::collection::vec(inner, 0..8).prop_map(Tree::List)
        })
    }

    proptest! {
        #[test]
        fn round_trip(tree in trees()) {
            let bytes = encode(&tree);
            prop_assert_eq!(decode(Item::exact(&bytes).unwrap()).unwrap(), tree);
            for cut in 0..bytes.len() {
                prop_assert!(Item::exact(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_written_again_equal(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(tree) = Item::exact(&bytes).and_then(decode) {
                prop_assert_eq!(encode(&tree), bytes);
            }
        }
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        for (bytes, error) in [
            (&[0x81, 0x7f][..], RlpError::NotCanonical),
            (&[0xb8, 0x01, 0xff], RlpError::NotCanonical),
            (&[0xb9, 0x00, 0x38], RlpError::NotCanonical),
            (&[0xf8, 0x00], RlpError::NotCanonical),
            (&[0x80, 0x80], RlpError::Trailing { count: 1 }),
            (&[], RlpError::Missing),
            (&[0xbf; 9], RlpError::Truncated { needed: 0xbfbf_bfbf_bfbf_bfbf, available: 9 }),
            (&[0xff, 0xff], RlpError::Truncated { needed: 9, available: 2 }),
        ] {
            assert_eq!(Item::exact(bytes), Err(error), "{bytes:02x?}");
        }
        assert_eq!(Item::exact(&[0x00]).unwrap().u64(), Err(RlpError::Number { bytes_max: 8 }));
        assert_eq!(Item::exact(&[0x80]).unwrap().u64(), Ok(0));
        assert_eq!(Item::exact(&[0x82, 1, 0]).unwrap().u64(), Ok(256));
        assert_eq!(
            Item::exact(&[0x80]).unwrap().array::<3>(),
            Err(RlpError::Length { expected: 3, found: 0 })
        );
    }
}

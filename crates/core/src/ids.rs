//! Names of things: lake, container, shard, table, term.

use crate::digest::{HexError, parse_hex, write_hex};
use std::{fmt, str::FromStr};

/// Names a lake for ever; derived from its secret, so a wrong secret is seen at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LakeId(pub [u8; 16]);

impl fmt::Display for LakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for LakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LakeId {
    type Err = HexError;

    fn from_str(s: &str) -> Result<Self, HexError> {
        parse_hex(s).map(Self)
    }
}

/// What a container holds. Each kind is numbered by its own counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ContainerKind {
    /// Records of tables; compressed; a chain's batch.
    Data = 0,
    /// Manifest edits, as records; not compressed.
    Manifest = 1,
    /// Pages of an index run; not compressed.
    Index = 2,
}

impl ContainerKind {
    /// The kind that a stored byte stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Data),
            1 => Some(Self::Manifest),
            2 => Some(Self::Index),
            _ => None,
        }
    }

    /// Data containers are compressed and read by the frame, the others are metadata, read by the page.
    pub const fn is_metadata(self) -> bool {
        !matches!(self, Self::Data)
    }

    const fn letter(self) -> char {
        match self {
            Self::Data => 'd',
            Self::Manifest => 'm',
            Self::Index => 'i',
        }
    }
}

/// Names a container within its lake; never reused. Shown as `d12`, `m3`, `i7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// what it holds
    pub kind: ContainerKind,
    /// its number among its kind, from 0
    pub number: u32,
}

impl ContainerId {
    /// The data container of this number.
    pub const fn data(number: u32) -> Self {
        Self { kind: ContainerKind::Data, number }
    }

    /// The index container of this number.
    pub const fn index(number: u32) -> Self {
        Self { kind: ContainerKind::Index, number }
    }

    /// The manifest container of this number.
    pub const fn manifest(number: u32) -> Self {
        Self { kind: ContainerKind::Manifest, number }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.letter(), self.number)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A string that is no container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a container: write d12, m3 or i7")]
pub struct ContainerIdError(String);

impl FromStr for ContainerId {
    type Err = ContainerIdError;

    fn from_str(s: &str) -> Result<Self, ContainerIdError> {
        let mut chars = s.chars();
        let kind = match chars.next() {
            Some('d') => ContainerKind::Data,
            Some('m') => ContainerKind::Manifest,
            Some('i') => ContainerKind::Index,
            _ => return Err(ContainerIdError(s.into())),
        };
        let number = chars.as_str().parse().map_err(|_| ContainerIdError(s.into()))?;
        Ok(Self { kind, number })
    }
}

/// The place of a shard in its container: data shards `0..p`, parity shards `p..p+q`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardIndex(pub u8);

impl ShardIndex {
    /// As an index into an array of shards.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Addresses one shard on any node. Shown as `<lake>/d12/3`.
///
/// Stored and sent as 24 bytes:
/// ```text
/// offset  size  field
///      0    16  lake
///     16     1  container kind
///     17     1  shard index
///     18     2  zero
///     20     4  container number, u32, little-endian
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// its lake
    pub lake: LakeId,
    /// its container
    pub container: ContainerId,
    /// its place in the container
    pub index: ShardIndex,
}

impl ShardId {
    /// Size of the stored form.
    pub const BYTES: usize = 24;

    /// The stored form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..16].copy_from_slice(&self.lake.0);
        out[16] = self.container.kind as u8;
        out[17] = self.index.0;
        out[20..].copy_from_slice(&self.container.number.to_le_bytes());
        out
    }

    /// Reads the stored form; `None` where a field holds no valid value.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let kind = ContainerKind::from_byte(bytes[16])?;
        if bytes[18..20] != [0, 0] {
            return None;
        }
        let number = u32::from_le_bytes(bytes[20..].try_into().expect("4 bytes"));
        Some(Self {
            lake: LakeId(bytes[..16].try_into().expect("16 bytes")),
            container: ContainerId { kind, number },
            index: ShardIndex(bytes[17]),
        })
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lake, self.container, self.index)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! number_newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_newtype! {
    /// Number of a table within its lake, in order of creation.
    TableId(u32)
}
number_newtype! {
    /// Generation of the lease: the right to write the lake. Nodes refuse a lower one than they have seen.
    Term(u64)
}
number_newtype! {
    /// Generation of the lake key; rotation affects new containers.
    Generation(u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shard_id_round_trip(lake: [u8; 16], kind in 0u8..3, number: u32, index: u8) {
            let kind = ContainerKind::from_byte(kind).unwrap();
            let id = ShardId { lake: LakeId(lake), container: ContainerId { kind, number }, index: ShardIndex(index) };
            prop_assert_eq!(ShardId::from_bytes(&id.to_bytes()), Some(id));
            prop_assert_eq!(id.container.to_string().parse::<ContainerId>(), Ok(id.container));
        }

        #[test]
        fn any_bytes_are_an_id_or_refused(bytes: [u8; 24]) {
            if let Some(id) = ShardId::from_bytes(&bytes) {
                prop_assert_eq!(id.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn container_id_refuses_nonsense() {
        for text in ["", "d", "x1", "d-1", "d4294967296", "12"] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }
}

//! A capability: what the owner of a lake allows the holder of a key at every node that knows the owner.
//!
//! ```text
//! offset  size  field
//!      0     8  magic       "PDBCAPA\x01"
//!      8    16  lake
//!     24    32  holder      ed25519 key that the client shows to the node
//!     56     1  operations  bit 0 read, 1 write, 2 delete, 3 lead
//!     57     1  scope       0: every shard of the lake, 1: one shard
//!     58     6  zero
//!     64    24  shard       the shard's id; zeros where it is every one
//!     88     8  term        u64: the highest term that may be written under
//!     96     8  issued      u64: seconds since 1970
//!    104     8  expires     u64: seconds since 1970, later than `issued`, by 366 days at most
//!    112    64  signature   ed25519, of the lake's owner, of bytes 0..112
//! ```
//! Integers are little-endian. There is one encoding for each value: everything else is refused.

use crate::identity::{Identity, PublicKey, SIGNATURE_BYTES, SignatureError};
use prunedb_core::{LakeId, ShardId, Term};
use std::{fmt, str::FromStr, time::Duration};

const MAGIC: &[u8; 8] = b"PDBCAPA\x01";
const SIGNED_BYTES: usize = 112;
/// Size of a capability with its signature.
pub const CAPABILITY_BYTES: usize = SIGNED_BYTES + SIGNATURE_BYTES;
/// Longest life of a capability: there is no other way to take one back than to wait.
pub const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A set of operations; shown as words, such as `read,write`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations(u8);

impl Operations {
    /// ask, read, list and have shards shown; read the head
    pub const READ: Self = Self(1);
    /// put shards
    pub const WRITE: Self = Self(2);
    /// delete shards
    pub const DELETE: Self = Self(4);
    /// fence off older terms, put heads
    pub const LEAD: Self = Self(8);
    /// everything
    pub const ALL: Self = Self(15);

    const WORDS: [(Self, &str); 4] = [
        (Self::READ, "read"),
        (Self::WRITE, "write"),
        (Self::DELETE, "delete"),
        (Self::LEAD, "lead"),
    ];

    /// Whether all of these are among them.
    pub const fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::WORDS.iter().filter(|(one, _)| self.contain(*one));
        f.write_str(&words.map(|(_, word)| *word).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A word that is no operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no operation: read, write, delete and lead are, with commas between them")]
pub struct WordError {
    /// the word
    pub word: String,
}

impl FromStr for Operations {
    type Err = WordError;

    fn from_str(s: &str) -> Result<Self, WordError> {
        s.split(',').try_fold(Self::default(), |Self(so_far), word| {
            let found = Self::WORDS.iter().find(|(_, known)| *known == word.trim());
            let (one, _) = found.ok_or_else(|| WordError { word: word.into() })?;
            Ok(Self(so_far | one.0))
        })
    }
}

/// Which shards a capability is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// every shard of the lake, and what is kept of the lake itself
    Lake,
    /// one shard
    Shard(ShardId),
}

/// What an owner allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// in which lake
    pub lake: LakeId,
    /// who may do it: the key that it shows to the node
    pub holder: PublicKey,
    /// what it may do
    pub operations: Operations,
    /// with which shards
    pub scope: Scope,
    /// the highest term that it may write under
    pub term: Term,
    /// when it was made, in seconds since 1970
    pub issued: u64,
    /// when it ends, in seconds since 1970
    pub expires: u64,
}

impl Capability {
    /// Signs it.
    pub fn sign(&self, owner: &Identity) -> SignedCapability {
        let mut bytes = [0; CAPABILITY_BYTES];
        bytes[..SIGNED_BYTES].copy_from_slice(&self.encode());
        let signature = owner.sign(&bytes[..SIGNED_BYTES]);
        bytes[SIGNED_BYTES..].copy_from_slice(&signature);
        SignedCapability { capability: *self, bytes }
    }

    fn encode(&self) -> [u8; SIGNED_BYTES] {
        let mut out = [0; SIGNED_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..24].copy_from_slice(&self.lake.0);
        out[24..56].copy_from_slice(&self.holder.0);
        out[56] = self.operations.0;
        if let Scope::Shard(id) = self.scope {
            out[57] = 1;
            out[64..88].copy_from_slice(&id.to_bytes());
        }
        out[88..96].copy_from_slice(&self.term.0.to_le_bytes());
        out[96..104].copy_from_slice(&self.issued.to_le_bytes());
        out[104..112].copy_from_slice(&self.expires.to_le_bytes());
        out
    }
}

/// A capability as it is sent and kept; who signed it is looked at by [`SignedCapability::verify`]. Shown as hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignedCapability {
    capability: Capability,
    bytes: [u8; CAPABILITY_BYTES],
}

impl SignedCapability {
    /// Reads one; `None` where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; CAPABILITY_BYTES] = bytes.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes"));
        let scope = match bytes[57] {
            0 => Scope::Lake,
            _ => Scope::Shard(ShardId::from_bytes(bytes[64..].first_chunk()?)?),
        };
        let capability = Capability {
            lake: LakeId(*bytes[8..].first_chunk()?),
            holder: PublicKey(*bytes[24..].first_chunk()?),
            operations: Operations(bytes[56]),
            scope,
            term: Term(u64_at(88)),
            issued: u64_at(96),
            expires: u64_at(104),
        };
        let life = capability.expires.checked_sub(capability.issued)?;
        let scope_fits = match scope {
            Scope::Lake => true,
            Scope::Shard(id) => id.lake == capability.lake,
        };
        let right = capability.encode() == bytes[..SIGNED_BYTES]
            && (1..=Operations::ALL.0).contains(&capability.operations.0)
            && (1..=LIFE_MAX.as_secs()).contains(&life)
            && scope_fits;
        right.then_some(Self { capability, bytes: *bytes })
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; CAPABILITY_BYTES] {
        &self.bytes
    }

    /// What it claims; nothing is proven by that.
    pub const fn claims(&self) -> &Capability {
        &self.capability
    }

    /// What it allows, if this owner has signed it.
    ///
    /// # Errors
    /// [`SignatureError`]: it has not.
    pub fn verify(&self, owner: &PublicKey) -> Result<Capability, SignatureError> {
        owner.verify(&self.bytes[..SIGNED_BYTES], &self.bytes[SIGNED_BYTES..])?;
        Ok(self.capability)
    }
}

impl fmt::Display for SignedCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SignedCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capability.fmt(f)
    }
}

/// Hex digits that are no capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no capability: it has {} hex digits", 2 * CAPABILITY_BYTES)]
pub struct NoCapability;

impl FromStr for SignedCapability {
    type Err = NoCapability;

    fn from_str(s: &str) -> Result<Self, NoCapability> {
        let (pairs, rest) = s.as_bytes().as_chunks::<2>();
        if pairs.len() != CAPABILITY_BYTES || !rest.is_empty() {
            return Err(NoCapability);
        }
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.and_then(|bytes| Self::decode(&bytes)).ok_or(NoCapability)
    }
}

#[cfg(test)]
mod tests;

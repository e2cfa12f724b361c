//! An ed25519 key pair that names a client or a node.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use prunedb_core::{Digest, HexError};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// Size of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The half of a key pair that others know; shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A signature that is not that of the key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not that of {key}")]
pub struct SignatureError {
    /// whose it should be
    pub key: PublicKey,
}

/// A key pair. The seed is wiped when it is dropped.
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl Identity {
    /// The key pair of 32 bytes: random ones, derived ones, or those of a key file.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).expect("any 32 bytes are a seed");
        Self { seed, pair }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.public_key().as_ref().try_into().expect("ed25519 keys have 32 bytes"))
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.pair.sign(message).as_ref().try_into().expect("ed25519 signatures have 64 bytes")
    }
}

impl PublicKey {
    /// Whether the holder of the key has signed a message.
    ///
    /// # Errors
    /// [`SignatureError`]: it has not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let verified = UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature);
        verified.map_err(|_| SignatureError { key: *self })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = HexError;

    fn from_str(s: &str) -> Result<Self, HexError> {
        s.parse().map(|Digest(key)| Self(key))
    }
}

//! Signatures: ed25519 over a hash that names the registry, so that no transaction counts in two of them.

use crate::{canonical::Canonical, ids::Key, tx::Body};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use prunedb_core::Digest;
use prunedb_format::{FormatError, bytes::Reader};

const CONTEXT: &str = "prunedb v1 transaction";
/// Most signers: all authorities or validators that there may be, and the sender.
pub const SIGNERS_MAX: usize = 256;
/// Longest transaction: a proof of 255 samples.
pub const TX_BYTES_MAX: usize = 1 << 20;

/// A transaction as it is sent: its signatures are not checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedTx {
    /// the sender's count of transactions before this one
    pub nonce: u64,
    /// the last height at which it counts
    pub valid_until: u64,
    /// what it asks for
    pub body: Body,
    /// who signed: the sender, then others
    pub signatures: Vec<(Key, [u8; 64])>,
}

/// A transaction that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// Not the bytes of one.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Longer than any.
    #[error("a transaction of {bytes} bytes: {TX_BYTES_MAX} at most")]
    Oversized {
        /// its length
        bytes: usize,
    },
    /// Nobody signed, too many did, or one twice.
    #[error("{count} signatures: 1 to {SIGNERS_MAX} of different keys")]
    Signers {
        /// how many
        count: usize,
    },
    /// A signature is not that key's.
    #[error("the signature of {key} is wrong")]
    Signature {
        /// whose
        key: Key,
    },
}

/// A transaction whose signatures are right for one registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedTx {
    registry: Digest,
    nonce: u64,
    valid_until: u64,
    body: Body,
    signers: Vec<Key>,
}

/// A secret key, for those who send transactions.
pub struct Secret(Ed25519KeyPair);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret of {}", self.key())
    }
}

impl Secret {
    /// The key pair of a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// The public key.
    pub fn key(&self) -> Key {
        Key(self.0.public_key().as_ref().try_into().expect("ed25519 keys have 32 bytes"))
    }
}

fn signed_hash(registry: &Digest, nonce: u64, valid_until: u64, body: &Body) -> [u8; 32] {
    let mut bytes = Vec::new();
    registry.put(&mut bytes);
    nonce.put(&mut bytes);
    valid_until.put(&mut bytes);
    body.put(&mut bytes);
    blake3::derive_key(CONTEXT, &bytes)
}

impl SignedTx {
    /// Signs a transaction for a registry; the first of `signers` is its sender.
    pub fn sign(
        registry: &Digest,
        nonce: u64,
        valid_until: u64,
        body: Body,
        signers: &[&Secret],
    ) -> Self {
        let hash = signed_hash(registry, nonce, valid_until, &body);
        let sign = |secret: &&Secret| {
            let signature = secret.0.sign(&hash);
            (secret.key(), signature.as_ref().try_into().expect("ed25519 signatures have 64 bytes"))
        };
        let signatures = signers.iter().map(sign).collect();
        Self { nonce, valid_until, body, signatures }
    }

    /// Reads a transaction.
    ///
    /// # Errors
    /// [`TxError::Oversized`], [`TxError::Format`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TxError> {
        if bytes.len() > TX_BYTES_MAX {
            return Err(TxError::Oversized { bytes: bytes.len() });
        }
        Ok(Self::from_bytes("transaction", bytes)?)
    }

    /// Checks the signatures.
    ///
    /// # Errors
    /// [`TxError::Signers`], [`TxError::Signature`].
    pub fn check(self, registry: &Digest) -> Result<CheckedTx, TxError> {
        let count = self.signatures.len();
        let mut keys: Vec<Key> = self.signatures.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() != count || !(1..=SIGNERS_MAX).contains(&count) {
            return Err(TxError::Signers { count });
        }
        let hash = signed_hash(registry, self.nonce, self.valid_until, &self.body);
        for (key, signature) in &self.signatures {
            let public = UnparsedPublicKey::new(&ED25519, &key.0);
            public.verify(&hash, signature).map_err(|_| TxError::Signature { key: *key })?;
        }
        Ok(CheckedTx {
            registry: *registry,
            nonce: self.nonce,
            valid_until: self.valid_until,
            body: self.body,
            signers: self.signatures.into_iter().map(|(key, _)| key).collect(),
        })
    }
}

impl Canonical for SignedTx {
    fn put(&self, out: &mut Vec<u8>) {
        self.nonce.put(out);
        self.valid_until.put(out);
        self.body.put(out);
        self.signatures.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (nonce, valid_until, body) =
            (Canonical::get(from)?, Canonical::get(from)?, Canonical::get(from)?);
        let signatures = Canonical::get(from)?;
        Ok(Self { nonce, valid_until, body, signatures })
    }
}

impl CheckedTx {
    /// A transaction that needs no checking: of a simulation, or of a test of what comes after.
    pub fn unsigned(
        registry: Digest,
        nonce: u64,
        valid_until: u64,
        body: Body,
        signers: Vec<Key>,
    ) -> Self {
        Self { registry, nonce, valid_until, body, signers }
    }

    /// The registry that it is for.
    pub const fn registry(&self) -> &Digest {
        &self.registry
    }

    /// The sender's count of transactions before this one.
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The last height at which it counts.
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// What it asks for.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// Who sends it.
    pub fn sender(&self) -> Key {
        self.signers[0]
    }

    /// Who signed it, the sender first.
    pub fn signers(&self) -> &[Key] {
        &self.signers
    }
}

//! Signatures: of transactions by those who approved them, of blocks by the validators.
//!
//! Ed25519 signatures are verified by the batch, which costs half; if a batch fails, each of it is verified by itself with the chain's
//! own strict rule, which finds the one that is wrong. secp256k1 signatures are verified one by one.

use super::legacy;
use crate::{
    bytesrepr::{Reader, ShapeError},
    database::Row,
};
use ed25519_dalek as ed25519;
use k256::ecdsa::{self, signature::Verifier as _};
use prunedb_chains::contract::Hash;
use std::borrow::Cow;

/// Signatures in one batch: beyond this the gain is small.
const BATCH: usize = 128;

/// What validators signed of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BlockSignatures {
    pub(crate) block: Hash,
    /// what is only in those of 2.x
    pub(crate) v2: Option<OfV2>,
    pub(crate) era: u64,
    /// (key, signature), with their tags
    pub(crate) proofs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is only in signatures of 2.x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OfV2 {
    pub(crate) height: u64,
    pub(crate) chain_name_hash: Hash,
}

impl BlockSignatures {
    /// Reads a row of signatures.
    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, ShapeError> {
        let bytes = match row.database.is_legacy() {
            true => Cow::Owned(legacy::signatures(row.value)?),
            false => Cow::Borrowed(row.value),
        };
        let mut reader = Reader::new(&bytes);
        let is_v2 = reader.flag("version of signatures")?;
        let block = reader.hash()?;
        let height = if is_v2 { reader.u64()? } else { 0 };
        let era = reader.u64()?;
        let v2 = match is_v2 {
            true => Some(OfV2 { height, chain_name_hash: reader.hash()? }),
            false => None,
        };
        let mut proofs = Vec::new();
        reader.many(|reader| {
            let (key, signature) = (reader.public_key()?, reader.signature()?);
            proofs.push((key.to_vec(), signature.to_vec()));
            Ok(())
        })?;
        reader.end()?;
        Ok(Self { block, v2, era, proofs })
    }

    /// What each validator signed.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut message = self.block.to_vec();
        message.extend(self.v2.map(|v2| v2.height.to_le_bytes()).iter().flatten());
        message.extend(self.era.to_le_bytes());
        message.extend(self.v2.map(|v2| v2.chain_name_hash).iter().flatten());
        message
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Key and signature are of different kinds, or of the system, which signs nothing.
    #[error("a key of kind {key} cannot have made a signature of kind {signature}")]
    Kind {
        /// the key's tag
        key: u8,
        /// the signature's
        signature: u8,
    },
    /// The key is no point of the curve.
    #[error("the public key is none")]
    Key,
    /// It is not this key's signature of these bytes.
    #[error("the signature is not that of the key")]
    Wrong,
}

/// Something signed: by which key, and whose it is.
struct Signed {
    message: Vec<u8>,
    signature: ed25519::Signature,
    key: ed25519::VerifyingKey,
    owner: usize,
}

/// Collects signatures, and verifies them by the batch. An *owner* is whatever the caller wants to know of a wrong one.
#[derive(Default)]
pub(crate) struct Verification {
    batch: Vec<Signed>,
    pub(crate) count: u64,
}

impl Verification {
    /// Adds a signature. `Err` has the owner of a wrong one, which may be an earlier one's.
    pub(crate) fn push(
        &mut self,
        message: &[u8],
        key: &[u8],
        signature: &[u8],
        owner: usize,
    ) -> Result<(), (usize, SignatureError)> {
        self.count += 1;
        let wrong = |error| Err((owner, error));
        match (key.split_first(), signature.split_first()) {
            (Some((1, key)), Some((1, signature))) => {
                let key = key.try_into().ok().map(ed25519::VerifyingKey::from_bytes);
                let Some(Ok(key)) = key else { return wrong(SignatureError::Key) };
                let Ok(signature) = ed25519::Signature::from_slice(signature) else {
                    return wrong(SignatureError::Wrong);
                };
                self.batch.push(Signed { message: message.to_vec(), signature, key, owner });
            }
            (Some((2, key)), Some((2, signature))) => {
                let Ok(key) = ecdsa::VerifyingKey::from_sec1_bytes(key) else {
                    return wrong(SignatureError::Key);
                };
                let valid = ecdsa::Signature::from_slice(signature)
                    .and_then(|signature| key.verify(message, &signature));
                if valid.is_err() {
                    return wrong(SignatureError::Wrong);
                }
            }
            (key, signature) => {
                let kind = |tagged: Option<(&u8, _)>| tagged.map_or(0, |(&kind, _)| kind);
                let (key, signature) = (kind(key), kind(signature));
                return wrong(SignatureError::Kind { key, signature });
            }
        }
        if self.batch.len() == BATCH { self.flush() } else { Ok(()) }
    }

    /// Verifies what is left.
    pub(crate) fn flush(&mut self) -> Result<(), (usize, SignatureError)> {
        let batch = std::mem::take(&mut self.batch);
        let messages: Vec<&[u8]> = batch.iter().map(|signed| &signed.message[..]).collect();
        let signatures: Vec<_> = batch.iter().map(|signed| signed.signature).collect();
        let keys: Vec<_> = batch.iter().map(|signed| signed.key).collect();
        // a weak key would let one signature hold for many messages
        let strict = keys.iter().all(|key| !key.is_weak());
        if strict && ed25519::verify_batch(&messages, &signatures, &keys).is_ok() {
            return Ok(());
        }
        batch.iter().try_for_each(|signed| {
            signed
                .key
                .verify_strict(&signed.message, &signed.signature)
                .map_err(|_| (signed.owner, SignatureError::Wrong))
        })
    }
}

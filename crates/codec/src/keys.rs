//! Keys: lake secret -> lake key of a generation -> key of one shard.
//!
//! ```text
//! lake_id            = first 16 bytes of KDF("prunedb v1 lake id", secret)
//! lake key           = KDF("prunedb v1 lake key", secret || generation u32)
//! index seed         = KDF("prunedb v1 index seed", secret)
//! head key           = KDF("prunedb v1 head key", secret || salt)
//! head signing seed  = KDF("prunedb v1 head signing key", secret)
//! owner seed         = KDF("prunedb v1 lake owner", secret)
//! batch key          = KDF("prunedb v1 batch key", secret)
//! shard key          = KDF("prunedb v1 shard key", 92 bytes: see `LakeKey::shard_key`)
//! ```
//! `KDF` is BLAKE3 in key derivation mode. Every input has a fixed length, so no two meet.
//!
//! Invariants: a secret is wiped from memory when it is dropped, and none is ever printed.

use crate::{CodecVersion, StreamParams};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, ShardIndex};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Size of every key.
pub const KEY_BYTES: usize = 32;

/// A key that is wiped when dropped.
pub type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The root of all keys of a lake. Whoever has it can read, and forge, everything.
#[derive(Clone)]
pub struct LakeSecret(Box<Key>);

impl LakeSecret {
    /// A secret of 32 bytes: random ones, or those that a key file holds.
    pub fn new(bytes: Key) -> Self {
        Self(Box::new(bytes))
    }

    /// The secret itself, to be written to a key file.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The name of the lake that this secret opens.
    pub fn lake_id(&self) -> LakeId {
        let derived = derive("prunedb v1 lake id", &[self.expose()]);
        LakeId(*derived.first_chunk().expect("32 bytes hold 16"))
    }

    /// The key of one generation; rotation affects new containers.
    pub fn lake_key(&self, generation: Generation) -> LakeKey {
        let parts: [&[u8]; 2] = [self.expose(), &generation.0.to_le_bytes()];
        let key = Box::new(derive("prunedb v1 lake key", &parts));
        LakeKey { lake: self.lake_id(), generation, key }
    }

    /// The seed of the index's keyed hash.
    pub fn index_seed(&self) -> Key {
        derive("prunedb v1 index seed", &[self.expose()])
    }

    /// The key that seals one head; the salt is in the head.
    pub fn head_key(&self, salt: &[u8; 32]) -> Key {
        derive("prunedb v1 head key", &[self.expose(), salt])
    }

    /// The seed of the ed25519 key that signs heads.
    pub fn head_signing_seed(&self) -> Key {
        derive("prunedb v1 head signing key", &[self.expose()])
    }

    /// The key of the digests that a registry has of containers and heads.
    pub fn batch_key(&self) -> Key {
        derive("prunedb v1 batch key", &[self.expose()])
    }

    /// The seed of the ed25519 key that signs capabilities for closed nodes.
    pub fn owner_seed(&self) -> Key {
        derive("prunedb v1 lake owner", &[self.expose()])
    }
}

impl fmt::Debug for LakeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LakeSecret(hidden)")
    }
}

/// The key of one generation of a lake: enough to write, read and repair its containers.
#[derive(Clone)]
pub struct LakeKey {
    lake: LakeId,
    generation: Generation,
    key: Box<Key>,
}

impl LakeKey {
    /// Its lake.
    pub fn lake(&self) -> LakeId {
        self.lake
    }

    /// Its generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Refuses a container of another lake or generation.
    pub(crate) fn check(&self, params: &StreamParams) -> Result<(), WrongKey> {
        if self.lake == params.lake && self.generation == params.generation {
            return Ok(());
        }
        Err(WrongKey {
            container: params.container,
            lake: params.lake,
            generation: params.generation,
            key_lake: self.lake,
            key_generation: self.generation,
        })
    }

    /// The key of one shard. Another plaintext, policy, codec, container or shard never meets the same key, so that a
    /// leaf's number is a nonce that is used once.
    ///
    /// ```text
    /// offset  size  field
    ///      0    32  lake key
    ///     32    32  stream digest: BLAKE3 of the coded stream
    ///     64    16  lake
    ///     80     1  container kind
    ///     81     1  p
    ///     82     1  q
    ///     83     1  shard index
    ///     84     4  container number, u32, little-endian
    ///     88     4  codec version, u32, little-endian
    /// ```
    pub(crate) fn shard_key(
        &self,
        params: &StreamParams,
        stream: &Digest,
        shard: ShardIndex,
    ) -> Key {
        let StreamParams { lake, container, policy, codec, generation: _ } = params;
        let count = |n: usize| u8::try_from(n).expect("a policy has at most 255 shards");
        let (p, q) = (count(policy.data_shards()), count(policy.parity_shards()));
        derive(
            "prunedb v1 shard key",
            &[
                self.key.as_slice(),
                &stream.0,
                &lake.0,
                &[container.kind as u8, p, q, shard.0],
                &container.number.to_le_bytes(),
                &CodecVersion::number(*codec).to_le_bytes(),
            ],
        )
    }
}

/// A key of another lake or generation than the container's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "container {container} is of lake {lake}, key generation {generation}; the key is of lake {key_lake}, generation {key_generation}"
)]
pub struct WrongKey {
    /// which container
    pub container: ContainerId,
    /// its lake
    pub lake: LakeId,
    /// generation of its key
    pub generation: Generation,
    /// lake of the key given
    pub key_lake: LakeId,
    /// generation of the key given
    pub key_generation: Generation,
}

impl fmt::Debug for LakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LakeKey(lake {}, generation {}, hidden)", self.lake, self.generation)
    }
}

fn derive(context: &str, parts: &[&[u8]]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut hash = hasher.finalize();
    let key = Zeroizing::new(*hash.as_bytes());
    hash.zeroize();
    hasher.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn secret(byte: u8) -> LakeSecret {
        LakeSecret::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn derivations_are_those_of_the_format() {
        let secret = secret(1);
        let lake = blake3::derive_key("prunedb v1 lake id", &[1; 32]);
        assert_eq!(secret.lake_id().0, lake[..16]);
        let mut input = [1; 36];
        input[32..].copy_from_slice(&7u32.to_le_bytes());
        let lake_key = blake3::derive_key("prunedb v1 lake key", &input);
        assert_eq!(**secret.lake_key(Generation(7)).key, lake_key);

        let params = StreamParams {
            lake: secret.lake_id(),
            container: ContainerId::manifest(0x0403_0201),
            policy: "16+4".parse().unwrap(),
            codec: CodecVersion::CURRENT,
            generation: Generation(7),
        };
        let mut input = lake_key.to_vec();
        input.extend_from_slice(&[9; 32]);
        input.extend_from_slice(&lake[..16]);
        input.extend_from_slice(&[1, 16, 4, 19, 1, 2, 3, 4, 1, 0, 0, 0]);
        let key =
            secret.lake_key(Generation(7)).shard_key(&params, &Digest([9; 32]), ShardIndex(19));
        assert_eq!(*key, blake3::derive_key("prunedb v1 shard key", &input));
    }

    #[test]
    fn every_input_changes_the_shard_key() {
        let base = StreamParams {
            lake: secret(1).lake_id(),
            container: ContainerId::data(12),
            policy: "16+4".parse().unwrap(),
            codec: CodecVersion::CURRENT,
            generation: Generation(1),
        };
        let (key, digest) = (secret(1).lake_key(Generation(1)), Digest([5; 32]));
        let keys = [
            key.shard_key(&base, &digest, ShardIndex(0)),
            key.shard_key(&base, &digest, ShardIndex(1)),
            key.shard_key(&base, &Digest([6; 32]), ShardIndex(0)),
            secret(1).lake_key(Generation(2)).shard_key(&base, &digest, ShardIndex(0)),
            secret(2).lake_key(Generation(1)).shard_key(&base, &digest, ShardIndex(0)),
            key.shard_key(&StreamParams { lake: LakeId([0; 16]), ..base }, &digest, ShardIndex(0)),
            key.shard_key(
                &StreamParams { container: ContainerId::data(13), ..base },
                &digest,
                ShardIndex(0),
            ),
            key.shard_key(
                &StreamParams { container: ContainerId::manifest(12), ..base },
                &digest,
                ShardIndex(0),
            ),
            key.shard_key(
                &StreamParams { policy: "15+4".parse().unwrap(), ..base },
                &digest,
                ShardIndex(0),
            ),
            key.shard_key(
                &StreamParams { policy: "16+3".parse().unwrap(), ..base },
                &digest,
                ShardIndex(0),
            ),
        ];
        let count = keys.len();
        assert_eq!(keys.into_iter().map(|key| *key).collect::<HashSet<_>>().len(), count);
    }

    #[test]
    fn secrets_are_never_printed() {
        let secret = secret(0xab);
        let key = secret.lake_key(Generation(1));
        let text = format!("{secret:?} {key:?}");
        assert!(text.contains("hidden"));
        assert!(!text.contains("abab") && !text.contains("171, 171"));
    }
}

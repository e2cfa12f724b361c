//! A validator's key, and the secrets that it gives to epochs' seeds.

use prunedb_access::Identity;
use prunedb_core::Digest;
use prunedb_registry::{Body, Key, Secret, State};
use zeroize::Zeroizing;

/// A validator's secret key.
#[derive(Debug)]
pub struct ValidatorKey {
    secret: Secret,
    identity: Identity,
    seeds: SeedKey,
}

/// What an epoch's secret follows from: nothing has to be kept from a commitment to its reveal.
struct SeedKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SeedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hidden")
    }
}

impl ValidatorKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let seeds = SeedKey(Zeroizing::new(blake3::derive_key("prunedb v1 seed key", seed)));
        let identity = Identity::from_seed(Zeroizing::new(*seed));
        Self { secret: Secret::from_seed(seed), identity, seeds }
    }

    /// The public half.
    pub fn public(&self) -> Key {
        self.secret.key()
    }

    /// What signs.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What the door shows.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    fn seed_secret(&self, registry: &Digest, epoch: u32) -> [u8; 32] {
        let input = [&self.seeds.0[..], &registry.0, &epoch.to_le_bytes()].concat();
        blake3::derive_key("prunedb v1 seed secret", &Zeroizing::new(input))
    }

    /// What the validator has to say about the seed of the running epoch, in the next block.
    pub(crate) fn seed_duty(&self, state: &State) -> Option<Body> {
        let (params, epoch, key) = (state.params(), state.epoch(), self.public());
        let votes = params.beacon.is_none() && state.validators().binary_search(&key).is_ok();
        if !votes || epoch.seed.is_some() {
            return None;
        }
        let secret = self.seed_secret(state.registry(), epoch.number);
        let commitment = Digest(blake3::derive_key("prunedb v1 seed commitment", &secret));
        let next = state.height() + 1;
        let is_commit_phase = next < epoch.started.saturating_add(params.seed_heights / 2);
        let has_committed = epoch.commitments.get(&key) == Some(&commitment);
        if is_commit_phase && !epoch.commitments.contains_key(&key) {
            return Some(Body::CommitSeed { epoch: epoch.number, commitment });
        }
        let reveals = !is_commit_phase && has_committed && !epoch.reveals.contains_key(&key);
        reveals.then_some(Body::RevealSeed { epoch: epoch.number, secret })
    }
}

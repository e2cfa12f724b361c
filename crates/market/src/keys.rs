//! One key for all that a participant does: TLS, hops, offers and transactions.

use prunedb_access::{Identity, PublicKey};
use prunedb_core::{LakeId, Term};
use prunedb_registry::{Key, Secret};
use std::fmt;
use zeroize::Zeroizing;

/// A participant's key pair, as TLS and the registry each want it.
#[derive(Debug)]
pub struct Keys {
    seed: Seed,
    /// for TLS, hops and offers
    pub identity: Identity,
    /// for transactions
    pub secret: Secret,
}

struct Seed(Zeroizing<[u8; 32]>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Keys {
    /// The key pair of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let identity = Identity::from_seed(Zeroizing::new(*seed));
        let seed = Seed(Zeroizing::new(*seed));
        Self { identity, secret: Secret::from_seed(&seed.0), seed }
    }

    /// The same, for somebody who keeps it.
    pub fn identity_again(&self) -> Identity {
        Identity::from_seed(self.seed.0.clone())
    }

    /// What both are made of.
    #[cfg(feature = "iroh")]
    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed.0
    }

    /// The public half.
    pub fn key(&self) -> Key {
        self.secret.key()
    }
}

/// The lake that a light node's cells are shards of: each node has one of its own, and lets owners in to single shards.
pub fn cells_lake(holder: Key) -> LakeId {
    let hash = blake3::derive_key("prunedb v1 market cells", &holder.0);
    LakeId(*hash.first_chunk().expect("16 of 32 bytes"))
}

/// The term under which every cell is written: there is one writer, and one write. A capability allows no higher one, or an
/// owner could fence all others off.
pub const CELL_TERM: Term = Term(1);

/// Where a heavy node is, and its key; written `tls://HOST:PORT/KEY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeavyAddress {
    /// `host:port`
    pub server: String,
    /// its key
    pub key: Key,
}

/// Text that is no heavy node's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no heavy node: write tls://HOST:PORT/KEY, as `prunedb heavy` shows it")]
pub struct HeavyAddressError(String);

impl fmt::Display for HeavyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls://{}/{}", self.server, self.key)
    }
}

impl std::str::FromStr for HeavyAddress {
    type Err = HeavyAddressError;

    fn from_str(s: &str) -> Result<Self, HeavyAddressError> {
        let parsed = || {
            let (server, key) = s.strip_prefix("tls://")?.split_once('/')?;
            let (host, port) = server.rsplit_once(':')?;
            let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            let key: PublicKey = key.parse().ok()?;
            (!host.is_empty() && has_port).then(|| Self { server: server.into(), key: Key(key.0) })
        };
        parsed().ok_or_else(|| HeavyAddressError(s.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        let text = format!("tls://[::1]:7800/{}", "ab".repeat(32));
        let address: HeavyAddress = text.parse().unwrap();
        assert_eq!((address.to_string(), address.key), (text, Key([0xab; 32])));
        for bad in ["", "host:1", "tls://host/00", "tls://host:0/00", "tls://:1/00"] {
            assert!(bad.parse::<HeavyAddress>().is_err(), "{bad}");
        }
    }
}

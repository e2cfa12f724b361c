//! Ethereum networks: what tells one from another.

use super::hash::Hash32;
use std::{fmt, str::FromStr};

/// A network: its name, and what is known of it.
///
/// Blocks of a network with an entry in the table below are checked against its genesis hash and chain id; of any other
/// name nothing is known, so only the blocks' own links are checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    name: String,
}

struct Known {
    name: &'static str,
    chain_id: u64,
    genesis: [u8; 32],
}

const KNOWN: [Known; 5] = [
    Known {
        name: "mainnet",
        chain_id: 1,
        genesis: hex("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"),
    },
    Known {
        name: "sepolia",
        chain_id: 11_155_111,
        genesis: hex("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9"),
    },
    Known {
        name: "holesky",
        chain_id: 17_000,
        genesis: hex("b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4"),
    },
    Known {
        name: "hoodi",
        chain_id: 560_048,
        genesis: hex("bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b"),
    },
    Known {
        name: "goerli",
        chain_id: 5,
        genesis: hex("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a"),
    },
];

const fn hex(digits: &str) -> [u8; 32] {
    let digits = digits.as_bytes();
    assert!(digits.len() == 64);
    let mut out = [0; 32];
    let mut i = 0;
    while i < 64 {
        let digit = digits[i];
        let value = if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        assert!(value < 16);
        out[i / 2] = out[i / 2] << 4 | value;
        i += 1;
    }
    out
}

/// A string that cannot name a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a network: write a name of at most 32 letters a-z, digits and dashes, such as mainnet"
)]
pub struct NetworkError(String);

impl Network {
    /// Ethereum itself.
    pub fn mainnet() -> Self {
        Self { name: "mainnet".into() }
    }

    /// Its name, as in file names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of its block 0, where known.
    pub fn genesis(&self) -> Option<Hash32> {
        self.known().map(|known| Hash32(known.genesis))
    }

    /// The number that its transactions carry, where known.
    pub fn chain_id(&self) -> Option<u64> {
        self.known().map(|known| known.chain_id)
    }

    /// The known network that starts with this block.
    pub fn of_genesis(hash: Hash32) -> Option<Self> {
        let known = KNOWN.iter().find(|known| known.genesis == hash.0)?;
        Some(Self { name: known.name.into() })
    }

    /// The known network with this chain id.
    pub fn of_chain_id(id: u64) -> Option<Self> {
        let known = KNOWN.iter().find(|known| known.chain_id == id)?;
        Some(Self { name: known.name.into() })
    }

    fn known(&self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.name == self.name)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(name: &str) -> Result<Self, NetworkError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) || name.starts_with('-') {
            return Err(NetworkError(name.into()));
        }
        Ok(Self { name: name.into() })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let sepolia: Network = "sepolia".parse().unwrap();
        assert_eq!(sepolia.chain_id(), Some(11_155_111));
        assert_eq!(Network::of_genesis(sepolia.genesis().unwrap()), Some(sepolia));
        assert_eq!("my-dev-net".parse::<Network>().unwrap().genesis(), None);
        for name in ["", "Mainnet", "a/b", "-x", "../x", &"x".repeat(33)] {
            assert!(name.parse::<Network>().is_err(), "{name}");
        }
    }
}

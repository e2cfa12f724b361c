//! Bitcoin's networks: what tells one from another.

use super::{hash::Hash, target::Target};
use std::{fmt, str::FromStr};

/// One of the networks that Bitcoin Core knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Network {
    /// The one with the money.
    Mainnet,
    /// `-testnet`
    Testnet3,
    /// `-testnet4`
    Testnet4,
    /// The default `-signet`. Its blocks' signatures are not checked.
    Signet,
    /// `-regtest`
    Regtest,
}

/// A name that is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Bitcoin network: mainnet, testnet3, testnet4, signet or regtest")]
pub struct NetworkError(String);

struct Facts {
    name: &'static str,
    magic: [u8; 4],
    genesis: &'static str,
    /// easiest target, as a header has it
    limit: u32,
    confirmations: u64,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Mainnet, Self::Testnet3, Self::Testnet4, Self::Signet, Self::Regtest];

    const fn facts(self) -> Facts {
        let (name, magic, genesis, limit, confirmations) = match self {
            Self::Mainnet => (
                "mainnet",
                [0xf9, 0xbe, 0xb4, 0xd9],
                "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
                0x1d00_ffff,
                6,
            ),
            Self::Testnet3 => (
                "testnet3",
                [0x0b, 0x11, 0x09, 0x07],
                "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
                0x1d00_ffff,
                100,
            ),
            Self::Testnet4 => (
                "testnet4",
                [0x1c, 0x16, 0x3f, 0x28],
                "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
                0x1d00_ffff,
                100,
            ),
            Self::Signet => (
                "signet",
                [0x0a, 0x03, 0xcf, 0x40],
                "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
                0x1e03_77ae,
                6,
            ),
            Self::Regtest => (
                "regtest",
                [0xfa, 0xbf, 0xb5, 0xda],
                "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
                0x207f_ffff,
                0,
            ),
        };
        Facts { name, magic, genesis, limit, confirmations }
    }

    /// Its name here.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// What each record of a block file begins with.
    pub const fn magic(self) -> [u8; 4] {
        self.facts().magic
    }

    /// The network whose records begin so.
    pub fn of_magic(magic: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.magic() == magic)
    }

    /// Hash of its first block.
    pub fn genesis(self) -> Hash {
        self.facts().genesis.parse().expect("64 hex digits")
    }

    /// From this height on every coinbase begins with its height (BIP 34).
    pub(crate) const fn coinbase_heights_from(self) -> u64 {
        match self {
            Self::Mainnet => 227_931,
            Self::Testnet3 => 21_111,
            Self::Testnet4 | Self::Signet | Self::Regtest => 1,
        }
    }

    /// The easiest target that a block may have.
    pub(crate) fn limit(self) -> Target {
        Target::of_bits(self.facts().limit).expect("a target")
    }

    /// Blocks that must lie over another one before it gets its place by height for ever: reorganisations seldom go
    /// deeper. None on regtest, where whoever tests decides.
    pub const fn confirmations(self) -> u64 {
        self.facts().confirmations
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let known = Self::ALL.into_iter().find(|network| network.name() == text);
        known.ok_or_else(|| NetworkError(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_told_by_name_and_by_magic() {
        for network in Network::ALL {
            assert_eq!(network.to_string().parse(), Ok(network));
            assert_eq!(Network::of_magic(network.magic()), Some(network));
            assert!(network.limit().is_met_by(network.genesis()));
        }
        assert!("main".parse::<Network>().is_err());
        assert_eq!(Network::of_magic([0; 4]), None);
    }
}

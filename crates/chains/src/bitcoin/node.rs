//! A running node that is asked by JSON-RPC, as far as the chain's code has to ask: the driver has the network.

use super::{hash::Hash, network::Network};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Calls a node.
pub trait Node {
    /// Calls, answered in their order: method, and parameters as a JSON array.
    ///
    /// # Errors
    /// The first call that has no result.
    fn calls(&self, calls: &[(&str, String)]) -> Result<Vec<Box<RawValue>>, NodeError>;

    /// One call.
    ///
    /// # Errors
    /// It has no result.
    fn call(&self, method: &str, params: String) -> Result<Box<RawValue>, NodeError> {
        let result = self.calls(&[(method, params)])?.pop();
        result.ok_or_else(|| unexpected(method, "no result"))
    }

    /// A block's bytes by a faster door than JSON-RPC, where there is one.
    ///
    /// # Errors
    /// The node does not answer there.
    fn quick_block(&self, _hash: Hash) -> Result<Option<Vec<u8>>, NodeError> {
        Ok(None)
    }

    /// A block's bytes.
    ///
    /// # Errors
    /// The node does not give it.
    fn block(&self, hash: Hash) -> Result<Vec<u8>, NodeError> {
        if let Some(block) = self.quick_block(hash)? {
            return Ok(block);
        }
        let hex = self.call("getblock", format!(r#"["{hash}",0]"#))?;
        let hex: &str = read("getblock", &hex)?;
        from_hex(hex).ok_or_else(|| unexpected("getblock", "no hex digits"))
    }
}

/// Why a node did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// It cannot be reached, is slow, or speaks something else.
    #[error("{reason}")]
    Unavailable {
        /// which node, and what is wrong
        reason: String,
    },
    /// It says no.
    #[error("the node answers {method} with error {code}: {message}")]
    Refused {
        /// what was asked
        method: String,
        /// its number for the error
        code: i64,
        /// its words
        message: String,
    },
    /// It answers with something else than this method's result.
    #[error("the node answers {method} with something unexpected: {what}")]
    Unexpected {
        /// what was asked
        method: String,
        /// what is wrong with the answer
        what: String,
    },
}

pub(crate) fn unexpected(method: &str, what: impl ToString) -> NodeError {
    NodeError::Unexpected { method: method.into(), what: what.to_string() }
}

/// Reads a result.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    method: &str,
    result: &'a RawValue,
) -> Result<T, NodeError> {
    serde_json::from_str(result.get()).map_err(|error| unexpected(method, error))
}

/// What a node says about its chain.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ChainInfo {
    chain: String,
    /// height of its tip
    pub blocks: u64,
    /// whether it prunes
    pub pruned: bool,
    /// lowest height from which on it has all blocks
    #[serde(default, rename = "pruneheight")]
    pub prune_height: Option<u64>,
    /// whether it prunes by itself
    #[serde(default)]
    pub automatic_pruning: Option<bool>,
}

impl ChainInfo {
    /// Asks a node.
    ///
    /// # Errors
    /// It does not answer.
    pub fn of<N: Node + ?Sized>(node: &N) -> Result<Self, NodeError> {
        const METHOD: &str = "getblockchaininfo";
        read(METHOD, &node.call(METHOD, "[]".into())?)
    }

    /// The network, by the node's own name; [`super::block_hash`] of height 0 says whether it is the one that is known here by
    /// that name.
    pub fn network(&self) -> Option<Network> {
        Some(match self.chain.as_str() {
            "main" => Network::Mainnet,
            "test" => Network::Testnet3,
            "testnet4" => Network::Testnet4,
            "signet" => Network::Signet,
            "regtest" => Network::Regtest,
            _ => return None,
        })
    }
}

/// The node's network, which must be one that is known here, down to its first block.
///
/// # Errors
/// It does not answer, or has another first block.
pub fn network_of<N: Node + ?Sized>(node: &N, info: &ChainInfo) -> Result<Network, NodeError> {
    let found = block_hash(node, 0)?;
    let network = info.network().filter(|network| network.genesis() == found);
    network.ok_or_else(|| {
        let what =
            format!("chain `{}` with first block {found}, which is not known here", info.chain);
        unexpected("getblockchaininfo", what)
    })
}

/// The hash of a node's block at a height.
///
/// # Errors
/// It does not answer.
pub fn block_hash<N: Node + ?Sized>(node: &N, height: u64) -> Result<Hash, NodeError> {
    const METHOD: &str = "getblockhash";
    let hash = node.call(METHOD, format!("[{height}]"))?;
    let hash: &str = read(METHOD, &hash)?;
    hash.parse().map_err(|error| unexpected(METHOD, error))
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| u8::try_from((byte as char).to_digit(16)?).ok();
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    push_hex(bytes, &mut out);
    out
}

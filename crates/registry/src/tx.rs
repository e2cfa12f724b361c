//! Transactions: what may be asked of the registry, and who signed it.
//!
//! ```text
//! signed = H("prunedb v1 transaction", registry || nonce || valid_until || body)
//! transaction = nonce u64 || valid_until u64 || body || signatures: count u32, then key 32, signature 64 each
//! ```
//! The first signer is the sender: its account's nonce is used up. Keys are in no order but that; none is there twice.

mod body;
mod signature;

pub use body::{
    Answer, Body, Cell, CloseBatch, JoinNode, KIND_COUNT, Leave, Proof, Receipt, SetInSync,
};
pub use signature::{CheckedTx, SIGNERS_MAX, Secret, SignedTx, TX_BYTES_MAX, TxError};

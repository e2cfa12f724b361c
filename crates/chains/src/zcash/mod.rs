//! Zcash: blocks of every version up to NU5's, by the contract of all chains. Tried with `docs/chains/adding-a-chain.md` as the only guide.
//!
//! A block is kept as it is, in two parts: header and transactions. What is verified: the target that its hash must meet, its height, the Merkle root over the transactions' ids (of version 5 by
//! ZIP 244), and from [`Level::Signatures`] on the solution of its proof of work (Equihash 200, 9). What is not: the targets that the chain asks for,
//! signatures and zero-knowledge proofs, and what headers commit to beside ids (the history tree, and from NU5 on what authorizes transactions), which takes the
//! state of the chain.
//!
//! [`Level::Signatures`]: crate::contract::Level::Signatures

mod block;
mod equihash;
mod fault;
mod file;
mod transaction;
mod verifier;

pub use block::Network;
pub use fault::{Fault, FileError};
pub use file::BlockFile;
pub use verifier::ZcashVerifier;

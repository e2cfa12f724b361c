//! What each chain's history looks like, how it is verified, stored and given back.
//!
//! An adapter takes bytes in and gives bytes out: files come as [`std::io::Read`] and [`std::io::Seek`], the store is
//! behind [`archive::Archive`]. Adapters know nothing of containers, shards and nodes; the engine knows nothing of blocks.

pub mod archive;
pub mod bitcoin;
pub mod contract;
pub mod ethereum;
mod parallel;
pub mod zcash;

//! The registry of a lake, as a folder's `registry/` has it.

mod embedded;
mod folder;
mod orderers;
mod own;
mod seat;

pub(crate) use embedded::Embedded;
pub(crate) use folder::{Peer, RegistryFolder, Settings};
pub(crate) use orderers::of_peer;
pub(crate) use own::{OwnArchive, OwnNode, OwnNodeConfig};
pub(crate) use seat::Seat;

//! The registry of a lake, as a folder's `registry/` has it.

mod embedded;
mod folder;
mod orderers;

pub(crate) use embedded::Embedded;
pub(crate) use folder::{RegistryFolder, Settings};

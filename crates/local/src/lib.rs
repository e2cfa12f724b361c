//! A lake on one machine: storage nodes in this process, and the proof points that run over them.
//!
//! ```text
//! nodes    storage nodes, each with a folder and a port on loopback: real servers, sockets and disks
//! records  made-up records, each of which follows from its number
//! damage   bytes flipped on a node's disk
//! prove    claims about a lake, each shown by doing it: what `prunedb prove` prints
//! ```

mod damage;
mod nodes;
pub mod prove;
mod records;

pub use damage::flip_bytes;
pub use nodes::{LocalNodes, LocalNodesError, connect, local_address, local_index};
pub use records::record;

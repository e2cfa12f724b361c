//! Where each shard is. Most of it lies on the disk, in sorted runs; memory has what changed since the last snapshot.
//!
//! ```text
//! insert, remove -> changes --freeze--> frozen --merge--> newest run
//! lookup         <- changes <- frozen <- runs, newest first, one page of each that may have it
//! ```
//! What is newer hides what is older: the first layer that says anything of a shard has the last word. Changes and
//! the list of runs are under the lock of the node's state; runs are read without it, and the answer counts if no
//! merge came in between ([`Layers::is`]).
//!
//! Invariants: a run is never changed; a merge changes no answer; memory is bounded by `NodeConfig::changes_max` changes, twice that while a
//! merge runs, and
//! half a byte per shard.

mod item;
mod layers;
mod merge;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use item::Change;
pub(crate) use layers::{Found, Layers, Shards};
pub(crate) use merge::{Merge, Since, merge, remove_strays};
pub(crate) use run::{Run, Writer};

//! Who holds which slot of the placement groups, and what a placement survives.
//!
//! ```text
//! members (weight, domains) ──quotas──> slots each node should hold
//! groups + members + seed   ──elect───> the same groups, every slot held, and what moved
//! ```
//! - [`Election::elect`]: integers only, no clock, no hash map, no randomness but the seed: the same input gives the same
//!   groups on every machine. The registry calls it at every closing of a batch.
//! - [`durability`]: how likely a policy loses data with given nodes, and how fast they must be repaired. Figures for people,
//!   in floating point; nothing that nodes must agree on.
//! - [`economics`]: what a node earns, and what it has of cheating. Figures for people, too.
//!
//! Pure: no I/O.

mod draw;
pub mod durability;
pub mod economics;
mod elect;
mod group;
mod member;
mod quota;
mod standing;

pub use elect::{ElectError, Election, Move, Outcome};
pub use group::{Group, SlotCountError};
pub use member::{DOMAIN_KINDS, Limits, Member, NodeId};
pub use quota::quotas;
pub use standing::Standing;

//! A validator of the registry: applies what was agreed on, answers questions about it, signs what it has seen itself.
//!
//! ```text
//! Orderer ──blocks──> Machine: State, outcomes, events ──> snapshots
//!    ^                   │
//!    └──transactions── Door <── Client: nodes, writers, commands
//! ```
//! - [`Validator`]: a thread that applies blocks, takes snapshots, and gives its part to every epoch's seed.
//! - [`Door`]: answers [`Request`]s over TLS, as the holder of the validator's key; [`Client`] asks, and knows the key.
//! - [`Copies`]: the validator's own copy of the history. It signs the closing of a batch only where that copy has the same root.
//!
//! Invariants: what is answered was agreed on and is durable; a block is applied once, whatever the orderer does; a restart
//! goes on from a snapshot whose root is right; every request, answer, wait and list has a bound. What a snapshot does not
//! have, the orderer's blocks give again.

mod address;
mod catch_up;
mod client;
mod copies;
mod cosign;
mod door;
mod frame;
mod history;
mod key;
mod machine;
mod message;
mod names;
mod snapshot;
mod validator;

pub use address::{DoorAddress, DoorAddressError};
pub use catch_up::{Behind, CatchUpError, Snapshot, behind};
pub use client::{Client, ClientError, Included};
pub use copies::{Copies, NoCopies, OwnCopy};
pub use cosign::CosignError;
pub use door::Door;
pub use frame::{read_frame, write_frame};
pub use history::{HISTORY_MAX, Happened};
pub use key::ValidatorKey;
pub use machine::tx_name;
pub use message::{
    Answer, DUTY_BATCHES_MAX, Duty, EpochStatus, Outcome, PAGE_MAX, PART_BYTES_MAX, Placement,
    Proposal, Refused, Request, SlotDuty, Status, WAIT_MS_MAX,
};
pub use snapshot::kept_height;
pub use validator::{Validator, ValidatorConfig, ValidatorError};

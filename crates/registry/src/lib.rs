//! The registry: which batches are archived, who holds them, whether they still do, and what they are paid.
//!
//! ```text
//! SignedTx ──check──> CheckedTx ─┐
//! State ──advance(height)──> Events   once a block: seeds, settlements, elections, deadlines
//!       ──apply(height, tx)─> Events, or Reject and the state as it was
//!       ──root()───────────> one digest of all of it
//! ```
//! One deterministic state machine: integers only, checked arithmetic, no clock but heights, no I/O, no order but that of keys
//! and lists. Whoever applies the same transactions at the same heights has the same root. `docs/protocol.md` has the
//! rules with their reasons, and the bytes.
//!
//! Invariants: no node holds two slots of a group; the watermark never falls; accounts, escrow, rents and stakes together are
//! what was deposited less what was withdrawn; a refused transaction changes nothing; the state is bounded by its parameters,
//! but for the batches (about 140 bytes each).

mod apply;
mod bank;
mod batches;
pub mod canonical;
mod disputes;
mod epochs;
mod event;
mod evidence;
mod faults;
mod groups;
mod holdings;
mod ids;
mod lease;
mod market;
mod mmr;
mod nodes;
mod params;
mod reject;
mod rules;
mod state;
mod tx;
mod watermark;

pub use bank::{Account, Bank};
pub use batches::{Batch, Batches};
pub use canonical::Canonical;
pub use disputes::Demand;
pub use epochs::{Epoch, OwedSample};
pub use event::{Event, Events};
pub use evidence::{
    CELL_SAMPLES, CheckError, Evidence, Shown, answer_leaf, cell_places, cell_seed, verify_cell,
};
pub use faults::FaultReport;
pub use groups::{Repair, Slot, SlotGroup};
pub use ids::{Amount, Endpoint, Key};
pub use lease::{Head, Lease};
pub use market::{CELL_BYTES_MAX, CELLS_MAX, CellReport, Market, OpenReport, PaidCell, RentedCell};
pub use mmr::Mmr;
pub use nodes::{Node, NodeStatus};
pub use params::{Params, ParamsError};
pub use prunedb_placement::{DOMAIN_KINDS, NodeId};
pub use reject::Reject;
pub use state::{Genesis, SnapshotError, State};
pub use tx::{
    Answer, Body, Cell, CheckedTx, CloseBatch, JoinNode, KIND_COUNT, Leave, Proof, Receipt,
    SIGNERS_MAX, Secret, SetInSync, SignedTx, TX_BYTES_MAX, TxError,
};

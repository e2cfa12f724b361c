//! The marketplace: space on other people's disks, found, checked and paid without anybody's word being taken.
//!
//! ```text
//!                     validators: the registry has every contract, report and balance
//!                    /        |                    \
//!   owner ── wish ──> heavy ── lookup, signed hops ──> heavy ── jobs ──> light: a storage node
//!      └────────────────── tunnel: TLS to one shard ───────────────────────┘
//! ```
//! - [`Heavy`]: knows its children, finds holders, checks cells in every epoch, reports, relays, repeats others' checks.
//! - [`Light`]: a storage node; grants, proves and signs when its heavy node asks.
//! - [`Tenant`]: rents cells, reads them, ends them. [`audit()`]: anybody looks at a heavy node's last report.
//!
//! The pure part: [`lookup`] (wishes, hops, offers), [`children`] (a heavy node's table), [`checks`] (an epoch's checks and what
//! is committed to), [`judge`] (what is wrong with others' reports). They have no I/O; times and seeds are brought by the
//! caller. [`LocalMarket`] runs it all on loopback.
//!
//! Invariants: nothing is paid that nobody proved; no contract without the signatures of owner, holder and both heavy nodes;
//! a cell is never shown to anybody but its owner; a wait, a queue and a list each have a bound.
//! `docs/marketplace.md` tells it whole, `docs/format/market-protocol.md` has the bytes.

mod audit;
mod chain;
pub mod checks;
pub mod children;
mod heavy;
#[cfg(feature = "iroh")]
mod hole;
pub mod judge;
mod keys;
mod light;
mod link;
mod local;
pub mod lookup;
pub mod message;
mod relay;
mod storage;
mod tenant;

pub use audit::{AuditError, Audited, audit};
pub use heavy::{Heavy, HeavyConfig, HeavyRules, NEIGHBOURS_MAX, StartError};
pub use keys::{CELL_TERM, HeavyAddress, HeavyAddressError, Keys, cells_lake};
pub use light::{HEAVIES_MAX, Light, LightConfig, LightState};
pub use link::LinkError;
pub use local::{LocalMarket, LocalMarketError, LocalRules};
pub use storage::CellError;
pub use tenant::{Contract, NOT_NUMBERED, Placed, Rent, Tenant, TenantError, heavy_status};

//! Measures the codec (GB/s per core of each stage), the engine, and index and manifest of lakes up to 100 TB, beside what
//! the machine itself can do.
//!
//! ```text
//! Meter    thread CPU time, best of several runs, on one thread or on many at once
//! limits   memcpy, products per second
//! erasure  encode and decode by any code (ours, or another one beside it)
//! codec    compress, seal, hash, fused, whole
//! peak     memory that a container's coding takes, in a process of its own
//! shares   each stage beside the limit it is judged by
//! report   all of it, for some policies: what `prunedb bench codec` prints
//! page     tables in a page that a command writes anew
//! engine   the Prune DB beside a raw append to a file: what `prunedb bench engine` prints
//! scale    index and manifest at some sizes: what `prunedb bench scale` prints
//! ```
//! Thread CPU time, so that other programs disturb little; all figures of a report are of one run, so that their shares
//! hold on a machine whose clock drifts. GB are 10^9 bytes.

pub mod codec;
pub mod engine;
pub mod erasure;
pub mod limits;
mod meter;
pub mod page;
pub mod peak;
pub mod process;
mod report;
pub mod scale;
mod shards;
mod shares;

pub use meter::Meter;
pub use report::{Machine, PolicyReport, Report, report};
pub use shards::Shards;
pub use shares::{Limit, Stage};

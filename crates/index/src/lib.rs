//! Key to location: where in which data container a record lies.
//!
//! ```text
//! insert -> memtable --flush--> runs of level 0 --merge_step--> runs of level 1, 2, ... --> base
//!                                    each: pages of 4,092 bytes, found by a keyed hash
//! lookup <- memtable <- filters in RAM <- one page per run that a filter lets through
//! ```
//! - Keyed tables: a run is addressed by the hash itself, one page read per lookup ([`Seed`] keys the hash, so nobody
//!   can aim keys at one page). Answers are candidates: the key in the record is the last check.
//! - Sequence tables: runs of (table, position), exact answers.
//! - There is no write-ahead log. [`Index::covered`] says which containers are in the runs; the caller inserts the
//!   records of later ones again after opening, from the containers' footers, and all of them after a
//!   [`reset`](Index::reset).
//! - Nothing here starts a thread: the caller drives [`Index::merge_step`].
//!
//! Invariants: an insert is never lost to a flush, a merge or a failed one of these; the first record of a key comes
//! first; a crash at any moment leaves the runs of the last manifest; damaged bytes are errors that name the run and
//! the page, never a panic.
//!
//! Formats: `docs/format/index-page.md`.
//!
//! ```
//! use prunedb_core::TableId;
//! use prunedb_disk::RealDisk;
//! use prunedb_index::{Index, Location, Options, Seed};
//! use std::sync::Arc;
//!
//! let dir = tempfile::tempdir()?;
//! let index = Index::open(Arc::new(RealDisk), dir.path(), &Seed::new([1; 32]), Options::default())?;
//! let at = Location { container: 0, offset: 64 };
//! index.insert(TableId(1), b"key", at);
//! index.flush(1)?;
//! assert_eq!(index.lookup(TableId(1), b"key")?, [at]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod error;
mod filter;
mod hash;
mod index;
mod keyed_page;
mod keyed_run;
mod lookup;
mod manifest;
mod memtable;
mod merge;
mod merging;
mod page;
mod policy;
mod remote;
mod run_file;
mod sequence_page;
mod sequence_run;
mod sort;
mod stats;

pub use entry::Location;
pub use error::Error;
pub use hash::Seed;
pub use index::{Index, Options};
pub use lookup::Candidates;
pub use merge::Suspect;
pub use merging::MergeStep;
pub use remote::{RunCopy, RunSet};
pub use run_file::{RUN_HEADER_BYTES, RemotePages};
pub use stats::IndexStats;

#[cfg(test)]
mod tests;

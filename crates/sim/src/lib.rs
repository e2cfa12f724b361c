//! A lake of 100 nodes and its writers, in one thread, under virtual time, with faults. A seed is a life: which policy, what
//! is put and read, which nodes crash, are cut off, are slow or lose their disks, and when; the same seed goes the
//! same way each time, and its trace has the same digest.
//!
//! ```text
//! life     steps: put, flush, read, evict, faults, heal, sweep, crash of the writer, takeover; then all must be well
//! world    the machines, what was acknowledged, and the checkers
//! machine  a storage node: the production node over a disk that tears and forgets; RESP in, RESP out
//! link     continents, latency, bandwidth; cut, slow and hanging nodes
//! store    the writer's side of a node: commands as RESP bytes over a link
//! trace    what happened, as a digest
//! reads    no life: how long point reads take while nodes are gone
//! ```
//! What is production code: the whole engine (put, offload, hedged reads, repair, healing, heads, fences, recovery, readers), the
//! node with its segments, fences and heads, the RESP encoders and decoders of both sides, the faulty disk that the crash
//! tests use. What is not: sockets, and with them the connection handling of client and server (its deadlines are
//! imitated), and the background threads (their rounds are called). Other tests have those.
//!
//! What is checked all the time: a read gives the record that was put, or an error while something is wrong; no node takes a
//! write of a term below one that it acknowledged. At the end, when the faults are over: redundancy is back within a bounded
//! number of rounds, no node has a shard that nothing names, and an empty machine reads every record that was acknowledged.

mod life;
mod link;
mod machine;
mod reads;
mod store;
mod trace;
mod world;

pub use life::{Life, live};
pub use reads::{Gone, PointReads, Times, point_reads};

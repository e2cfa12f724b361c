//! The Prune DB: durable puts, sealing, offload to the lake, reads, recovery and repair.

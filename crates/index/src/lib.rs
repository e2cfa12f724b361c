//! Key to location: hash-addressed page runs and sequence runs.

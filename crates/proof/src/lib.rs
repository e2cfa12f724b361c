//! Merkle roots and paths over the shards of a container.

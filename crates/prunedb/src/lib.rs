//! PruneDB as a library: the engine's public interface.

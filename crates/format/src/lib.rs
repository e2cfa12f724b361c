//! The bytes at rest: container, frame table, manifest, head. No I/O.

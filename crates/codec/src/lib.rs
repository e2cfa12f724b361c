//! Container to shards and back: compress, code, encrypt, hash. No I/O.

//! The storage node: append-only segments behind RESP over TCP.

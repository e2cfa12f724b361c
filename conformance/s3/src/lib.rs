//! Buckets pass the suite that all stores pass, against an S3 server (crate `s3s-fs`): `tests/bucket.rs`.
//!
//! A package of its own, outside the default members, so that nobody else builds a server and an HTTP client for it.

//! Who may do what at a storage node: identities, capabilities, and TLS between pinned keys.
//!
//! ```text
//! client ── TLS, both show an ed25519 key ──> node
//!        ── capability: "the holder of key H may do O in lake L until T", signed by the lake's owner ──> Gate
//! ```
//! - [`Identity`], [`PublicKey`]: an ed25519 key pair, and the half that others know. A node's is part of its address.
//! - [`Capability`]: what an owner allows the holder of a key. It is of no use to anybody else, so a node that gets one can
//!   do nothing with it elsewhere.
//! - [`Gate`], [`Pass`]: what a node checks.
//! - [`Credentials`]: what a client shows.
//! - [`tls`]: configurations for rustls, with raw public keys (RFC 7250) in place of certificates.
//!
//! Invariants: a secret is wiped from memory when it is dropped, and none is ever printed; bytes from the network are
//! looked at with a bound. Pure: no I/O, no clock. The bytes are in `docs/format/capability.md`.

mod capability;
mod credentials;
mod gate;
mod identity;
pub mod tls;

pub use capability::{
    CAPABILITY_BYTES, Capability, LIFE_MAX, Operations, Scope, SignedCapability, WordError,
};
pub use credentials::Credentials;
pub use gate::{CLOCK_SKEW, Denied, Gate, Owner, OwnerError, Pass};
pub use identity::{Identity, PublicKey, SIGNATURE_BYTES, SignatureError};

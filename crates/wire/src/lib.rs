//! RESP framing and the node's native commands, as bytes. No I/O.
//!
//! ```text
//! request bytes -> RequestDecoder -> arguments -> Command      Reply -> reply bytes
//! reply bytes   -> ReplyDecoder   -> Reply     -> answer::*    Command -> request bytes
//! ```
//! Framing is RESP2 with bulk strings only in requests, so that other command sets can share it. Decoders are
//! incremental: they take complete items out of the front of a `BytesMut`, without copying bulk strings, and keep
//! their place between calls, so that a request costs the same in one piece and byte by byte. Everything is bounded
//! by [`Limits`]; bad bytes are a [`FrameError`], after which the connection cannot go on.
//!
//! The commands are specified in `docs/format/node-protocol.md`.

pub mod answer;
mod command;
mod error;
mod inline;
mod number;
mod refusal;
mod reply;
mod request;
mod token;

pub use command::{Command, CommandError, PutMode, encode_data_head};
pub use error::FrameError;
pub use inline::{INLINE_BYTES_MAX, take_inline};
pub use number::parse_u64;
pub use refusal::Refusal;
pub use reply::{Reply, ReplyDecoder};
pub use request::{RequestDecoder, put_array_head, put_bulk, put_bulk_head};
pub use token::Limits;

/// Ends every header line and every bulk string.
pub const CRLF: &[u8] = b"\r\n";

/// Most arguments of one request.
pub const ARGUMENTS_MAX: usize = 1024;
/// Longest bulk string.
pub const BULK_BYTES_MAX: usize = 8 << 20;
/// Longest request, all arguments together: a largest bulk string and its company.
pub const REQUEST_BYTES_MAX: usize = BULK_BYTES_MAX + (1 << 20);
/// Longest chunk of one `PDB.DATA`.
pub const DATA_BYTES_MAX: usize = 1 << 20;
/// Longest range of one `PDB.GET`.
pub const GET_BYTES_MAX: u32 = 4 << 20;
/// Longest head of one `PDB.HEADPUT`.
pub const HEAD_BYTES_MAX: usize = 1 << 20;
/// Longest capability of one `PDB.ACCESS`.
pub const ACCESS_BYTES_MAX: usize = 1 << 10;
/// Most shards of one `PDB.LIST`.
pub const LIST_COUNT_MAX: u32 = 1000;

//! Container to shards and back: compress, code, encrypt, hash. No I/O.
//!
//! ```text
//! container bytes --compress--> coded stream + FrameTable --Encoder--> sealed shards, names, root
//! container bytes <-FrameDecoder-- coded bytes <--Opener, Rebuilder--- sealed leaves of one shard, or of any p
//! ```
//! What is read is hostile until its seal, its length and its checksum are right. The bytes are those of
//! `docs/format/sealed-shard.md` and `docs/format/frame-table.md`; they depend on the lake key, the container's id, its
//! policy, its codec version and its bytes, and on nothing else: neither on threads nor on the processor.
//!
//! Only symmetric primitives protect data at rest: AES-256 and BLAKE3.

mod buffers;
mod compress;
mod decode;
mod encode;
mod frame;
mod frame_table;
mod hash;
mod keys;
mod layout;
mod leaf;
mod open;
mod params;
mod rebuild;
mod spool;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod version;

pub use buffers::ShardBuffers;
pub use compress::{CompressError, compress};
pub use decode::{DamagedLeaf, DecodeError, DecodedContainer, StreamDecoder, decode_container};
pub use encode::{EncodeError, EncodedContainer, Encoder};
pub use frame::{FrameDamage, FrameDecoder, FrameError};
pub use frame_table::{Frame, FrameTable};
pub use hash::RowHasher;
pub use keys::{KEY_BYTES, Key, LakeKey, LakeSecret, WrongKey};
pub use layout::{Piece, ShardLayout, StreamTooLong};
pub use open::{OpenError, Opener};
pub use params::{CodedStream, StreamParams};
pub use rebuild::{RebuildError, Rebuilder, rebuild};
pub use spool::{MemorySpool, ReadAt, Spool};
pub use version::{CodecVersion, UnknownCodec};

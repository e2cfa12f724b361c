//! Systematic Reed-Solomon over GF(2^8) with SIMD kernels chosen at run time.
//!
//! Up to 255 shards; the stored bytes are specified in `docs/format/erasure-code.md` and never change. Pure: no I/O, no
//! clock, no threads; encoding and decoding allocate nothing. The one crate with `unsafe`: vectors of bytes (`lanes`)
//! and unchecked loads and stores behind checked slices (`columns`).

mod butterfly;
mod code;
mod columns;
mod error;
mod fft;
mod field;
mod generator;
mod kernel;
mod lanes;
mod matrix;
pub mod probe;

pub use code::{Algorithm, Decoder, ReedSolomon};
pub use error::{Error, Role};
pub use kernel::Kernel;

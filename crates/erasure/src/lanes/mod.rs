//! Vectors of bytes: what every algorithm here is written in, once, for all processors.
//!
//! A [`Lanes`] value is a token: it exists only where the processor has the instructions ([`Lanes::enter`] and all
//! other methods rely on it). Algorithms are generic over it and marked `#[inline(always)]`, so that they end up as
//! straight code inside the one function with `#[target_feature]` that `enter` is.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_gfni;
#[cfg(target_arch = "x86_64")]
mod avx512_gfni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod ssse3;

#[cfg(target_arch = "x86_64")]
pub(crate) use self::{avx2::Avx2, avx2_gfni::Avx2Gfni, avx512_gfni::Avx512Gfni, ssse3::Ssse3};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;

/// Arithmetic on a vector of field elements, one per byte.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// A vector.
    type V: Copy;
    /// A vector made ready to be multiplied by several coefficients.
    type Factor: Copy;
    /// A coefficient in a register.
    type Coefficient: Copy;
    /// A coefficient as tables of them hold it.
    type Stored: Copy + Send + Sync + 'static;

    /// Bytes of a vector.
    const BYTES: usize;
    /// Most rows that one pass of the matrix kernel computes.
    const ROWS_MAX: usize;
    /// Most points of a transform in registers: 8 or 16.
    const RADIX_MAX: usize;
    /// What a butterfly of a transform costs, in tenths of a product of a matrix: measured, where both are equally fast.
    const BUTTERFLY_TENTHS: usize;

    /// Most rows for which the matrix kernel takes four vectors side by side, and two; else one. All sums, the inputs and
    /// some coefficients have to find room in the registers.
    const ROWS_BY_4: usize;
    /// See [`Self::ROWS_BY_4`].
    const ROWS_BY_2: usize;

    /// Runs `job` compiled for this processor.
    fn enter<J: Job<Self>>(self, job: J);

    fn zero(self) -> Self::V;
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    fn xor3(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn factor(self, v: Self::V) -> Self::Factor;
    fn store_form(c: u8) -> Self::Stored;
    fn coefficient(self, stored: &Self::Stored) -> Self::Coefficient;
    fn mul(self, x: Self::Factor, c: Self::Coefficient) -> Self::V;

    /// # Safety
    /// `from` is valid for reads of [`Self::BYTES`] bytes.
    unsafe fn load(self, from: *const u8) -> Self::V;
    /// # Safety
    /// `to` is valid for writes of [`Self::BYTES`] bytes.
    unsafe fn store(self, to: *mut u8, v: Self::V);
    /// Asks for the cache line of `at`, which need not exist.
    fn prefetch(self, at: *const u8);
    /// Stores past the caches, where the processor can; [`Self::finish_streams`] must follow.
    ///
    /// # Safety
    /// `to` is valid for writes of [`Self::BYTES`] bytes, and a multiple of as much.
    unsafe fn stream(self, to: *mut u8, v: Self::V);
    /// Orders streamed stores before all later ones.
    fn finish_streams(self);
}

/// An algorithm over one kind of vectors.
pub(crate) trait Job<L: Lanes> {
    /// Implementations are `#[inline(always)]`.
    fn run(self, lanes: L);
}

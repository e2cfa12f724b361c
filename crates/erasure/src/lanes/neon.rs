//! NEON: 16 bytes at a time, a product by two lookups in registers.

use super::{Job, Lanes};
use crate::field::NIBBLES;
use std::arch::{aarch64::*, is_aarch64_feature_detected};

/// Proof that the processor has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

/// The low and the high four bits of each byte.
#[derive(Clone, Copy)]
pub(crate) struct Halves(uint8x16_t, uint8x16_t);

impl Lanes for Neon {
    type V = uint8x16_t;
    type Factor = Halves;
    type Coefficient = Halves;
    type Stored = [u8; 32];

    // not measured on a processor of this kind: as SSSE3, which has half as many registers
    const BYTES: usize = 16;
    const ROWS_MAX: usize = 4;
    const ROWS_BY_4: usize = 0;
    const ROWS_BY_2: usize = 4;
    const RADIX_MAX: usize = 8;
    const BUTTERFLY_TENTHS: usize = 12;

    #[inline]
    fn enter<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "neon")]
        fn compiled<J: Job<Neon>>(lanes: Neon, job: J) {
            job.run(lanes);
        }
        // SAFETY: `self` exists only where the processor has this feature
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn zero(self) -> uint8x16_t {
        // SAFETY: `self` exists only where the processor has NEON
        unsafe { vdupq_n_u8(0) }
    }

    #[inline(always)]
    fn xor(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` exists only where the processor has NEON
        unsafe { veorq_u8(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: uint8x16_t, b: uint8x16_t, c: uint8x16_t) -> uint8x16_t {
        self.xor(self.xor(b, c), a)
    }

    #[inline(always)]
    fn factor(self, v: uint8x16_t) -> Halves {
        // SAFETY: `self` exists only where the processor has NEON
        unsafe { Halves(vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)) }
    }

    fn store_form(c: u8) -> [u8; 32] {
        NIBBLES[usize::from(c)]
    }

    #[inline(always)]
    fn coefficient(self, stored: &[u8; 32]) -> Halves {
        let table = stored.as_ptr();
        // SAFETY: the table has 32 bytes, two halves of 16; `self` exists only where the processor has NEON
        unsafe { Halves(vld1q_u8(table), vld1q_u8(table.add(16))) }
    }

    #[inline(always)]
    fn mul(self, x: Halves, c: Halves) -> uint8x16_t {
        // SAFETY: `self` exists only where the processor has NEON
        unsafe { veorq_u8(vqtbl1q_u8(c.0, x.0), vqtbl1q_u8(c.1, x.1)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> uint8x16_t {
        // SAFETY: the caller vouches for 16 readable bytes; bytes need no alignment
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, v: uint8x16_t) {
        // SAFETY: the caller vouches for 16 writable bytes; bytes need no alignment
        unsafe { vst1q_u8(to, v) }
    }

    /// There is no intrinsic for it: a plain store.
    #[inline(always)]
    unsafe fn stream(self, to: *mut u8, v: uint8x16_t) {
        // SAFETY: the caller vouches for 16 writable bytes
        unsafe { self.store(to, v) }
    }

    fn finish_streams(self) {}

    /// There is no stable intrinsic for it.
    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
}

//! SSSE3: 16 bytes at a time, a product by two lookups in registers.

use super::{Job, Lanes};
use crate::field::NIBBLES;
use std::arch::x86_64::*;

/// Proof that the processor has SSSE3.
#[derive(Clone, Copy)]
pub(crate) struct Ssse3(());

impl Ssse3 {
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("ssse3").then_some(Self(()))
    }
}

/// The low and the high four bits of each byte.
#[derive(Clone, Copy)]
pub(crate) struct Halves(__m128i, __m128i);

impl Lanes for Ssse3 {
    type V = __m128i;
    type Factor = Halves;
    type Coefficient = Halves;
    type Stored = [u8; 32];

    const BYTES: usize = 16;
    const ROWS_MAX: usize = 4;
    const ROWS_BY_4: usize = 0;
    const ROWS_BY_2: usize = 4;
    const RADIX_MAX: usize = 8;
    const BUTTERFLY_TENTHS: usize = 12;

    #[inline]
    fn enter<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "ssse3")]
        fn compiled<J: Job<Ssse3>>(lanes: Ssse3, job: J) {
            job.run(lanes);
        }
        // SAFETY: `self` exists only where the processor has this feature
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn zero(self) -> __m128i {
        // SAFETY: `self` exists only where the processor has SSSE3
        unsafe { _mm_setzero_si128() }
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` exists only where the processor has SSSE3
        unsafe { _mm_xor_si128(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        self.xor(self.xor(b, c), a)
    }

    #[inline(always)]
    fn factor(self, v: __m128i) -> Halves {
        // SAFETY: `self` exists only where the processor has SSSE3
        unsafe {
            let mask = _mm_set1_epi8(15);
            Halves(_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi64::<4>(v), mask))
        }
    }

    fn store_form(c: u8) -> [u8; 32] {
        NIBBLES[usize::from(c)]
    }

    #[inline(always)]
    fn coefficient(self, stored: &[u8; 32]) -> Halves {
        let table = stored.as_ptr();
        // SAFETY: the table has 32 bytes, two halves of 16, and `loadu` needs no alignment;
        // `self` exists only where the processor has SSSE3
        unsafe { Halves(_mm_loadu_si128(table.cast()), _mm_loadu_si128(table.add(16).cast())) }
    }

    #[inline(always)]
    fn mul(self, x: Halves, c: Halves) -> __m128i {
        // SAFETY: `self` exists only where the processor has SSSE3
        unsafe { _mm_xor_si128(_mm_shuffle_epi8(c.0, x.0), _mm_shuffle_epi8(c.1, x.1)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m128i {
        // SAFETY: the caller vouches for 16 readable bytes; `loadu` needs no alignment
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, v: __m128i) {
        // SAFETY: the caller vouches for 16 writable bytes; `storeu` needs no alignment
        unsafe { _mm_storeu_si128(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8, v: __m128i) {
        // SAFETY: the caller vouches for 16 writable bytes, aligned to 16
        unsafe { _mm_stream_si128(to.cast(), v) }
    }

    #[inline(always)]
    fn finish_streams(self) {
        // SAFETY: every x86-64 processor has SSE
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: every x86-64 processor has SSE; a prefetch of any address is harmless
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

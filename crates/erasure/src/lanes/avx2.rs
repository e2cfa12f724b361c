//! AVX2 without GFNI: 32 bytes at a time, a product by two lookups in registers.

use super::{Job, Lanes};
use crate::field::NIBBLES;
use std::arch::x86_64::*;

/// Proof that the processor has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// The low and the high four bits of each byte.
#[derive(Clone, Copy)]
pub(crate) struct Halves(__m256i, __m256i);

impl Lanes for Avx2 {
    type V = __m256i;
    type Factor = Halves;
    type Coefficient = Halves;
    type Stored = [u8; 32];

    const BYTES: usize = 32;
    const ROWS_MAX: usize = 4;
    const ROWS_BY_4: usize = 0;
    const ROWS_BY_2: usize = 4;
    const RADIX_MAX: usize = 8;
    const BUTTERFLY_TENTHS: usize = 12;

    #[inline]
    fn enter<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx2")]
        fn compiled<J: Job<Avx2>>(lanes: Avx2, job: J) {
            job.run(lanes);
        }
        // SAFETY: `self` exists only where the processor has this feature
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` exists only where the processor has AVX2
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` exists only where the processor has AVX2
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.xor(self.xor(b, c), a)
    }

    #[inline(always)]
    fn factor(self, v: __m256i) -> Halves {
        // SAFETY: `self` exists only where the processor has AVX2
        unsafe {
            let mask = _mm256_set1_epi8(15);
            Halves(_mm256_and_si256(v, mask), _mm256_and_si256(_mm256_srli_epi64::<4>(v), mask))
        }
    }

    fn store_form(c: u8) -> [u8; 32] {
        NIBBLES[usize::from(c)]
    }

    #[inline(always)]
    fn coefficient(self, stored: &[u8; 32]) -> Halves {
        let table = stored.as_ptr();
        // SAFETY: the table has 32 bytes, two halves of 16, and `loadu` needs no alignment;
        // `self` exists only where the processor has AVX2
        unsafe {
            Halves(
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.add(16).cast())),
            )
        }
    }

    #[inline(always)]
    fn mul(self, x: Halves, c: Halves) -> __m256i {
        // SAFETY: `self` exists only where the processor has AVX2
        unsafe { _mm256_xor_si256(_mm256_shuffle_epi8(c.0, x.0), _mm256_shuffle_epi8(c.1, x.1)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m256i {
        // SAFETY: the caller vouches for 32 readable bytes; `loadu` needs no alignment
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, v: __m256i) {
        // SAFETY: the caller vouches for 32 writable bytes; `storeu` needs no alignment
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8, v: __m256i) {
        // SAFETY: the caller vouches for 32 writable bytes, aligned to 32
        unsafe { _mm256_stream_si256(to.cast(), v) }
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

//! AVX2 with GFNI: 32 bytes at a time, a product in one instruction.

use super::{Job, Lanes};
use crate::field::AFFINE;
use std::arch::x86_64::*;

/// Proof that the processor has AVX2 and GFNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Gfni(());

impl Avx2Gfni {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx")
            && is_x86_feature_detected!("gfni"))
        .then_some(Self(()))
    }
}

impl Lanes for Avx2Gfni {
    type V = __m256i;
    type Factor = __m256i;
    type Coefficient = __m256i;
    type Stored = u64;

    const BYTES: usize = 32;
    const ROWS_MAX: usize = 10;
    const ROWS_BY_4: usize = 2;
    const ROWS_BY_2: usize = 5;
    const RADIX_MAX: usize = 8;
    const BUTTERFLY_TENTHS: usize = 16;

    #[inline]
    fn enter<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx2,gfni")]
        fn compiled<J: Job<Avx2Gfni>>(lanes: Avx2Gfni, job: J) {
            job.run(lanes);
        }
        // SAFETY: `self` exists only where the processor has these features
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.xor(self.xor(b, c), a)
    }

    #[inline(always)]
    fn factor(self, v: __m256i) -> __m256i {
        v
    }

    fn store_form(c: u8) -> u64 {
        AFFINE[usize::from(c)]
    }

    #[inline(always)]
    fn coefficient(self, stored: &u64) -> __m256i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm256_set1_epi64x(stored.cast_signed()) }
    }

    #[inline(always)]
    fn mul(self, x: __m256i, c: __m256i) -> __m256i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm256_gf2p8affine_epi64_epi8::<0>(x, c) }
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

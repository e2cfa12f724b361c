//! AVX-512 with GFNI: 64 bytes at a time, a product in one instruction, three operands per XOR.

use super::{Job, Lanes};
use crate::field::AFFINE;
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512F, AVX-512BW and GFNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Gfni(());

impl Avx512Gfni {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("gfni"))
        .then_some(Self(()))
    }
}

impl Lanes for Avx512Gfni {
    type V = __m512i;
    type Factor = __m512i;
    type Coefficient = __m512i;
    type Stored = u64;

    const BYTES: usize = 64;
    const ROWS_MAX: usize = 10;
    const ROWS_BY_4: usize = 5;
    const ROWS_BY_2: usize = 12;
    const RADIX_MAX: usize = 16;
    const BUTTERFLY_TENTHS: usize = 16;

    #[inline]
    fn enter<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx512f,avx512bw,gfni")]
        fn compiled<J: Job<Avx512Gfni>>(lanes: Avx512Gfni, job: J) {
            job.run(lanes);
        }
        // SAFETY: `self` exists only where the processor has these features
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm512_ternarylogic_epi64::<0x96>(a, b, c) }
    }

    #[inline(always)]
    fn factor(self, v: __m512i) -> __m512i {
        v
    }

    fn store_form(c: u8) -> u64 {
        AFFINE[usize::from(c)]
    }

    #[inline(always)]
    fn coefficient(self, stored: &u64) -> __m512i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm512_set1_epi64(stored.cast_signed()) }
    }

    #[inline(always)]
    fn mul(self, x: __m512i, c: __m512i) -> __m512i {
        // SAFETY: `self` exists only where the processor has the features
        unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(x, c) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m512i {
        // SAFETY: the caller vouches for 64 readable bytes; `loadu` needs no alignment
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, v: __m512i) {
        // SAFETY: the caller vouches for 64 writable bytes; `storeu` needs no alignment
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8, v: __m512i) {
        // SAFETY: the caller vouches for 64 writable bytes, aligned to 64
        unsafe { _mm512_stream_si512(to.cast(), v) }
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

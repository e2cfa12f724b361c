//! Portable Rust: eight bytes at a time, products by table lookup.

use super::{Job, Lanes};
use crate::field::{byte, mul};

/// Needs nothing of the processor.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

/// The 256 products of each coefficient.
static PRODUCTS: [[u8; 256]; 256] = {
    let mut table = [[0; 256]; 256];
    let mut c = 1;
    while c < 256 {
        let mut x = 1;
        while x < 256 {
            // products are linear: each is the sum of two earlier ones, but for powers of two
            let low_bit = x & (!x + 1);
            table[c][x] = if x == low_bit {
                mul(byte(c), byte(x))
            } else {
                table[c][low_bit] ^ table[c][x ^ low_bit]
            };
            x += 1;
        }
        c += 1;
    }
    table
};

impl Lanes for Scalar {
    type V = [u8; 8];
    type Factor = [u8; 8];
    type Coefficient = &'static [u8; 256];
    type Stored = u8;

    const BYTES: usize = 8;
    const ROWS_MAX: usize = 4;
    const ROWS_BY_4: usize = 0;
    const ROWS_BY_2: usize = 0;
    const RADIX_MAX: usize = 8;
    const BUTTERFLY_TENTHS: usize = 11;

    fn enter<J: Job<Self>>(self, job: J) {
        job.run(self);
    }

    #[inline(always)]
    fn zero(self) -> [u8; 8] {
        [0; 8]
    }

    #[inline(always)]
    fn xor(self, a: [u8; 8], b: [u8; 8]) -> [u8; 8] {
        (u64::from_le_bytes(a) ^ u64::from_le_bytes(b)).to_le_bytes()
    }

    #[inline(always)]
    fn xor3(self, a: [u8; 8], b: [u8; 8], c: [u8; 8]) -> [u8; 8] {
        self.xor(self.xor(a, b), c)
    }

    #[inline(always)]
    fn factor(self, v: [u8; 8]) -> [u8; 8] {
        v
    }

    fn store_form(c: u8) -> u8 {
        c
    }

    #[inline(always)]
    fn coefficient(self, stored: &u8) -> &'static [u8; 256] {
        &PRODUCTS[usize::from(*stored)]
    }

    #[inline(always)]
    fn mul(self, x: [u8; 8], c: &'static [u8; 256]) -> [u8; 8] {
        x.map(|byte| c[usize::from(byte)])
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> [u8; 8] {
        // SAFETY: the caller vouches for 8 readable bytes; an array of bytes needs no alignment
        unsafe { from.cast::<[u8; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8, v: [u8; 8]) {
        // SAFETY: the caller vouches for 8 writable bytes; an array of bytes needs no alignment
        unsafe { to.cast::<[u8; 8]>().write(v) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8, v: [u8; 8]) {
        // SAFETY: the caller vouches for 8 writable bytes
        unsafe { self.store(to, v) }
    }

    fn finish_streams(self) {}

    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
}

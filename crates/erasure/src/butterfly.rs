//! Transforms of 2, 4, 8 or 16 points in registers: the pieces of which [`crate::fft`] is made.
//!
//! In Cantor order the twiddle of a butterfly that joins points `n..n+d` and `n+d..n+2d` is simply point `n / d`. A
//! piece of `R` points has `R - 1` twiddles: that of its one widest butterfly first, then the two of the next layer,
//! and so on. The twiddles at `n = 0` are zero, so the first piece of the first block saves a product per layer.
//!
//! Forward (values from coefficients): x' = x + t y; y' = y + x'. Inverse: y' = y + x; x' = x + t y'.
//! format: erasure-code §5

use crate::{field::POINTS, lanes::Lanes};

/// The twiddles of a piece of `radix` points, `stride` apart, from point `first` on; as points of the field.
pub(crate) fn twiddles(first: usize, stride: usize, radix: usize) -> impl Iterator<Item = u8> {
    (0..radix.ilog2()).flat_map(move |layer| {
        let distance = (stride * radix) >> (layer + 1);
        (0..1 << layer).map(move |b| POINTS[(first + 2 * distance * b) / distance])
    })
}

/// The first `USED` values from all coefficients; the other values are left undefined. `ZERO`: the piece begins at
/// point 0.
#[inline(always)]
pub(crate) fn forward<L: Lanes, const R: usize, const USED: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    forward_layer::<L, R, USED, ZERO, 8>(lanes, x, twiddles);
    forward_layer::<L, R, USED, ZERO, 4>(lanes, x, twiddles);
    forward_layer::<L, R, USED, ZERO, 2>(lanes, x, twiddles);
    forward_layer::<L, R, USED, ZERO, 1>(lanes, x, twiddles);
}

/// The coefficients from values, of which all from `USED` on are zero (whatever `x` has there).
#[inline(always)]
pub(crate) fn inverse<L: Lanes, const R: usize, const USED: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    inverse_layer::<L, R, USED, ZERO, 1>(lanes, x, twiddles);
    inverse_layer::<L, R, USED, ZERO, 2>(lanes, x, twiddles);
    inverse_layer::<L, R, USED, ZERO, 4>(lanes, x, twiddles);
    inverse_layer::<L, R, USED, ZERO, 8>(lanes, x, twiddles);
}

#[inline(always)]
fn forward_layer<L: Lanes, const R: usize, const USED: usize, const ZERO: bool, const D: usize>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    if 2 * D > R {
        return;
    }
    let butterflies = R / (2 * D);
    for b in 0..USED.div_ceil(2 * D) {
        let first_twiddle_is_zero = ZERO && b == 0;
        if first_twiddle_is_zero && USED <= D {
            continue;
        }
        let t = lanes.coefficient(&twiddles[butterflies - 1 + b]);
        for j in 2 * D * b..2 * D * b + D {
            if !first_twiddle_is_zero {
                let product = lanes.mul(lanes.factor(x[j + D]), t);
                x[j] = lanes.xor(x[j], product);
            }
            if USED > D {
                x[j + D] = lanes.xor(x[j + D], x[j]);
            }
        }
    }
}

#[inline(always)]
fn inverse_layer<L: Lanes, const R: usize, const USED: usize, const ZERO: bool, const D: usize>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    if 2 * D > R {
        return;
    }
    let butterflies = R / (2 * D);
    for b in 0..USED.div_ceil(2 * D) {
        let t = lanes.coefficient(&twiddles[butterflies - 1 + b]);
        for j in 2 * D * b..2 * D * b + D {
            x[j + D] = if USED > D { lanes.xor(x[j + D], x[j]) } else { x[j] };
            if !(ZERO && b == 0) {
                let product = lanes.mul(lanes.factor(x[j + D]), t);
                x[j] = lanes.xor(x[j], product);
            }
        }
    }
}

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
    let layers = radix.ilog2();
    (0..layers).flat_map(move |layer| {
        let distance = stride * radix >> (layer + 1);
        (0..1 << layer).map(move |b| POINTS[(first + 2 * distance * b) / distance])
    })
}

/// Values from coefficients. `ZERO`: the piece begins at point 0.
#[inline(always)]
pub(crate) fn forward<L: Lanes, const R: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    forward_layer::<L, R, 8, ZERO>(lanes, x, twiddles);
    forward_layer::<L, R, 4, ZERO>(lanes, x, twiddles);
    forward_layer::<L, R, 2, ZERO>(lanes, x, twiddles);
    forward_layer::<L, R, 1, ZERO>(lanes, x, twiddles);
}

/// Coefficients from values.
#[inline(always)]
pub(crate) fn inverse<L: Lanes, const R: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    inverse_layer::<L, R, 1, ZERO>(lanes, x, twiddles);
    inverse_layer::<L, R, 2, ZERO>(lanes, x, twiddles);
    inverse_layer::<L, R, 4, ZERO>(lanes, x, twiddles);
    inverse_layer::<L, R, 8, ZERO>(lanes, x, twiddles);
}

#[inline(always)]
fn forward_layer<L: Lanes, const R: usize, const D: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    if 2 * D > R {
        return;
    }
    let pieces = R / (2 * D);
    for b in 0..pieces {
        if ZERO && b == 0 {
            for j in 0..D {
                x[j + D] = lanes.xor(x[j + D], x[j]);
            }
            continue;
        }
        let t = lanes.coefficient(&twiddles[pieces - 1 + b]);
        for j in 2 * D * b..2 * D * b + D {
            let product = lanes.mul(lanes.factor(x[j + D]), t);
            x[j] = lanes.xor(x[j], product);
            x[j + D] = lanes.xor(x[j + D], x[j]);
        }
    }
}

#[inline(always)]
fn inverse_layer<L: Lanes, const R: usize, const D: usize, const ZERO: bool>(
    lanes: L,
    x: &mut [L::V; R],
    twiddles: &[L::Stored],
) {
    if 2 * D > R {
        return;
    }
    let pieces = R / (2 * D);
    for b in 0..pieces {
        if ZERO && b == 0 {
            for j in 0..D {
                x[j + D] = lanes.xor(x[j + D], x[j]);
            }
            continue;
        }
        let t = lanes.coefficient(&twiddles[pieces - 1 + b]);
        for j in 2 * D * b..2 * D * b + D {
            x[j + D] = lanes.xor(x[j + D], x[j]);
            let product = lanes.mul(lanes.factor(x[j + D]), t);
            x[j] = lanes.xor(x[j], product);
        }
    }
}

//! The field GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11D), and its points in Cantor order.
//!
//! Everything here is computed by the compiler: tables of products in the forms that the kernels need, and the
//! 256 points of the field in the order that makes the additive FFT cheap.
//! format: erasure-code §1, §2

/// `n`, which is below 256.
#[expect(clippy::cast_possible_truncation, reason = "asserted; `TryFrom` is not const")]
pub(crate) const fn byte(n: usize) -> u8 {
    assert!(n < 256);
    n as u8
}

/// x^8 + x^4 + x^3 + x^2 + 1.
const POLYNOMIAL: usize = 0x11d;

/// `EXP[i]` = x^i, twice over, so that the sum of two logarithms is an index.
const EXP: [u8; 510] = {
    let mut table = [0; 510];
    let mut value = 1;
    let mut i = 0;
    while i < 255 {
        table[i] = byte(value);
        table[i + 255] = byte(value);
        value <<= 1;
        if value & 0x100 != 0 {
            value ^= POLYNOMIAL;
        }
        i += 1;
    }
    table
};

/// `LOG[EXP[i]]` = i; `LOG[0]` is never read.
const LOG: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[EXP[i as usize] as usize] = i;
        i += 1;
    }
    table
};

/// a * b.
pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP[LOG[a as usize] as usize + LOG[b as usize] as usize] }
}

/// 1 / a, for a != 0.
pub(crate) const fn inverse(a: u8) -> u8 {
    assert!(a != 0, "zero has no inverse");
    EXP[255 - LOG[a as usize] as usize]
}

/// The Cantor basis: v0 = 1, and v(i) is the smaller solution of v^2 + v = v(i-1).
const BASIS: [u8; 8] = {
    let mut basis = [1; 8];
    let mut i = 1;
    while i < 8 {
        let mut v: u8 = 2;
        while mul(v, v) ^ v != basis[i - 1] {
            v += 1;
        }
        basis[i] = v;
        i += 1;
    }
    basis
};

/// The points of the field: `POINTS[n]` is the sum of the basis elements at the set bits of `n`.
pub(crate) const POINTS: [u8; 256] = {
    let mut points = [0; 256];
    let mut n = 1;
    while n < 256 {
        let low_bit = n & (!n + 1);
        points[n] = points[n ^ low_bit] ^ BASIS[low_bit.trailing_zeros() as usize];
        n += 1;
    }
    points
};

/// `AFFINE[c]`: multiplication by `c` as the bit matrix of `gf2p8affineqb` (row of output bit 0 in the top byte).
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) static AFFINE: [u64; 256] = {
    let mut table = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut j = 0;
        while j < 8 {
            // column j of the matrix: the product of c and x^j
            let product = mul(byte(c), 1 << j);
            let mut i = 0;
            while i < 8 {
                if product >> i & 1 == 1 {
                    table[c] |= 1 << (8 * (7 - i) + j);
                }
                i += 1;
            }
            j += 1;
        }
        c += 1;
    }
    table
};

/// `NIBBLES[c]`: the products of `c` with 0..16, then with 0, 16, .. 240, as `pshufb` and `tbl` look them up.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
pub(crate) static NIBBLES: [[u8; 32]; 256] = {
    let mut table = [[0; 32]; 256];
    let mut c = 0;
    while c < 256 {
        let mut x: u8 = 0;
        while x < 16 {
            table[c][x as usize] = mul(byte(c), x);
            table[c][16 + x as usize] = mul(byte(c), x << 4);
            x += 1;
        }
        c += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook product: shift and add, reduce.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut product =
            (0..8).fold(0, |sum, i| sum ^ ((usize::from(a) << i) * (usize::from(b) >> i & 1)));
        for i in (8..16).rev() {
            if product >> i & 1 == 1 {
                product ^= POLYNOMIAL << (i - 8);
            }
        }
        byte(product)
    }

    #[test]
    fn products_and_inverses() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b));
                let table = &NIBBLES[usize::from(a)];
                assert_eq!(
                    table[usize::from(b & 15)] ^ table[usize::from(16 + (b >> 4))],
                    mul(a, b)
                );
            }
            assert!(a == 0 || mul(a, inverse(a)) == 1);
        }
    }

    #[test]
    fn affine_matrices_multiply() {
        for c in 0..=255 {
            let rows = AFFINE[usize::from(c)].to_be_bytes(); // byte 0 is the row of output bit 0
            for x in 0..=255u8 {
                let product = (0..8)
                    .fold(0u8, |sum, i| sum | (u8::from((rows[i] & x).count_ones() & 1 == 1)) << i);
                assert_eq!(product, mul(c, x));
            }
        }
    }

    #[test]
    fn points_are_all_of_the_field_in_the_documented_order() {
        assert_eq!(BASIS, [0x01, 0xd6, 0x98, 0x92, 0x56, 0xc8, 0x58, 0xe6]);
        for i in 1..8 {
            assert_eq!(mul(BASIS[i], BASIS[i]) ^ BASIS[i], BASIS[i - 1]);
        }
        let mut seen = [false; 256];
        POINTS.iter().for_each(|&point| seen[usize::from(point)] = true);
        assert!(seen.iter().all(|&seen| seen));
        assert_eq!(POINTS[5], BASIS[0] ^ BASIS[2]);
    }
}

//! Proof of work: targets as headers have them, and the work that they stand for.

use super::hash::Hash;

/// What a block's hash must not exceed: 256 bits, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Target([u8; 32]);

impl Target {
    /// From a header's `bits`: an exponent of 256, and 23 bits. `None` if it is zero, negative or too large.
    pub(crate) fn of_bits(bits: u32) -> Option<Self> {
        let [exponent, mantissa @ ..] = bits.to_be_bytes();
        if mantissa[0] & 0x80 != 0 {
            return None;
        }
        let mut target = [0; 32];
        for (byte, power) in mantissa.into_iter().zip((0..3).rev()) {
            // the byte's place from the end
            let place = i32::from(exponent) - 3 + power;
            match usize::try_from(place) {
                Ok(place) if place < 32 => target[31 - place] = byte,
                Ok(_) if byte != 0 => return None,
                _ => {}
            }
        }
        (target != [0; 32]).then_some(Self(target))
    }

    /// Whether a block with this hash has the work.
    pub(crate) fn is_met_by(self, hash: Hash) -> bool {
        hash.0.iter().rev().le(self.0.iter())
    }

    /// Hashes that it takes to find such a block, on average: `2^256 / (target + 1)`, at most 2^128 - 1.
    pub(crate) fn work(self) -> u128 {
        let half = |at: usize| {
            u128::from_be_bytes(self.0[at..at + 16].try_into().expect("half of 32 bytes"))
        };
        let (high, low) = (half(0), half(16));
        let (low, carry) = low.overflowing_add(1);
        let Some(high) = high.checked_add(u128::from(carry)) else { return 1 };
        if (high, low) <= (1, 0) {
            return u128::MAX;
        }
        // long division of 2^256 by (high, low), which is above 2^128: the quotient has at most 128 bits
        let (mut rest_high, mut rest_low, mut quotient) = (1u128, 0u128, 0u128);
        for _ in 0..128 {
            let over = rest_high >> 127 == 1;
            rest_high = rest_high << 1 | rest_low >> 127;
            rest_low <<= 1;
            quotient <<= 1;
            if over || (rest_high, rest_low) >= (high, low) {
                let (low_left, borrow) = rest_low.overflowing_sub(low);
                rest_high = rest_high.wrapping_sub(high).wrapping_sub(u128::from(borrow));
                rest_low = low_left;
                quotient |= 1;
            }
        }
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_as_core_does() {
        let target = |bits| Target::of_bits(bits).map(|target| target.0);
        let with = |place: usize, bytes: &[u8]| {
            let mut target = [0; 32];
            target[place..place + bytes.len()].copy_from_slice(bytes);
            Some(target)
        };
        assert_eq!(target(0x1d00_ffff), with(4, &[0xff, 0xff]));
        assert_eq!(target(0x207f_ffff), with(0, &[0x7f, 0xff, 0xff]));
        assert_eq!(target(0x0412_3456), with(28, &[0x12, 0x34, 0x56]));
        assert_eq!(target(0x0112_3456), with(31, &[0x12]));
        assert_eq!(target(0x2200_00ff), with(0, &[0xff]));
        for bits in [0, 0x0100_3456, 0x0492_3456, 0x2200_ffff, 0x2300_00ff, 0xff12_3456] {
            assert_eq!(target(bits), None, "{bits:#x}");
        }
    }

    #[test]
    fn work_is_2_to_256_over_target_plus_1() {
        let work = |bits| Target::of_bits(bits).unwrap().work();
        assert_eq!(work(0x207f_ffff), 2);
        assert_eq!(work(0x1d00_ffff), 0x1_0001_0001);
        // mainnet, November 2021
        assert_eq!(work(0x170d_21b9), 92_061_434_409_516_532_741_123);
        assert_eq!(work(0x0101_0000), u128::MAX);
        assert_eq!(Target([0xff; 32]).work(), 1);
        let mut all = [0; 32];
        all[15] = 1;
        assert_eq!(Target(all).work(), u128::MAX);
    }
}

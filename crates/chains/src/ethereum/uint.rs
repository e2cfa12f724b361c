//! A 256-bit number: difficulty, value, gas price. Only what the adapter needs: read, add, compare, show.

use std::fmt;

/// An unsigned 256-bit number; shown as a hex quantity (`0x0`, `0x1f`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct U256([u8; 32]);

impl U256 {
    /// From at most 32 big-endian bytes; `None` if there are more.
    pub fn from_be_slice(bytes: &[u8]) -> Option<Self> {
        let mut out = [0; 32];
        out[32usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
        Some(Self(out))
    }

    /// From 32 little-endian bytes, as `.era1` has them.
    pub fn from_le_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(bytes)
    }

    /// As 32 little-endian bytes.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }

    /// The big-endian bytes without leading zeros; none for 0.
    pub fn as_minimal_be(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|&&byte| byte == 0).count();
        &self.0[zeros..]
    }

    /// The sum, or `None` if it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let mut out = [0; 32];
        let mut carry = false;
        for i in (0..32).rev() {
            let (sum, over) = self.0[i].overflowing_add(other.0[i]);
            let (sum, over_again) = sum.overflowing_add(u8::from(carry));
            out[i] = sum;
            carry = over || over_again;
        }
        (!carry).then_some(Self(out))
    }

    /// The difference, or `None` if it is negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let mut out = [0; 32];
        let mut borrow = false;
        for i in (0..32).rev() {
            let (rest, under) = self.0[i].overflowing_sub(other.0[i]);
            let (rest, under_again) = rest.overflowing_sub(u8::from(borrow));
            out[i] = rest;
            borrow = under || under_again;
        }
        (!borrow).then_some(Self(out))
    }
}

impl From<u64> for U256 {
    fn from(value: u64) -> Self {
        let mut out = [0; 32];
        out[24..].copy_from_slice(&value.to_be_bytes());
        Self(out)
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_minimal_be() {
            [] => f.write_str("0x0"),
            [first, rest @ ..] => {
                write!(f, "{first:#x}")?;
                rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wide(value: u128) -> U256 {
        U256::from_be_slice(&value.to_be_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn adds_like_u128(a: u128, b: u128) {
            let sum = wide(a).checked_add(wide(b)).unwrap();
            if let Some(expected) = a.checked_add(b) {
                prop_assert_eq!(sum, wide(expected));
                prop_assert_eq!(sum.to_string(), format!("{expected:#x}"));
            }
            prop_assert_eq!(sum.checked_sub(wide(b)), Some(wide(a)));
            prop_assert_eq!(wide(a).checked_sub(wide(b)), a.checked_sub(b).map(wide));
            prop_assert_eq!(U256::from_le_bytes(sum.to_le_bytes()), sum);
            prop_assert_eq!(U256::from_be_slice(sum.as_minimal_be()), Some(sum));
        }
    }

    #[test]
    fn edges() {
        let top = U256([0xff; 32]);
        assert_eq!(top.checked_add(U256::from(1)), None);
        assert_eq!(U256::from_be_slice(&[0; 33]), None);
        assert_eq!(U256::default().to_string(), "0x0");
        assert_eq!(U256::from(0x100).to_string(), "0x100");
    }
}

//! Whole numbers in decimal digits, strictly: no sign but `-`, no leading zeros, no overflow.

/// A signed number, as in header lines.
pub(crate) fn parse_i64(digits: &[u8]) -> Option<i64> {
    match digits.strip_prefix(b"-") {
        Some(rest) => match i64::try_from(parse_u64(rest)?).ok()? {
            0 => None,
            n => Some(-n),
        },
        None => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// An unsigned number, as in arguments.
pub fn parse_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// The digits of a number, in a buffer of their own: no allocation.
pub(crate) struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    pub(crate) fn new(mut n: u64) -> Self {
        let mut out = Self { bytes: [b'0'; 20], start: 20 };
        loop {
            out.start -= 1;
            out.bytes[out.start] = b'0' + u8::try_from(n % 10).expect("a digit is below 10");
            n /= 10;
            if n == 0 {
                return out;
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_round_trip(n: u64) {
            let (digits, text) = (Digits::new(n), n.to_string());
            prop_assert_eq!(digits.as_bytes(), text.as_bytes());
            prop_assert_eq!(parse_u64(digits.as_bytes()), Some(n));
        }

        #[test]
        fn signed_round_trip(n: i64) {
            prop_assume!(n != i64::MIN);
            prop_assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
        }
    }

    #[test]
    fn refuses_all_else() {
        for text in ["", "-", "-0", "+1", "01", "1 ", " 1", "1a", "18446744073709551616", "-x"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text}");
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"9223372036854775808"), None);
    }
}

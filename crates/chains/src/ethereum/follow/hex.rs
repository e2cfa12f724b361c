//! Hex as nodes write it, read into bytes.

use crate::ethereum::{hash::Hash32, uint::U256};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;

/// Data: two digits a byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Data of a fixed length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed<const N: usize>(pub(super) [u8; N]);

/// A quantity; leading zeros do no harm, because the hash decides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number(pub(super) U256);

impl Fixed<32> {
    pub(super) const fn hash(self) -> Hash32 {
        Hash32(self.0)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Text::deserialize(deserializer).map(|text| text.0)
}

fn decode(text: &str, out: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    let digit = |digit: u8| u8::try_from((digit as char).to_digit(16)?).ok();
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| digits.len().is_multiple_of(2));
        let digits = digits.ok_or_else(|| D::Error::custom("not hex data"))?;
        let mut bytes = vec![0; digits.len() / 2];
        decode(digits, &mut bytes).ok_or_else(|| D::Error::custom("not hex data"))?;
        Ok(Self(bytes))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 2 * N);
        let mut bytes = [0; N];
        digits
            .and_then(|digits| decode(digits, &mut bytes))
            .ok_or_else(|| D::Error::custom(format!("not hex data of {N} bytes")))?;
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
        let number = digits.and_then(|digits| {
            let mut bytes = [0; 32];
            decode(&format!("{digits:0>64}"), &mut bytes)?;
            U256::from_be_slice(&bytes)
        });
        number.map(Self).ok_or_else(|| D::Error::custom("not a quantity of at most 256 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_never_panics(text: String, digits in "0x[0-9a-fA-F]{0,70}") {
            for text in [text, digits] {
                let json = serde_json::to_string(&text).unwrap();
                let _ = serde_json::from_str::<Bytes>(&json);
                let _ = serde_json::from_str::<Fixed<20>>(&json);
                let _ = serde_json::from_str::<Number>(&json);
            }
        }

        #[test]
        fn numbers_and_bytes_come_back(number: u64, bytes: Vec<u8>) {
            let json = format!("\"{number:#x}\"");
            prop_assert_eq!(serde_json::from_str::<Number>(&json).unwrap().0, U256::from(number));
            let json = serde_json::to_string(&crate::ethereum::json::Data(&bytes)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap().0, bytes);
        }
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            "0x",
            "1f",
            "0xg",
            "0x00000000000000000000000000000000000000000000000000000000000000001",
        ] {
            assert!(serde_json::from_str::<Number>(&format!("\"{text}\"")).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Bytes>("\"0x1\"").is_err());
        assert!(serde_json::from_str::<Fixed<2>>("\"0x1234é\"").is_err());
        assert!(serde_json::from_str::<Number>("31").is_err());
    }
}

//! A RESP value, nested as deep as it comes, and what a case expects of one.

use std::collections::HashMap;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Value>),
}

impl Value {
    /// The value at the front, and its bytes; `None` until all of it is there.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, used) = (&bytes[1..end], end + 2);
        let number = || std::str::from_utf8(line).unwrap().parse::<i64>().unwrap();
        match bytes[0] {
            b'+' => Some((Self::Simple(line.to_vec()), used)),
            b'-' => Some((Self::Error(line.to_vec()), used)),
            b':' => Some((Self::Integer(number()), used)),
            b'$' if number() < 0 => Some((Self::Nil, used)),
            b'$' => {
                let length = usize::try_from(number()).unwrap();
                let all = bytes.get(used..used + length + 2)?;
                assert_eq!(&all[length..], b"\r\n", "a bulk string's end");
                Some((Self::Bulk(all[..length].to_vec()), used + length + 2))
            }
            b'*' => {
                let (mut used, mut all) = (used, Vec::new());
                for _ in 0..number() {
                    let (value, more) = Self::parse(&bytes[used..])?;
                    all.push(value);
                    used += more;
                }
                Some((Self::Array(all), used))
            }
            other => panic!("no RESP: {:?}", char::from(other)),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// exactly this
    Is(Value),
    /// `*`
    Anything,
    /// `-*`
    AnyError,
    /// `:*`
    AnyInteger,
    /// `"*"` without quotes: `$*`
    AnyBulk,
    /// `~"text"`: a bulk string that contains it
    Contains(Vec<u8>),
    /// `-text*`
    ErrorFrom(Vec<u8>),
    /// `=name`: a bulk or simple string, kept under a name
    Keep(String),
    /// `$name`: what was kept
    Kept(String),
    /// `[...]`
    Array(Vec<Expected>),
}

impl Expected {
    pub(crate) fn matches(&self, value: &Value, kept: &mut HashMap<String, Vec<u8>>) -> bool {
        match (self, value) {
            (Self::Is(expected), value) => expected == value,
            (Self::Anything, _) | (Self::AnyError, Value::Error(_)) => true,
            (Self::AnyInteger, Value::Integer(_)) | (Self::AnyBulk, Value::Bulk(_)) => true,
            (Self::Contains(part), Value::Bulk(bytes)) => {
                bytes.windows(part.len()).any(|window| window == part)
            }
            (Self::ErrorFrom(start), Value::Error(text)) => text.starts_with(start),
            (Self::Keep(name), Value::Bulk(bytes) | Value::Simple(bytes)) => {
                kept.insert(name.clone(), bytes.clone());
                true
            }
            (Self::Kept(name), Value::Bulk(bytes)) => kept.get(name) == Some(bytes),
            (Self::Array(expected), Value::Array(values)) => {
                expected.len() == values.len()
                    && expected.iter().zip(values).all(|(e, v)| e.matches(v, kept))
            }
            _ => false,
        }
    }
}

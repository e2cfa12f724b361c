//! 0-db's answers: RESP with arrays in arrays, three deep at most. Hostile until parsed: every length is held against what
//! is there before anything is allocated.

use bytes::Bytes;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `+text`
    Simple,
    /// `-text`
    Error(String),
    /// `:n`
    Integer(i64),
    /// `$n` and bytes
    Bulk(Bytes),
    /// `$-1` or `*-1`
    Nil,
    /// `*n` and values
    Array(Vec<Value>),
}

const DEPTH_MAX: usize = 3;

/// The first answer in `input` and its length; `None` while it is not all there.
///
/// # Errors
/// Where it cannot become one.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Value, usize)>, &'static str> {
    let mut at = 0;
    let value = value(input, &mut at, DEPTH_MAX)?;
    Ok(value.map(|value| (value, at)))
}

fn value(input: &[u8], at: &mut usize, depth: usize) -> Result<Option<Value>, &'static str> {
    let Some(line) = line(input, at) else { return Ok(None) };
    let (&kind, text) = line.split_first().ok_or("an empty line")?;
    let number = || {
        let text = std::str::from_utf8(text).map_err(|_| "not a number")?;
        text.parse::<i64>().map_err(|_| "not a number")
    };
    let value = match kind {
        b'+' => Value::Simple,
        b'-' => Value::Error(String::from_utf8_lossy(text).into_owned()),
        b':' => Value::Integer(number()?),
        b'$' | b'*' if number()? < 0 => Value::Nil,
        b'$' => {
            let bytes = usize::try_from(number()?).map_err(|_| "too long")?;
            let end = at.checked_add(bytes).and_then(|end| end.checked_add(2)).ok_or("too long")?;
            let Some(body) = input.get(*at..end) else { return Ok(None) };
            let (body, end_of_line) = body.split_at(bytes);
            if end_of_line != b"\r\n" {
                return Err("a string without an end");
            }
            *at = end;
            Value::Bulk(Bytes::copy_from_slice(body))
        }
        b'*' => {
            let depth = depth.checked_sub(1).ok_or("arrays too deep")?;
            let mut values = Vec::new();
            for _ in 0..number()? {
                match self::value(input, at, depth)? {
                    Some(value) => values.push(value),
                    None => return Ok(None),
                }
            }
            Value::Array(values)
        }
        _ => return Err("not an answer"),
    };
    Ok(Some(value))
}

/// The next line without its end.
fn line<'a>(input: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &input[*at..];
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    *at += end + 2;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCAN: &[u8] =
        b"*2\r\n$2\r\nab\r\n*2\r\n*3\r\n$1\r\nk\r\n:5\r\n:9\r\n*3\r\n$1\r\nl\r\n:6\r\n:9\r\n";

    #[test]
    fn an_answer_is_taken_when_it_is_all_there() {
        for cut in 0..SCAN.len() {
            assert_eq!(parse(&SCAN[..cut]), Ok(None), "{cut}");
        }
        let (value, used) = parse(SCAN).unwrap().unwrap();
        assert_eq!(used, SCAN.len());
        let Value::Array(parts) = value else { panic!("an array") };
        assert_eq!(parts[0], Value::Bulk(Bytes::from_static(b"ab")));
        assert!(matches!(&parts[1], Value::Array(keys) if keys.len() == 2));
        assert_eq!(parse(b"$-1\r\nrest").unwrap().unwrap(), (Value::Nil, 5));
        assert!(parse(b"*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n").is_err());
        assert!(parse(b"$2\r\nabcd").is_err() && parse(b"hello\r\n").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any_answer = parse(&bytes);
        }
    }
}

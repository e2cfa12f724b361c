//! Inline commands: a line of words, as people type them into a terminal.
//!
//! Words are parted by blanks. `"..."` knows the escapes `\n \r \t \b \a \xHH` and `\` before any other byte, `'...'` only
//! `\'`; a blank or the line's end must follow the closing quote.

use crate::FrameError;
use bytes::{Buf, Bytes, BytesMut};

/// Longest line.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Takes an inline command from the front of a buffer; `None` until its line is complete. Of a line without words
/// nothing comes but an empty list.
///
/// # Errors
/// [`FrameError::LineLength`], [`FrameError::Quotes`]: the connection cannot go on.
pub fn take_inline(buf: &mut BytesMut) -> Result<Option<Vec<Bytes>>, FrameError> {
    let Some(end) = buf.iter().take(INLINE_BYTES_MAX).position(|&b| b == b'\n') else {
        return match buf.len() {
            bytes if bytes >= INLINE_BYTES_MAX => {
                Err(FrameError::LineLength { bytes_max: INLINE_BYTES_MAX })
            }
            _ => Ok(None),
        };
    };
    let line = buf.split_to(end);
    buf.advance(1);
    words(line.strip_suffix(b"\r").unwrap_or(&line)).map(Some)
}

fn words(line: &[u8]) -> Result<Vec<Bytes>, FrameError> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        while let Some(&first) = rest.first().filter(|b| !b.is_ascii_whitespace()) {
            rest = &rest[1..];
            match first {
                b'"' | b'\'' => {
                    rest = quoted(first, rest, &mut word)?;
                    if rest.first().is_some_and(|b| !b.is_ascii_whitespace()) {
                        return Err(FrameError::Quotes);
                    }
                }
                plain => word.push(plain),
            }
        }
        words.push(word.into());
        rest = rest.trim_ascii_start();
    }
    Ok(words)
}

/// Appends what stands up to the closing quote; what is behind it.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], FrameError> {
    loop {
        let (&byte, behind) = rest.split_first().ok_or(FrameError::Quotes)?;
        rest = behind;
        match byte {
            byte if byte == quote => return Ok(rest),
            b'\\' if quote == b'"' => {
                let (escaped, behind) = escape(rest)?;
                word.push(escaped);
                rest = behind;
            }
            b'\\' if rest.first() == Some(&quote) => {
                word.push(quote);
                rest = &rest[1..];
            }
            plain => word.push(plain),
        }
    }
}

/// The byte that stands for what follows a backslash.
fn escape(rest: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    if let [b'x', high, low, behind @ ..] = rest
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Ok((high << 4 | low, behind));
    }
    let (&byte, behind) = rest.split_first().ok_or(FrameError::Quotes)?;
    let byte = match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    };
    Ok((byte, behind))
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(line: &[u8]) -> Result<Option<Vec<Bytes>>, FrameError> {
        take_inline(&mut BytesMut::from(line))
    }

    #[test]
    fn words_quotes_and_escapes() {
        let words = |line: &str| take(line.as_bytes()).unwrap().unwrap();
        assert_eq!(words("SET  key value\r\n"), ["SET", "key", "value"]);
        assert_eq!(words("\tget k\n"), ["get", "k"]);
        assert_eq!(
            words("set \"a b\\x41\\n\\\"\" 'it\\'s \\n'\n"),
            ["set", "a bA\n\"", "it's \\n"]
        );
        assert_eq!(words("echo \"\"\n"), ["echo", ""]);
        assert!(words("\r\n").is_empty());
        assert_eq!(take(b"PING"), Ok(None));
    }

    #[test]
    fn what_is_open_or_too_long_is_refused() {
        for line in ["\"\n", "'a\n", "\"a\\\n", "\"a\"b\n"] {
            assert_eq!(take(line.as_bytes()), Err(FrameError::Quotes), "{line}");
        }
        let long = vec![b'a'; INLINE_BYTES_MAX];
        assert_eq!(take(&long[1..]), Ok(None));
        assert!(matches!(take(&long), Err(FrameError::LineLength { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_words_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut buf = BytesMut::from(&line[..]);
            if let Ok(Some(words)) = take_inline(&mut buf) {
                prop_assert!(words.iter().map(Bytes::len).sum::<usize>() <= line.len());
            }
        }

        #[test]
        fn quoting_brings_any_bytes_through(word in proptest::collection::vec(any::<u8>(), 0..40)) {
            let hex: String = word.iter().map(|b| format!("\\x{b:02x}")).collect();
            let words = take(format!("set \"{hex}\"\n").as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&words[1][..], &word[..]);
        }
    }
}

//! Keys, values and figures as people write and read them.

use anyhow::{Context, bail, ensure};
use prunedb_core::units::ByteSize;
use prunedb_engine::{Table, TableKind};
use std::time::Duration;

/// Bytes as they are written on a command line: text, or hex with `0x`.
pub(crate) fn parse_bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let Some(digits) = text.strip_prefix("0x") else { return Ok(text.as_bytes().to_vec()) };
    ensure!(digits.len() % 2 == 0, "`{text}` has an odd number of hex digits");
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect();
    bytes.with_context(|| format!("`{text}` begins with 0x and is not hex"))
}

/// A key as it is written on a command line.
pub(crate) fn parse_key(kind: TableKind, text: &str) -> anyhow::Result<Vec<u8>> {
    if kind == TableKind::Keyed {
        return parse_bytes(text);
    }
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if plain => Ok(number.to_be_bytes().to_vec()),
        _ => bail!("`{text}` is not a number: the table is a sequence, its keys are numbers"),
    }
}

/// A key of a table, for people.
pub(crate) fn show_key(kind: TableKind, key: &[u8]) -> String {
    match (kind, key.try_into()) {
        (TableKind::Sequence, Ok(key)) => u64::from_be_bytes(key).to_string(),
        _ => show_bytes(key),
    }
}

/// Bytes as [`parse_bytes`] reads them: as text where it is printable.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("0x") && !text.chars().any(char::is_control) => text.into(),
        _ => hex(bytes),
    }
}

/// Bytes as hex with `0x`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex_digits(bytes))
}

/// Bytes as hex.
pub(crate) fn hex_digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A table's kind, for JSON.
pub(crate) fn kind_name(table: &Table) -> &'static str {
    match table.kind() {
        TableKind::Keyed => "keyed",
        TableKind::Sequence => "sequence",
    }
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// MB (10^6) per second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mb_per_s(bytes: u64, took: Duration) -> f64 {
    rounded(bytes as f64 / 1e6 / took.as_secs_f64().max(1e-6))
}

/// A ratio for people.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1e4).round() / 1e4 }
}

/// With one digit behind the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// `1 block`, `2 blocks`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// An error and its causes in one line; a cause that its error quotes already is not said again.
pub(crate) fn error_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_people_write_them() {
        assert_eq!(parse_bytes("abc").unwrap(), b"abc");
        assert_eq!(parse_bytes("0x00fF").unwrap(), [0, 255]);
        assert!(
            parse_bytes("0x0").is_err()
                && parse_bytes("0xgg").is_err()
                && parse_bytes("0xäöä").is_err()
        );
        assert_eq!(parse_key(TableKind::Sequence, "258").unwrap(), [0, 0, 0, 0, 0, 0, 1, 2]);
        for bad in ["", "-1", "+1", "0x10", "18446744073709551616"] {
            assert!(parse_key(TableKind::Sequence, bad).is_err(), "{bad}");
        }
        for bytes in [&b"key"[..], b"0x41", b"\x00\xff", b"", b"a\nb"] {
            assert_eq!(parse_bytes(&show_bytes(bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("no such file");
        let error = anyhow::Error::new(cause).context("a.era1: no such file").context("import");
        assert_eq!(error_line(&error), "import: a.era1: no such file");
    }
}

//! Pages whose tables a command writes anew, between two marks.

use std::{fs, io, path::Path};

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// Replaces what is between the marks of a page.
///
/// # Errors
/// Those of the disk; `InvalidData` where the page does not have each mark once, in this order.
pub fn renew(path: &Path, measured: &str) -> io::Result<()> {
    let page = fs::read_to_string(path)?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (old, after) = rest.split_once(END)?;
        (!old.contains(BEGIN)).then_some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        let reason = format!("{}: no place for what was measured", path.display());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })?;
    fs::write(path, format!("{before}{BEGIN}{measured}{END}{after}"))
}

/// Today in UTC.
pub fn date() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = now.map_or(0, |now| now.as_secs() / 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a day since 1970.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    unreachable!("a year has twelve months")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.md");
        fs::write(&path, format!("a\n{BEGIN}old\n{END}z\n")).unwrap();
        renew(&path, "new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("a\n{BEGIN}new\n{END}z\n"));
        fs::write(&path, format!("a\n{END}{BEGIN}")).unwrap();
        assert_eq!(renew(&path, "new").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

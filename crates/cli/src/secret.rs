//! The lake secret's file: one line, `prunedb-lake-secret-1:` and 64 hex digits, readable by its owner only.

use anyhow::{Context, ensure};
use prunedb_engine::LakeSecret;
use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use zeroize::Zeroizing;

const PREFIX: &str = "prunedb-lake-secret-1:";
/// Longest file that is looked at.
const FILE_BYTES_MAX: u64 = 4096;

/// A new random secret.
pub(crate) fn generate() -> anyhow::Result<LakeSecret> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).context("the system gives no randomness")?;
    Ok(LakeSecret::new(bytes))
}

/// Writes a secret to a new file of mode 0600, durably.
pub(crate) fn write(path: &Path, secret: &LakeSecret) -> anyhow::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 65));
    text.push_str(PREFIX);
    for byte in secret.expose() {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text.push('\n');
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write the lake secret {}", path.display()))
}

/// Reads a secret; refuses a file that others can read.
pub(crate) fn read(path: &Path) -> anyhow::Result<LakeSecret> {
    let shown = path.display();
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => anyhow::bail!(
            "the lake secret {shown} is missing: put your copy of it back; without it the lake cannot be read"
        ),
        opened => opened.with_context(|| format!("cannot read the lake secret {shown}"))?,
    };
    let mode = file.metadata().with_context(|| format!("{shown}"))?.mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "others can read the lake secret {shown} (mode {mode:04o}): run `chmod 600 {shown}`"
    );
    // not UTF-8 is an error too; the buffer never grows, so no copy of the secret stays behind
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(FILE_BYTES_MAX)?));
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the lake secret {shown}"))?;
    parse(&text).with_context(|| {
        format!(
            "{shown} is not a lake secret (`{PREFIX}` and 64 hex digits): put your copy of it back"
        )
    })
}

fn parse(text: &str) -> Option<LakeSecret> {
    let digits = text.trim_end().strip_prefix(PREFIX)?.as_bytes();
    let mut bytes = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (pair, byte) in digits.chunks_exact(2).zip(bytes.iter_mut()) {
        for &digit in pair {
            let value = u8::try_from(char::from(digit).to_digit(16)?).expect("below 16");
            *byte = *byte << 4 | value;
        }
    }
    Some(LakeSecret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_comes_back_from_its_file_only_while_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lake.secret");
        let secret = generate().unwrap();
        write(&path, &secret).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(write(&path, &secret).is_err(), "never overwritten");
        assert_eq!(read(&path).unwrap().expose(), secret.expose());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("missing"));
    }

    #[test]
    fn nonsense_is_no_secret() {
        let good = format!("{PREFIX}{}", "0a".repeat(32));
        assert_eq!(parse(&good).unwrap().expose(), &[10; 32]);
        for bad in [
            "",
            "prunedb",
            PREFIX,
            &good[..good.len() - 1],
            &good.replace("0a", "0g"),
            &format!("{good}0"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}

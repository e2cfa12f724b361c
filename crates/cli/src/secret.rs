//! Files that hold a secret: one line, a prefix that says what it is and 64 hex digits, readable by its owner only.
//!
//! The lake secret's prefix is `prunedb-lake-secret-1:`, that of a node's or a client's key `prunedb-key-1:`.

use anyhow::{Context, ensure};
use prunedb_access::Identity;
use prunedb_engine::LakeSecret;
use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use zeroize::Zeroizing;

pub(crate) type Secret = Zeroizing<[u8; 32]>;

const LAKE_PREFIX: &str = "prunedb-lake-secret-1:";
const KEY_PREFIX: &str = "prunedb-key-1:";
/// Longest file that is looked at.
const FILE_BYTES_MAX: u64 = 4096;

/// A new random secret.
pub(crate) fn generate() -> anyhow::Result<LakeSecret> {
    random().map(LakeSecret::new)
}

/// A new random key.
pub(crate) fn random() -> anyhow::Result<Secret> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).context("the system gives no randomness")?;
    Ok(bytes)
}

/// Writes a lake secret to a new file of mode 0600, durably.
pub(crate) fn write(path: &Path, secret: &LakeSecret) -> anyhow::Result<()> {
    write_line(path, LAKE_PREFIX, secret.expose())
        .with_context(|| format!("cannot write the lake secret {}", path.display()))
}

/// Reads a lake secret; refuses a file that others can read.
pub(crate) fn read(path: &Path) -> anyhow::Result<LakeSecret> {
    let secret = read_line(path, "lake secret", LAKE_PREFIX)?;
    secret.map(LakeSecret::new).with_context(|| {
        let shown = path.display();
        format!(
            "the lake secret {shown} is missing: put your copy of it back; without it the lake cannot be read"
        )
    })
}

/// The key of a file, which is made where there is none.
pub(crate) fn key(path: &Path) -> anyhow::Result<Identity> {
    key_seed(path).map(Identity::from_seed)
}

/// The seed of the key of a file, which is made where there is none.
pub(crate) fn key_seed(path: &Path) -> anyhow::Result<Secret> {
    if let Some(bytes) = read_line(path, "key", KEY_PREFIX)? {
        return Ok(bytes);
    }
    let bytes = random()?;
    write_line(path, KEY_PREFIX, &bytes)
        .with_context(|| format!("cannot write the key {}", path.display()))?;
    Ok(bytes)
}

/// Writes a file that was not there, whole or not at all: a full disk leaves none that later is taken for a damaged one.
fn write_line(path: &Path, prefix: &str, bytes: &[u8; 32]) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = Path::new(&unfinished);
    // unlike a rename, a link never takes the place of another key
    let written = write_unfinished(unfinished, prefix, bytes)
        .and_then(|()| std::fs::hard_link(unfinished, path));
    let removed = std::fs::remove_file(unfinished);
    written.and(removed)?;
    File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()
}

fn write_unfinished(path: &Path, prefix: &str, bytes: &[u8; 32]) -> std::io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 65));
    text.push_str(prefix);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text.push('\n');
    // what an earlier run left may have another mode
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// `None` where there is no such file.
fn read_line(path: &Path, what: &str, prefix: &str) -> anyhow::Result<Option<Secret>> {
    let shown = path.display();
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("cannot read the {what} {shown}"))?,
    };
    let mode = file.metadata().with_context(|| format!("{shown}"))?.mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "others can read the {what} {shown} (mode {mode:04o}): run `chmod 600 {shown}`"
    );
    // not UTF-8 is an error too; the buffer never grows, so no copy of the secret stays behind
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(FILE_BYTES_MAX)?));
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the {what} {shown}"))?;
    let secret = parse(&text, prefix).with_context(|| {
        format!("{shown} is not a {what} (`{prefix}` and 64 hex digits): put your copy of it back")
    });
    secret.map(Some)
}

fn parse(text: &str, prefix: &str) -> Option<Secret> {
    let digits = text.trim_end().strip_prefix(prefix)?.as_bytes();
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
    Some(bytes)
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
    fn what_a_full_disk_left_of_a_key_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, left) = (dir.path().join("node.key"), dir.path().join("node.key.unfinished"));
        std::fs::write(&left, "prunedb-k").unwrap();
        let made = key_seed(&path).unwrap();
        assert_eq!(*key_seed(&path).unwrap(), *made);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let made = key(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(key(&path).unwrap().public(), made.public());
        std::fs::write(&path, "prunedb-key-1:00").unwrap();
        assert!(format!("{:#}", key(&path).unwrap_err()).contains("is not a key"));
    }

    #[test]
    fn nonsense_is_no_secret() {
        let good = format!("{LAKE_PREFIX}{}", "0a".repeat(32));
        assert_eq!(*parse(&good, LAKE_PREFIX).unwrap(), [10; 32]);
        assert!(parse(&good, KEY_PREFIX).is_none(), "another kind of secret");
        for bad in [
            "",
            "prunedb",
            LAKE_PREFIX,
            &good[..good.len() - 1],
            &good.replace("0a", "0g"),
            &format!("{good}0"),
        ] {
            assert!(parse(bad, LAKE_PREFIX).is_none(), "{bad}");
        }
    }
}

//! What is set for a namespace, and the file that keeps it. format: value-log.
//!
//! The file is replaced whole and holds everything twice, so that one bad sector costs nothing.

use super::password::Password;
use crate::layout::{array_at, crc32c, u32_at, u64_at};
use prunedb_disk::{Disk, read_all, write_atomic};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Longest name of a namespace.
pub(crate) const NAME_BYTES_MAX: usize = 128;
const MAGIC: &[u8; 8] = b"PDBVSET\x01";
const COPY_BYTES: usize = 512;
const PASSWORD_OFFSET: usize = 192;

/// Where keys come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// the client chooses each key
    #[default]
    User,
    /// the node gives each value the next number
    Sequence,
}

/// The settings of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: Mode,
    /// without the password: reading is allowed
    pub(crate) public: bool,
    /// nothing is overwritten or deleted
    pub(crate) worm: bool,
    /// no writing
    pub(crate) lock: bool,
    /// neither writing nor reading
    pub(crate) freeze: bool,
    /// bytes of all values; 0: no limit
    pub(crate) size_max: u64,
    pub(crate) password: Option<Arc<Password>>,
    /// logs below this number are left-overs of a flush
    pub(crate) first_log: u32,
}

impl Settings {
    /// Those of a new namespace.
    pub(crate) fn new(name: &[u8], mode: Mode) -> Self {
        Self {
            name: name.to_vec(),
            mode,
            public: true,
            worm: false,
            lock: false,
            freeze: false,
            size_max: 0,
            password: None,
            first_log: 0,
        }
    }

    /// Whether this may be the name of a namespace.
    pub(crate) fn is_name(name: &[u8]) -> bool {
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\'))
            && name != b"."
            && name != b".."
    }

    pub(crate) fn path(dir: &Path, namespace: u32) -> PathBuf {
        dir.join(format!("{namespace:08}.settings"))
    }

    /// The namespace that a file name stands for.
    pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
        name.strip_suffix(".settings")?.parse().ok()
    }

    /// Writes the settings durably.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, namespace: u32) -> io::Result<()> {
        let copy = self.to_bytes(namespace);
        write_atomic(disk, &Self::path(dir, namespace), &[copy, copy].concat())
    }

    /// Reads the settings; `None` where both copies are damaged.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, namespace: u32) -> io::Result<Option<Self>> {
        let bytes = read_all(disk, &Self::path(dir, namespace), 2 * COPY_BYTES)?;
        Ok(bytes.as_chunks().0.iter().find_map(|copy| Self::from_bytes(copy, namespace)))
    }

    /// ```text
    /// offset  size  field
    ///      0     8  magic "PDBVSET\x01"
    ///      8     4  CRC-32C of bytes 0..8 and 12..512
    ///     12     4  namespace, u32
    ///     16     1  mode: 0 user, 1 sequence
    ///     17     1  flags: 1 public, 2 worm, 4 lock, 8 freeze, 16 there is a password
    ///     18     1  bytes of the name
    ///     19     1  zero
    ///     20     4  first log, u32
    ///     24     8  size limit, u64
    ///     32   128  name, zeros behind it
    ///    160    32  zero
    ///    192   148  password: see there
    ///    340   172  zero
    /// ```
    fn to_bytes(&self, namespace: u32) -> [u8; COPY_BYTES] {
        let mut out = [0; COPY_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[12..16].copy_from_slice(&namespace.to_le_bytes());
        out[16] = u8::from(self.mode == Mode::Sequence);
        let flags = [self.public, self.worm, self.lock, self.freeze, self.password.is_some()];
        out[17] = flags.iter().rev().fold(0, |all, &flag| all << 1 | u8::from(flag));
        out[18] = u8::try_from(self.name.len()).expect("names are at most 128 bytes");
        out[20..24].copy_from_slice(&self.first_log.to_le_bytes());
        out[24..32].copy_from_slice(&self.size_max.to_le_bytes());
        out[32..32 + self.name.len()].copy_from_slice(&self.name);
        if let Some(password) = &self.password {
            out[PASSWORD_OFFSET..PASSWORD_OFFSET + Password::BYTES]
                .copy_from_slice(&password.to_bytes());
        }
        let crc = crc(&out);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; COPY_BYTES], namespace: u32) -> Option<Self> {
        let flag = |bit: u8| bytes[17] & 1 << bit != 0;
        let name = bytes[32..160].get(..usize::from(bytes[18]))?;
        let right = bytes[..8] == *MAGIC
            && u32_at(bytes, 8) == crc(bytes)
            && u32_at(bytes, 12) == namespace
            && bytes[16] < 2
            && Self::is_name(name);
        right.then(|| Self {
            name: name.to_vec(),
            mode: if bytes[16] == 0 { Mode::User } else { Mode::Sequence },
            public: flag(0),
            worm: flag(1),
            lock: flag(2),
            freeze: flag(3),
            size_max: u64_at(bytes, 24),
            password: flag(4)
                .then(|| Arc::new(Password::from_bytes(&array_at(bytes, PASSWORD_OFFSET)))),
            first_log: u32_at(bytes, 20),
        })
    }
}

fn crc(bytes: &[u8; COPY_BYTES]) -> u32 {
    let mut covered = [0; COPY_BYTES - 4];
    covered[..8].copy_from_slice(&bytes[..8]);
    covered[8..].copy_from_slice(&bytes[12..]);
    crc32c(&covered)
}

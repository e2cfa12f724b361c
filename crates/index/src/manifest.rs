//! The index's manifest: which runs count, and what they cover. Small; replaced whole.
//!
//! ```text
//! offset  size  field
//!      0     4  crc          CRC-32C of all other bytes
//!      4     4  version      1
//!      8     8  magic        "PDBIDX\x00\x01"
//!     16     8  seed_tag     tells whether the runs were made with this seed
//!     24     8  next_run     number of the next run; none is ever used twice
//!     32     4  covered      records of data containers below this one are in the runs
//!     36     4  n: runs
//!     40     4  m: sources of the merge under way, 0 without one
//!     44     4  zero
//!     48   16n  per run: number u64, header crc u32, kind u8, level u8, zero u16
//! then, where m > 0:
//!      0     8  output       number of the run that is written
//!      8     4  pages        pages of entries that are durable
//!     12     4  home_pages   of the output
//!     16     8  entries      entries in those pages
//!     24    16  next_entry   every entry below this one is in those pages
//!     40     1  level        of the output
//!     41     7  zero
//!     48    8m  numbers of the sources
//! ```
//! Little-endian. Runs ascend by number.

use crate::{
    error::Error,
    keyed_run::Progress,
    page::{crc32c, u32_at, u64_at},
    run_file::RunKind,
};
use prunedb_disk::{Disk, read_all, write_atomic};
use std::path::{Path, PathBuf};

pub(crate) const FILE_NAME: &str = "manifest";
/// What a crash may leave beside it.
pub(crate) const TEMPORARY_NAME: &str = "manifest.tmp";
pub(crate) const MANIFEST_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"PDBIDX\x00\x01";
const HEADER_BYTES: usize = 48;
const RUN_BYTES: usize = 16;
const MERGE_BYTES: usize = 48;
const RUNS_MAX: usize = 65_536;

/// One run that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ManifestRun {
    pub(crate) number: u64,
    pub(crate) header_crc: u32,
    pub(crate) kind: RunKind,
    /// 0 as flushed, one more than its sources when merged
    pub(crate) level: u8,
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) seed_tag: [u8; 8],
    pub(crate) next_run: u64,
    pub(crate) covered: u32,
    pub(crate) runs: Vec<ManifestRun>,
    pub(crate) merge: Option<ManifestMerge>,
}

/// A merge into a base that was under way, at its last checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ManifestMerge {
    pub(crate) output: u64,
    pub(crate) level: u8,
    pub(crate) progress: Progress,
    pub(crate) sources: Vec<u64>,
}

impl ManifestMerge {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.output.to_le_bytes());
        out.extend_from_slice(&self.progress.pages.to_le_bytes());
        out.extend_from_slice(&self.progress.home_pages.to_le_bytes());
        out.extend_from_slice(&self.progress.entries.to_le_bytes());
        out.extend_from_slice(&self.progress.next_entry.to_le_bytes());
        out.extend_from_slice(&[self.level, 0, 0, 0, 0, 0, 0, 0]);
        self.sources.iter().for_each(|source| out.extend_from_slice(&source.to_le_bytes()));
    }

    /// Reads a record of the right length.
    fn decode(bytes: &[u8]) -> Self {
        let (sources, _) = bytes[MERGE_BYTES..].as_chunks::<8>();
        Self {
            output: u64_at(bytes, 0),
            level: bytes[40],
            progress: Progress {
                pages: u32_at(bytes, 8),
                home_pages: u32_at(bytes, 12),
                entries: u64_at(bytes, 16),
                next_entry: u128::from_le_bytes(bytes[24..40].try_into().expect("16 bytes")),
            },
            sources: sources.iter().map(|&source| u64::from_le_bytes(source)).collect(),
        }
    }
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out[4..8].copy_from_slice(&MANIFEST_VERSION.to_le_bytes());
        out[8..16].copy_from_slice(MAGIC);
        out[16..24].copy_from_slice(&self.seed_tag);
        out[24..32].copy_from_slice(&self.next_run.to_le_bytes());
        out[32..36].copy_from_slice(&self.covered.to_le_bytes());
        let runs = u32::try_from(self.runs.len()).expect("merges keep the runs few");
        out[36..40].copy_from_slice(&runs.to_le_bytes());
        let sources = self.merge.as_ref().map_or(0, |merge| merge.sources.len());
        let sources = u32::try_from(sources).expect("a merge has at most 255");
        out[40..44].copy_from_slice(&sources.to_le_bytes());
        for run in &self.runs {
            out.extend_from_slice(&run.number.to_le_bytes());
            out.extend_from_slice(&run.header_crc.to_le_bytes());
            out.extend_from_slice(&[run.kind as u8, run.level, 0, 0]);
        }
        self.merge.iter().for_each(|merge| merge.encode(&mut out));
        let crc = crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a manifest; says what is wrong with it otherwise.
    fn decode(bytes: &[u8]) -> Result<Self, Wrong> {
        if bytes.len() < HEADER_BYTES || &bytes[8..16] != MAGIC {
            return Err(Wrong::Damaged("it does not begin as one"));
        }
        if crc32c(&bytes[4..]) != u32_at(bytes, 0) {
            return Err(Wrong::Damaged("its checksum does not fit"));
        }
        let version = u32_at(bytes, 4);
        if version != MANIFEST_VERSION {
            return Err(Wrong::Version(version));
        }
        let (runs, sources) = (u32_at(bytes, 36) as usize, u32_at(bytes, 40) as usize);
        let runs_bytes = runs.min(RUNS_MAX) * RUN_BYTES;
        let merge_bytes = if sources > 0 { MERGE_BYTES + sources.min(RUNS_MAX) * 8 } else { 0 };
        if bytes.len() != HEADER_BYTES + runs_bytes + merge_bytes {
            return Err(Wrong::Damaged("it is not as long as it says"));
        }
        let (runs, merge) = bytes[HEADER_BYTES..].split_at(runs_bytes);
        let (runs, _) = runs.as_chunks::<RUN_BYTES>();
        let next_run = u64_at(bytes, 24);
        let runs = runs
            .iter()
            .map(|run| {
                Ok(ManifestRun {
                    number: u64_at(run, 0),
                    header_crc: u32_at(run, 8),
                    kind: RunKind::from_byte(run[12]).ok_or(Wrong::Damaged("an unknown run"))?,
                    level: run[13],
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !runs.is_sorted_by(|a, b| a.number < b.number)
            || runs.last().is_some_and(|run| run.number >= next_run)
        {
            return Err(Wrong::Damaged("its runs are not in order"));
        }
        Ok(Self {
            seed_tag: bytes[16..24].try_into().expect("8 bytes"),
            next_run,
            covered: u32_at(bytes, 32),
            runs,
            merge: (sources > 0).then(|| ManifestMerge::decode(merge)),
        })
    }

    /// Reads the manifest of a folder; `None` where there is none.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE_NAME);
        if !disk.exists(&path).map_err(Error::io("look for", &path))? {
            return Ok(None);
        }
        let bytes_max = HEADER_BYTES + RUNS_MAX * RUN_BYTES + MERGE_BYTES + RUNS_MAX * 8;
        let bytes = match read_all(disk, &path, bytes_max) {
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Error::DamagedManifest { path, reason: "it is far too long" });
            }
            other => other.map_err(Error::io("read", &path))?,
        };
        Self::decode(&bytes).map(Some).map_err(|wrong| wrong.at(path))
    }

    /// Replaces the manifest of a folder. After an error the old or the new one is there.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE_NAME);
        write_atomic(disk, &path, &self.encode()).map_err(Error::io("replace", &path))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Damaged(&'static str),
    Version(u32),
}

impl Wrong {
    fn at(self, path: PathBuf) -> Error {
        match self {
            Self::Damaged(reason) => Error::DamagedManifest { path, reason },
            Self::Version(found) => {
                Error::NewerVersion { path, found, supported: MANIFEST_VERSION }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Manifest {
        let runs = [(3, RunKind::Keyed, 2), (9, RunKind::Sequence, 0)]
            .map(|(number, kind, level)| ManifestRun { number, header_crc: 77, kind, level });
        let progress = Progress { pages: 5, home_pages: 6, entries: 7, next_entry: 1 << 100 };
        let merge = ManifestMerge { output: 8, level: 3, progress, sources: vec![3, 9] };
        Manifest {
            seed_tag: [5; 8],
            next_run: 10,
            covered: 4,
            runs: runs.into(),
            merge: Some(merge),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_manifest_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200), resealed: bool,
        ) {
            if resealed && bytes.len() >= HEADER_BYTES {
                bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
                bytes[8..16].copy_from_slice(MAGIC);
                let crc = crc32c(&bytes[4..]);
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = Manifest::decode(&bytes);
        }
    }

    #[test]
    fn round_trip_and_every_flipped_byte_is_seen() {
        let bytes = some().encode();
        assert_eq!(Manifest::decode(&bytes), Ok(some()));
        let idle = Manifest { merge: None, ..some() };
        assert_eq!(Manifest::decode(&idle.encode()), Ok(idle));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Manifest::decode(&bad).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_merge_under_way_is_stored_as_in_version_1() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifest/v1");
        let fixture = dir.join("merging");
        if cfg!(bless) {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&fixture, some().encode()).unwrap();
        }
        assert_eq!(Manifest::decode(&std::fs::read(&fixture).unwrap()), Ok(some()));
        assert_eq!(some().encode(), std::fs::read(&fixture).unwrap());
    }
}

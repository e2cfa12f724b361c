//! Golden fixtures: the bytes of every format, as they are on disks for ever.
//!
//! Each file in `fixtures/<format>/v1/` must be what the code writes today, and must be read as it was. They are
//! written anew only on purpose: `RUSTFLAGS="--cfg bless" cargo test -p prunedb-format --test golden`.

mod container;
mod head;
mod local;
mod manifest;

use prunedb_core::LakeId;
use prunedb_format::FormatError;
use std::{collections::BTreeSet, fs, path::PathBuf};

const LAKE: LakeId = LakeId(*b"prunedb fixtures");

/// Reads bytes and writes again what was read.
type Reencode = fn(&[u8]) -> Result<Vec<u8>, FormatError>;

struct Fixture {
    name: &'static str,
    bytes: Vec<u8>,
    /// what the refusal starts with, as Debug shows it; `None`: the bytes are valid
    refusal: Option<&'static str>,
    reencode: Reencode,
}

fn fixture(name: &'static str, bytes: Vec<u8>, reencode: Reencode) -> Fixture {
    Fixture { name, bytes, refusal: None, reencode }
}

impl Fixture {
    fn refused(self, start: &'static str) -> Self {
        Self { refusal: Some(start), ..self }
    }
}

/// Compares what the code writes with the files of a format, and what it reads with both.
fn check(format: &str, fixtures: Vec<Fixture>) {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures", format, "v1"].iter().collect();
    if cfg!(bless) {
        fs::create_dir_all(&dir).expect("fixtures folder");
        for fixture in &fixtures {
            fs::write(dir.join(fixture.name), &fixture.bytes).expect("fixture written");
        }
    }
    let listed: BTreeSet<String> = fixtures.iter().map(|f| f.name.to_owned()).collect();
    let there: BTreeSet<String> = fs::read_dir(&dir)
        .expect("fixtures folder")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(there, listed, "files in {}", dir.display());
    for Fixture { name, bytes, refusal, reencode } in fixtures {
        let stored = fs::read(dir.join(name)).expect("fixture read");
        assert!(stored == bytes, "{format}/{name}: the code writes other bytes than before");
        match (reencode(&stored), refusal) {
            (Ok(again), None) => {
                assert!(again == stored, "{format}/{name}: read and written again")
            }
            (Err(e), Some(start)) => {
                let found = format!("{e:?}");
                assert!(found.starts_with(start), "{format}/{name}: {found}");
            }
            (found, _) => panic!("{format}/{name}: expected {refusal:?}, found {found:?}"),
        }
    }
}

/// The bytes with one bit flipped.
fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 0x10;
    bytes
}

/// A block of fixed size as a newer program would write it.
fn of_version_2(block: &mut [u8]) {
    block[8] = 2;
    block[12..16].fill(0);
    let crc = prunedb_format::crc32c(block);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
}

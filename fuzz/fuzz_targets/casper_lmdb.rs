//! A node's file with any changes: read to its end or refused, never a panic, and no block that is not one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lmdb::{DatabaseFlags, Environment, EnvironmentFlags, Transaction as _, WriteFlags};
use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::contract::{ChainSource as _, ChainVerifier as _, Level};
use std::{fs, path::Path, sync::LazyLock};

/// Eight blocks of 1.x: database, key and value, in hex.
const ROWS: &str = include_str!("../../crates/casper/fixtures/legacy-rows/v1/rows.txt");

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("storage.lmdb");
    write(&path);
    fs::read(path).unwrap()
});

fn write(path: &Path) {
    let env = Environment::new()
        .set_flags(EnvironmentFlags::NO_SUB_DIR)
        .set_max_dbs(17)
        .set_map_size(1 << 24)
        .open(path)
        .unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2);
        digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    for line in ROWS.lines().filter(|line| line.starts_with("row ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let database = env.create_db(Some(words[1]), DatabaseFlags::empty()).unwrap();
        let mut transaction = env.begin_rw_txn().unwrap();
        let (key, value) = (bytes(words[2]), bytes(words[3]));
        transaction.put(database, &key, &value, WriteFlags::empty()).unwrap();
        transaction.commit().unwrap();
    }
    env.sync(true).unwrap();
}

// where, what is there then, and where the file ends
fuzz_target!(|input: (Vec<(u16, u16, Vec<u8>)>, Option<u32>)| {
    let (changes, end) = input;
    let mut file = SOUND.clone();
    let pages = file.len() / 4096;
    for (page, offset, bytes) in changes {
        let start = usize::from(page) % pages * 4096 + usize::from(offset) % 4096;
        let count = bytes.len().min(file.len() - start);
        file[start..start + count].copy_from_slice(&bytes[..count]);
    }
    if let Some(end) = end {
        file.truncate(end as usize);
    }
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&path, file).unwrap();
    let Ok(mut source) = CasperSource::open(&path, 0..=u64::MAX, Some("casper-example")) else { return };
    let verifier = CasperVerifier::new("casper-example").unwrap();
    while let Ok(Some(block)) = source.next_block() {
        _ = verifier.verify(&[block], Level::Signatures);
    }
});

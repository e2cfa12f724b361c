use super::*;
use crate::test_rows::write_file;
use prunedb_chains::{
    archive::MemoryArchive,
    contract::{ChainError, ImportOptions, ImportReport, Level, import},
};
use std::{collections::BTreeSet, num::NonZeroUsize};

fn import_file(path: &Path, archive: &mut MemoryArchive) -> Result<ImportReport, ChainError> {
    let source = CasperSource::open(path, 0..=u64::MAX, None);
    let mut source = source.map_err(|error| ChainError::Source(error.into()))?;
    let verifier = CasperVerifier::new(source.network()).unwrap();
    let options = ImportOptions::new(Level::Signatures, NonZeroUsize::MIN);
    import(archive, &mut source, &verifier, &options, &mut |_| ())
}

#[test]
fn rows_of_1_x_are_verified_and_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (file, again) = (folder.path().join("storage.lmdb"), folder.path().join("again.lmdb"));
    write_file(&file);
    let mut archive = MemoryArchive::default();
    let report = import_file(&file, &mut archive).unwrap();
    // three validators sign each block; deploys have one approval, those of block 2 are there twice
    assert_eq!((report.blocks, report.transactions), (8, 8));
    assert_eq!(report.signatures, 8 * 3 + 8 + 2);
    let verifier = CasperVerifier::new("casper-example").unwrap();
    let threads = NonZeroUsize::MIN;
    crate::restore(&archive, &verifier, 0..=7, &again, 1 << 24, threads, &mut |_| ()).unwrap();
    let compared = crate::same_rows(&file, &again).unwrap();
    assert_eq!((compared.first_difference, compared.rows), (None, 8 * 3 + 8 + 2 + 1));
}

/// Every byte of every row that the chain promises is guarded by a hash or a signature.
#[test]
fn flipped_bits_in_rows_of_1_x_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.lmdb");
    write_file(&file);
    let (sound, mut flips) = (std::fs::read(&file).unwrap(), 0);
    let mut archive = MemoryArchive::default();
    import_file(&file, &mut archive).unwrap();
    let all = rows_of(&archive);
    for at in (2 * 4096..sound.len()).step_by(173) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bytes).unwrap();
        let mut other = MemoryArchive::default();
        match import_file(&file, &mut other) {
            // between rows; or an optional row (signatures) is not where its block looks for it any more
            Ok(_) => assert!(rows_of(&other).is_subset(&all), "byte {at}"),
            Err(_) => {
                assert!(other.is_empty(), "byte {at}: nothing is half stored");
                flips += 1;
            }
        }
    }
    assert!(flips > 40, "{flips}");
}

/// Every row that is archived: number of its database, key and value.
fn rows_of(archive: &MemoryArchive) -> BTreeSet<(u8, Vec<u8>, Vec<u8>)> {
    let parts = archive.records().filter(|(table, ..)| !table.ends_with("-hash"));
    let rows = parts.flat_map(|(_, _, bytes)| Rows::read(bytes).unwrap());
    rows.map(|row| (row.database.number(), row.key.to_vec(), row.value.to_vec())).collect()
}

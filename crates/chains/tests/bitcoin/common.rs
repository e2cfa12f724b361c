//! What the tests share.

use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{BitcoinError, ImportOptions, ImportReport, Network, export_folder, import_folder},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Takes a folder in.
pub(crate) fn import(
    archive: &mut MemoryArchive,
    folder: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, BitcoinError> {
    import_folder(archive, folder, options, &mut |_| ())
}

/// Every block file of a folder, and its key.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "dat"));
    files.map(|path| (path.file_name().unwrap().into(), std::fs::read(&path).unwrap())).collect()
}

/// What is exported is what was imported, bit for bit.
pub(crate) fn comes_back(archive: &MemoryArchive, folder: &Path) {
    let out = tempfile::tempdir().unwrap();
    let written = export_folder(archive, Network::Regtest, out.path(), |_| true, &mut |_| ());
    assert!(written.unwrap().iter().all(|file| !file.kept));
    assert!(files(out.path()) == files(folder), "other bytes, or other files");
    let again = export_folder(archive, Network::Regtest, out.path(), |_| true, &mut |_| ());
    assert!(again.unwrap().iter().all(|file| file.kept));
}

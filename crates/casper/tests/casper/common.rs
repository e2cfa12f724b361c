//! What the tests share.

use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::{
    archive::MemoryArchive,
    contract::{ChainError, ImportOptions, ImportReport, Level, import},
};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// A file of the corpus; `None`, and a line that says so, where it is not there.
pub(crate) fn corpus(test: &str, file: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("PRUNEDB_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    corpus.map(|corpus| corpus.join("casper").join(file))
}

/// The real network's file.
pub(crate) const NODE_A: &str = "node-A/storage.lmdb";

pub(crate) fn import_file(
    archive: &mut MemoryArchive,
    path: &Path,
    level: Level,
) -> Result<(ImportReport, CasperSource), ChainError> {
    import_with(archive, path, level, None)
}

pub(crate) fn import_as(
    archive: &mut MemoryArchive,
    path: &Path,
    network: &str,
) -> Result<(ImportReport, CasperSource), ChainError> {
    import_with(archive, path, Level::Signatures, Some(network))
}

fn import_with(
    archive: &mut MemoryArchive,
    path: &Path,
    level: Level,
    network: Option<&str>,
) -> Result<(ImportReport, CasperSource), ChainError> {
    let mut source = CasperSource::open(path, 0..=u64::MAX, network)
        .map_err(|e| ChainError::Source(e.into()))?;
    let verifier = CasperVerifier::new(source.network()).unwrap();
    let options = ImportOptions::new(level, NonZeroUsize::new(2).unwrap());
    let report = import(archive, &mut source, &verifier, &options, &mut |_| ())?;
    Ok((report, source))
}

//! Blocks of the archive back into a node's file.

use super::{Beside, io_error};
use crate::{
    database::{Database, Row, Rows},
    error::CasperError,
    lmdb::write::NewLmdb,
    source::NodeFile,
    state::Completed,
    verify::{CasperVerifier, TRANSACTIONS},
};
use prunedb_chains::{
    archive::Archive,
    contract::{ChainError, ChainSink, Progress, RawBlock, export},
};
use std::{
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// What a restore did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Blocks given back.
    pub blocks: u64,
    /// Rows of the file before.
    pub rows_before: u64,
    /// Rows of the file now.
    pub rows: u64,
    /// The ranges of complete blocks that the file's node will see, the highest first.
    pub completed: Vec<(u64, u64)>,
    /// Whether the restored range is part of the highest one: of the others a node knows nothing.
    pub visible: bool,
    /// Where the file that was there is now.
    pub old: Option<PathBuf>,
}

/// Takes blocks into a new file.
struct Sink<'a> {
    file: Option<NewLmdb>,
    path: &'a Path,
}

impl Sink<'_> {
    fn put(&mut self, row: Row<'_>) -> Result<(), CasperError> {
        let file = self.file.as_mut().expect("until the end");
        file.put(row).map_err(io_error(self.path))
    }
}

impl ChainSink for Sink<'_> {
    type Error = CasperError;

    fn put_block(&mut self, block: &RawBlock) -> Result<(), CasperError> {
        if block.part(TRANSACTIONS).is_none() {
            return Err(CasperError::PartlyArchived { height: block.height });
        }
        for part in &block.parts {
            let rows = Rows::read(&part.bytes).expect("verified before it came here");
            rows.into_iter().try_for_each(|row| self.put(row))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CasperError> {
        Ok(())
    }
}

/// Puts archived blocks back, byte for byte, into a stopped node's file: a new file takes its place, the old one is kept beside it as
/// `<name>.old`. Where there is none, one is made. Rows that the file has stay as they are.
///
/// `map_bytes` is the map size of a file that is not there yet.
///
/// # Errors
/// See [`ChainError`] and [`CasperError`]; then the file is as it was.
pub fn restore<A: Archive + Sync + ?Sized>(
    archive: &A,
    verifier: &CasperVerifier,
    heights: RangeInclusive<u64>,
    path: &Path,
    map_bytes: u64,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<RestoreReport, ChainError> {
    let failed = |error: CasperError| ChainError::Sink(error.into());
    let mut source = match path.exists() {
        true => Some(NodeFile::open(path).map_err(failed)?),
        false => None,
    };
    Beside::check_old(path).map_err(failed)?;
    let (mut completed, mut rows_before) = (Completed::default(), 0);
    let map_bytes = source.as_ref().map_or(map_bytes, |source| source.lmdb.map_bytes());
    if let Some(source) = &mut source {
        let network = prunedb_chains::contract::ChainVerifier::network(verifier);
        source.network(Some(network)).map_err(failed)?;
        completed = source.completed().map_err(failed)?.unwrap_or_default();
    }
    let (beside, mut file) = Beside::create(path, ".new", map_bytes).map_err(failed)?;
    if let Some(source) = &mut source {
        let new = beside.new.clone();
        let not_the_note =
            &mut |row: &Row<'_>| Ok(row.database != Database::STATE || row.key != Completed::KEY);
        let (kept, dropped) = super::copy(source, &mut file, &new, not_the_note).map_err(failed)?;
        rows_before = kept + dropped;
    }
    let mut sink = Sink { file: Some(file), path: &beside.new };
    let report = export(archive, verifier, heights.clone(), threads, &mut sink, progress)?;
    completed = completed.with(heights.clone());
    let note = completed.to_bytes();
    let row = Row { database: Database::STATE, key: Completed::KEY, value: &note };
    sink.put(row).map_err(failed)?;
    let file = sink.file.take().expect("until the end");
    let rows = beside.seal(file).map_err(failed)?;
    if source.is_some() {
        beside.like(path).map_err(failed)?;
    }
    let old = beside.swap().map_err(failed)?;
    let highest = completed.ranges().first().expect("the restored range at least");
    Ok(RestoreReport {
        blocks: report.blocks,
        rows_before,
        rows,
        visible: highest.contains(heights.end()),
        completed: completed.ranges().iter().map(|r| (*r.start(), *r.end())).collect(),
        old,
    })
}

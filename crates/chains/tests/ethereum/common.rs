//! What the tests share.

use prunedb_chains::{
    archive::{Archive, ArchiveError, MemoryArchive, Record},
    ethereum::{
        EthereumError, ExportReport, ImportOptions, ImportReport, Network, export_era1,
        import_era1, import_rlp, synthetic::SyntheticChain,
    },
};
use std::{io::Cursor, num::NonZeroUsize};

pub(crate) fn devnet() -> Network {
    "devnet".parse().unwrap()
}

/// One thread: the files are small.
pub(crate) fn options() -> ImportOptions {
    let mut options = ImportOptions::default();
    options.threads = NonZeroUsize::MIN;
    options
}

/// A small file: name and bytes.
pub(crate) fn small_era1(blocks: usize, seed: u64) -> (String, Vec<u8>) {
    SyntheticChain::new(&devnet(), 0, 4, seed).era1(&devnet(), blocks)
}

pub(crate) fn import(
    archive: &mut MemoryArchive,
    name: &str,
    bytes: &[u8],
) -> Result<ImportReport, EthereumError> {
    import_era1(archive, Cursor::new(bytes), name, &options(), &mut |_| ())
}

pub(crate) fn import_blocks(
    archive: &mut MemoryArchive,
    bytes: &[u8],
) -> Result<ImportReport, EthereumError> {
    let mut options = options();
    options.network = Some(devnet());
    import_rlp(archive, Cursor::new(bytes), "blocks.rlp", &options, &mut |_| ())
}

/// Exports an epoch into a folder of its own.
pub(crate) fn export<A: Archive + Sync>(
    archive: &A,
    network: &Network,
    epoch: u64,
) -> Result<(String, Vec<u8>, ExportReport), EthereumError> {
    let folder = tempfile::tempdir().unwrap();
    let threads = NonZeroUsize::new(2).unwrap();
    let exported = export_era1(archive, network, epoch, folder.path(), threads, &mut |_| ());
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, usize::from(exported.is_ok()), "no other file is left");
    let (path, report) = exported?;
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    Ok((name, std::fs::read(&path).unwrap(), report))
}

/// An archive that fails after some puts, as a process that is killed.
pub(crate) struct Mortal {
    pub(crate) inner: MemoryArchive,
    pub(crate) puts_left: usize,
}

impl Archive for Mortal {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.inner.get(table, key)
    }

    fn put(&mut self, records: &[Record<'_>]) -> Result<(), ArchiveError> {
        self.puts_left =
            self.puts_left.checked_sub(1).ok_or_else(|| ArchiveError::new("killed"))?;
        self.inner.put(records)
    }

    fn commit(&mut self) -> Result<(), ArchiveError> {
        self.inner.commit()
    }

    fn range(
        &self,
        table: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError> {
        self.inner.range(table, from, limit)
    }
}

pub(crate) fn same_records(left: &MemoryArchive, right: &MemoryArchive) -> bool {
    left.records().eq(right.records())
}

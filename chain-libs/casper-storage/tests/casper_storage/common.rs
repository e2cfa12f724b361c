//! A lake whose nodes can be lost, and the chain's own reader.

use casper_storage::block_store::{
    BlockStoreProvider, DataReader, DbRawBytesSpec,
    lmdb::{DbTableId, IndexedLmdbBlockStore, LmdbBlockStore},
};
use casper_types::ProtocolVersion;
use prunedb::{
    Db, Key, LakeSecret, Options,
    archive::DbArchive,
    disk::{Disk, RealDisk},
    store::{MemoryStore, ShardStore},
};
use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::contract::{ImportOptions, ImportReport, Level, import};
use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// How large the files may grow.
pub(crate) const MAP_BYTES: u64 = 1 << 30;

/// A file of the corpus; `None`, and a line that says so, where it is not there.
pub(crate) fn corpus(test: &str, file: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("PRUNEDB_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    corpus.map(|corpus| corpus.join("casper").join(file))
}

/// A database at 4+4 over eight nodes.
pub(crate) struct Lake {
    pub(crate) db: Db,
    nodes: BTreeMap<String, MemoryStore>,
    _runtime: tokio::runtime::Runtime,
    pub(crate) folder: tempfile::TempDir,
}

impl Lake {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let nodes: BTreeMap<String, MemoryStore> = (0..8)
            .map(|n| format!("node-{n}"))
            .map(|name| (name.clone(), MemoryStore::new(name)))
            .collect();
        let stores = nodes.clone();
        let connect = move |address: &str| Arc::new(stores[address].clone()) as Arc<dyn ShardStore>;
        let secret = LakeSecret::new(Key::new([7; 32]));
        let options = Options::new(folder.path().join("db"), "4+4".parse().unwrap());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Db::create(&disk, &options, secret.lake_id(), nodes.keys().cloned().collect()).unwrap();
        let db = Db::open(disk, options, secret, &connect, runtime.handle().clone()).unwrap();
        Self { db, nodes, _runtime: runtime, folder }
    }

    pub(crate) fn archive(&self) -> DbArchive {
        DbArchive::new(self.db.clone(), Arc::new(AtomicBool::new(false)))
    }

    /// Takes a node's file in, all of it verified.
    pub(crate) fn import(&self, file: &Path, verifier: &CasperVerifier) -> ImportReport {
        let network = prunedb_chains::contract::ChainVerifier::network(verifier);
        let mut source = CasperSource::open(file, 0..=u64::MAX, Some(network)).unwrap();
        let options = ImportOptions::new(Level::Signatures, NonZeroUsize::MIN);
        import(&mut self.archive(), &mut source, verifier, &options, &mut |_| ()).unwrap()
    }

    /// Takes everything off the disk, and loses as many nodes as the policy bears.
    pub(crate) fn evict_and_lose_four_nodes(&self) {
        self.db.evict(&mut |_| {}).unwrap();
        assert_eq!(self.db.status().unwrap().local_data_bytes, 0);
        self.lose(&[0, 2, 5, 6]);
    }

    pub(crate) fn lose(&self, nodes: &[usize]) {
        for node in nodes {
            self.nodes[&format!("node-{node}")].set_offline(true);
        }
    }

    /// A new folder for a node's file.
    pub(crate) fn node_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    }
}

/// A node's file, by the chain's own reader.
pub(crate) fn open(folder: &Path) -> IndexedLmdbBlockStore {
    let bytes = usize::try_from(MAP_BYTES * 4).unwrap();
    let store = LmdbBlockStore::new(folder, bytes).unwrap();
    IndexedLmdbBlockStore::new(store, None, ProtocolVersion::V2_0_0).unwrap()
}

/// A copy of a file of the corpus, alone in a folder.
pub(crate) fn copy(from: &Path, folder: &Path) -> PathBuf {
    let file = folder.join("storage.lmdb");
    fs::write(&file, fs::read(from).unwrap()).unwrap();
    file
}

/// Lines of height and hash, as a node reported them.
pub(crate) fn heights(path: &Path) -> Vec<(u64, String)> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned())
    };
    fs::read_to_string(path).unwrap().lines().map(line).collect()
}

/// What a store says of a key.
pub(crate) fn read<P, K, T>(store: &P, key: K) -> Option<T>
where
    P: BlockStoreProvider,
    for<'a> P::Reader<'a>: DataReader<K, T>,
    K: Clone,
{
    let reader = store.checkout_ro().unwrap();
    let found = reader.read(key.clone()).unwrap();
    assert_eq!(reader.exists(key).unwrap(), found.is_some());
    found
}

/// A row, and whether it is of 1.x.
pub(crate) fn raw<P>(store: &P, table: DbTableId, key: &[u8]) -> Option<(bool, Vec<u8>)>
where
    P: BlockStoreProvider,
    for<'a> P::Reader<'a>: DataReader<(DbTableId, Vec<u8>), DbRawBytesSpec>,
{
    let row: Option<DbRawBytesSpec> = read(store, (table, key.to_vec()));
    row.map(|row| (row.is_legacy(), row.into_raw_bytes()))
}

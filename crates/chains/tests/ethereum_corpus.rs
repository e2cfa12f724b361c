//! Real Ethereum history: needs `PRUNEDB_CORPUS`, and says so where it is not set.

use prunedb_chains::{
    archive::{Archive, MemoryArchive},
    ethereum::{
        Hash32, ImportOptions, Network, Tables, export_era1, import_era1, import_rlp, sha256,
    },
};
use std::{fs::File, io::Cursor, num::NonZeroUsize, path::PathBuf};

fn corpus(test: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("PRUNEDB_CORPUS").map(|folder| PathBuf::from(folder).join("ethereum"));
    if folder.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    folder
}

const FILES: [(&str, &str); 2] = [
    ("mainnet-00000-5ec1ffb8.era1", "checksums_mainnet.txt"),
    ("sepolia-00000-643a00f7.era1", "checksums_sepolia.txt"),
];

#[test]
fn era1_files_come_back_with_their_published_checksums() {
    let Some(corpus) = corpus("era1_files_come_back") else { return };
    let mut archive = MemoryArchive::default();
    for (name, checksums) in FILES {
        let checksums = std::fs::read_to_string(corpus.join("era1").join(checksums)).unwrap();
        let line = checksums.lines().find(|line| line.ends_with(name)).unwrap();
        let published: Hash32 = line.split_whitespace().next().unwrap().parse().unwrap();
        let mut options = ImportOptions::default();
        options.sha256 = Some(published);
        let file = File::open(corpus.join("era1").join(name)).unwrap();
        let started = std::time::Instant::now();
        let report = import_era1(&mut archive, file, name, &options, &mut |_| ()).unwrap();
        eprintln!("{report:?} {:?}", started.elapsed());
        assert_eq!((report.blocks, report.blocks_stored, report.heights), (8192, 8192, (0, 8191)));
        assert_eq!(report.original_bytes_kept, None);

        let folder = tempfile::tempdir().unwrap();
        let threads = NonZeroUsize::new(2).unwrap();
        let started = std::time::Instant::now();
        let (path, export) =
            export_era1(&archive, &report.network, 0, folder.path(), threads, &mut |_| ()).unwrap();
        eprintln!("{export:?} {:?}", started.elapsed());
        assert_eq!(path.file_name().unwrap(), name);
        assert_eq!(sha256(&std::fs::read(&path).unwrap()), published);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn plain_blocks_verify() {
    let Some(corpus) = corpus("plain_blocks_verify") else { return };
    let mut archive = MemoryArchive::default();
    for (name, blocks, stored, gaps) in
        [("rlp/mainnet-blocks.rlp", 50, 50, 49), ("besu/1000.blocks", 1000, 1000, 0)]
    {
        let bytes = std::fs::read(corpus.join(name)).unwrap();
        let options = ImportOptions::default();
        let report =
            import_rlp(&mut archive, Cursor::new(&bytes), name, &options, &mut |_| ()).unwrap();
        assert_eq!((report.blocks, report.blocks_stored, report.gaps), (blocks, stored, gaps));
        let mut again = Vec::new();
        let table = Tables::of(&Network::mainnet()).block;
        for (height, value) in archive.range(&table, report.heights.0, 2000).unwrap() {
            if height <= report.heights.1 {
                again.extend(value);
            }
        }
        assert_eq!(again, bytes);
    }
}

use crate::common::{NODE_A, corpus, import_file};
use prunedb_casper::{CasperVerifier, PruneLimits, Pruning};
use prunedb_chains::{archive::MemoryArchive, contract::Level};
use std::{num::NonZeroUsize, os::unix::fs::MetadataExt as _};

const CONFIG: &str = "[node]\nsync_handling = 'ttl'\n[storage]\nmax_block_store_size = 1_073_741_824\n\
    max_deploy_store_size = 1_073_741_824\nmax_deploy_metadata_store_size = 1_073_741_824\n";

/// The real network's file, as if transactions waited for a second at most: then no more than two eras must stay.
#[test]
fn pruning_nine_tenths_of_the_blocks_frees_as_much_of_the_disk() {
    let test = "pruning_nine_tenths_of_the_blocks_frees_as_much_of_the_disk";
    let Some(original) = corpus(test, NODE_A) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.lmdb");
    std::fs::write(&file, std::fs::read(&original).unwrap()).unwrap();
    let mut archive = MemoryArchive::default();
    import_file(&mut archive, &file, Level::Hashes).unwrap();
    let chainspec = std::fs::read_to_string(original.with_file_name("chainspec.toml")).unwrap();
    let chainspec = chainspec.replace("max_ttl = '30 seconds'", "max_ttl = '1 second'");
    let limits = PruneLimits::read(&chainspec, CONFIG).unwrap();
    assert_eq!(limits.max_ttl_ms, 1000);

    let verifier = CasperVerifier::new("casper-a").unwrap();
    let mut pruning = Pruning::open(&file, &limits, Some(10)).unwrap();
    let (tip, blocks) = (pruning.plan().tip, pruning.plan().blocks());
    assert!(blocks * 10 >= (tip + 1) * 9, "{blocks} of {}", tip + 1);
    pruning.compare(&archive, &verifier, &mut |_, _| ()).unwrap();
    let report = pruning.write(&verifier, true, NonZeroUsize::MIN, &mut |_| ()).unwrap();
    // what the file system says, not how long the file is
    let on_disk = |path: &std::path::Path| std::fs::metadata(path).unwrap().blocks() * 512;
    let (before, after) = (on_disk(report.old.as_deref().unwrap()), on_disk(&file));
    assert_eq!((report.disk_bytes_before, report.disk_bytes), (before, after));
    assert!(after * 100 <= before * 15, "{after} of {before} bytes are left");
}

//! Input that must be refused: with what, where and what to do, exit code 2, and nothing half stored.

use crate::common::{Folder, NETWORK, era1, output};
use prunedb_chains::ethereum::{Network, synthetic::SyntheticChain};
use std::{fs, os::unix::fs::PermissionsExt};

/// Refuses the file, and has nothing of it.
#[track_caller]
fn refuses(folder: &Folder, args: &[&str], says: &[&str]) {
    let before = folder.status();
    folder.run(&[&["import", "ethereum"], args].concat()).fails(says);
    let after = folder.status();
    assert_eq!(before["records"], after["records"]);
    // and nothing that is not counted yet
    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.status()["records"], before["records"]);
}

#[test]
fn a_flipped_byte_in_an_era1_file() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 40, 1);
    for at in [8 + 40, bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        folder.file(&name, &bad);
        refuses(&folder, &[&name], &[&name, "record ", " of block ", "sound copy"]);
    }
    // the last part is the index; a flip there is found, too
    let mut bad = bytes.clone();
    let end = bad.len() - 20;
    bad[end] ^= 1;
    folder.file(&name, &bad);
    refuses(&folder, &[&name], &[&name, "(block index)", "expected"]);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
}

#[test]
fn a_truncated_file() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 40, 1);
    for cut in [0, 5, 8, 1000, bytes.len() / 2, bytes.len() - 1] {
        folder.file(&name, &bytes[..cut]);
        refuses(&folder, &[&name], &[&name]);
    }
    folder.file(&name, &bytes[..bytes.len() / 2]);
    refuses(&folder, &[&name], &["truncated", "record "]);
}

#[test]
fn a_file_of_another_network() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 40, 1);
    folder.file(&name, &bytes);
    refuses(
        &folder,
        &[&name, "--network", "sepolia"],
        &[&name, "of testnet, not of sepolia", "--network"],
    );
    let disguised = name.replace(NETWORK, "mainnet");
    folder.file(&disguised, &bytes);
    refuses(&folder, &[&disguised], &[&disguised, "of block 0", "this network has 1"]);
    // without a transaction, its genesis tells
    let network: Network = NETWORK.parse().unwrap();
    let (name, bytes) = SyntheticChain::new(&network, 0, 0, 1).era1(&network, 3);
    let disguised = name.replace(NETWORK, "mainnet");
    folder.file(&disguised, &bytes);
    let genesis = ["block 0 has hash", "the genesis of mainnet is 0xd4e5"];
    refuses(&folder, &[&disguised], &genesis);
    folder.file("unnamed.era1", &bytes);
    refuses(&folder, &["unnamed.era1"], &["unnamed.era1", "which network?"]);
}

#[test]
fn a_file_that_does_not_link_to_what_is_stored() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let network: Network = NETWORK.parse().unwrap();
    let blocks = |seed, skip, take| -> Vec<u8> {
        SyntheticChain::new(&network, 0, 3, seed)
            .skip(skip)
            .take(take)
            .flat_map(|b| b.rlp())
            .collect()
    };
    folder.file("first.rlp", &blocks(1, 0, 10));
    folder.file("other.rlp", &blocks(2, 10, 10));
    folder.file("rewrite.rlp", &blocks(2, 0, 2));
    folder.file("next.rlp", &blocks(1, 10, 10));
    let network = ["--network", NETWORK];
    folder.run(&[&["import", "ethereum", "first.rlp"][..], &network].concat()).exits(0);
    let unlinked = [
        "other.rlp",
        "does not link to what is stored",
        "block 10's parent hash",
        "block 9 has hash",
    ];
    refuses(&folder, &[&["other.rlp"][..], &network].concat(), &unlinked);
    let contradicts = ["rewrite.rlp", "block 0 has hash", "the stored one"];
    refuses(&folder, &[&["rewrite.rlp"][..], &network].concat(), &contradicts);
    folder.run(&[&["import", "ethereum", "next.rlp"][..], &network].concat()).exits(0);
}

#[test]
fn a_file_that_is_not_the_published_one() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 40, 1);
    folder.file(&name, &bytes);
    let sums =
        |sum: &str, name: &str| folder.file("checksums.txt", format!("{sum}  {name}\n").as_bytes());
    let sum = crate::common::sha256(&bytes);
    sums(&sum.replace(['0', '1'], "2"), &name);
    let args = [&name[..], "--checksums", "checksums.txt"];
    refuses(&folder, &args, &[&name, "SHA-256", &sum]);
    sums(&sum, "another.era1");
    refuses(&folder, &args, &[&name, "not in the list"]);
    sums("what", &name);
    refuses(&folder, &args, &["checksums.txt line 1"]);
    sums(&sum, &name);
    folder.run(&[&["import", "ethereum"], &args[..]].concat()).exits(0);
}

#[test]
fn files_that_are_no_history() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder.file("a.gz", &[0x1f, 0x8b, 8, 0]);
    folder.file("empty.rlp", b"");
    folder.file("text.rlp", b"hello");
    fs::create_dir(folder.path("empty")).unwrap();
    refuses(&folder, &["a.gz"], &["a.gz", "gzip", "unpack"]);
    refuses(&folder, &["empty.rlp"], &["empty.rlp", "it is empty"]);
    refuses(
        &folder,
        &["text.rlp"],
        &["text.rlp", "neither an .era1 nor an .ere file, nor RLP blocks"],
    );
    refuses(&folder, &["empty"], &["empty", "no history files"]);
    refuses(&folder, &["absent"], &["absent"]);
    // the good one before a bad one stays
    let (name, bytes) = era1(0, 10, 1);
    folder.file(&name, &bytes);
    folder
        .run(&["import", "ethereum", &name, "text.rlp"])
        .fails(&["text.rlp", "1 file before it stored"]);
    folder.run(&["get", "ethereum", "block", "9"]).exits(0);
}

#[test]
fn a_wrong_or_missing_lake_secret() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let other = Folder::with_local_nodes("2+1", 3);
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    let (path, other) = (folder.dir().join("lake.secret"), other.dir().join("lake.secret"));
    let secret = fs::read(&path).unwrap();
    let restrict = |mode| fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();

    fs::remove_file(&path).unwrap();
    folder.run(&["status"]).fails(&["lake.secret is missing", "put your copy of it back"]);
    fs::copy(&other, &path).unwrap();
    folder.run(&["status"]).fails(&["lake.secret", "another lake", "put the right secret back"]);
    fs::write(&path, "nonsense").unwrap();
    folder.run(&["status"]).fails(&["lake.secret is not a lake secret"]);
    fs::write(&path, &secret).unwrap();
    restrict(0o644);
    folder.run(&["status"]).fails(&["others can read the lake secret", "0644", "chmod 600"]);
    restrict(0o600);
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"v");
}

#[test]
fn a_value_or_key_over_the_limit() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let value = vec![1; (64 << 20) + 1];
    let put = |key: &str, value: &[u8]| {
        folder.run_with_stdin(&["kv", "put", "--table", "t", key, "-"], value)
    };
    put("key", &value).fails(&["a value of 67108865 bytes: at most 67108864"]);
    put(&"k".repeat(1025), b"v").fails(&["a key of 1025 bytes", "1,024"]);
    put("", b"v").fails(&["a key of 0 bytes"]);
    assert_eq!(
        (&folder.status()["records"], folder.status()["tables"].as_array().unwrap().len()),
        (&0.into(), 0)
    );
    put("key", &value[1..]).exits(0);
    put(&"k".repeat(1024), b"v").exits(0);
    // the same through a running `up`
    let _up = folder.up();
    put("other", &value).fails(&["a value of 67108865 bytes: at most 67108864"]);
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, value[1..]);
}

#[test]
fn folders_that_hold_no_database() {
    let folder = Folder::new();
    for command in
        [&["status"][..], &["up"], &["evict"], &["kv", "get", "--table", "t", "k"], &["config"]]
    {
        folder.run(command).fails(&["holds no database", "prunedb init"]);
    }
    folder.run(&["recover"]).fails(&["no prunedb.toml", "--nodes"]);
    assert!(!folder.dir().exists());
    let mut node = crate::common::clean_command();
    output(node.args(["node", "run", "--listen", "127.0.0.1:0", "--capacity", "1GB"]))
        .fails(&["--dir"]);
    // a file is no folder, and nobody listens on port 1
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (command, says) in [
        (&["status", "--dir", file][..], ["is not a folder", "--dir"]),
        (&["bench", "node-start", "--dir", file], ["cannot create a folder in", "--dir"]),
        (&["node", "status", "127.0.0.1:1"], ["127.0.0.1:1: unreachable", "prunedb node run"]),
        (&["node", "audit", "127.0.0.1:1"], ["of which lake?", "--lake"]),
    ] {
        output(crate::common::clean_command().args(command)).fails(&says);
    }
}

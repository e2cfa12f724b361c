//! Casper's history: a real node's file in, off the disk, back, and off the node.

use crate::common::{Folder, Running, corpus, flip_node};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// The file of a real three-validator network, in the folder; `None`, and a line that says so, where the corpus is not there.
fn node_file(folder: &Folder, test: &str) -> Option<PathBuf> {
    let source = corpus(test)?.join("casper/node-A/storage.lmdb");
    let file = folder.path("storage.lmdb");
    fs::write(&file, fs::read(source).unwrap()).unwrap();
    Some(file)
}

fn checked(folder: &Folder, file: &str) -> Value {
    folder.json(&["check", "casper", file, "--network", "casper-a"])
}

#[test]
fn a_real_node_s_history_goes_in_survives_four_lost_nodes_and_comes_back() {
    let test = "a_real_node_s_history_goes_in_survives_four_lost_nodes_and_comes_back";
    let folder = Folder::with_local_nodes("4+4", 8);
    if node_file(&folder, test).is_none() {
        return;
    }
    let imported = folder.json(&["import", "casper", "storage.lmdb"]);
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
    assert_eq!(imported["network"], "casper-a");
    assert_eq!((number(&imported, "blocks"), number(&imported, "blocks_stored")), (210, 210));
    assert_eq!((number(&imported, "transactions"), number(&imported, "signatures")), (828, 1458));
    let again = folder.json(&["import", "casper", "storage.lmdb", "--level", "hashes"]);
    assert_eq!((number(&again, "blocks"), number(&again, "blocks_stored")), (210, 0));

    folder.run(&["evict"]).exits(0);
    for node in [1, 3, 4, 6] {
        flip_node(&folder.dir(), node);
    }
    let restored = folder.json(&[
        "restore",
        "casper",
        "--from",
        "0",
        "--to",
        "209",
        "new.lmdb",
        "--map-size",
        "1GB",
    ]);
    assert_eq!((number(&restored, "blocks"), &restored["visible"]), (210, &true.into()));
    // every row is there, byte for byte, and nothing else: by a reader that is not liblmdb
    assert!(
        folder
            .run(&["check", "casper", "storage.lmdb", "--same-rows", "new.lmdb"])
            .exits(0)
            .text()
            .contains("the same rows")
    );
    let (before, after) = (checked(&folder, "storage.lmdb"), checked(&folder, "new.lmdb"));
    for key in
        ["blocks", "blocks_whole", "transactions", "signatures", "bytes", "complete_by_the_node"]
    {
        assert_eq!(before[key], after[key], "{key}");
    }
}

const CONFIG: &str = "[node]\nsync_handling = 'ttl'\n[storage]\nmax_block_store_size = 1_073_741_824\n\
    max_deploy_store_size = 1_073_741_824\nmax_deploy_metadata_store_size = 1_073_741_824\n";

#[test]
fn a_real_node_s_file_is_pruned_and_what_went_comes_back() {
    let test = "a_real_node_s_file_is_pruned_and_what_went_comes_back";
    let folder = Folder::with_local_nodes("4+2", 8);
    let Some(file) = node_file(&folder, test) else { return };
    let original = fs::read(&file).unwrap();
    let chainspec = corpus(test).unwrap().join("casper/node-A/chainspec.toml");
    folder.file("config.toml", CONFIG.as_bytes());
    let prune = |more: &[&str]| {
        let chainspec = chainspec.to_str().unwrap();
        let args = [
            "prune",
            "casper",
            "storage.lmdb",
            "--chainspec",
            chainspec,
            "--node-config",
            "config.toml",
        ];
        folder.run(&[&args[..], more].concat())
    };
    // nothing is archived yet
    prune(&["--keep-last", "10", "--swap"]).fails(&["not archived whole", "prunedb import casper"]);
    folder.run(&["import", "casper", "storage.lmdb"]).exits(0);
    prune(&["--keep-last", "10", "--swap"]).fails(&["not safe yet", "not read back"]);
    folder.run(&["evict"]).exits(0);
    prune(&["--keep-last", "10", "--swap"]).fails(&["not safe yet", "not closed"]);
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    folder.run(&["evict"]).exits(0);
    // a day is more than there is
    assert!(prune(&["--dry-run"]).exits(1).stderr.contains("nothing to prune"));
    let plan = prune(&["--keep-last", "10", "--dry-run", "--json"]).exits(0).json();
    let keep_from = plan["keep_from"].as_u64().unwrap();
    assert_eq!(plan["prune"], serde_json::json!([[0, keep_from - 1]]));
    // more than was asked for: max_ttl is 30 s at about a block a second, and the era of 12 blocks before it
    assert!((209 - 30 - 24..=209 - 26 - 11).contains(&keep_from), "{keep_from}");
    assert!(fs::read(&file).unwrap() == original);

    let pruned = prune(&["--keep-last", "10", "--swap", "--json"]).exits(0).json();
    assert_eq!(pruned["blocks"].as_u64(), Some(keep_from));
    assert!(fs::read(folder.path("storage.lmdb.old")).unwrap() == original, "the old one is kept");
    let (before, after) =
        (pruned["disk_bytes_before"].as_u64().unwrap(), pruned["disk_bytes"].as_u64().unwrap());
    assert!(after * 3 < before, "{after} of {before}");
    let slim = checked(&folder, "storage.lmdb");
    assert_eq!(slim["complete_by_the_node"], serde_json::json!([[keep_from, 209]]));
    assert_eq!(slim["blocks_whole"].as_u64(), Some(210 - keep_from));
    // a header of every switch block: 18 in all
    assert!(slim["blocks_header_only"].as_u64() >= Some(13), "{slim}");
    // an old file is in the way
    prune(&["--keep-last", "1", "--swap"]).exits(1);

    // the pruned blocks come back, and the file has every row that it had
    fs::rename(folder.path("storage.lmdb.old"), folder.path("before.lmdb")).unwrap();
    let args =
        ["restore", "casper", "--from", "0", "--to", &(keep_from - 1).to_string(), "storage.lmdb"];
    let restored = folder.json(&args);
    assert_eq!(restored["visible"], true);
    assert_eq!(restored["completed"], serde_json::json!([[0, 209]]));
    folder.run(&["check", "casper", "storage.lmdb", "--same-rows", "before.lmdb"]).exits(0);
    assert!(folder.path("storage.lmdb.old").exists());
}

#[test]
fn a_node_that_must_not_be_pruned() {
    let test = "a_node_that_must_not_be_pruned";
    let folder = Folder::with_local_nodes("2+1", 3);
    if node_file(&folder, test).is_none() {
        return;
    }
    let chainspec =
        fs::read_to_string(corpus(test).unwrap().join("casper/node-A/chainspec.toml")).unwrap();
    let prune = |chainspec: &str, config: &str, says: &[&str]| {
        folder.file("chainspec.toml", chainspec.as_bytes());
        folder.file("config.toml", config.as_bytes());
        let args = [
            "prune",
            "casper",
            "storage.lmdb",
            "--chainspec",
            "chainspec.toml",
            "--node-config",
            "config.toml",
        ];
        folder.run(&args).fails(says);
    };
    prune(&chainspec, &CONFIG.replace("ttl", "genesis"), &["sync_handling", "genesis", "ttl"]);
    prune(&chainspec, &CONFIG.replace("ttl", "nosync"), &["nosync", "never validates"]);
    prune(
        &chainspec,
        &CONFIG.replace("1_073", "73"),
        &["map size is 3221225472", "another node's"],
    );
    let other = chainspec.replace("name = 'casper-a'", "name = 'casper'");
    prune(&other, CONFIG, &["storage.lmdb", "history of casper-a, not of casper"]);
    assert_eq!(
        fs::read_dir(folder.path("")).unwrap().count(),
        4,
        "db, storage.lmdb and two TOML files"
    );
}

#[test]
fn what_is_no_node_s_file_or_damaged_is_refused() {
    let test = "what_is_no_node_s_file_or_damaged_is_refused";
    let folder = Folder::with_local_nodes("2+1", 3);
    let Some(file) = node_file(&folder, test) else { return };
    let bytes = fs::read(&file).unwrap();
    let refuses = |name: &str, args: &[&str], says: &[&str]| {
        folder.run(&[&["import", "casper", name], args].concat()).fails(says);
        assert_eq!(folder.status()["records"], 0);
        folder.run(&["evict"]).exits(0);
        assert_eq!(folder.status()["records"], 0, "nothing is half stored");
    };
    folder.file("text.lmdb", &b"hello, this is no LMDB file. ".repeat(400));
    refuses("text.lmdb", &[], &["text.lmdb", "not an LMDB file", "0xbeefc0de"]);
    refuses("absent.lmdb", &[], &["absent.lmdb", "No such file"]);
    refuses("storage.lmdb", &["--network", "casper"], &["casper-a, not of casper", "--network"]);
    refuses("storage.lmdb", &["--from-height", "500"], &["no block from 500"]);
    for cut in [0, 100, 5000, bytes.len() / 2, bytes.len() - 4096] {
        folder.file("cut.lmdb", &bytes[..cut]);
        refuses("cut.lmdb", &[], &["cut.lmdb", "truncated", "are there"]);
    }
    // a byte of a header, of a signature, of a transaction
    let hash = |height: usize| hash_of(test, height);
    let header = [&hash(100)[..], &[1], &hash(99)].concat();
    let signatures = [&[1][..], &hash(100), &100u64.to_le_bytes()].concat();
    for (needle, after, says) in [
        (&header[..], 110, "block 100: the header's hash is "),
        (&signatures, 200, "block 100: a validator's signature: "),
        (b"\x08\0\0\0casper-a", 60, ": the hash of a deploy's body is "),
    ] {
        let mut bad = bytes.clone();
        // pages have old bytes between their rows: each of them
        for at in find(&bytes, needle) {
            bad[at + after] ^= 1;
        }
        folder.file("bad.lmdb", &bad);
        refuses("bad.lmdb", &[], &["bad.lmdb", says, "sound copy"]);
    }
    // what a node has open
    let holder = lock(&folder.path("storage.lmdb-lock"));
    refuses("storage.lmdb", &[], &["in use by a running node", "stop the node"]);
    drop(holder);
    folder.run(&["import", "casper", "storage.lmdb"]).exits(0);
}

/// The hash of a block, as its node reported it.
fn hash_of(test: &str, height: usize) -> Vec<u8> {
    let heights =
        fs::read_to_string(corpus(test).unwrap().join("casper/node-A/heights.txt")).unwrap();
    let hash = heights.lines().nth(height).unwrap().split(' ').nth(1).unwrap();
    (0..32).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Where the needle is.
fn find(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|&at| bytes[at..].starts_with(needle)).collect()
}

/// Holds a lock as liblmdb does, while the file lives.
fn lock(path: &Path) -> fs::File {
    fs::write(path, [0; 8192]).unwrap();
    let file = fs::File::open(path).unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
    file
}

#[test]
fn coverage_and_verification_of_what_is_stored() {
    let test = "coverage_and_verification_of_what_is_stored";
    let folder = Folder::with_local_nodes("4+2", 8);
    if node_file(&folder, test).is_none() {
        return;
    }
    folder.run(&["coverage"]).exits(1);
    for (from, to) in [("0", "49"), ("100", "209")] {
        let range = ["import", "casper", "storage.lmdb", "--from-height", from, "--to-height", to];
        folder.run(&range).exits(0);
    }
    folder.run(&["evict"]).exits(0);
    let coverage = |code| folder.run(&["coverage", "casper", "--json"]).exits(code).json();
    let range = |first: u64, last: u64, state: &str| serde_json::json!({ "first": first, "last": last, "state": state });
    // the last container has none after it that is closed
    let expected = [range(0, 49, "prunable"), range(50, 99, "missing"), range(100, 209, "present")];
    assert_eq!(coverage(1)["histories"][0]["ranges"], serde_json::json!(expected));
    let text = folder.run(&["coverage"]).exits(1).text();
    assert!(
        text.contains("casper casper-a\n  ####") && text.contains("50-99 missing (50 blocks)"),
        "{text}"
    );

    let verify = |args: &[&str], code| {
        folder.run(&[&["verify", "casper", "--json"], args].concat()).exits(code).json()
    };
    let whole = verify(&["--range", "100..209"], 0);
    assert_eq!((whole["blocks"].as_u64(), whole["next"].as_u64()), (Some(110), Some(210)));
    assert_eq!(whole["signatures"].as_u64(), Some(whole["transactions"].as_u64().unwrap() + 330));
    let holes = verify(&["--level", "hashes"], 1);
    assert_eq!(holes["gaps"], serde_json::json!([[50, 99]]));
    folder.run(&["verify", "casper", "--range", "9..1"]).exits(2);

    folder.run(&["import", "casper", "storage.lmdb"]).exits(0);
    let covered = coverage(0);
    assert_eq!(covered["histories"][0]["ranges"].as_array().unwrap().last().unwrap()["last"], 209);
    flip_node(&folder.dir(), 2);
    folder.run(&["evict"]).exits(0);
    folder.run(&["verify", "--deep"]).exits(1);
    assert_eq!(verify(&[], 0)["blocks"].as_u64(), Some(210), "any p of p+q shards are enough");
}

/// A pruned validator's file: of its old blocks the headers of switch blocks alone.
#[test]
fn coverage_tells_headers_from_whole_blocks() {
    let test = "coverage_tells_headers_from_whole_blocks";
    let folder = Folder::with_local_nodes("2+1", 3);
    let Some(corpus) = corpus(test) else { return };
    let file = fs::read(corpus.join("casper/node-B-holes/n2.storage.lmdb")).unwrap();
    folder.file("storage.lmdb", &file);
    folder.run(&["import", "casper", "storage.lmdb", "--network", "casper-a"]).exits(0);
    let coverage = || folder.run(&["coverage", "casper", "--json"]).exits(1).json();
    let count = |coverage: &Value, state: &str| -> u64 {
        let ranges = coverage["histories"][0]["ranges"].as_array().unwrap();
        let blocks =
            |range: &Value| range["last"].as_u64().unwrap() - range["first"].as_u64().unwrap() + 1;
        ranges.iter().filter(|range| range["state"] == state).map(blocks).sum()
    };
    let open = coverage();
    assert_eq!((count(&open, "present"), count(&open, "partial")), (127, 46));
    assert!(count(&open, "missing") > 300, "{open}");
    let text = folder.run(&["coverage"]).exits(1).text();
    assert!(
        text.contains(" partial (1 block)") && text.contains("468-594 present (127 blocks)"),
        "{text}"
    );
    // a node has lost its disk
    folder.run(&["evict"]).exits(0);
    fs::remove_dir_all(folder.dir().join("nodes/01")).unwrap();
    let degraded = coverage();
    assert_eq!((count(&degraded, "degraded"), count(&degraded, "partial")), (127, 46));
}

/// What it is; request and answer, without their lengths.
type Frame = (String, Vec<u8>, Vec<u8>);

/// Requests and answers of a real node.
fn recorded(test: &str) -> Option<Vec<Frame>> {
    let text =
        fs::read_to_string(corpus(test)?.join("casper/node-A/binary-port-frames.txt")).unwrap();
    let frame = |line: &str| -> Vec<u8> {
        let hex = &line[2..];
        (4..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    };
    let lines: Vec<&str> = text.lines().collect();
    let frames = lines.chunks(3).map(|three| (three[0].into(), frame(three[1]), frame(three[2])));
    Some(frames.collect())
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(&u32::try_from(request.len()).unwrap().to_le_bytes()).unwrap();
    stream.write_all(request).unwrap();
    read_frame(stream).unwrap()
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// What a node says that has not what is asked for.
fn not_found(request: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    [&length(request.len() + 4)[..], &length(request.len()), request, &[1, 0, 0, 0, 0, 0, 0, 0, 0]]
        .concat()
}

/// Whether a pruned node has lost it.
fn history(what: &str) -> bool {
    !what.contains("unknown")
        && ["Record/", "BlockHeader", "BlockWith", "/Transaction"]
            .iter()
            .any(|word| what.contains(word))
}

/// A node that has pruned its blocks: knows its own affairs and the errors, and closes each connection after three answers.
fn pruned_node(frames: Vec<Frame>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for _ in 0..3 {
                let Ok(request) = read_frame(&mut stream) else { break };
                let known = frames.iter().find(|(_, recorded, _)| *recorded == request);
                let (what, answer) = match known {
                    // history is gone
                    Some((what, ..)) if history(what) => (what.clone(), not_found(&request)),
                    Some((what, _, answer)) => (what.clone(), answer.clone()),
                    None => ("nothing recorded".into(), not_found(&request)),
                };
                noted.lock().unwrap().push(what);
                let length = u32::try_from(answer.len()).unwrap().to_le_bytes();
                if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                    break;
                }
            }
        }
    });
    (address, asked)
}

#[test]
fn a_pruned_node_s_clients_get_its_old_history_byte_for_byte() {
    let test = "a_pruned_node_s_clients_get_its_old_history_byte_for_byte";
    let folder = Folder::with_local_nodes("4+2", 6);
    let Some(frames) = recorded(test) else { return };
    node_file(&folder, test);
    folder.run(&["import", "casper", "storage.lmdb"]).exits(0);
    folder.run(&["evict"]).exits(0);
    let (node, asked) = pruned_node(frames.clone());
    let args = ["serve", "casper", "--upstream", &node, "--listen", "127.0.0.1:0"];
    let mut serving = Running::start(folder.command(&args), "ready");
    let line = serving.said.lines().find(|line| line.starts_with("casper clients at ")).unwrap();
    let address = line.trim_start_matches("casper clients at ").to_owned();
    let mut client = TcpStream::connect(&address).unwrap();
    // what the node must answer itself: rows of bodies, by their own hash
    let of_node = |what: &str| what.contains("BlockBody");
    let mut from_archive = 0;
    for (what, request, answer) in &frames {
        asked.lock().unwrap().clear();
        let (mut got, mut answer) = (ask(&mut client, request), answer.clone());
        if what.contains("Transfer") {
            // the file is another node's, and each has a block's transfers in an order of its own
            got.sort_unstable();
            answer.sort_unstable();
        }
        if of_node(what) {
            assert!(got == not_found(request), "{what}");
        } else {
            assert!(got == answer, "{what}");
        }
        from_archive += usize::from(asked.lock().unwrap().is_empty());
    }
    // headers by hash and height, blocks with signatures, three kinds of rows of them; transactions, their rows and executions
    assert_eq!(from_archive, 2 + 2 + 2 + 2 + 2 + 2 + 2 + 2 + 2, "{frames:?}");
    // what is no frame ends its client, and no other's
    let mut broken = TcpStream::connect(&address).unwrap();
    broken.write_all(&[0xff; 64]).unwrap();
    assert!(read_frame(&mut broken).is_err());
    let (_, request, answer) = frames.iter().find(|(what, ..)| what.contains("by height")).unwrap();
    assert!(ask(&mut client, request) == *answer);
    assert_eq!(serving.interrupt(), 0);
}

/// Archived, and out of reach: an error, never that there is no such thing.
#[test]
fn what_too_few_nodes_hold_is_never_nothing() {
    let test = "what_too_few_nodes_hold_is_never_nothing";
    let folder = Folder::with_local_nodes("2+1", 3);
    let Some(frames) = recorded(test) else { return };
    node_file(&folder, test);
    folder.run(&["import", "casper", "storage.lmdb"]).exits(0);
    folder.run(&["evict"]).exits(0);
    // all of them: the last one may have just the rows that are asked for
    for node in ["00", "01", "02"] {
        fs::remove_dir_all(folder.dir().join("nodes").join(node)).unwrap();
    }
    let (node, asked) = pruned_node(frames.clone());
    let args = ["serve", "casper", "--upstream", &node, "--listen", "127.0.0.1:0"];
    let mut serving = Running::start(folder.command(&args), "ready");
    let line = serving.said.lines().find(|line| line.starts_with("casper clients at ")).unwrap();
    let mut client = TcpStream::connect(line.trim_start_matches("casper clients at ")).unwrap();
    let (_, request, _) = frames.iter().find(|(what, ..)| what.contains("by height")).unwrap();
    let got = ask(&mut client, request);
    // both lengths, the request, a version; internal error, and no type
    assert_eq!(got[8 + request.len() + 2..][..3], [6, 0, 0]);
    assert_eq!(asked.lock().unwrap().len(), 1, "the node was asked, and had pruned it");
    assert_eq!(serving.interrupt(), 0);
}

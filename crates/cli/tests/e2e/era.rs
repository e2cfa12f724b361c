//! Ethereum's `.era1` files by HTTP, all of them at once, and off the node's disk.

use crate::common::{Folder, NETWORK, Running, era1, sha256};
use prunedb_chains::ethereum::{EreProfile, Network, synthetic::SyntheticChain};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

/// Status, head and body of a response.
fn get(address: &str, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut socket = TcpStream::connect(address).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, response[end + 4..].to_vec())
}

fn text(address: &str, path: &str) -> String {
    let (status, _, body) = get(address, "GET", path, "");
    assert_eq!(status, 200, "{path}");
    String::from_utf8(body).unwrap()
}

#[test]
fn files_are_served_as_nodes_download_them() {
    let folder = Folder::with_local_nodes("2+1", 3);
    // epoch 1 is not there
    let files = [era1(0, 300, 1), era1(2, 100, 2), era1(3, 50, 3)];
    for (name, bytes) in &files {
        folder.run(&["import", "ethereum", &folder.file(name, bytes)]).exits(0);
    }
    folder.run(&["evict"]).exits(0);
    let serve = ["serve", "era", "--listen", "127.0.0.1:0", "--keep", "2"];
    let mut door = Running::start(folder.command(&serve), "ready");
    let line = door.said.lines().find(|line| line.starts_with("era files")).unwrap();
    let address = line.rsplit(' ').next().unwrap().to_owned();
    let text = |path: &str| text(&address, path);

    // one name a line, in order, as reth looks for them
    let index = text("/");
    let named: Vec<&str> = index.lines().filter(|line| line.contains(".era1")).collect();
    assert_eq!(named.len(), 3);
    for (line, (name, bytes)) in named.iter().zip(&files) {
        assert_eq!(line.matches(".era1").count(), 1);
        assert!(line.contains(&format!("\"{name}\"")) && line.contains(&bytes.len().to_string()));
    }
    assert_eq!(text("/index.html"), index);
    let sums: Vec<String> = files.iter().map(|(_, bytes)| sha256(bytes)).collect();
    assert_eq!(text("/checksums.txt"), format!("{}\n\n{}\n{}\n", sums[0], sums[1], sums[2]));
    let manifest: String =
        sums.iter().zip(&files).map(|(sum, (name, _))| format!("{sum}  {name}\n")).collect();
    assert_eq!(text("/SHA256SUMS"), manifest);

    // more files than are kept, twice
    for (name, bytes) in files.iter().chain(&files) {
        let (status, head, body) = get(&address, "GET", &format!("/{name}"), "");
        assert_eq!((status, &body), (200, bytes));
        assert!(head.contains(&format!("content-length: {}", bytes.len())), "{head}");
        assert!(head.contains("accept-ranges: bytes"), "{head}");
        assert!(fs::read_dir(folder.dir().join("era")).unwrap().count() <= 2);
    }
    let (name, bytes) = &files[0];
    let path = format!("/{name}");
    let (status, head, body) = get(&address, "GET", &path, "range: bytes=100-199\r\n");
    assert_eq!((status, &body[..]), (206, &bytes[100..200]));
    assert!(head.contains(&format!("content-range: bytes 100-199/{}", bytes.len())), "{head}");
    // a download that goes on where it stopped
    let tag = format!("range: bytes=1000-\r\nif-range: \"{}\"\r\n", sums[0]);
    assert_eq!(get(&address, "GET", &path, &tag).2, &bytes[1000..]);
    let other = "range: bytes=1000-\r\nif-range: \"another\"\r\n";
    assert_eq!(get(&address, "GET", &path, other).2, *bytes);
    let behind = format!("range: bytes={}-\r\n", bytes.len());
    let (status, head, _) = get(&address, "GET", &path, &behind);
    assert!(status == 416 && head.contains(&format!("bytes */{}", bytes.len())), "{head}");
    let (status, head, body) = get(&address, "HEAD", &path, "");
    assert!(status == 200 && body.is_empty() && head.contains(&bytes.len().to_string()), "{head}");

    assert_eq!(get(&address, "POST", "/", "").0, 405);
    for path in [
        "/nothing",
        "/../prunedb.toml",
        "/%2e%2e/prunedb.toml",
        "/testnet-00007-00000000.era1",
        "/testnet-00000-00000000.era1",
        "/other-00000-00000000.era1",
    ] {
        assert_eq!(get(&address, "GET", path, "").0, 404, "{path}");
    }
    assert_eq!(door.interrupt(), 0);
}

#[test]
fn ere_files_are_served_of_what_was_imported_and_of_whole_epochs() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let network: Network = NETWORK.parse().unwrap();
    let profile = EreProfile { receipts: true, proofs: false };
    // epoch 0 is whole, of another format; epoch 1 is not, but was imported
    let mut chain = SyntheticChain::new(&network, 0, 0, 6);
    let blocks = chain.era1(&network, 8192);
    let imported = chain.ere(&network, 40, profile);
    let whole = SyntheticChain::new(&network, 0, 0, 6).ere(&network, 8192, profile);
    for (name, bytes) in [&blocks, &imported] {
        folder.run(&["import", "ethereum", &folder.file(name, bytes)]).exits(0);
    }
    let serve = ["serve", "era", "--listen", "127.0.0.1:0", "--keep", "1"];
    let mut door = Running::start(folder.command(&serve), "ready");
    let line = door.said.lines().find(|line| line.starts_with("era files")).unwrap();
    let address = line.rsplit(' ').next().unwrap().to_owned();
    let line = |(name, bytes): &(String, Vec<u8>)| format!("{}  {name}\n", sha256(bytes));

    assert_eq!(text(&address, "/SHA256SUMS"), line(&blocks));
    // what it will be is known when it was made
    assert_eq!(text(&address, "/ere/SHA256SUMS"), line(&imported));
    assert_eq!(text(&address, "/ere/checksums.txt"), format!("\n{}\n", sha256(&imported.1)));
    let index = text(&address, "/ere/");
    assert!(index.contains(&whole.0) && index.contains(&imported.0), "{index}");
    for (name, bytes) in [&whole, &imported, &whole, &whole] {
        let (status, head, body) = get(&address, "GET", &format!("/ere/{name}"), "");
        assert!(status == 200 && &body == bytes, "{name}: {head}");
        assert!(head.contains(&sha256(bytes)), "{head}");
    }
    assert_eq!(text(&address, "/ere/SHA256SUMS"), line(&whole) + &line(&imported));
    for path in [format!("/{}", whole.0), format!("/ere/{}", blocks.0), "/ere/ere/".into()] {
        assert_eq!(get(&address, "GET", &path, "").0, 404, "{path}");
    }
    assert_eq!(door.interrupt(), 0);
}

#[test]
fn all_files_at_once_with_a_list_of_sums() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let files = [era1(0, 60, 1), era1(1, 40, 2)];
    for (name, bytes) in &files {
        folder.run(&["import", "ethereum", &folder.file(name, bytes)]).exits(0);
    }
    let export = ["export", "ethereum", "--out", "out"];
    let first = folder.json(&export);
    assert_eq!(first["files"].as_array().unwrap().len(), 2);
    let list = fs::read_to_string(folder.path("out/SHA256SUMS")).unwrap();
    let expected: String =
        files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
    assert_eq!(list, expected);
    // what is right stays, what is not is made again
    fs::write(folder.path("out").join(&files[1].0), vec![0; files[1].1.len()]).unwrap();
    let again = folder.json(&export);
    assert_eq!(
        (&again["files"][0]["was_there"], &again["files"][1]["was_there"]),
        (&true.into(), &false.into())
    );
    for (name, bytes) in &files {
        assert_eq!(&fs::read(folder.path("out").join(name)).unwrap(), bytes);
    }
}

#[test]
fn archived_files_leave_the_nodes_disk_and_others_stay() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let files = [era1(0, 60, 1), era1(1, 40, 2), era1(2, 30, 3)];
    fs::create_dir(folder.path("era")).unwrap();
    for (name, bytes) in &files {
        fs::write(folder.path("era").join(name), bytes).unwrap();
    }
    let path = |index: usize| folder.path("era").join(&files[index].0);
    for (name, bytes) in &files[..2] {
        folder.run(&["import", "ethereum", &folder.file(name, bytes)]).exits(0);
    }
    let prune = ["prune", "ethereum", "era"];
    let dry = ["prune", "ethereum", "era", "--dry-run"];
    // in the lake, not read back yet, and nothing after it
    folder.run(&prune).exits(1);
    assert!((0..3).all(|index| path(index).exists()));
    folder.run(&["evict"]).exits(0);
    folder.run(&["kv", "put", "--table", "t", "key", "value"]).exits(0);
    folder.run(&["evict"]).exits(0);
    // another byte than was archived
    let mut changed = files[1].1.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(path(1), &changed).unwrap();
    let shown = folder.run(&dry).exits(1).text();
    assert!(shown.contains("may be deleted; archived byte for byte"), "{shown}");
    assert!(path(0).exists());
    let done = folder.run(&[&prune[..], &["--json"]].concat()).exits(1).json();
    let deleted: Vec<&serde_json::Value> =
        done["files"].as_array().unwrap().iter().map(|file| &file["deleted"]).collect();
    assert_eq!(deleted, [true, false, false]);
    assert!(done["files"][1]["reasons"][0].as_str().unwrap().contains("its SHA-256 is"));
    let absent = format!("epoch 2 of {NETWORK} is not archived from such a file");
    assert_eq!(done["files"][2]["reasons"][0], absent);
    assert!(!path(0).exists() && path(1).exists() && path(2).exists());

    folder.run(&["export", "ethereum", "--epoch", "0", "--out", "era"]).exits(0);
    assert_eq!(fs::read(path(0)).unwrap(), files[0].1);
    folder.run(&["prune", "ethereum", "nowhere"]).fails(&["cannot read", "nowhere"]);
}

#[test]
fn ere_files_before_and_after_the_merge_come_back_bit_identical() {
    let folder = Folder::with_local_nodes("2+1", 4);
    let network: Network = NETWORK.parse().unwrap();
    let mut profile = EreProfile { receipts: true, proofs: true };
    let before = SyntheticChain::new(&network, 0, 4, 1).ere(&network, 60, profile);
    profile.proofs = false;
    let mut chain = SyntheticChain::new(&network, 8192, 4, 2).merged_from(8192);
    let files = [before, chain.ere(&network, 40, profile)];
    fs::create_dir(folder.path("ere")).unwrap();
    for (name, bytes) in &files {
        fs::write(folder.path("ere").join(name), bytes).unwrap();
    }
    let imported = folder.json(&["import", "ethereum", "ere"]);
    assert_eq!(
        (&imported["blocks_stored"], &imported["files_kept_as_they_are"]),
        (&100.into(), &0.into())
    );
    folder.run(&["evict"]).exits(0);
    folder.run(&["kv", "put", "--table", "t", "key", "value"]).exits(0);
    folder.run(&["evict"]).exits(0);
    folder.run(&["prune", "ethereum", "ere"]).exits(0);
    assert_eq!(fs::read_dir(folder.path("ere")).unwrap().count(), 0);
    fs::remove_dir_all(folder.dir().join("nodes/01")).unwrap();

    let export = ["export", "ethereum", "--format", "ere", "--out", "ere"];
    let exported = folder.json(&export);
    assert_eq!(exported["files"].as_array().unwrap().len(), 2);
    let manifest = fs::read_to_string(folder.path("ere/SHA256SUMS")).unwrap();
    for (name, bytes) in &files {
        assert!(&fs::read(folder.path("ere").join(name)).unwrap() == bytes, "{name}");
        assert!(manifest.contains(&format!("{}  {name}\n", sha256(bytes))));
    }
    // neither was imported from .era1, and no other epoch is stored whole
    let none = folder.run(&["export", "ethereum", "--out", "out"]).exits(1);
    assert!(none.stderr.contains("no epoch was imported from an .era1 file"), "{}", none.stderr);
    let absent = folder.run(&[&export[..], &["--epoch", "7"]].concat()).exits(1);
    assert!(absent.stderr.contains("epoch 7 is not stored whole"), "{}", absent.stderr);
    assert!(absent.stderr.contains("epochs that may be: 0, 1"), "{}", absent.stderr);

    let (name, bytes) = &files[1];
    let mut cut = bytes.clone();
    cut.truncate(bytes.len() - 20);
    fs::write(folder.path("ere").join(name), cut).unwrap();
    let path = format!("ere/{name}");
    folder.run(&["import", "ethereum", &path]).fails(&[name, "no block index at its end"]);
}

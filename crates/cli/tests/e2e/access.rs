//! Nodes behind TLS that are closed to all but the lake's owner, and the capabilities that it gives.

use crate::common::{Folder, Running, clean_command};

/// A node with a key of its own; it listens where the address says, if there is one.
fn node(
    nodes: &Folder,
    index: usize,
    address: Option<&str>,
    owner: Option<&str>,
) -> (Running, String) {
    let server = address.and_then(|a| a.strip_prefix("tls://")).and_then(|a| a.split_once('/'));
    let listen = server.map_or("127.0.0.1:0", |(server, _)| server);
    let mut command = clean_command();
    command.args(["node", "run", "--capacity", "1GB", "--tls", "--listen", listen, "--dir"]);
    command.arg(nodes.path(&format!("node-{index}")));
    if let Some(owner) = owner {
        command.args(["--owner", owner]);
    }
    let running = Running::start(command, "node on ");
    let address = running.said.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned();
    (running, address)
}

#[test]
fn closed_nodes_serve_their_owner_and_nobody_else() {
    let nodes = Folder::new();
    let (mut running, addresses): (Vec<_>, Vec<_>) =
        (0..3).map(|index| node(&nodes, index, None, None)).unzip();
    let key = nodes.run(&["access", "key", "node-1/node.key"]).exits(0).text();
    assert!(addresses[1].ends_with(key.trim()), "{} {key}", addresses[1]);
    let list = addresses.join(",");
    let (folder, other) = (Folder::new(), Folder::new());
    for folder in [&folder, &other] {
        folder.run(&["init", "--policy", "2+1", "--nodes", &list]).exits(0);
    }
    let owner = folder.run(&["access", "owner"]).exits(0).text();
    for index in 0..3 {
        assert_eq!(running[index].interrupt(), 0);
        let (closed, again) = node(&nodes, index, Some(&addresses[index]), Some(owner.trim()));
        assert_eq!(again, addresses[index], "its key stays");
        running[index] = closed;
    }

    folder.run(&["kv", "put", "--table", "t", "key", "value"]).exits(0);
    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"value");
    assert_eq!(folder.json(&["verify", "--samples", "2"])["healthy"], true);

    let status = folder.json(&["node", "status", &addresses[0]]);
    assert!(status["shards"].as_u64() > Some(0), "{status}");
    assert!(status["scrub"]["rounds"].is_u64(), "{status}");
    nodes.run(&["node", "status", &addresses[0]]).fails(&["denied: closed"]);
    let holder = nodes.run(&["access", "key", "auditor.key"]).exits(0).text();
    let grant = ["access", "grant", "--holder", holder.trim(), "--allow", "read", "--days", "1"];
    let capability = folder.run(&grant).exits(0).text();
    let ask = ["node", "status", &addresses[0], "--key", "auditor.key", "--capability"];
    nodes.run(&[&ask[..], &[capability.trim()]].concat()).exits(0);

    // who may read has the node show what it holds, without the lake's secret
    let ask = ["node", "audit", &addresses[0], "--key", "auditor.key", "--capability"];
    let ask = [&ask[..], &[capability.trim()]].concat();
    let shown = nodes.json(&ask);
    assert_eq!(shown["lake"], folder.status()["lake"]);
    assert!(shown["shards"].as_u64() > Some(0) && shown["shards"] == shown["audited"], "{shown}");
    assert_eq!(shown["failed"], serde_json::json!([]));
    let one = ["--shard", "d0/200", "--samples", "3"];
    nodes.run(&[&ask[..], &one].concat()).exits(1);
    nodes.run(&["node", "audit", &addresses[0]]).fails(&["--lake"]);
    let name = "00".repeat(32);
    let held = (0..3)
        .map(|shard| format!("d0/{shard}"))
        .find(|shard| nodes.run(&[&ask[..], &["--shard", shard]].concat()).code == 0);
    let misnamed = ["--shard", &held.expect("a shard of the container"), "--name", &name];
    nodes.run(&[&ask[..], &misnamed].concat()).exits(1);
    spoil(&nodes.path("node-0"));
    let failed = nodes.run(&[&ask[..], &["--json"]].concat()).exits(1).json();
    assert!(!failed["failed"].as_array().expect("a list").is_empty(), "{failed}");

    other.run(&["kv", "put", "--table", "t", "key", "value"]).exits(0);
    other.run(&["evict"]).fails(&["denied: foreign"]);
}

/// Flips bits all over a node's segments.
fn spoil(node: &std::path::Path) {
    let mut folders = vec![node.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "seg") {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.iter_mut().skip(8192).step_by(1024).for_each(|byte| *byte ^= 1);
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn a_capability_says_what_it_allows() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let holder = folder.run(&["access", "key", "auditor.key"]).exits(0).text();
    let grant =
        ["access", "grant", "--holder", holder.trim(), "--allow", "read,write", "--days", "2"];
    let capability =
        folder.run(&[&grant[..], &["--term", "7", "--shard", "d12/3"]].concat()).exits(0).text();
    let shown = folder.json(&["access", "show", capability.trim()]);
    assert_eq!(shown["holder"], holder.trim());
    assert_eq!(shown["allowed"], serde_json::json!(["read", "write"]));
    assert_eq!((&shown["term_max"], &shown["shard"]), (&7.into(), &"d12/3".into()));
    assert_eq!(shown["ended"], false);
    assert_eq!(shown["lake"], folder.status()["lake"]);
    let all = folder.run(&grant).exits(0).text();
    assert_eq!(folder.json(&["access", "show", all.trim()])["shard"], serde_json::Value::Null);
    folder.run(&["access", "show", &all.trim()[1..]]).exits(2);
    folder
        .run(&["access", "grant", "--holder", holder.trim(), "--allow", "reed", "--days", "2"])
        .exits(2);
    let mut command = clean_command();
    command.args(["node", "run", "--capacity", "1GB", "--listen", "127.0.0.1:0", "--owner", "x:y"]);
    crate::common::output(&mut command).exits(2);
}

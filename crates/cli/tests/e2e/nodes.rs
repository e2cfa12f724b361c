//! Storage nodes as processes of their own, and `recover`.

use crate::common::{Folder, NETWORK, Running, clean_command, era1, sha256};
use std::fs;

/// Storage nodes with their folders and addresses.
pub(crate) struct Nodes {
    pub(crate) folder: Folder,
    pub(crate) running: Vec<Running>,
    pub(crate) addresses: Vec<String>,
}

impl Nodes {
    pub(crate) fn start(count: usize) -> Self {
        let mut nodes = Self { folder: Folder::new(), running: Vec::new(), addresses: Vec::new() };
        for index in 0..count {
            let node = nodes.launch(index, "127.0.0.1:0");
            let address = node.said.split_whitespace().nth(2).unwrap().trim_end_matches(',');
            nodes.addresses.push(address.to_owned());
            nodes.running.push(node);
        }
        nodes
    }

    fn launch(&self, index: usize, listen: &str) -> Running {
        let mut command = clean_command();
        command.args(["node", "run", "--capacity", "1GB", "--listen", listen, "--dir"]);
        command.arg(self.folder.path(&format!("node-{index}")));
        Running::start(command, "node on ")
    }

    pub(crate) fn restart(&mut self, index: usize) {
        self.running[index] = self.launch(index, &self.addresses[index].clone());
    }

    pub(crate) fn list(&self) -> String {
        self.addresses.join(",")
    }
}

#[test]
fn a_lake_on_nodes_elsewhere_survives_q_of_them_and_says_which_are_gone() {
    let mut nodes = Nodes::start(5);
    let folder = Folder::new();
    folder.run(&["init", "--policy", "3+2", "--nodes", &nodes.list()]).exits(0);
    let (name, bytes) = era1(0, 200, 1);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    folder.run(&["evict"]).exits(0);

    nodes.running[0].kill();
    nodes.running[3].kill();
    let out = folder.json(&["export", "ethereum", "--epoch", "0", "--out", "out"]);
    assert_eq!(out["sha256"], sha256(&bytes));
    let status = folder.status();
    let states: Vec<&str> =
        status["nodes"].as_array().unwrap().iter().map(|n| n["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["down", "up", "up", "down", "up"]);
    folder.run(&["verify"]).exits(1);

    nodes.running[4].kill();
    folder.run(&["verify"]).fails(&[
        "too many shards are lost",
        &nodes.addresses[0],
        &nodes.addresses[4],
    ]);
    // what was put is safe here, and waits for the nodes
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    folder.run(&["evict"]).fails(&[&nodes.addresses[3]]);
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"v");

    for index in [0, 3, 4] {
        nodes.restart(index);
    }
    folder.run(&["evict"]).exits(0);
    folder.run(&["verify", "--deep"]).exits(0);
    assert_eq!(nodes.running[1].interrupt(), 0);
}

#[test]
fn slots_of_a_node_that_is_gone_move_to_a_spare_one() {
    let mut nodes = Nodes::start(4);
    let folder = Folder::new();
    folder.run(&["init", "--policy", "2+1", "--nodes", &nodes.list()]).exits(0);
    for number in 0..5 {
        folder
            .run_with_stdin(
                &["kv", "put", "--table", "t", &number.to_string(), "-"],
                &[number; 50_000],
            )
            .exits(0);
        folder.run(&["evict"]).exits(0);
    }
    nodes.running[1].kill();
    let repaired = folder.json(&["repair", "--move-away"]);
    assert!(repaired["moved_slots"].as_u64() > Some(0), "{repaired}");
    // for good: the lake is healthy without it
    assert_eq!(folder.json(&["verify", "--deep"])["healthy"], true);
    nodes.running[2].kill();
    for number in 0..5u8 {
        let got = folder.run(&["kv", "get", "--table", "t", &number.to_string()]).exits(0);
        assert_eq!(got.stdout, [number; 50_000]);
    }
    let missed = folder.run(&["sweep", "--json"]).exits(1).json();
    let failed = missed["failed"].as_array().unwrap();
    let silent: Vec<&str> = failed.iter().map(|f| f["node"].as_str().unwrap()).collect();
    assert_eq!(
        (&missed["orphans"], silent),
        (&0.into(), vec![&*nodes.addresses[1], &*nodes.addresses[2]])
    );
    // it comes back, with shards that nobody asks it for any more
    nodes.restart(1);
    nodes.restart(2);
    let dry = folder.json(&["sweep", "--dry-run"]);
    assert!(dry["orphans"].as_u64() > Some(0) && dry["deleted"] == 0, "{dry}");
    assert_eq!(folder.status()["orphans"], 0, "a dry run notes nothing");
    assert_eq!(folder.json(&["sweep"])["orphans"], dry["orphans"]);
    let status = folder.status();
    assert_eq!(
        (&status["orphans"], &status["orphan_bytes"]),
        (&dry["orphans"], &dry["orphan_bytes"])
    );
    folder.run(&["sweep", "--older-than", "0"]).exits(2);
    folder.run(&["verify", "--deep"]).exits(0);
}

#[test]
fn a_database_comes_back_from_its_lake_and_the_old_writer_is_refused() {
    let mut nodes = Nodes::start(4);
    let old = Folder::new();
    old.run(&["init", "--policy", "2+1", "--nodes", &nodes.list()]).exits(0);
    let (name, bytes) = era1(0, 100, 1);
    old.file(&name, &bytes);
    old.run(&["import", "ethereum", &name]).exits(0);
    let records = old.status()["records"].clone();
    let secret = old.dir().join("lake.secret");
    let secret = secret.to_str().unwrap();

    // one node short, and half of the others as seeds
    nodes.running[0].kill();
    let new = Folder::new();
    let seeds = nodes.addresses[1..3].join(",");
    let stranger = Folder::with_local_nodes("2+1", 3);
    let strange = stranger.dir().join("lake.secret");
    let refused = new.run(&["recover", "--secret", strange.to_str().unwrap(), "--nodes", &seeds]);
    refused.fails(&["no head of lake"]);
    assert!(!new.dir().join("metadata").exists() && !new.dir().join("lake.secret").exists());
    let recovered = new.json(&["recover", "--secret", secret, "--nodes", &seeds]);
    assert_eq!(recovered["records"], records);
    assert_eq!(new.status()["records"], records);
    assert_eq!(new.status()["nodes"].as_array().unwrap().len(), 4);
    let out = new.json(&["export", "ethereum", "--epoch", "0", "--out", "out"]);
    assert_eq!(out["sha256"], sha256(&bytes));
    new.run(&["recover", "--secret", secret]).fails(&["holds a database already"]);

    // the new one writes: the old one no longer can
    nodes.restart(0);
    new.run(&["kv", "put", "--table", "t", "new", "v"]).exits(0);
    new.run(&["evict"]).exits(0);
    old.run(&["kv", "put", "--table", "t", "old", "v"]).exits(0);
    // and no trying again lets it climb past
    for _ in 0..3 {
        old.run(&["evict"]).fails(&["another writer has taken the lake over", "prunedb recover"]);
    }
    new.run(&["verify", "--deep"]).exits(0);
    assert_eq!(new.run(&["kv", "get", "--table", "t", "new"]).exits(0).stdout, b"v");
}

#[test]
fn local_nodes_give_the_database_back_too() {
    let folder = Folder::with_local_nodes("4+2", 6);
    let (name, bytes) = era1(0, 100, 1);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    let before = folder.status();
    for lost in ["data", "metadata", "nodes/02", "nodes/03"] {
        fs::remove_dir_all(folder.dir().join(lost)).unwrap();
    }
    let recovered = folder.run(&["recover"]).exits(0);
    assert!(recovered.text().contains("1 container"), "{}", recovered.text());
    assert_eq!(folder.status()["records"], before["records"]);
    folder.run(&["get", "ethereum", "block", "99", "--network", NETWORK]).exits(0);
    folder.run(&["export", "ethereum", "--epoch", "0", "--out", "out"]).exits(0);
    assert_eq!(fs::read(folder.path("out").join(&name)).unwrap(), bytes);
}

#[test]
fn a_node_refuses_a_folder_in_use() {
    let nodes = Nodes::start(1);
    let mut command = clean_command();
    command.args(["node", "run", "--capacity", "1GB", "--listen", "127.0.0.1:0", "--dir"]);
    command.arg(nodes.folder.path("node-0"));
    crate::common::output(&mut command).fails(&["node-0", "use"]);
    let mut command = clean_command();
    command.args(["node", "run", "--capacity", "1GB", "--listen", &nodes.addresses[0], "--dir"]);
    command.arg(nodes.folder.path("node-1"));
    crate::common::output(&mut command).fails(&["cannot listen", &nodes.addresses[0]]);
}

#[test]
fn a_policy_changes_and_holds_for_what_was_stored() {
    let mut nodes = Nodes::start(5);
    let folder = Folder::new();
    folder.run(&["init", "--policy", "2+1", "--nodes", &nodes.list()]).exits(0);
    for number in 0..3u8 {
        let put = ["kv", "put", "--table", "t", &number.to_string(), "-"];
        folder.run_with_stdin(&put, &[number; 50_000]).exits(0);
        folder.run(&["evict"]).exits(0);
    }
    folder.run(&["policy", "4+2"]).fails(&["4+2 needs 6 nodes"]);
    let changed = folder.json(&["policy", "2+3"]);
    // three of data, and those of the index
    assert!(changed["containers"].as_u64() >= Some(3) && changed["waiting"] == 0, "{changed}");
    assert_eq!(folder.json(&["policy", "2+3"])["containers"], 0);
    assert_eq!(folder.status()["policy"], "2+3");
    let text = fs::read_to_string(folder.dir().join("prunedb.toml")).unwrap();
    assert!(text.contains("policy = \"2+3\""), "{text}");
    assert_eq!(folder.json(&["verify", "--deep"])["healthy"], true);
    for lost in [0, 2, 4] {
        nodes.running[lost].kill();
    }
    for number in 0..3u8 {
        let got = folder.run(&["kv", "get", "--table", "t", &number.to_string()]).exits(0);
        assert_eq!(got.stdout, [number; 50_000]);
    }
}

#[test]
fn a_node_joins_and_another_leaves() {
    let nodes = Nodes::start(4);
    let folder = Folder::new();
    let first = nodes.addresses[..3].join(",");
    folder.run(&["init", "--policy", "2+1", "--nodes", &first]).exits(0);
    for number in 0..3u8 {
        let put = ["kv", "put", "--table", "t", &number.to_string(), "-"];
        folder.run_with_stdin(&put, &[number; 50_000]).exits(0);
        folder.run(&["evict"]).exits(0);
    }
    let (leaver, joiner) = (&nodes.addresses[1], &nodes.addresses[3]);
    folder.run(&["node", "leave", leaver]).fails(&[leaver, "cannot leave", "add a node first"]);
    folder.run(&["node", "add", "nonsense"]).fails(&["`nonsense` is not a node"]);
    folder.run(&["node", "add", joiner, "--place", "a/b"]).fails(&["has no `,`, `/` or `=`"]);
    folder.run(&["node", "add", joiner, "--place", "zurich"]).exits(0);
    folder.run(&["node", "add", joiner]).fails(&["is given twice"]);
    let lost = folder.run(&["what-if", "--lose-domain", "zurich", "--json"]).json();
    assert_eq!(lost["nodes_gone"], serde_json::json!([joiner]));
    let left = folder.json(&["node", "leave", leaver]);
    assert!(left["copied_shards"].as_u64() >= Some(3), "{left}");
    let mut nodes = nodes;
    nodes.running[1].kill();
    assert_eq!(folder.json(&["verify", "--deep"])["healthy"], true);
    let text = fs::read_to_string(folder.dir().join("prunedb.toml")).unwrap();
    assert!(text.contains(&nodes.addresses[3]) && !text.contains(&nodes.addresses[1]), "{text}");
    assert!(text.contains(&format!("{}=//zurich", nodes.addresses[3])), "{text}");
    for number in 0..3u8 {
        let got = folder.run(&["kv", "get", "--table", "t", &number.to_string()]).exits(0);
        assert_eq!(got.stdout, [number; 50_000]);
    }
}

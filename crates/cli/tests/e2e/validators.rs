//! Validators with processes of their own: they read what they sign back from the holders, are killed, and catch up.

use crate::{
    common::{Folder, Running, clean_command, output},
    registry::{INIT, Node, free_port, import, import_when_placed, node, registry, until},
};
use serde_json::Value;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// As many as this build can have: votes take the feature `simplex`.
const VALIDATORS: usize = if cfg!(feature = "simplex") { 4 } else { 1 };

struct Town {
    folder: Folder,
    nodes: Vec<Node>,
    doors: Vec<String>,
}

impl Town {
    fn validator(&self, number: usize, args: &[&str]) -> Command {
        let mut command = clean_command();
        command.arg("--dir").arg(self.folder.path(&format!("validator-{number}"))).args(args);
        command
    }

    fn start(&self, number: usize) -> Running {
        let secret = self.folder.dir().join("lake.secret");
        let nodes: Vec<&str> = self.nodes.iter().map(|n| &n.address[..]).collect();
        let nodes = nodes.join(",");
        let joins = ["--secret", secret.to_str().unwrap(), "--nodes", &nodes];
        let is_new = !self.folder.path(&format!("validator-{number}/prunedb.toml")).exists();
        let args = [&["registry", "run"][..], if is_new { &joins } else { &[] }].concat();
        Running::start(self.validator(number, &args), "ready")
    }

    /// Six nodes, an empty database over them, a registry of validators elsewhere.
    fn found() -> Self {
        let folder = Folder::new();
        let ports: Vec<u16> = (0..2 * VALIDATORS).map(|_| free_port()).collect();
        let doors: Vec<String> =
            (0..VALIDATORS).map(|n| format!("127.0.0.1:{}", ports[2 * n])).collect();
        let all_doors = doors.join(",");
        let nodes: Vec<Node> = (0..6).map(|n| node(&folder, n, &all_doors)).collect();
        let town = Self { folder, nodes, doors };
        let addresses: Vec<&str> = town.nodes.iter().map(|n| &n.address[..]).collect();
        town.folder.run(&["init", "--policy", "2+2", "--nodes", &addresses.join(",")]).exits(0);
        let peers: Vec<String> = (0..VALIDATORS)
            .map(|n| {
                let key = output(&mut town.validator(n, &["registry", "key"])).exits(0).text();
                format!("{},127.0.0.1:{},{}", key.trim(), ports[2 * n + 1], town.doors[n])
            })
            .collect();
        output(&mut town.validator(0, &["registry", "run"])).fails(&["has no registry"]);
        let mut init = INIT.to_vec();
        peers.iter().for_each(|peer| init.extend(["--validator", peer]));
        town.folder.run(&init).exits(0);
        for n in 0..VALIDATORS {
            for file in ["genesis", "settings.json"] {
                let from = town.folder.dir().join("registry").join(file);
                let to = town.folder.path(&format!("validator-{n}/registry")).join(file);
                std::fs::copy(from, to).unwrap();
            }
        }
        town
    }

    fn all(&self) -> Vec<Value> {
        let status = self.folder.run(&["registry", "status", "--json"]).exits(0).json();
        status["validators"].as_array().unwrap().clone()
    }
}

/// Who votes is shown; who may not, or is nowhere, is refused.
fn others_are_named(town: &Town) {
    let validators = |args: &[&str]| town.folder.run(&[&["registry", "validators"], args].concat());
    let shown = validators(&["--json"]).exits(0).json();
    assert_eq!(shown["validators"].as_array().unwrap().len(), VALIDATORS);
    assert!(shown["proposed_at"].is_null());
    validators(&["--remove", &"00".repeat(32)]).fails(&["is no validator"]);
    let key = output(&mut town.validator(9, &["registry", "key"])).exits(0).text();
    let key = key.trim();
    let why = if VALIDATORS == 1 { "founded with one validator" } else { "nobody knows where" };
    validators(&["--add", key]).fails(&[why]);

    let peer = |args: &[&str]| town.folder.run(&[&["registry", "peer"], args].concat());
    peer(&["12,127.0.0.1:1"]).fails(&["64 hex digits"]);
    peer(&[&format!("{key},127.0.0.1:1")]).fails(&["KEY,VOTES,DOOR"]);
    let known = peer(&[&format!("{key},127.0.0.1:1,127.0.0.1:2"), "--json"]).exits(0).json();
    assert_eq!(known["peers"], VALIDATORS + 1);
    let known = peer(&[key, "--drop", "--json"]).exits(0).json();
    assert_eq!(known["peers"], VALIDATORS);
    peer(&[key, "--drop"]).fails(&["is not in the settings"]);
}

#[test]
fn a_holder_and_a_validator_are_killed_and_every_batch_is_whole_again() {
    let mut town = Town::found();
    let mut validators: Vec<Running> = (0..VALIDATORS).map(|n| town.start(n)).collect();
    assert!(validators[0].said.contains(&town.doors[0]), "{}", validators[0].said);
    let folder = &town.folder;
    let mut up = folder.up();
    assert!(up.said.contains(&format!("registry at {}", town.doors.join(", "))), "{}", up.said);
    for (number, node) in town.nodes.iter().enumerate() {
        let key = folder.path(&format!("node-{number}")).join("node.key");
        let join = ["registry", "join", &node.address, "--node-key", key.to_str().unwrap()];
        folder.run(&[&join[..], &["--capacity", "2GB"]].concat()).exits(0);
    }
    folder.run(&["registry", "groups", "6", "--policy", "2+2"]).exits(0);
    others_are_named(&town);
    import_when_placed(folder, 0);
    import(folder, 1);
    until(folder, "both batches close", |s| s["batches"] == 2);
    // read back by who signs it, and by nobody else
    until(folder, "the first may go", |s| s["prunable_up_to"] == 1);

    let election = folder.run(&["election", "show", "0", "--json"]).exits(0).json();
    let victim = election["slots"][1]["holder"].as_str().unwrap().to_owned();
    let position = town.nodes.iter().position(|n| n.address == victim).unwrap();
    town.nodes[position].process.kill();
    let last = VALIDATORS - 1;
    validators[last].kill();
    let folder = &town.folder;
    if VALIDATORS == 1 {
        folder.run(&["batch", "list"]).fails(&[&town.doors[0]]);
        validators[last] = town.start(last);
    }
    import(folder, 2);
    let held = || {
        let election = folder.run(&["election", "show", "0", "--json"]).exits(0).json();
        let slots = election["slots"].as_array().unwrap().clone();
        slots.iter().all(|s| s["holder"] != victim.as_str() && s["has_it"] == true)
    };
    let begun = Instant::now();
    while !held() || registry(folder)["repairs"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:#}", registry(folder));
        std::thread::sleep(Duration::from_millis(200));
    }
    until(folder, "the third batch closes", |s| s["batches"] == 3);
    let told = folder.run(&["election", "show", "0"]).exits(0).text();
    assert!(told.contains(&format!("went from {victim} to")), "{told}");
    if VALIDATORS > 1 {
        let all = town.all();
        assert!(all[last]["error"].is_string(), "{all:#?}");
        validators[last] = town.start(last);
    }

    // it catches up, and has the state that the others have
    let begun = Instant::now();
    let same = |all: &[Value]| {
        let of = |v: &Value| (v["root_height"].clone(), v["root"].clone(), v["batches"].clone());
        all.iter().all(|v| of(v) == of(&all[0]))
    };
    loop {
        let all = town.all();
        if all.iter().all(|v| v["batches"] == 3) && same(&all) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{all:#?}");
    }
    for number in [0, 299, 8192, 8491, 16384] {
        let block = folder.run(&["get", "ethereum", "block", &number.to_string()]).exits(0);
        assert!(!block.stdout.is_empty());
    }
    folder.run(&["verify", "--deep"]).exits(0);
    assert_eq!(up.interrupt(), 0);
    assert_eq!(validators[0].interrupt(), 0);
}

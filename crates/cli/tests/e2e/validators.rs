//! Validators with processes of their own: they read what they sign back from the holders, are killed, and catch up.

use crate::{
    common::{Folder, Running, clean_command, era1, output},
    registry::{INIT, Node, free_port, import, import_when_placed, node, registry, until},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
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

    /// Nodes, an empty database over them, a registry of validators elsewhere.
    fn found_with(count: usize) -> Self {
        let mut town = Self { folder: Folder::new(), nodes: Vec::new(), doors: Vec::new() };
        let mut peers = Vec::new();
        for n in 0..VALIDATORS {
            let key = output(&mut town.validator(n, &["registry", "key"])).exits(0).text();
            let (key, door) = (key.trim(), format!("127.0.0.1:{}", free_port()));
            peers.push(format!("{key},127.0.0.1:{},{door}", free_port()));
            town.doors.push(format!("tls://{door}/{key}"));
        }
        let doors = town.doors.join(",");
        town.nodes = (0..count).map(|n| node(&town.folder, n, &doors)).collect();
        let addresses: Vec<&str> = town.nodes.iter().map(|n| &n.address[..]).collect();
        let nodes = addresses.join(",");
        town.folder.run(&["init", "--policy", "2+2", "--nodes", &nodes]).exits(0);
        output(&mut town.validator(0, &["registry", "run"]))
            .fails(&["validator-0 has no registry", "genesis"]);
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
    let mut town = Town::found_with(6);
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
    // at a validator's address somebody else answers, or it is asked without saying who it is
    let (door, key) = town.doors[0].rsplit_once('/').unwrap();
    let other = format!("{door}/{}", "ab".repeat(32));
    let status = ["registry", "status", "--at"];
    let refused = folder.run(&[&status[..], &[&other]].concat());
    assert_eq!(refused.code, 1, "{}", refused.text());
    assert!(refused.text().contains("is not that validator"), "{}", refused.text());
    assert!(refused.text().contains(key), "{}", refused.text());
    folder.run(&["batch", "list", "--at", &other]).fails(&["is not that validator", key]);
    folder.run(&[&status[..], &[&door["tls://".len()..]]].concat()).fails(&["names no key"]);
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

/// What `/metrics` says of a figure.
fn metric(address: &str, name: &str) -> u64 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let prefix = format!("prunedb_node_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

/// One validator that archives the chain itself, with a node in its process; three of the lake's nodes join beside it.
#[test]
fn a_validator_signs_what_it_cuts_from_its_archive_and_makes_its_own_shards() {
    if VALIDATORS > 1 {
        eprintln!("skipped: several validators are tested beside it");
        return;
    }
    let town = Town::found_with(4);
    let folder = &town.folder;
    let archive = folder.path("archive");
    let of_archive = |args: &[&str]| {
        let mut command = clean_command();
        output(command.arg("--dir").arg(&archive).args(args))
    };
    of_archive(&["init", "--policy", "2+1", "--local", "3"]).exits(0);
    let secret = folder.dir().join("lake.secret");
    let addresses: Vec<&str> = town.nodes.iter().map(|n| &n.address[..]).collect();
    let addresses = addresses.join(",");
    let run = |archive: &Path| {
        let archive = archive.to_str().unwrap();
        let mut args = vec!["registry", "run", "--secret", secret.to_str().unwrap()];
        args.extend(["--nodes", &addresses, "--archive", archive, "--node", "127.0.0.1:0"]);
        args.extend(["--capacity", "2GB", "--metrics", "127.0.0.1:0"]);
        town.validator(0, &args)
    };
    output(&mut run(&folder.dir())).fails(&["an archive has a lake of its own"]);
    let mut validator = Running::start(run(&archive), "ready");
    let said = |before: &str| {
        let rest = validator.said.split_once(before).unwrap().1;
        rest.split([',', '\n']).next().unwrap().to_owned()
    };
    let (own, metrics) = (said("node on "), said("metrics at "));

    let mut up = folder.up();
    let keys = (0..3).map(|n| folder.path(&format!("node-{n}")).join("node.key"));
    let own_key = folder.path("validator-0/node/node.key");
    let nodes = town.nodes[..3].iter().map(|n| &n.address).chain([&own]);
    for (address, key) in nodes.zip(keys.chain([own_key])) {
        let join = ["registry", "join", address, "--node-key", key.to_str().unwrap()];
        folder.run(&[&join[..], &["--capacity", "2GB"]].concat()).exits(0);
    }
    folder.run(&["registry", "groups", "4", "--policy", "2+2"]).exits(0);
    until(folder, "groups open", |s| s["groups"] == 4);
    // the archive has it first, and in other containers; of epoch 2 it has other blocks
    let file = |epoch: u64| {
        let (name, bytes) = era1(epoch, 300, epoch + 1);
        folder.file(&name, &bytes)
    };
    of_archive(&["import", "ethereum", &file(0), &file(1)]).exits(0);
    import_when_placed(folder, 0);
    import(folder, 1);
    until(folder, "both batches close", |s| s["batches"] == 2);
    let election = |batch: &str| folder.run(&["election", "show", batch, "--json"]).exits(0).json();
    for batch in ["0", "1"] {
        let election = election(batch);
        let slots = election["slots"].as_array().unwrap();
        assert!(slots.iter().any(|s| s["holder"] == *own && s["has_it"] == true), "{election:#}");
    }
    assert_eq!(metric(&metrics, "received_data_bytes_total"), 0, "nobody sent it a shard");
    assert_eq!(metric(&metrics, "own_shards_total"), 2);
    assert!(metric(&metrics, "own_shards_bytes_total") > 0);
    // they are what the writer would have sent, and prove like others
    folder.run(&["verify", "--deep"]).exits(0);
    until(folder, "the first may go", |s| s["prunable_up_to"] == 1);

    // the writer archives other blocks than the validator: nothing is signed, and it says why
    let (name, bytes) = era1(2, 300, 99);
    let other = folder.file(&format!("other-{name}"), &bytes);
    // and enough of them, whatever the lengths of blocks are
    of_archive(&["import", "ethereum", &other, &file(3)]).exits(0);
    import(folder, 2);
    let refused = until(folder, "it is refused", |s| s["unsigned"].is_string());
    let reason = refused["unsigned"].as_str().unwrap();
    // as many records of these blocks end elsewhere: within a put, or not
    let says = ["one of us archives other blocks", "others were put here"];
    assert!(reason.contains("batch 2") && says.iter().any(|s| reason.contains(s)), "{reason}");
    assert_eq!(refused["batches"], 2);
    assert_eq!(up.interrupt(), 0);
    assert_eq!(validator.interrupt(), 0);
}

/// What is wrong with a validator's folder, and what is said of it.
#[test]
fn a_validators_folder_that_does_not_fit_is_refused_with_what_to_do() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let run_in = |dir: &str, args: &[&str]| {
        let mut command = clean_command();
        output(command.arg("--dir").arg(folder.path(dir)).args(args))
    };
    run_in("none", &["registry", "run"]).fails(&["none has no registry", "settings.json"]);
    // a folder that is not there is made
    let key = run_in("missing/deep", &["registry", "key"]).exits(0);
    assert!(key.stderr.contains("deep/registry/validators/00/validator.key"), "{}", key.text());
    let key = String::from_utf8(key.stdout).unwrap();
    let again = run_in("missing/deep", &["registry", "key"]).exits(0).stdout;
    assert_eq!(key.as_bytes(), again);
    let peer =
        |key: &str| format!("{},127.0.0.1:{},127.0.0.1:{}", key.trim(), free_port(), free_port());
    folder.run(&["registry", "init", "--validator", &peer(&key)]).exits(0);
    let mine = folder.path("missing/deep/registry");
    let give =
        |from: &Path, name: &str| _ = std::fs::copy(from.join(name), mine.join(name)).unwrap();
    let founder = folder.dir().join("registry");
    give(&founder, "genesis");
    let run = |args: &[&str]| run_in("missing/deep", &[&["registry", "run"], args].concat());
    run(&[]).fails(&["deep has no registry", "settings.json is missing"]);
    give(&founder, "settings.json");
    run(&[]).fails(&["deep has no prunedb.toml", "--nodes"]);
    // of another registry: its genesis, its secret, its key
    let other = Folder::with_local_nodes("2+1", 3);
    let other_key = run_in("other", &["registry", "key"]).exits(0).text();
    other.run(&["registry", "init", "--validator", &peer(&other_key)]).exits(0);
    give(&other.dir().join("registry"), "genesis");
    run(&[]).fails(&["different registries", "copy both from one founder's folder"]);
    give(&founder, "genesis");
    let secret = other.dir().join("lake.secret");
    let secret = ["--secret", secret.to_str().unwrap(), "--nodes", "127.0.0.1:1"];
    run(&secret).fails(&["this registry is of lake", "the lake secret opens lake"]);
    let key_file = mine.join("validators/00/validator.key");
    std::fs::copy(folder.path("other/registry/validators/00/validator.key"), &key_file).unwrap();
    run(&[]).fails(&["is not in registry/settings.json", "registry peer"]);
    std::fs::write(mine.join("genesis"), b"nonsense").unwrap();
    run(&[]).fails(&["genesis is damaged", "copy it again"]);
    // nobody runs it
    let dead = folder.run(&["registry", "status"]);
    assert_eq!(dead.code, 1);
    assert!(dead.stderr.contains("0 of 1 validators answer"), "{}", dead.stderr);
}

//! A lake with a registry: batches close by themselves, holders are elected, prove, are replaced; nothing leaves too early.

use crate::common::{Folder, Output, Running, clean_command, era1};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Short phases, so that tests are short.
pub(crate) const INIT: [&str; 11] = [
    "registry",
    "init",
    "--block-ms",
    "20",
    "--param",
    "proof_heights=100",
    "--param",
    "closing_heights=40",
    "--param",
    "misses_max=1",
    "--json",
];

pub(crate) fn registry(folder: &Folder) -> Value {
    folder.run(&["registry", "status", "--json"]).exits(0).json()["validators"][0].clone()
}

pub(crate) fn until(folder: &Folder, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = registry(folder);
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: {status:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn import(folder: &Folder, epoch: u64) -> Output {
    let (name, bytes) = era1(epoch, 300, epoch + 1);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0)
}

#[test]
fn batches_close_are_proven_and_only_then_may_be_evicted() {
    let folder = Folder::with_local_nodes("4+2", 8);
    folder.run(&["registry", "status"]).fails(&["`prunedb up` runs it"]);
    let founded = folder.run(&INIT).exits(0).json();
    assert_eq!(founded["validators"].as_array().unwrap().len(), 1);
    folder.run(&INIT).fails(&["has a registry already"]);
    let mut up = folder.up();
    assert!(up.said.contains("registry at tls://127.0.0.1:"), "{}", up.said);
    let placed = until(&folder, "groups open", |s| s["groups"] == 8);
    assert_eq!((&placed["nodes"], &placed["batches"]), (&8.into(), &0.into()));
    import_when_placed(&folder, 0);
    let kept = folder.run(&["evict"]);
    assert_eq!(kept.code, 1, "{}", kept.text());
    assert!(
        kept.text().contains("the registry allows pruning of batches below"),
        "{}",
        kept.text()
    );
    import(&folder, 1);
    let closed = until(&folder, "both batches close", |s| s["batches"] == 2);
    assert_eq!(closed["failing_nodes"], 0);
    until(&folder, "the first may go", |s| s["prunable_up_to"] == 1);

    let headed = until(&folder, "the head is committed", |s| s["head"]["number"].is_u64());
    let at = headed["address"].as_str().unwrap();
    let checked = folder.run(&["status", "--registry", at, "--json"]).exits(0).json();
    assert_eq!(checked["registry"]["problem"], Value::Null, "{checked:#}");
    assert!(checked["head_number"].as_u64() >= checked["registry"]["head_number"].as_u64());
    let nobody = format!("tls://127.0.0.1:1/{}", "ab".repeat(32));
    let nobody = folder.run(&["status", "--registry", &nobody]);
    nobody.fails(&["no validator of this lake's registry"]);

    let list = folder.run(&["batch", "list", "--json"]).exits(0).json();
    assert_eq!(list["batches"].as_array().unwrap().len(), 2);
    let (first, second) = (&list["batches"][0], &list["batches"][1]);
    let end = first["first_block"].as_u64().unwrap() + first["blocks"].as_u64().unwrap();
    assert_eq!(second["first_block"], end);
    let shown = folder.run(&["batch", "show", "1", "--json"]).exits(0).json();
    assert_eq!((&shown["state"], &shown["root"]), (&"closed".into(), &second["root"]));
    assert_eq!(shown["waits_for"], "the next batch to close");
    folder.run(&["batch", "show", "7"]).fails(&["has 2 batches"]);
    let election = folder.run(&["election", "show", "0", "--json"]).exits(0).json();
    let slots = election["slots"].as_array().unwrap();
    assert!(slots.len() == 6 && slots.iter().all(|s| s["has_it"] == true), "{election:#}");
    let proofs = folder.run(&["proofs", "--epoch", "1", "--json"]).exits(0).json();
    assert_eq!(proofs["proven"].as_array().unwrap().len(), 6, "{proofs:#}");
    assert_eq!(proofs["missed"].as_array().unwrap().len(), 0);
    assert!(proofs["settled_height"].as_u64() > proofs["seed_height"].as_u64());
    // the watermark reaches the database within a block or two
    let begun = Instant::now();
    loop {
        let evicted = folder.run(&["evict", "--json"]).json();
        if evicted["kept"].as_array().unwrap().len() == 1 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{evicted:#}");
    }
    folder.run(&["prune", "--dry-run"]).exits(0);
    folder.run(&["policy", "2+2"]).fails(&["the registry has the roots"]);

    let rules = folder.run(&["registry", "params", "--json"]).exits(0).json();
    assert_eq!(rules["rules"]["misses_max"], 1);
    folder.run(&["registry", "params", "--change", "nonsense=1"]).fails(&["no rule `nonsense`"]);
    folder.run(&["registry", "params", "--change", "misses_max=2"]).exits(0);
    let authority = founded["authority"].as_str().unwrap();
    let account = folder.run(&["account", "deposit", authority, "500", "--json"]).exits(0).json();
    assert_eq!(account["balance"], 500);
    let key = folder.dir().join("registry/authority.key");
    let key = key.to_str().unwrap();
    folder
        .run(&["account", "withdraw", "1", "--key-file", "missing.key"])
        .fails(&["there is no key file", "missing.key"]);
    folder
        .run(&["account", "withdraw", "501", "--key-file", key])
        .fails(&["500 is there, 501 is needed"]);
    let account = folder.run(&["account", "withdraw", "200", "--key-file", key, "--json"]);
    assert_eq!(account.exits(0).json()["balance"], 300);
    folder.run(&["registry", "tx", "00"]).fails(&["64 hex digits"]);

    // everything is there after a restart, and goes on
    let before = registry(&folder);
    assert_eq!(up.interrupt(), 0);
    folder.run(&["batch", "list"]).fails(&["`prunedb up` runs it"]);
    let mut up = folder.up();
    let after = registry(&folder);
    assert!(after["height"].as_u64() >= before["height"].as_u64());
    assert_eq!((&after["batches"], &after["registry"]), (&before["batches"], &before["registry"]));
    until(&folder, "the new process takes the lease anew", |s| s["lease"]["term"] == 2);
    import(&folder, 2);
    until(&folder, "the third batch closes", |s| s["batches"] == 3);
    assert_eq!(up.interrupt(), 0);
}

/// Several validators vote, where the build can; elsewhere they are refused by name.
#[test]
fn four_validators_agree_by_votes() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let init = [&INIT[..], &["--validators", "4"]].concat();
    if !cfg!(feature = "simplex") {
        folder.run(&init).fails(&["build it with `--features simplex`"]);
        return;
    }
    let founded = folder.run(&init).exits(0).json();
    assert_eq!(founded["validators"].as_array().unwrap().len(), 4);
    let mut up = folder.up();
    until(&folder, "groups open", |s| s["groups"] == 3);
    import_when_placed(&folder, 0);
    import(&folder, 1);
    until(&folder, "both batches close", |s| s["batches"] == 2);
    until(&folder, "the first may go", |s| s["prunable_up_to"] == 1);
    let begun = Instant::now();
    loop {
        let status = folder.run(&["registry", "status", "--json"]).exits(0).json();
        let validators = status["validators"].as_array().unwrap();
        assert_eq!(validators.len(), 4, "{status:#}");
        if validators.iter().all(|v| v["batches"] == 2) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{status:#}");
    }
    // they go on where they were
    assert_eq!(up.interrupt(), 0);
    let mut up = folder.up();
    import(&folder, 2);
    until(&folder, "the third batch closes", |s| s["batches"] == 3);
    assert_eq!(up.interrupt(), 0);
}

#[test]
fn a_lake_that_has_containers_cannot_be_given_a_registry() {
    let folder = Folder::with_local_nodes("2+1", 3);
    import(&folder, 0);
    folder.run(&INIT).fails(&["the lake holds containers already"]);
}

/// Storage nodes of their own, each a process that does its duties.
pub(crate) struct Node {
    pub(crate) process: Running,
    pub(crate) address: String,
}

pub(crate) fn node(folder: &Folder, number: usize, registry: &str) -> Node {
    let mut command = clean_command();
    command.args(["node", "run", "--capacity", "2GB", "--listen", "127.0.0.1:0"]);
    command.args(["--registry", registry, "--dir"]);
    command.arg(folder.path(&format!("node-{number}")));
    let process = Running::start(command, " in ");
    let address = process.said.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned();
    Node { process, address }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_holder_that_is_killed_loses_its_slots_and_every_batch_is_whole_again() {
    let folder = Folder::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let key = folder.run(&["registry", "key"]).exits(0).text();
    let door = format!("tls://{listen}/{}", key.trim());
    let mut nodes: Vec<Node> = (0..6).map(|n| node(&folder, n, &door)).collect();
    let addresses: Vec<&str> = nodes.iter().map(|n| &n.address[..]).collect();
    folder.run(&["init", "--policy", "2+2", "--nodes", &addresses.join(",")]).exits(0);
    folder.run(&INIT).exits(0);
    let mut up = folder.up_with(&["--registry-listen", &listen]);
    for (number, address) in addresses.iter().enumerate() {
        let key = folder.path(&format!("node-{number}")).join("node.key");
        let join = ["registry", "join", address, "--node-key", key.to_str().unwrap()];
        folder.run(&[&join[..], &["--capacity", "2GB"]].concat()).exits(0);
    }
    folder.run(&["registry", "groups", "6", "--policy", "2+2"]).exits(0);
    until(&folder, "groups open", |s| s["groups"] == 6);
    import_when_placed(&folder, 0);
    import(&folder, 1);
    until(&folder, "both batches close", |s| s["batches"] == 2);

    // the holder of a slot of batch 0 is killed
    let election = folder.run(&["election", "show", "0", "--json"]).exits(0).json();
    let victim = election["slots"][1]["holder"].as_str().unwrap().to_owned();
    let position = nodes.iter().position(|n| n.address == victim).unwrap();
    nodes[position].process.kill();
    let held = |folder: &Folder| {
        let election = folder.run(&["election", "show", "0", "--json"]).exits(0).json();
        let slots = election["slots"].as_array().unwrap().clone();
        slots.iter().all(|s| s["holder"] != victim.as_str() && s["has_it"] == true)
    };
    import(&folder, 2);
    let begun = Instant::now();
    while !held(&folder) || registry(&folder)["repairs"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:#}", registry(&folder));
        std::thread::sleep(Duration::from_millis(200));
    }
    let told = folder.run(&["election", "show", "0"]).exits(0).text();
    assert!(told.contains(&format!("went from {victim} to")), "{told}");
    until(&folder, "the third batch closes", |s| s["batches"] == 3);
    let missed = (0..20).any(|epoch| {
        let proofs = folder.run(&["proofs", "--epoch", &epoch.to_string()]);
        proofs.code == 0 && proofs.text().contains(&format!("{victim} did not prove"))
    });
    assert!(missed, "some epoch shows it");
    for number in [0, 299, 8192, 8491] {
        folder.run(&["get", "ethereum", "block", &number.to_string()]);
    }
    folder.run(&["verify", "--deep"]).exits(0);
    assert_eq!(up.interrupt(), 0);
}

pub(crate) fn import_when_placed(folder: &Folder, epoch: u64) {
    let (name, bytes) = era1(epoch, 300, epoch + 1);
    folder.file(&name, &bytes);
    let begun = Instant::now();
    while folder.run(&["import", "ethereum", &name]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(200));
    }
}

//! `prunedb init` and `prunedb config`.

use crate::common::{Folder, output};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn init_makes_a_folder_that_only_its_owner_reads() {
    let folder = Folder::new();
    let made = folder.run(&["init", "--local", "24", "--json"]).exits(0);
    assert!(made.stderr.contains("keep a copy of"));
    let made = made.json();
    assert_eq!((&made["policy"], &made["nodes"]), (&"16+4".into(), &24.into()));
    let mode =
        |name: &str| fs::metadata(folder.dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("lake.secret"), mode("")), (0o600, 0o700));
    folder
        .run(&["init", "--local", "24"])
        .fails(&["holds a database already", "nothing was changed"]);
    assert_eq!(folder.status()["lake"], made["lake"]);
}

#[test]
fn init_without_flags_is_the_local_default() {
    let folder = Folder::new();
    let made = folder.json(&["init"]);
    assert_eq!((&made["policy"], &made["nodes"]), (&"16+4".into(), &24.into()));
}

#[test]
fn init_refuses_what_cannot_work_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let refused = |args: &[&str], says: &[&str]| {
        folder.run(&[&["init"], args].concat()).fails(says);
        assert!(!folder.dir().exists(), "{args:?}");
    };
    refused(&["--local", "5"], &["16+4 needs 20 nodes", "5 are given"]);
    refused(&["--policy", "2+1", "--nodes", "a:1,b:2"], &["2+1 needs 3 nodes", "2 are given"]);
    refused(&["--nodes", "a:1,b:2,c:3"], &["choose a policy for 3 nodes"]);
    refused(&["--policy", "2+1", "--nodes", "a:1,b:2,a:1"], &["a:1 is there twice"]);
    refused(&["--policy", "2+1", "--nodes", "a:1,b,c:1"], &["`b` is not a node"]);
    refused(&["--policy", "2+x"], &["`2+x` is not a policy"]);
    refused(&["--policy", "1+1"], &["impossible"]);
    refused(
        &["--local", "24", "--set", "container_bytes=1"],
        &["container_bytes", "between 1 MB and 100 MB"],
    );
    let many: Vec<String> = (0..100).map(|n| format!("10.0.0.1:{}", 1000 + n)).collect();
    assert_eq!(folder.json(&["init", "--nodes", &many.join(",")])["policy"], "20+80");
}

#[test]
fn flags_go_before_the_environment_before_the_file() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let path = folder.dir().join("prunedb.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\ncache_bytes = \"1GB\"\nseal_age_s = 1\n")).unwrap();
    let mut command = folder.command(&["config", "--json", "--set", "threads=3"]);
    command.env("PRUNEDB_CACHE_BYTES", "2GB").env("PRUNEDB_THREADS", "2");
    let config = output(&mut command).exits(0).json();
    let value = |key: &str| {
        let value = &config["values"][key];
        (value["value"].as_str().unwrap(), value["source"].as_str().unwrap())
    };
    assert_eq!(value("threads"), ("3", "flag"));
    assert_eq!(value("cache_bytes"), ("2GB", "environment"));
    assert_eq!(value("seal_age_s"), ("1", "prunedb.toml"));
    assert_eq!(value("container_bytes"), ("100MB", "default"));
    // PRUNEDB_DIR names the folder, a flag goes before it
    let mut command = crate::common::clean_command();
    let by_environment =
        output(command.env("PRUNEDB_DIR", folder.dir()).args(["config", "--json"]));
    assert_eq!(by_environment.exits(0).json()["dir"], folder.dir().to_str().unwrap());
}

#[test]
fn unknown_keys_and_bad_values_are_refused_wherever_they_stand() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder
        .run(&["status", "--set", "cach_bytes=1"])
        .fails(&["`cach_bytes` is not a configuration key", "cache_bytes"]);
    folder.run(&["status", "--set", "policy=3+1"]).fails(&["`policy` (flag) was settled"]);
    folder.run(&["status", "--set", "threads=many"]).fails(&["threads (flag)"]);
    let unknown = output(folder.command(&["status"]).env("PRUNEDB_CACHE", "1"));
    unknown.fails(&["PRUNEDB_CACHE", "`cache` is not a configuration key"]);
    let path = folder.dir().join("prunedb.toml");
    let text = fs::read_to_string(&path).unwrap();
    for (line, says) in [
        ("polici = \"2+1\"", "`polici` is not a configuration key"),
        ("threads = 1.5", "`threads`: a float"),
        ("threads = ", "prunedb.toml: line"),
    ] {
        fs::write(&path, format!("{text}{line}\n")).unwrap();
        folder.run(&["status"]).fails(&["prunedb.toml", says]);
    }
    fs::remove_file(&path).unwrap();
    folder.run(&["status"]).fails(&["holds no database", "prunedb init", "--dir"]);
}

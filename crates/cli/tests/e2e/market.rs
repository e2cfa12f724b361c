//! The marketplace: the demo, and heavy and light nodes as processes of their own.

use crate::common::{Folder, Running, clean_command, output};
use std::{
    fs,
    time::{Duration, Instant},
};

#[test]
fn the_demo_rents_proves_pays_and_catches_who_lost_a_cell() {
    let folder = Folder::new();
    let temporary = folder.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = clean_command();
    let command = command.args(["demo", "--marketplace", "--cell", "64KiB", "--json"]);
    let report = output(command.env("TMPDIR", &temporary)).exits(0).json();
    assert_eq!(report["good"], true, "{report:#}");
    let claims = report["claims"].as_object().unwrap();
    assert!(claims.len() == 7 && claims.values().all(|holds| *holds == true), "{report:#}");
    let cells = report["cells"].as_array().unwrap();
    let hops: Vec<usize> = cells.iter().map(|c| c["hops"].as_array().unwrap().len()).collect();
    assert_eq!(hops, [1, 2, 3, 1, 1]);
    let proven: Vec<bool> = cells.iter().map(|c| c["epochs_proven"] == c["epochs"]).collect();
    assert_eq!(proven, [true, false, true, true, true], "{report:#}");
    assert_eq!(report["sum_before"], report["sum_after"]);
    assert_eq!(report["findings"].as_array().unwrap().len(), 0);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "it tidies up");
    let mut command = clean_command();
    output(command.args(["demo", "--marketplace", "--cell", "1GiB"])).fails(&["2 KiB to 256 MiB"]);
}

/// The word behind another one in what a process said.
fn said<'a>(running: &'a Running, before: &str) -> &'a str {
    let mut words = running.said.split_whitespace().skip_while(|word| *word != before);
    words.nth(1).unwrap_or_else(|| panic!("`{before}` is missing in {}", running.said))
}

/// Starts a participant with a folder of its own.
fn start(folder: &Folder, name: &str, args: &[&str]) -> Running {
    let mut command = clean_command();
    command.args(args).arg("--dir").arg(folder.path(name));
    Running::start(command, "ready")
}

fn key(folder: &Folder, name: &str) -> String {
    let mut command = clean_command();
    let asked = command.args(["light", "key", "--json", "--dir"]).arg(folder.path(name));
    output(asked).exits(0).json()["key"].as_str().unwrap().to_owned()
}

#[test]
fn heavy_and_light_nodes_are_processes_of_their_own() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let init = ["registry", "init", "--block-ms", "20", "--param", "permissioned=false"];
    folder.run(&[&init[..], &["--param", "epoch_heights=150"]].concat()).exits(0);
    let up = folder.up();
    let registry = up.said.lines().find_map(|l| l.strip_prefix("registry at ")).unwrap();
    for (name, amount) in [("heavy", "1"), ("light", "1"), ("owner", "1000")] {
        folder.run(&["account", "deposit", &key(&folder, name), amount]).exits(0);
    }
    let listen = ["--listen", "127.0.0.1:0", "--registry", registry];
    let run_heavy = ["heavy", "run", "--probe", "64KiB"];
    let heavy = start(&folder, "heavy", &[&run_heavy[..], &listen].concat());
    let address = &said(&heavy, "at").to_owned();
    let asked = ["--heavy", address, "--registry", registry];
    let run = ["light", "run", "--capacity", "64MiB", "--offer", "8MiB", "--price", "10"];
    let light = start(&folder, "light", &[&run[..], &listen[..2], &asked, &["--relayed"]].concat());
    let node = said(&light, "node");

    let content: Vec<u8> = (0..300_001_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let file = folder.file("shard.bin", &content);
    let owner = |args: &[&str]| {
        let mut command = clean_command();
        command.current_dir(folder.path(".")).args(args).args(asked);
        output(command.arg("--dir").arg(folder.path("owner")))
    };
    let rent = ["light", "rent", &file, "--json", "--price-max"];
    owner(&[&rent[..], &["9", "--epochs", "3"]].concat()).fails(&["nobody within reach"]);
    owner(&[&rent[..], &["10", "--epochs", "101"]].concat())
        .fails(&["the owner has 1000, the rent is 1010"]);
    let rented = owner(&[&rent[..], &["10", "--epochs", "50"]].concat()).exits(0).json();
    assert_eq!(format!("n{}", rented["holder"]), node);
    assert_eq!(rented["relayed"], true);
    let cell = rented["cell"].to_string();
    owner(&["light", "get", &cell, "again.bin"]).exits(0);
    assert_eq!(fs::read(folder.path("again.bin")).unwrap(), content);
    owner(&["light", "get", &cell, "again.bin"]).fails(&["cannot create"]);
    owner(&["light", "get", "77", "other.bin"]).fails(&["there is no contract of cell 77"]);
    // as if it had died before it knew the number
    let kept = |name: String| folder.path(&format!("owner/cells/{name}"));
    let pending = format!("{node}-{}.pending", rented["root"].as_str().unwrap());
    fs::rename(kept(format!("{cell}.contract")), kept(pending)).unwrap();
    owner(&["light", "get", &cell, "once-more.bin"]).exits(0);
    assert_eq!(fs::read(folder.path("once-more.bin")).unwrap(), content);
    assert!(fs::exists(kept(format!("{cell}.contract"))).unwrap());
    let begun = Instant::now();
    loop {
        let cells = owner(&["light", "cells", "--json"]).exits(0).json();
        if cells["cells"][0]["epochs_proven"].as_u64() >= Some(1) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no epoch is proven: {cells:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = folder.run(&["heavy", "status", address, "--json"]).exits(0).json();
    assert_eq!((&status["children"], &status["cells"]), (&1.into(), &1.into()));
    assert!(status["relayed_bytes"].as_u64() > Some(600_000), "{status:#}");
    // killed, and started again where it was: it shows what it had reported
    drop(heavy);
    let server = address.split('/').nth(2).unwrap();
    let again = ["--listen", server, "--registry", registry];
    let heavy = start(&folder, "heavy", &[&run_heavy[..], &again].concat());
    let check = ["heavy", "check", address, "--registry", registry, "--json"];
    let shown = folder.run(&[&check[..], &[&cell]].concat()).exits(0).json();
    assert_eq!(shown["good"], true, "{shown:#}");
    folder.run(&[&check[..], &["77"]].concat()).exits(1);
    owner(&["light", "end", &cell]).exits(0);
    owner(&["light", "end", &cell]).fails(&["there is no such cell"]);
    let mut leave = clean_command();
    leave.args(["light", "leave", "--registry", registry, "--dir"]).arg(folder.path("light"));
    output(&mut leave).exits(0);
    output(leave.arg("--json")).fails(&["no node with this key"]);
    for mut running in [light, heavy, up] {
        assert_eq!(running.interrupt(), 0);
    }
}

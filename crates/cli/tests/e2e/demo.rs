//! `prunedb demo`.

use crate::common::{Folder, clean_command, era1, output};
use std::fs;

#[test]
fn everything_comes_back_after_three_lost_nodes_and_a_damaged_disk() {
    let folder = Folder::new();
    let temporary = folder.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = clean_command();
    let report = output(command.args(["demo", "--json"]).env("TMPDIR", &temporary)).exits(0).json();
    assert_eq!((&report["good"], &report["identical"]), (&true.into(), &report["records"]));
    assert!(report["bytes_in"].as_u64() > Some(126_000_000), "{report}");
    assert!(report["containers"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["local_bytes_after_evict"], 0);
    assert_eq!(report["nodes_stopped"].as_array().unwrap().len(), 3);
    assert!(
        report["bytes_flipped"].as_u64() > Some(0) && report["ranges_rebuilt"].as_u64() > Some(0)
    );
    assert!(report["shards_rebuilt"].as_u64() > Some(0) && report["shards_bad"] == 0, "{report}");
    let direct = report["direct"]["nodes_per_read"].as_f64().unwrap();
    assert!((1.0..2.0).contains(&direct), "{report}");
    let overhead = report["overhead_on_coded"].as_f64().unwrap();
    assert!((0.25..0.35).contains(&overhead), "{report}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "it tidies up");
}

#[test]
fn real_files_go_through_and_the_database_stays_where_it_is_wanted() {
    let folder = Folder::new();
    let (name, bytes) = era1(0, 500, 1);
    folder.file(&name, &bytes);
    let told = folder.run(&["demo", "--from", &name]).exits(0);
    let text = told.text();
    assert!(
        text.contains("1 .era1 file bit-identical") && text.contains("records identical"),
        "{text}"
    );
    let status = folder.status();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 24);
    assert!(folder.dir().join("nodes/23").exists());
    folder.run(&["verify", "--deep"]).exits(0);
    folder.run(&["demo"]).fails(&["is not empty"]);
}

#[test]
fn bad_files_are_refused() {
    let folder = Folder::new();
    let (name, mut bytes) = era1(0, 20, 1);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    folder.file(&name, &bytes);
    folder.run(&["demo", "--from", &name]).fails(&[&name, "record "]);
}

//! `prunedb prove`, on small lakes: what it claims, not how fast.

use crate::common::{Folder, clean_command, output};
use serde_json::Value;
use std::fs;

/// Runs a point with six nodes at 3+2; its folder is gone afterwards.
fn prove(args: &str, code: Option<i32>) -> Value {
    let folder = Folder::new();
    let parent = folder.path("prove");
    let mut command = clean_command();
    command.arg("prove").args(args.split(' '));
    command.args(["--policy", "3+2", "--json", "--dir"]).arg(&parent);
    let done = output(&mut command);
    let done = match code {
        Some(code) => done.exits(code),
        None => done,
    };
    let proof = done.json();
    assert_eq!(done.code == 0, proof["holds"] == true, "{proof}");
    assert_eq!(fs::read_dir(&parent).unwrap().count(), 0, "it tidies up");
    proof
}

fn claims(proof: &Value) -> &[Value] {
    proof["claims"].as_array().unwrap()
}

#[test]
fn any_p_nodes_are_enough_and_one_fewer_is_an_error() {
    let proof = prove("lost-nodes --nodes 5 --size 5MB", Some(0));
    assert_eq!(claims(&proof).len(), 4, "{proof}");
    // more than q: the proof says that it does not hold
    let proof = prove("lost-nodes --nodes 5 --lose 3 --size 5MB", Some(1));
    assert!(claims(&proof)[1]["evidence"].as_str().unwrap().contains("cannot be read"), "{proof}");
}

#[test]
fn readers_read_while_the_writer_writes() {
    let proof = prove("readers --nodes 6 --readers 2 --size 5MB", Some(0));
    assert_eq!(claims(&proof).len(), 5, "{proof}");
}

#[test]
fn throughput_is_judged_by_what_is_asked_for() {
    prove("throughput --nodes 6 --size 5MB --at-least 0", Some(0));
    let proof = prove("throughput --nodes 6 --size 5MB --at-least 1e9", Some(1));
    let holds: Vec<bool> = claims(&proof).iter().map(|c| c["holds"] == true).collect();
    assert_eq!(holds, [false, true, true, true], "{proof}");
}

#[test]
fn disks_show_nothing() {
    let proof = prove("privacy --nodes 6 --size 3MB", Some(0));
    assert_eq!(claims(&proof).len(), 8, "{proof}");
}

#[test]
fn a_wiped_node_and_a_rotten_disk_are_healed() {
    let proof = prove("healing --nodes 6 --size 5MB", Some(0));
    assert_eq!(claims(&proof).len(), 7, "{proof}");
}

#[test]
fn reads_are_right_at_every_size() {
    // how long they take on a busy machine proves nothing: the other claims may fail here
    let proof = prove("size --nodes 6 --records 3000", None);
    assert_eq!((claims(&proof).len(), &claims(&proof)[0]["holds"]), (3, &true.into()), "{proof}");
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let refused = |args: &str, says: &[&str]| {
        let folder = Folder::new();
        let mut command = clean_command();
        command.arg("prove").args(args.split(' ')).arg("--dir").arg(folder.path("prove"));
        output(&mut command).fails(says);
    };
    refused("privacy --policy 16+4 --nodes 19", &["16+4 needs 20"]);
    refused("healing --size 1000000TB", &["do not fit", "--size"]);
    refused("lost-nodes --policy 2+1 --lose 3 --nodes 3", &["there are 3 nodes"]);
}

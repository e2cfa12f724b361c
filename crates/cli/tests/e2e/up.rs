//! `prunedb up`, and commands that talk to it.

use crate::common::{Folder, NETWORK, Running, era1, output, sha256};
use std::{fs, os::unix::net::UnixListener};

#[test]
fn commands_give_the_same_through_a_running_up() {
    let folder = Folder::with_local_nodes("4+2", 6);
    let (name, bytes) = era1(0, 200, 1);
    folder.file(&name, &bytes);
    let mut up = folder.up();
    assert!(up.said.contains("6 nodes in this process"), "{}", up.said);
    // a path as the caller means it
    folder.run(&["import", "ethereum", &name]).exits(0);
    folder.run(&["import", "ethereum", "absent.era1"]).fails(&["absent.era1"]);
    folder.run_with_stdin(&["kv", "put", "--table", "t", "key", "-"], &[7; 3_000_000]).exits(0);
    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.status()["local_data_bytes"], 0);
    assert!(folder.status()["nodes"].as_array().unwrap().iter().all(|n| n["state"] == "up"));

    let commands: [&[&str]; 6] = [
        &["get", "ethereum", "block", "77"],
        &["get", "ethereum", "receipts", "77", "--raw"],
        &["get", "ethereum", "block", "200"],
        &["kv", "get", "--table", "t", "key"],
        &["kv", "get", "--table", "t", "absent"],
        &["kv", "scan", "--table", &format!("ethereum/{NETWORK}/block"), "--limit", "3", "--json"],
    ];
    let through: Vec<_> = commands.iter().map(|args| folder.run(args)).collect();
    folder.run(&["export", "ethereum", "--epoch", "0", "--out", "out"]).exits(0);
    assert_eq!(sha256(&fs::read(folder.path("out").join(&name)).unwrap()), sha256(&bytes));

    assert_eq!(up.interrupt(), 0);
    assert!(!folder.dir().join("control.sock").exists());
    for (args, through) in commands.iter().zip(through) {
        let alone = folder.run(args);
        assert_eq!(
            (alone.code, alone.stdout, alone.stderr),
            (through.code, through.stdout, through.stderr)
        );
    }
}

#[test]
fn local_nodes_check_what_they_hold_while_up_runs() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder.run_with_stdin(&["kv", "put", "--table", "t", "key", "-"], &[7; 300_000]).exits(0);
    folder.run(&["evict"]).exits(0);
    let checked = || {
        let nodes = folder.status()["local_scrub"].as_array().unwrap().clone();
        nodes.iter().all(|n| n["rounds"].as_u64() > Some(0) || n["round_shards"].as_u64() > Some(0))
    };
    assert!(!checked(), "a command by itself does not");
    let mut up = folder.up();
    assert!((0..100).any(|_| checked()));
    assert_eq!(up.interrupt(), 0);
}

#[test]
fn a_socket_that_was_left_behind_is_ignored() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let mut up = folder.up();
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    up.kill();
    assert!(folder.dir().join("control.sock").exists());
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"v");
    // and the next `up` takes its place
    let mut up = folder.up();
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"v");
    assert_eq!(up.interrupt(), 0);
}

#[test]
fn a_folder_in_use_is_said_so() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let _up = folder.up();
    folder.run(&["up"]).fails(&["is in use by another process"]);
    folder.run(&["recover"]).fails(&["is in use by another process"]);
    // a process that has the folder and does not listen
    fs::remove_file(folder.dir().join("control.sock")).unwrap();
    folder.run(&["status"]).fails(&[
        folder.dir().to_str().unwrap(),
        "in use",
        "wait until it ends",
    ]);
}

#[test]
fn many_clients_at_once() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let _up = folder.up();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                for number in 0..5 {
                    let (key, value) =
                        (format!("{client}-{number}"), format!("value of {client}-{number}"));
                    folder.run(&["kv", "put", "--table", "t", &key, &value]).exits(0);
                    let got = folder.run(&["kv", "get", "--table", "t", &key]).exits(0);
                    assert_eq!(got.text(), value);
                }
            });
        }
    });
    assert_eq!(folder.status()["records"], 40);
}

#[test]
fn a_client_that_goes_away_stops_its_command_and_nothing_else() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 4000, 1);
    folder.file(&name, &bytes);
    let _up = folder.up();
    let mut client = folder.command(&["import", "ethereum", &name]).spawn().unwrap();
    // it is in its work when something of it is there
    while folder.status()["records"] == 0 {
        assert!(
            client.try_wait().unwrap().is_none(),
            "the import ended before anything was stored"
        );
    }
    client.kill().unwrap();
    client.wait().unwrap();
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    // it goes on where it stopped
    let imported = folder.json(&["import", "ethereum", &name]);
    assert_eq!(imported["blocks"], 4000);
    assert!(imported["blocks_stored"].as_u64() < Some(4000), "{imported}");
    folder.run(&["export", "ethereum", "--epoch", "0", "--out", "out"]).exits(0);
}

#[test]
fn a_path_that_is_too_long_for_a_socket_works_too() {
    let folder = Folder::new();
    let run = |args: &[&str]| {
        let mut command = crate::common::clean_command();
        command.arg("--dir").arg(folder.path(&"long".repeat(30))).args(args);
        command
    };
    output(&mut run(&["init", "--policy", "2+1", "--local", "3"])).exits(0);
    let mut up = Running::start(run(&["up"]), "ready");
    output(&mut run(&["kv", "put", "--table", "t", "key", "v"])).exits(0);
    output(&mut run(&["recover"])).fails(&["in use"]);
    assert_eq!(up.interrupt(), 0);
    let got = output(&mut run(&["kv", "get", "--table", "t", "key"])).exits(0);
    assert_eq!(got.stdout, b"v");
}

#[test]
fn another_protocol_on_the_socket_is_an_error_and_no_hang() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let listener = UnixListener::bind(folder.dir().join("control.sock")).unwrap();
    let answer = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    folder.run(&["status"]).fails(&["broke off"]);
    answer.join().unwrap();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder.run_with_stdin(&["kv", "put", "--table", "t", "key", "-"], &[b'x'; 2_000_000]).exits(0);
    let mut command = folder.command(&["kv", "get", "--table", "t", "key"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

//! `prunedb serve --reader`: instances that follow a lake, through redis clients and through commands.

use crate::{
    common::{Folder, NETWORK, Running, era1, sha256},
    nodes::Nodes,
    resp::{port, say, serve},
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Starts a reader on a folder that has nothing yet.
fn join(reader: &Folder, writer: &Folder, nodes: &[String]) -> Running {
    let secret = writer.dir().join("lake.secret");
    let secret = secret.to_str().unwrap();
    serve(
        reader,
        &["--reader", "--secret", secret, "--nodes", &nodes.join(","), "--set", "follow_ms=50"],
    )
}

/// Waits until a connection says this to a command.
#[track_caller]
fn comes(port: &str, command: &str, expected: &str) {
    let started = Instant::now();
    loop {
        let said = say(port, command);
        if said == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{command}: {said}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn gets(count: u32) -> (String, String) {
    let get = |n: u32| format!("GET key-{n}\r\n");
    let value = |n: u32| format!("${}\r\nvalue-{n}\r\n", format!("value-{n}").len());
    ((0..count).map(get).collect(), (0..count).map(value).collect())
}

#[test]
fn a_second_and_third_reader_answer_every_key_after_the_writer_evicted_its_own() {
    let mut nodes = Nodes::start(5);
    let (writer, second, third) = (Folder::new(), Folder::new(), Folder::new());
    writer.run(&["init", "--policy", "2+2", "--nodes", &nodes.list()]).exits(0);
    let (name, bytes) = era1(0, 100, 1);
    writer.file(&name, &bytes);
    writer.run(&["import", "ethereum", &name]).exits(0);
    let up = serve(&writer, &[]);
    let puts: String = (0..500).map(|n| format!("SET key-{n} value-{n}\r\n")).collect();
    assert_eq!(say(&port(&up), &puts), "+OK\r\n".repeat(500));
    writer.run(&["evict"]).exits(0);
    assert_eq!(writer.status()["local_data_bytes"], 0);

    // any q+1 nodes are enough to begin with
    let readers = [
        (&second, join(&second, &writer, &nodes.addresses)),
        (&third, join(&third, &writer, &nodes.addresses[2..])),
    ];
    assert!(readers[0].1.said.contains("reader of lake"), "{}", readers[0].1.said);
    let (commands, values) = gets(500);
    thread::scope(|scope| {
        for (folder, reader) in &readers {
            let (port, commands, values, writer) = (port(reader), &commands, &values, &writer);
            scope.spawn(move || {
                assert_eq!(&say(&port, commands), values);
                assert!(say(&port, "SET key v\r\n").starts_with("-READONLY this is a reader"));
                assert!(say(&port, "INFO prunedb\r\n").contains("\r\nnodes_needed:3\r\n"));
                assert!(
                    say(&port, "INFO replication\r\n")
                        .contains("role:slave\r\nmaster_link_status:up")
                );
                // commands talk to it, too
                folder.run(&["export", "ethereum", "--epoch", "0", "--out", "out"]).exits(0);
                let table = format!("ethereum/{NETWORK}/block");
                folder.run(&["kv", "get", "--table", &table, "77"]).exits(0);
                folder
                    .run(&["kv", "put", "--table", "default", "key", "v"])
                    .fails(&["this is a reader"]);
                let status = folder.status();
                assert_eq!(status["records"], writer.status()["records"]);
                assert_eq!(status["reader"]["failure"], serde_json::Value::Null);
                assert!(status["reader"]["confirmed_s_ago"].as_f64() < Some(60.0));
            });
        }
    });
    for folder in [&second, &third] {
        assert_eq!(sha256(&fs::read(folder.path("out").join(&name)).unwrap()), sha256(&bytes));
    }

    // the writer goes on, with a node less, and the readers follow
    nodes.running[0].kill();
    assert_eq!(say(&port(&up), "SET late v\r\n"), "+OK\r\n");
    assert_eq!(say(&port(&readers[0].1), "GET late\r\n"), "$-1\r\n");
    writer.run(&["evict"]).exits(0);
    for (_, reader) in &readers {
        comes(&port(reader), "GET late\r\n", "$1\r\nv\r\n");
    }
    // with too few nodes they serve what they have, and say so
    nodes.running[1].kill();
    nodes.running[2].kill();
    let stalled = Instant::now();
    while second.status()["reader"]["failure"].is_null() {
        assert!(stalled.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(say(&port(&readers[0].1), &commands), values);
}

#[test]
fn a_reader_goes_on_and_is_made_anew() {
    let nodes = Nodes::start(3);
    let (writer, reader) = (Folder::new(), Folder::new());
    writer.run(&["init", "--policy", "2+1", "--nodes", &nodes.list()]).exits(0);
    reader.run(&["serve", "--reader"]).fails(&["name the lake's nodes with --nodes"]);
    let secret = writer.dir().join("lake.secret");
    let secret = secret.to_str().unwrap().to_owned();
    let list = nodes.list();
    let join_args = ["serve", "--reader", "--secret", &secret, "--nodes", &list];
    reader.run(&join_args).fails(&["nothing was offloaded yet"]);
    writer.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    writer.run(&["evict"]).exits(0);
    let mut up = join(&reader, &writer, &nodes.addresses);
    assert_eq!(up.interrupt(), 0);
    // from now on the folder knows what it is
    let get = ["kv", "get", "--table", "t"];
    let read = |key: &str| reader.run(&[&get[..], &[key]].concat());
    assert_eq!(read("key").exits(0).stdout, b"v");
    writer.run(&["kv", "put", "--table", "t", "new", "w"]).exits(0);
    read("new").exits(1);
    writer.run(&["evict"]).exits(0);
    assert_eq!(read("new").exits(0).stdout, b"w");
    for args in
        [&["kv", "put", "--table", "t", "k", "v"][..], &["kv", "put", "--table", "u", "k", "v"]]
    {
        reader.run(args).fails(&["this is a reader"]);
    }
    reader.run(&join_args).fails(&["has the nodes already"]);
    reader.run(&["recover"]).fails(&["is a reader's"]);
    writer.run(&["serve", "--reader"]).fails(&["is a writer's"]);
    writer.run(&["serve", "--nodes", &list]).fails(&["--reader"]);
    for folder in ["data", "metadata"] {
        fs::remove_dir_all(reader.dir().join(folder)).unwrap();
    }
    assert_eq!(read("new").exits(0).stdout, b"w");
    let up = serve(&reader, &["--reader"]);
    assert_eq!(say(&port(&up), "SELECT t\r\nGET key\r\n"), "+OK\r\n$1\r\nv\r\n");
    // the writer was never disturbed
    writer.run(&["kv", "put", "--table", "t", "more", "x"]).exits(0);
    writer.run(&["evict"]).exits(0);
    let (term, since) = (writer.status()["term"].clone(), Instant::now());
    while reader.status()["term"] != term {
        assert!(since.elapsed() < Duration::from_secs(60), "the reader does not follow");
        thread::sleep(Duration::from_millis(50));
    }
}

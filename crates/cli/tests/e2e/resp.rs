//! The door for redis clients. What needs redis's own tools is skipped, by name, where they are not installed.

use crate::common::{Folder, Running};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

/// The port of a running `up` or `serve`.
pub(crate) fn port(running: &Running) -> String {
    let line = running.said.lines().find_map(|line| line.strip_prefix("redis clients at "));
    line.unwrap().rsplit_once(':').unwrap().1.to_owned()
}

pub(crate) fn serve(folder: &Folder, args: &[&str]) -> Running {
    let args: Vec<&str> = ["serve", "--resp", "127.0.0.1:0"].iter().chain(args).copied().collect();
    Running::start(folder.command(&args), "ready")
}

/// One of redis's tools; `None`, and a line that says so, where it is not installed.
fn tool(name: &str, test: &str, port: &str) -> Option<Command> {
    let there = Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("{test}: skipped, {name} is not installed (Debian: redis-tools)");
        return None;
    }
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-p", port]).stdin(Stdio::null());
    Some(command)
}

/// Runs it to a good end; gives its output.
#[track_caller]
fn run(mut command: Command, args: &[&str], stdin: &[u8]) -> String {
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What a connection says to some inline commands.
pub(crate) fn say(port: &str, commands: &str) -> String {
    let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    socket.write_all(commands.as_bytes()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn redis_clients_and_commands_see_the_same() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let mut up = Running::start(folder.command(&["up", "--resp", "127.0.0.1:0"]), "ready");
    let port = port(&up);
    assert_eq!(say(&port, "SET key value\r\nGET key\r\n"), "+OK\r\n$5\r\nvalue\r\n");
    let get = ["kv", "get", "--table", "default", "key"];
    assert_eq!(folder.run(&get).exits(0).stdout, b"value");
    folder.run(&["kv", "put", "--table", "heights", "--sequence", "5", "five"]).exits(0);
    assert_eq!(say(&port, "SELECT heights\r\nGET 5\r\n"), "+OK\r\n$4\r\nfive\r\n");
    // out of the lake, too
    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.status()["local_data_bytes"], 0);
    assert_eq!(say(&port, "GET key\r\n"), "$5\r\nvalue\r\n");
    let taken = format!("127.0.0.1:{port}");
    let other = Folder::with_local_nodes("2+1", 3);
    other.run(&["serve", "--resp", &taken]).fails(&["cannot listen on", &taken]);
    assert_eq!(up.interrupt(), 0);
    assert!(TcpStream::connect(taken).is_err());
    assert_eq!(folder.run(&get).exits(0).stdout, b"value");
}

#[test]
fn what_was_answered_outlives_the_process() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let mut up = serve(&folder, &[]);
    let puts: String = (0..500).map(|n| format!("SET key-{n} value-{n}\r\n")).collect();
    assert_eq!(say(&port(&up), &puts), "+OK\r\n".repeat(500));
    up.kill();
    let up = serve(&folder, &[]);
    let gets: String = (0..500).map(|n| format!("GET key-{n}\r\n")).collect();
    let said = say(&port(&up), &gets);
    for n in 0..500 {
        assert!(said.contains(&format!("\r\nvalue-{n}\r\n")), "{n}");
    }
}

#[test]
fn redis_cli_works() {
    let test = "redis_cli_works";
    let folder = Folder::with_local_nodes("2+1", 3);
    let up = serve(&folder, &[]);
    let port = port(&up);
    if tool("redis-cli", test, &port).is_none() {
        return;
    }
    let cli = |args: &[&str], stdin: &str| {
        run(tool("redis-cli", test, &port).unwrap(), args, stdin.as_bytes())
    };
    assert_eq!(cli(&["PING"], ""), "PONG\n");
    assert_eq!(cli(&["SET", "key", "value"], ""), "OK\n");
    assert_eq!(cli(&["-n", "1", "GET", "key"], ""), "value\n");
    assert_eq!(cli(&[], "MSET a 1 b 2\nMGET a b\nEXISTS a b c\n"), "OK\n1\n2\n2\n");
    assert!(cli(&["DEL", "key"], "").contains("history is immutable"));
    assert_eq!(cli(&["--scan", "--pattern", "?"], ""), "a\nb\n");
    assert_eq!(cli(&["DBSIZE"], ""), "3\n");
    assert!(cli(&["INFO", "server"], "").contains("redis_version:7"));
    assert_eq!(cli(&["-x", "SET", "stdin"], "from stdin"), "OK\n");
    // mass insertion
    let pipe: String = (0..1000).map(|n| format!("SET piped-{n} {n}\r\n")).collect();
    let said = cli(&["--pipe"], &pipe);
    assert!(said.contains("errors: 0, replies: 1000"), "{said}");
    assert_eq!(cli(&["GET", "piped-999"], ""), "999\n");
    // RESP3 is declined, and the client goes on
    assert_eq!(cli(&["-3", "GET", "key"], "").lines().last(), Some("value"));
}

#[test]
fn redis_benchmark_works() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let up = serve(&folder, &[]);
    let port = port(&up);
    let Some(benchmark) = tool("redis-benchmark", "redis_benchmark_works", &port) else { return };
    let args = [
        "-t",
        "set,get,mset,ping",
        "-P",
        "16",
        "-c",
        "8",
        "-d",
        "1024",
        "-n",
        "4000",
        "-r",
        "100000",
        "-q",
    ];
    let said = run(benchmark, &args, b"");
    for measured in ["SET:", "GET:", "MSET (10 keys):", "PING_INLINE:"] {
        assert!(said.contains(measured), "{measured} is missing in {said}");
    }
    assert!(!said.contains("Error"), "{said}");
    assert_eq!(folder.status()["records"], 4000 + 4000 * 10);
}

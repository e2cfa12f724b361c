//! Clients that send nonsense, too much, too slowly, or read nothing.

use crate::support::{Client, World, bulk, request};
use proptest::prelude::*;
use prunedb_wire::Reply;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The server is well.
fn works(world: &World) {
    assert_eq!(world.client().call(&["ECHO", "hi"]), bulk("hi"));
}

#[test]
fn any_bytes_are_answered_or_refused() {
    let world = World::with(|config| config.stall_timeout = Duration::from_millis(200));
    let nonsense = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "[*$0-9\r\n -]{0,60}".prop_map(String::into_bytes),
        proptest::collection::vec(
            proptest::sample::select(
                &[
                    "*2\r\n",
                    "$3\r\n",
                    "GET\r\n",
                    "SET ",
                    "*1\r\n",
                    "SCAN 0\r\n",
                    "\"",
                    "\n",
                    "$-1\r\n",
                    "INFO\r\n"
                ][..]
            ),
            0..20
        )
        .prop_map(|parts| parts.concat().into_bytes()),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    runner
        .run(&nonsense, |bytes| {
            let mut socket = TcpStream::connect(world.address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            // it may be refused before all of it is sent
            _ = socket.write_all(&bytes);
            _ = socket.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            if socket.read_to_end(&mut said).is_ok() {
                prop_assert!(said.is_empty() || b"+-:$*".contains(&said[0]));
            }
            Ok(())
        })
        .unwrap();
    works(&world);
}

#[track_caller]
fn ends_with_error(mut c: Client, says: &str) {
    match c.answer() {
        Some(Reply::Error(text)) => {
            assert!(String::from_utf8_lossy(&text).contains(says), "{text:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(c.answer(), None);
}

#[test]
fn what_is_over_a_limit_is_refused_before_it_comes() {
    let world = World::new();
    for (bytes, says) in [
        (&b"*2\r\n$3\r\nGET\r\n$99999999999\r\n"[..], "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$67108865\r\n", "invalid bulk length"),
        (b"*99999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*0\r\n", "at least one argument"),
        (b"*1\r\n:1\r\n", "expected '$'"),
    ] {
        let mut c = world.client();
        c.send(bytes);
        ends_with_error(c, says);
    }
    let mut c = world.client();
    c.send(&[b'a'; 16 << 10]);
    ends_with_error(c, "a line longer");
    // what a browser can be made to send runs nothing
    let mut c = world.client();
    c.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a evil\r\n");
    assert_eq!(c.answer(), None);
    assert_eq!(world.client().call(&["GET", "a"]), Reply::Nil);
    works(&world);
}

#[test]
fn who_is_too_slow_is_cut_off_and_nobody_else() {
    let world = World::with(|config| {
        config.stall_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(400);
        config.answer_bytes_max = 1 << 20;
        config.request_bytes_max = 1 << 20;
    });
    let value = "v".repeat(4 << 20);
    assert_eq!(world.client().call(&["SET", "long", &value]), Reply::OK);
    // half a request, nothing at all, and answers that nobody reads
    let mut half = world.client();
    half.send(b"*2\r\n$3\r\nGET\r\n$1048576\r\nabc");
    let mut idle = world.client();
    let mut deaf = world.client();
    for _ in 0..20 {
        deaf.send(&request(&["GET", "long"]));
    }
    works(&world);
    assert_eq!(half.answer(), None);
    assert_eq!(idle.answer(), None);
    // the room that they took is free again
    let mut c = world.client();
    assert_eq!(c.call(&["GET", "long"]), bulk(&value));
    assert_eq!(c.call(&["SET", "again", &value]), Reply::OK);
    drop(deaf);
}

#[test]
fn too_many_connections_are_told_so() {
    let world = World::with(|config| config.connections_max = 3);
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    clients.iter_mut().for_each(|c| assert_eq!(c.call(&["ECHO", "x"]), bulk("x")));
    ends_with_error(world.client(), "max number of clients");
    clients.pop();
    // the server notices soon
    let answered = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let mut c = world.client();
        c.send(&request(&["ECHO", "x"]));
        c.answer() == Some(bulk("x"))
    });
    assert!(answered);
}

#[test]
fn a_server_that_stops_lets_the_database_go() {
    let mut world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["SET", "a", "1"]), Reply::OK);
    world.stop();
    assert_eq!(c.answer(), None);
    assert!(TcpStream::connect(world.address).is_err());
    assert_eq!(world.db.table_records().unwrap()[0].records, 1);
}

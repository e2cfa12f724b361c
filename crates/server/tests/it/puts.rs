//! Puts: durable when they are answered, together where they came together, and never changed.

use crate::support::{World, bulk, request};
use bytes::BytesMut;
use prunedb_wire::Reply;
use std::thread;

fn pipeline(count: usize, change: impl Fn(usize) -> Vec<String>) -> BytesMut {
    let mut out = BytesMut::new();
    for n in 0..count {
        let command = change(n);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        out.extend(request(&command));
    }
    out
}

#[test]
fn puts_of_a_pipeline_share_a_sync() {
    let world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["SET", "first", "v"]), Reply::OK);
    let before = world.disk.operations();
    c.send(&pipeline(200, |n| vec!["SET".into(), format!("key-{n}"), "value".into()]));
    for _ in 0..200 {
        assert_eq!(c.answer(), Some(Reply::OK));
    }
    // a write and a sync for each group; the bytes may come in a few pieces
    let together = world.disk.operations() - before;
    assert!(together < 50, "{together} operations for 200 puts");
    let before = world.disk.operations();
    for n in 0..50 {
        c.call(&["SET", &format!("single-{n}"), "value"]);
    }
    let singles = world.disk.operations() - before;
    assert!(singles >= 100, "{singles} operations for 50 puts one by one");
    // power is lost: what was answered is there
    let crashed = world.disk.crashed(prunedb_disk::faulty::Unsynced::Lost);
    assert!(crashed.paths().len() > 2);
    let active = crashed.paths().into_iter().find(|p| p.to_string_lossy().ends_with(".active"));
    let bytes = crashed.file(active.unwrap());
    for key in ["key-0", "key-199", "single-49"] {
        assert!(bytes.windows(key.len()).any(|w| w == key.as_bytes()), "{key}");
    }
}

#[test]
fn a_read_sees_the_puts_in_front_of_it() {
    let world = World::new();
    let mut c = world.client();
    c.send(&pipeline(100, |n| match n % 4 {
        0 => vec!["SET".into(), format!("k{n}"), format!("v{n}")],
        1 => vec!["GET".into(), format!("k{}", n - 1)],
        2 => vec!["SETNX".into(), format!("k{n}"), format!("v{n}")],
        _ => vec!["EXISTS".into(), format!("k{}", n - 1), format!("k{}", n - 3)],
    }));
    for n in 0..100 {
        let expected = match n % 4 {
            0 => Reply::OK,
            1 => bulk(&format!("v{}", n - 1)),
            2 => Reply::Integer(1),
            _ => Reply::Integer(2),
        };
        assert_eq!(c.answer(), Some(expected), "{n}");
    }
}

#[test]
fn a_put_that_is_not_durable_is_no_ok() {
    let world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["SET", "safe", "v"]), Reply::OK);
    world.disk.set_faults(|faults| faults.syncs = 1);
    c.send(&pipeline(10, |n| vec!["SET".into(), format!("k{n}"), "v".into()]));
    for n in 0..10 {
        let answer = c.answer().unwrap();
        assert!(matches!(answer, Reply::Error(_)), "{n}: {answer:?}");
    }
    // the writer has stopped, reading goes on
    c.refused(&["SET", "more", "v"], "writing stopped");
    assert_eq!(c.call(&["GET", "safe"]), bulk("v"));
    assert_eq!(c.call(&["GET", "k0"]), Reply::Nil);
}

#[test]
fn the_first_value_of_a_key_stays() {
    let world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["SET", "k", "first"]), Reply::OK);
    // a plain put does not look
    assert_eq!(c.call(&["SET", "k", "second"]), Reply::OK);
    assert_eq!(c.call(&["GET", "k"]), bulk("first"));
    // one that looks says which of the two it is
    assert_eq!(c.call(&["SET", "k", "first", "NX"]), Reply::Nil);
    assert_eq!(c.call(&["SETNX", "k", "first"]), Reply::Integer(0));
    c.refused(&["SET", "k", "second", "NX"], "stored already with another value");
    assert_eq!(c.call(&["SET", "new", "v", "NX"]), Reply::OK);
    // in one pipeline, too
    c.send(&pipeline(3, |n| {
        vec!["SET".into(), "p".into(), ["a", "a", "b"][n].into(), "NX".into()]
    }));
    assert_eq!(c.answer(), Some(Reply::OK));
    assert_eq!(c.answer(), Some(Reply::Nil));
    assert!(matches!(c.answer(), Some(Reply::Error(_))));
}

#[test]
fn of_many_clients_that_look_first_one_puts() {
    let world = World::new();
    let won: Vec<(usize, usize)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let world = &world;
                scope.spawn(move || {
                    let mut c = world.client();
                    c.send(&pipeline(40, |n| {
                        vec!["SET".into(), format!("k{n}"), format!("v{client}"), "NX".into()]
                    }));
                    let answers = (0..40).map(|n| (n, c.answer().unwrap()));
                    let won: Vec<_> = answers.filter(|(_, a)| *a == Reply::OK).collect();
                    won.into_iter().map(|(n, _)| (n, client)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 40, "{won:?}");
    let mut c = world.client();
    for (n, client) in won {
        assert_eq!(c.call(&["GET", &format!("k{n}")]), bulk(&format!("v{client}")));
    }
}

#[test]
fn puts_of_one_command_are_one_put() {
    let world = World::new();
    let mut c = world.client();
    c.refused(&["MSET", "a", "1", "", "2"], "1 to 1,024 bytes");
    assert_eq!(c.call(&["GET", "a"]), Reply::Nil, "all or nothing");
    let value = "v".repeat(1 << 20);
    assert_eq!(c.call(&["SET", "long", &value]), Reply::OK);
    assert_eq!(c.call(&["STRLEN", "long"]), Reply::Integer(1 << 20));
    assert_eq!(c.call(&["GET", "long"]), bulk(&value));
}

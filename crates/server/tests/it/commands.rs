//! What each command answers.

use crate::support::{Client, World, bulk, bulks, request, simple};
use prunedb_engine::TableKind;
use prunedb_wire::Reply;

#[test]
fn reads_and_what_clients_ask_when_they_connect() {
    let world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["PING"]), simple("PONG"));
    assert_eq!(c.call(&["ping", "x"]), bulk("x"));
    assert_eq!(c.call(&["ECHO", "hi"]), bulk("hi"));
    // nothing is created by reading
    assert_eq!(c.call(&["GET", "a"]), Reply::Nil);
    assert!(scan(&mut c, &[]).is_empty());
    assert_eq!(c.call(&["DBSIZE"]), Reply::Integer(0));
    assert!(world.db.tables().is_empty());

    assert_eq!(c.call(&["SET", "a", "one"]), Reply::OK);
    assert_eq!(c.call(&["MSET", "b", "two", "c", "three"]), Reply::OK);
    assert_eq!(c.call(&["GET", "a"]), bulk("one"));
    let many = Reply::Array(vec![bulk("three"), Reply::Nil, bulk("one")]);
    c.send(&request(&["MGET", "c", "x", "a"]));
    assert_eq!(c.answer(), Some(many));
    assert_eq!(c.call(&["EXISTS", "a", "x", "b", "a"]), Reply::Integer(3));
    assert_eq!(c.call(&["TYPE", "a"]), simple("string"));
    assert_eq!(c.call(&["TYPE", "x"]), simple("none"));
    assert_eq!(c.call(&["STRLEN", "c"]), Reply::Integer(5));
    assert_eq!(c.call(&["TTL", "a"]), Reply::Integer(-1));
    assert_eq!(c.call(&["PTTL", "x"]), Reply::Integer(-2));
    assert_eq!(c.call(&["DBSIZE"]), Reply::Integer(3));

    let settings = bulks(&["appendfsync", "always", "appendonly", "yes", "save", ""]);
    assert_eq!(c.call(&["CONFIG", "GET", "save", "append*"]), settings);
    assert_eq!(c.call(&["COMMAND", "DOCS"]), Reply::Array(vec![]));
    assert_eq!(c.call(&["CLIENT", "SETINFO", "LIB-NAME", "x"]), Reply::OK);
    assert_eq!(c.call(&["CLIENT", "GETNAME"]), Reply::Nil);
    assert_eq!(c.call(&["CLIENT", "SETNAME", "me"]), Reply::OK);
    assert_eq!(c.call(&["CLIENT", "GETNAME"]), bulk("me"));
    c.refused(&["CLIENT", "SETNAME", "a b"], "blanks");
    c.refused(&["HELLO", "3"], "NOPROTO");
    assert!(matches!(c.call(&["CLIENT", "ID"]), Reply::Integer(1)));
    c.send(&request(&["HELLO", "2", "SETNAME", "you"]));
    // in one piece: a PING that came after the end would be answered with a reset
    c.send(&[request(&["QUIT"]), request(&["PING"])].concat());
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut c.socket, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("prunedb") && said.ends_with("+OK\r\n"), "{said}");
}

#[test]
fn info_has_the_sections_of_redis() {
    let world = World::new();
    let mut c = world.client();
    c.call(&["SET", "a", "one"]);
    let Reply::Bulk(text) = c.call(&["INFO"]) else { panic!() };
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "# Server",
        "redis_version:7.0.0",
        "connected_clients:1",
        "total_commands_processed:2",
        "role:master",
        "# PruneDB",
        "table1:name=default,kind=keyed",
        "db1:keys=1,expires=0,avg_ttl=0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in {text}");
    }
    let Reply::Bulk(text) = c.call(&["INFO", "Keyspace"]) else { panic!() };
    assert_eq!(text, "# Keyspace\r\ndb1:keys=1,expires=0,avg_ttl=0\r\n");
}

#[test]
fn what_would_change_history_is_refused() {
    let world = World::new();
    let mut c = world.client();
    c.call(&["SET", "a", "1"]);
    for command in [
        &["DEL", "a"][..],
        &["UNLINK", "a"],
        &["FLUSHALL"],
        &["EXPIRE", "a", "1"],
        &["SET", "a", "2", "EX", "10"],
        &["GETSET", "a", "2"],
        &["INCR", "a"],
        &["APPEND", "a", "x"],
        &["RENAME", "a", "b"],
    ] {
        c.refused(command, "history is immutable");
    }
    c.refused(&["KEYS", "*"], "use SCAN");
    c.refused(&["FROB"], "unknown command 'FROB'");
    c.refused(&["GET"], "wrong number of arguments for 'get'");
    c.refused(&["SET", "", "v"], "1 to 1,024 bytes");
    c.refused(&["SET", &"k".repeat(1025), "v"], "1 to 1,024 bytes");
    assert_eq!(c.call(&["GET", "a"]), bulk("1"));
}

/// All keys of a whole scan.
fn scan(c: &mut Client, options: &[&str]) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let mut command = vec!["SCAN", &cursor];
        command.extend(options);
        c.send(&request(&command));
        let reply = c.answer_nested();
        let [Reply::Bulk(next), Reply::Array(page)] = &reply[..] else { panic!("{reply:?}") };
        cursor = String::from_utf8(next.to_vec()).unwrap();
        for key in page {
            let Reply::Bulk(key) = key else { panic!("{key:?}") };
            keys.push(String::from_utf8(key.to_vec()).unwrap());
        }
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn a_scan_gives_every_key_once_in_the_order_of_insertion() {
    let world = World::new();
    let mut c = world.client();
    let keys: Vec<String> = (0..50).map(|n| format!("key-{}", (n * 37) % 101)).collect();
    for key in keys.iter().chain(&keys[..5]) {
        assert_eq!(c.call(&["SET", key, "v"]), Reply::OK);
    }
    for count in ["1", "7", "50", "1000000"] {
        assert_eq!(scan(&mut c, &["COUNT", count]), keys);
    }
    let fives: Vec<String> = keys.iter().filter(|k| k.ends_with('5')).cloned().collect();
    assert_eq!(scan(&mut c, &["MATCH", "key-*5", "COUNT", "3"]), fives);
    assert_eq!(scan(&mut c, &["TYPE", "string"]).len(), 50);
    assert!(scan(&mut c, &["TYPE", "hash"]).is_empty());
    c.refused(&["SCAN", "x"], "invalid cursor");
    // any number is a cursor: what it leads to is a place behind it, or the end
    c.send(&request(&["SCAN", "18446744073709551615"]));
    assert_eq!(c.answer_nested(), [bulk("0"), Reply::Array(vec![])]);
}

#[test]
fn tables_are_selected_by_number_and_by_name() {
    let world = World::new();
    let mut c = world.client();
    c.refused(&["SELECT", "1"], "no table has this number");
    assert_eq!(c.call(&["SET", "k", "in default"]), Reply::OK);
    assert_eq!(c.call(&["SELECT", "other"]), Reply::OK);
    assert_eq!(c.call(&["GET", "k"]), Reply::Nil);
    assert_eq!(world.db.tables().len(), 1, "created by the first put");
    assert_eq!(c.call(&["SET", "k", "in other"]), Reply::OK);
    for (table, value) in [("0", "in default"), ("2", "in other"), ("1", "in default")] {
        assert_eq!(c.call(&["SELECT", table]), Reply::OK);
        assert_eq!(c.call(&["GET", "k"]), bulk(value));
    }
    c.call(&["SELECT", "no/such name!"]);
    c.refused(&["SET", "k", "v"], "cannot name a table");
    // a pipeline's puts go where they belong
    let mut pipeline = request(&["SELECT", "a"]);
    pipeline.extend(request(&["SET", "k", "1"]));
    pipeline.extend(request(&["SELECT", "b"]));
    pipeline.extend(request(&["SET", "k", "2"]));
    pipeline.extend(request(&["GET", "k"]));
    pipeline.extend(request(&["SELECT", "a"]));
    pipeline.extend(request(&["GET", "k"]));
    c.send(&pipeline);
    let answers: Vec<Reply> = (0..7).map(|_| c.answer().unwrap()).collect();
    assert_eq!((&answers[4], &answers[6]), (&bulk("2"), &bulk("1")));
}

#[test]
fn a_sequence_has_numbers_as_keys() {
    let world = World::new();
    let mut c = world.client();
    assert_eq!(c.call(&["PDB.TABLE", "blocks", "SEQUENCE"]), Reply::OK);
    c.refused(&["PDB.TABLE", "blocks", "KEYED"], "sequence");
    assert_eq!(c.call(&["SET", "7", "seven"]), Reply::OK);
    assert_eq!(c.call(&["SET", "18446744073709551615", "last"]), Reply::OK);
    c.refused(&["SET", "x", "v"], "whole numbers");
    c.refused(&["SET", "07", "v"], "whole numbers");
    c.refused(&["GET", "-1"], "whole numbers");
    assert_eq!(c.call(&["GET", "7"]), bulk("seven"));
    assert_eq!(c.call(&["GET", "8"]), Reply::Nil);
    assert_eq!(scan(&mut c, &[]), ["7", "18446744073709551615"]);
    let table = world.db.table("blocks").unwrap();
    assert_eq!(table.kind(), TableKind::Sequence);
    assert_eq!(world.db.range(&table, 7, 1).unwrap(), [(7, b"seven".to_vec())]);
}

#[test]
fn people_can_type_commands() {
    let world = World::new();
    let mut c = world.client();
    c.send(b"\r\nPING\r\nset \"a key\" 'a value'\nGET \"a\\x20key\"\r\n");
    assert_eq!(c.answer(), Some(simple("PONG")));
    assert_eq!(c.answer(), Some(Reply::OK));
    assert_eq!(c.answer(), Some(bulk("a value")));
    c.send(b"GET \"a key\r\n");
    assert!(
        matches!(c.answer(), Some(Reply::Error(text)) if text.ends_with(b"unbalanced quotes in request"))
    );
    assert_eq!(c.answer(), None);
}

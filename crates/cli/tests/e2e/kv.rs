//! `prunedb kv`.

use crate::common::Folder;

#[test]
fn records_of_any_bytes_come_back_from_disk_and_from_the_lake() {
    let folder = Folder::with_local_nodes("4+2", 6);
    let blob: Vec<u8> =
        (0..300_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    // stdin is empty
    folder.run(&["kv", "put", "--table", "a/blobs", "0x00ff", "-"]).exits(0);
    folder.run_with_stdin(&["kv", "put", "--table", "a/blobs", "blob", "-"], &blob).exits(0);
    folder.run(&["kv", "put", "--table", "a/blobs", "text", "hello"]).exits(0);
    folder.run(&["kv", "put", "--table", "a/blobs", "hex", "0x0001ff"]).exits(0);
    let check = || {
        let get = |key: &str| folder.run(&["kv", "get", "--table", "a/blobs", key]).exits(0).stdout;
        assert_eq!(get("blob"), blob);
        assert_eq!(get("text"), b"hello");
        assert_eq!(get("0x74657874"), b"hello", "a key is bytes, however it is written");
        assert_eq!(get("hex"), [0, 1, 255]);
        assert_eq!(get("0x00ff"), b"");
    };
    check();
    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.status()["local_data_bytes"], 0);
    let read = folder.json(&["kv", "get", "--table", "a/blobs", "text"]);
    assert_eq!(read["value"], "hello");
    assert_eq!(read["asked"].as_array().unwrap().len(), 1, "{read}");
    check();
    // the index, too
    let evicted = folder.json(&["evict", "--index"]);
    assert!(evicted["index_bytes"].as_u64().unwrap() > 0, "{evicted}");
    check();
    assert!(folder.run(&["evict", "--index"]).exits(0).text().contains("0 B of index dropped"));
}

#[test]
fn a_key_is_written_once() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let put = |value: &str| folder.run(&["kv", "put", "--table", "t", "key", value]);
    assert_eq!(put("one").exits(0).stderr, "");
    assert!(put("one").exits(0).stderr.contains("stored before"));
    assert!(put("two").exits(1).stderr.contains("write once"));
    assert_eq!(folder.run(&["kv", "get", "--table", "t", "key"]).exits(0).stdout, b"one");
    assert_eq!(folder.status()["records"], 1);
}

#[test]
fn what_is_absent_is_no_and_not_an_error() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    assert!(
        folder
            .run(&["kv", "get", "--table", "t", "other"])
            .exits(1)
            .stderr
            .contains("has no key other")
    );
    assert!(
        folder.run(&["kv", "get", "--table", "u", "key"]).exits(1).stderr.contains("no table `u`")
    );
    folder.run(&["kv", "scan", "--table", "u"]).exits(1);
    folder.run(&["explain", "nowhere"]).exits(1);
}

#[test]
fn scans_go_on_where_they_stopped() {
    let folder = Folder::with_local_nodes("2+1", 3);
    for key in ["b", "a", "c"] {
        folder.run(&["kv", "put", "--table", "keyed", key, "v"]).exits(0);
    }
    for position in ["30", "10", "20"] {
        folder.run(&["kv", "put", "--table", "numbers", "--sequence", position, "v"]).exits(0);
    }
    // the first scans read this disk, the second ones the lake
    for _ in 0..2 {
        for (table, order) in [("keyed", ["b", "a", "c"]), ("numbers", ["10", "20", "30"])] {
            let (mut found, mut from) = (Vec::new(), None::<String>);
            loop {
                let mut args = vec!["kv", "scan", "--table", table, "--limit", "2"];
                if let Some(from) = &from {
                    args.extend(["--from", from]);
                }
                let scan = folder.json(&args);
                let entries = scan["entries"].as_array().unwrap();
                found.extend(entries.iter().map(|e| e["key"].as_str().unwrap().to_owned()));
                from = scan["next"].as_str().map(Into::into);
                if from.is_none() {
                    break;
                }
            }
            assert_eq!(found, order);
        }
        folder.run(&["evict"]).exits(0);
    }
    // more than one page
    let _up = folder.up();
    for number in 0..150 {
        folder.run(&["kv", "put", "--table", "many", &format!("k{number:03}"), "v"]).exits(0);
    }
    let lines = folder.run(&["kv", "scan", "--table", "many", "--limit", "140"]).exits(0);
    let expected: String = (0..140).map(|number| format!("k{number:03}\tv\n")).collect();
    assert_eq!(lines.text(), expected);
    assert!(lines.stderr.contains("there are more: --from"));
    let from = folder.run(&["kv", "scan", "--table", "numbers", "--from", "15"]).exits(0);
    assert_eq!(from.text(), "20\tv\n30\tv\n");
    folder
        .run(&["kv", "scan", "--table", "keyed", "--from", "x"])
        .fails(&["--from", "`x` is not a cursor"]);
}

#[test]
fn a_table_keeps_its_kind() {
    let folder = Folder::with_local_nodes("2+1", 3);
    folder.run(&["kv", "put", "--table", "t", "key", "v"]).exits(0);
    folder
        .run(&["kv", "put", "--table", "t", "--sequence", "1", "v"])
        .fails(&["table `t` is keyed"]);
    folder.run(&["kv", "put", "--table", "a b", "key", "v"]).fails(&["`a b` cannot name a table"]);
    folder.run(&["kv", "put", "--table", "n", "--sequence", "1", "v"]).exits(0);
    folder.run(&["kv", "put", "--table", "n", "x", "v"]).fails(&["`x` is not a number"]);
    folder.run(&["kv", "put", "--table", "n", "2", "v"]).exits(0);
}

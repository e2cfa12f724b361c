//! The bytes of value logs and settings: what an old node wrote is read, and writing it again gives the same bytes.
//!
//! `RUSTFLAGS="--cfg bless" cargo test -p prunedb-node golden` writes them anew: a new format needs a new version.

use super::{Door, new_disk};
use prunedb_disk::faulty::FaultyDisk;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/value-log/v1").join(name)
}

fn in_node(name: &str) -> PathBuf {
    Path::new("/node/zdb").join(name)
}

const SET_IN_NS: [&[u8]; 6] = [b"maxsize", b"worm", b"public", b"lock", b"freeze", b"mode"];

/// Values, one of them written twice, one of them deleted; and a namespace of numbered values with every setting.
const FILES: [&str; 3] = ["00000000-00000000.log", "00000001.settings", "00000001-00000000.log"];
/// What has random bytes: it is read only.
const WITH_PASSWORD: &str = "00000001-password.settings";

fn written() -> FaultyDisk {
    let disk = new_disk(1);
    let mut door = Door::open(&disk);
    let ok = |reply: bytes::BytesMut| assert!(!reply.starts_with(b"-"), "{reply:?}");
    ok(door.run(&[b"SET", b"key", b"first"]));
    ok(door.run(&[b"SET", b"key", b"second"]));
    ok(door.run(&[b"SET", b"gone", &[7; 100]]));
    ok(door.run(&[b"SET", &[b'k'; 255], b""]));
    ok(door.run(&[b"DEL", b"gone"]));
    ok(door.run(&[b"NSNEW", b"numbers"]));
    ok(door.run(&[b"NSSET", b"numbers", b"mode", b"seq"]));
    ok(door.run(&[b"SELECT", b"numbers"]));
    ok(door.run(&[b"SET", b"", b"zero"]));
    ok(door.run(&[b"SET", b"", b"one"]));
    ok(door.run(&[b"SELECT", b"default"]));
    for (property, value) in SET_IN_NS.iter().zip([b"70000", b"1", b"0", b"1"] as [&[u8]; 4]) {
        ok(door.run(&[b"NSSET", b"numbers", property, value]));
    }
    disk
}

#[test]
fn golden_bytes_are_written() {
    let disk = written();
    for name in FILES {
        let found = disk.file(in_node(name));
        if cfg!(bless) {
            std::fs::write(fixture(name), found).unwrap();
        } else {
            assert!(found == std::fs::read(fixture(name)).unwrap(), "{name} has other bytes");
        }
    }
    if cfg!(bless) {
        let mut door = Door::open(&disk);
        door.run(&[b"NSSET", b"numbers", b"password", b"correct horse"]);
        std::fs::write(fixture(WITH_PASSWORD), disk.file(in_node(FILES[1]))).unwrap();
    }
}

#[test]
fn golden_bytes_are_read() {
    let disk = new_disk(1);
    for name in FILES {
        disk.put_file(in_node(name), std::fs::read(fixture(name)).unwrap());
    }
    let mut door = Door::open(&disk);
    assert_eq!(door.report.damage, []);
    assert_eq!(door.get(b"key"), Some(b"second".to_vec()));
    assert_eq!(door.get(b"gone"), None);
    assert_eq!(door.get(&[b'k'; 255]), Some(Vec::new()));
    let info = door.run(&[b"NSINFO", b"numbers"]);
    let info = String::from_utf8(info.to_vec()).unwrap();
    for line in [
        "mode: sequential",
        "entries: 2",
        "data_limits_bytes: 70000",
        "worm: yes",
        "public: no",
        "locked: yes",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    door.run(&[b"SELECT", b"numbers"]);
    assert_eq!(door.get(&1u64.to_le_bytes()), Some(b"one".to_vec()));
    // the other copy, where one is damaged
    disk.flip(in_node(FILES[1]), 40, 1);
    assert_eq!(Door::open(&disk).report.damage, []);
}

#[test]
fn a_golden_password_still_opens() {
    let disk = new_disk(1);
    disk.put_file(in_node(FILES[1]), std::fs::read(fixture(WITH_PASSWORD)).unwrap());
    let mut door = Door::open(&disk);
    assert_eq!(door.report.damage, []);
    let store = &door.session.shared.store;
    let namespace = store.get(b"numbers").unwrap();
    let password = namespace.settings().password.clone().unwrap();
    assert!(password.is(b"correct horse").unwrap());
    assert!(!password.is(b"wrong horse").unwrap());
    assert!(!door.run(&[b"SELECT", b"numbers"]).starts_with(b"+OK"), "private, and protected");
}

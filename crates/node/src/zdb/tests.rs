//! Namespaces against a plain model, on a disk that crashes, fails, fills up and rots.
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

mod golden;

use super::{
    Counters, Feed, Hooks, Store, ZdbConfig,
    session::{Around, Batch, Session, Shared},
};
use crate::OpenReport;
use bytes::{Bytes, BytesMut};
use prunedb_disk::{
    Disk,
    faulty::{Chance, FaultyDisk, Unsynced},
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

const LOG_BYTES: u64 = 16 << 10;
const FREE_BYTES: u64 = 1 << 40;

/// A namespace's session on a disk.
struct Door {
    session: Session,
    report: OpenReport,
}

/// A disk with the node's folder.
fn new_disk(seed: u64) -> FaultyDisk {
    let disk = FaultyDisk::new(seed);
    disk.create_dir_all(Path::new("/node")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

impl Door {
    fn open(disk: &FaultyDisk) -> Self {
        let mut report = OpenReport::default();
        let store = Store::open(
            ZdbConfig::default(),
            Arc::new(disk.clone()),
            "/node/zdb".into(),
            [9; 32],
            LOG_BYTES,
            &mut report,
        );
        let shared = Arc::new(Shared {
            store: Arc::new(store.unwrap()),
            feed: Feed::default(),
            hooks: Hooks::start(None, 0),
            counters: Counters::default(),
            instance: 0,
            started: Duration::ZERO,
            damage_found: 0,
            sessions: 0.into(),
        });
        Self { session: Session::new(&shared), report }
    }

    /// The replies' bytes of a batch.
    fn batch(&mut self, requests: &[Vec<&[u8]>], free_bytes: u64) -> BytesMut {
        let copy = |request: &Vec<&[u8]>| {
            request.iter().map(|argument| Bytes::copy_from_slice(argument)).collect()
        };
        let mut batch =
            Batch { requests: requests.iter().map(copy).collect(), out: BytesMut::new() };
        let around = Around { now: Duration::from_secs(7), room_bytes: 32 << 20, free_bytes };
        let mut all = BytesMut::new();
        while !batch.requests.is_empty() || !self.session.more_keys.is_empty() {
            self.session.run(&mut batch, around);
            all.extend_from_slice(&batch.out.split());
        }
        all
    }

    fn run(&mut self, request: &[&[u8]]) -> BytesMut {
        self.batch(&[request.to_vec()], FREE_BYTES)
    }

    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let reply = self.run(&[b"GET", key]);
        if reply == "$-1\r\n" {
            return None;
        }
        assert_eq!(reply[0], b'$', "{:?}", reply.escape_ascii().to_string());
        let start = reply.iter().position(|&b| b == b'\n').unwrap() + 1;
        Some(reply[start..reply.len() - 2].to_vec())
    }

    fn compact(&self) {
        while self.session.shared.store.compact() {}
    }
}

fn value(chance: &mut Chance) -> Vec<u8> {
    let length = *chance.pick(&[0, 1, 10, 100, 1000, 5000, 70_000]);
    vec![chance.bits() as u8; length + chance.below(20) as usize]
}

/// What a key may be, newest last: one state, or several where an answer was an error.
type Model = BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>;

/// One random life of a namespace.
fn live(seed: u64, faults: bool) {
    let mut chance = Chance::new(seed);
    let mut disk = new_disk(seed);
    let mut door = Door::open(&disk);
    let mut model = Model::new();
    for _ in 0..60 {
        match chance.below(12) {
            0 => {
                door.run(&[b"NSJUMP"]);
            }
            1 | 2 => door.compact(),
            3 => {
                for namespace in door.session.shared.store.all() {
                    _ = namespace.checkpoint();
                }
                disk = disk.killed();
                door = Door::open(&disk);
                assert_eq!(door.report.damage_count, 0, "seed {seed}");
            }
            4 | 5 => {
                disk = disk.crashed(Unsynced::Torn(chance.bits()));
                door = Door::open(&disk);
                assert_eq!(door.report.damage_count, 0, "seed {seed}: {:?}", door.report.damage);
            }
            6 if faults => match chance.below(3) {
                0 => disk.set_faults(|faults| faults.syncs = 1),
                1 => disk.fail_once_after(chance.below(10)),
                _ => _ = door.run(&[b"RELOAD", b"default"]),
            },
            _ => {
                let mut requests = Vec::new();
                let writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = (0..=chance.below(6))
                    .map(|_| {
                        let key = vec![b'k', chance.below(8) as u8];
                        let set = chance.below(4) > 0;
                        (key, set.then(|| value(&mut chance)))
                    })
                    .collect();
                for (key, value) in &writes {
                    requests.push(match value {
                        Some(value) => vec![&b"SET"[..], key, value],
                        None => vec![&b"DEL"[..], key],
                    });
                }
                let replies = door.batch(&requests, FREE_BYTES);
                let mut rest = &replies[..];
                for (key, value) in writes {
                    let states = model.entry(key).or_insert_with(|| vec![None]);
                    let line_end = rest.iter().position(|&b| b == b'\n').unwrap() + 1;
                    let (line, more) = rest.split_at(line_end);
                    rest = more;
                    match line {
                        // the key follows
                        b"$2\r\n" => {
                            rest = &rest[4..];
                            *states = vec![value];
                        }
                        b"$-1\r\n" | b"+OK\r\n" => *states = vec![value],
                        b"-Key not found\r\n" => {
                            assert!(states.contains(&None), "seed {seed}: a key is missing");
                        }
                        error => {
                            let text = error.escape_ascii().to_string();
                            assert!(faults && error[0] == b'-', "seed {seed}: {text}");
                            states.push(value);
                        }
                    }
                }
                assert!(rest.is_empty());
            }
        }
        for (key, states) in &mut model {
            let found = door.get(key);
            let text = found.as_ref().map(Vec::len);
            assert!(states.contains(&found), "seed {seed}: {key:?} is {text:?}\n{}", disk.trace());
        }
        if !faults {
            let keys = model.values().filter(|states| states[0].is_some()).count();
            assert_eq!(door.run(&[b"DBSIZE"]), format!(":{keys}\r\n"), "seed {seed}");
        }
    }
}

#[test]
fn what_was_answered_survives_crashes() {
    for seed in 0..60 {
        live(seed, false);
    }
}

#[test]
fn what_was_answered_survives_crashes_and_a_failing_disk() {
    for seed in 1000..1060 {
        live(seed, true);
    }
}

/// The bytes of all logs.
fn log_bytes(disk: &FaultyDisk) -> usize {
    let logs = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.map(|path| disk.file(path).len()).sum()
}

#[test]
fn space_comes_back_and_the_order_stays() {
    let disk = new_disk(1);
    let mut door = Door::open(&disk);
    let key = |n: u32| format!("key-{n:04}").into_bytes();
    for n in 0..200 {
        door.run(&[b"SET", &key(n), &[7; 1000]]);
    }
    let cursor = door.run(&[b"KEYCUR", &key(50)]);
    let full = log_bytes(&disk);
    for n in (0..200).filter(|n| n % 10 != 0) {
        assert_eq!(door.run(&[b"DEL", &key(n)]), "+OK\r\n");
    }
    let before = door.run(&[b"SCAN"]);
    door.compact();
    let left = log_bytes(&disk);
    assert!(left < full / 4, "{left} of {full} bytes are left");
    assert_eq!(door.run(&[b"SCAN"]), before);
    // a cursor of a deleted key in a rewritten log still says where it was
    let cursor = &cursor[5..22];
    let next = door.run(&[b"SCAN", cursor]);
    assert!(
        next.windows(8).any(|w| w == b"key-0060") && !next.windows(8).any(|w| w == b"key-0040")
    );
    let back = door.run(&[b"RSCAN", cursor]);
    assert!(
        back.windows(8).any(|w| w == b"key-0040") && !back.windows(8).any(|w| w == b"key-0060")
    );

    let disk = disk.killed();
    let mut door = Door::open(&disk);
    assert_eq!(door.run(&[b"SCAN"]), before);
    assert_eq!(door.run(&[b"DBSIZE"]), ":20\r\n");
    for n in (0..200).step_by(10) {
        door.run(&[b"DEL", &key(n)]);
    }
    door.run(&[b"NSJUMP"]);
    door.compact();
    door.compact();
    assert!(log_bytes(&disk) < 40_000, "{} bytes are left of nothing", log_bytes(&disk));
    let mut door = Door::open(&disk.killed());
    assert_eq!(door.run(&[b"DBSIZE"]), ":0\r\n");
}

#[test]
fn a_deleted_key_does_not_come_back_when_its_tombstone_goes() {
    let disk = new_disk(2);
    let mut door = Door::open(&disk);
    // an old log that is too alive to be rewritten holds a version of the key
    door.run(&[b"SET", b"stays", &[1; 12_000]]);
    door.run(&[b"SET", b"key", b"old"]);
    door.run(&[b"NSJUMP"]);
    door.run(&[b"SET", b"fill", &[2; 12_000]]);
    door.run(&[b"DEL", b"key"]);
    door.run(&[b"NSJUMP"]);
    door.run(&[b"DEL", b"fill"]);
    door.run(&[b"NSJUMP"]);
    door.compact();
    for _ in 0..3 {
        let mut door = Door::open(&disk.killed());
        door.compact();
        assert_eq!(door.get(b"key"), None);
        assert_eq!(door.get(b"stays"), Some(vec![1; 12_000]));
    }
}

#[test]
fn a_flipped_bit_is_never_returned() {
    let log = Path::new("/node/zdb/00000000-00000000.log");
    let disk = new_disk(3);
    let mut door = Door::open(&disk);
    let value = vec![5; 300];
    door.run(&[b"SET", b"a", &value]);
    door.run(&[b"SET", b"b", b"beside"]);
    door.session.namespace.checkpoint().unwrap();
    let length = disk.file(log).len();
    for at in 1024..length {
        let disk = disk.killed();
        disk.flip(log, at, 1 << (at % 8));
        let mut door = Door::open(&disk);
        for (key, good) in [(&b"a"[..], &value[..]), (b"b", b"beside")] {
            let reply = door.run(&[b"GET", key]);
            let right = format!("${}\r\n", good.len()).into_bytes();
            let is_right = reply.starts_with(&right) && reply[right.len()..].starts_with(good);
            assert!(is_right || reply == "$-1\r\n" || reply.starts_with(b"-Data damaged"));
        }
        // the key can be set anew, and the damaged log stays
        assert_eq!(door.run(&[b"SET", b"a", b"new"]), "$1\r\na\r\n");
        assert_eq!(door.get(b"a"), Some(b"new".to_vec()));
    }
}

#[test]
fn one_bad_header_or_copy_of_settings_costs_nothing() {
    let disk = new_disk(4);
    let mut door = Door::open(&disk);
    door.run(&[b"NSNEW", b"ns"]);
    door.run(&[b"NSSET", b"ns", b"maxsize", b"77"]);
    door.run(&[b"SET", b"a", b"1"]);
    for (file, at) in [("00000000-00000000.log", 20), ("00000001.settings", 40)] {
        let disk = disk.killed();
        disk.flip(Path::new("/node/zdb").join(file), at, 4);
        let mut door = Door::open(&disk);
        assert_eq!(door.report.damage_count, 0);
        assert_eq!(door.get(b"a"), Some(b"1".to_vec()));
        let info = door.run(&[b"NSINFO", b"ns"]);
        assert!(info.windows(21).any(|w| w == b"data_limits_bytes: 77"));
        disk.flip(Path::new("/node/zdb").join(file), at + 512, 4);
        // both: reported, and the rest goes on
        assert_eq!(Door::open(&disk).report.damage_count, 1);
    }
}

#[test]
fn a_full_or_read_only_disk_is_told_and_loses_nothing() {
    let disk = new_disk(5);
    let mut door = Door::open(&disk);
    door.run(&[b"SET", b"a", b"1"]);
    disk.set_faults(|faults| faults.writes_left = 0);
    let reply = door.batch(
        &[vec![b"SET", b"a", b"2"], vec![b"GET", b"a"], vec![b"SET", b"b", b"2"]],
        FREE_BYTES,
    );
    let reply = String::from_utf8(reply.to_vec()).unwrap();
    assert_eq!(reply.matches("-No space left on this node").count(), 2, "{reply}");
    assert!(reply.contains("$1\r\n1\r\n"));
    disk.set_faults(|faults| faults.writes_left = u64::MAX);
    disk.set_faults(|faults| faults.read_only = true);
    assert!(door.run(&[b"SET", b"a", b"2"]).starts_with(b"-Cannot write data"));
    assert!(door.run(&[b"DEL", b"a"]).starts_with(b"-Cannot begin a log"));
    assert!(door.run(&[b"NSNEW", b"ns"]).starts_with(b"-Cannot create a namespace"));
    assert_eq!(door.get(b"a"), Some(b"1".to_vec()));
    disk.set_faults(|faults| faults.read_only = false);
    assert_eq!(door.run(&[b"SET", b"a", b"2"]), "$1\r\na\r\n");
    assert!(
        door.batch(&[vec![b"SET", b"b", b"1"]], 100).starts_with(b"-No space left on this node")
    );
    let mut door = Door::open(&disk.crashed(Unsynced::Lost));
    assert_eq!(door.get(b"a"), Some(b"2".to_vec()));
}

#[test]
fn passwords_are_nowhere_on_the_disk() {
    let disk = new_disk(6);
    let mut door = Door::open(&disk);
    door.run(&[b"NSNEW", b"ns"]);
    assert_eq!(door.run(&[b"NSSET", b"ns", b"password", b"correct horse"]), "+OK\r\n");
    for path in disk.paths() {
        assert!(!disk.file(path).windows(7).any(|window| window == b"correct"));
    }
}

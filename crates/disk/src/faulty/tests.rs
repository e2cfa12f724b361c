use super::*;
use crate::{read_all, write_atomic};

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn create(disk: &FaultyDisk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(&path(name), Open::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// What many crashes leave of a file, `None` where it is gone.
fn outcomes(disk: &FaultyDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let left = |seed| {
        let after = disk.crashed(Unsynced::Torn(seed));
        after.has(path(name)).then(|| after.file(path(name)))
    };
    (0..400).map(left).collect()
}

#[test]
fn it_is_a_disk() {
    let disk = disk();
    assert_eq!(disk.open(&path("a"), Open::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
    let file = create(&disk, "a", &[7; 10_000]);
    let again = disk.open(&path("a"), Open::CreateNew);
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    file.set_len(10_005).unwrap();
    file.punch_hole(4096, 4096).unwrap();
    let mut buf = [1; 3];
    file.read_exact_at(&mut buf, 4095).unwrap();
    assert_eq!((buf, file.allocated_bytes().unwrap()), ([7, 0, 0], 8192));
    let past = file.read_exact_at(&mut buf, 10_003).unwrap_err();
    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    let reader = disk.open(&path("a"), Open::Read).unwrap();
    assert!(reader.write_all_at(b"x", 0).is_err());
    disk.rename(&path("a"), &path("b")).unwrap();
    assert_eq!(disk.list(Path::new("/d")).unwrap(), ["b"]);
    disk.remove(&path("b")).unwrap();
    assert_eq!(reader.len().unwrap(), 10_005, "what is open is read on");
    assert_eq!(disk.free_bytes(Path::new("/d")).unwrap(), 1 << 40);
    let held = disk.lock(&path("lock")).unwrap();
    assert!(held.is_some() && disk.lock(&path("lock")).unwrap().is_none());
    drop(held);
    assert!(disk.lock(&path("lock")).unwrap().is_some());
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
    let disk = disk();
    let file = create(&disk, "a", &[1; 1024]);
    file.sync_data().unwrap();
    assert!(!disk.crashed(Unsynced::Lost).has(path("a")), "the name was not synced");
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(&[2; 1024], 0).unwrap();
    file.write_all_at(&[3; 512], 1024).unwrap();
    assert_eq!(disk.crashed(Unsynced::Lost).file(path("a")), [1; 1024]);
    assert_eq!(disk.crashed(Unsynced::Kept).file(path("a")), disk.file(path("a")));
    assert_eq!(disk.killed().crashed(Unsynced::Lost).file(path("a")), [1; 1024]);
    let outcomes = outcomes(&disk, "a");
    let sectors = |a, b| [[a; 512], [b; 512]].concat();
    let second = [&[1; 1024][..], &[3; 512]].concat();
    for left in [sectors(1, 1), sectors(2, 1), sectors(1, 2), sectors(2, 2), second] {
        assert!(outcomes.contains(&Some(left)), "the later write without the earlier, one sector");
    }
    let cut = |left: &[u8]| left.iter().take_while(|b| **b == 2).count() % 512 != 0;
    assert!(outcomes.iter().flatten().any(|left| cut(left)), "a write cut at a byte");
}

#[test]
fn names_come_back_in_any_order_but_their_own() {
    let disk = disk();
    create(&disk, "a", b"a").sync_data().unwrap();
    create(&disk, "b", b"b").sync_data().unwrap();
    disk.rename(&path("a"), &path("c")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let after = disk.crashed(Unsynced::Torn(seed));
        seen.insert(after.list(Path::new("/d")).unwrap().concat());
    }
    let all = ["", "a", "ab", "b", "bc", "c"];
    assert_eq!(seen, all.map(str::to_owned).into(), "never a and c: a rename is one change");
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(disk.crashed(Unsynced::Lost).list(Path::new("/d")).unwrap(), ["b", "c"]);
}

#[test]
fn a_failed_sync_loses_for_ever_what_it_had_to_write() {
    let mut shown = BTreeSet::new();
    for seed in 0..20 {
        let disk = FaultyDisk::new(seed);
        disk.put_file(path("a"), vec![1; 8]);
        let file = disk.open(&path("a"), Open::ReadWrite).unwrap();
        file.write_all_at(&[2; 8], 0).unwrap();
        disk.set_faults(|faults| faults.syncs = 1);
        assert!(file.sync_data().is_err());
        shown.insert(disk.file(path("a"))[0]);
        file.sync_data().unwrap();
        let left = disk.crashed(Unsynced::Kept).file(path("a"));
        file.drop_cached().unwrap();
        assert_eq!(disk.file(path("a")), left);
    }
    assert_eq!(shown, [1, 2].into(), "memory shows it, or not even that");
}

#[test]
fn a_full_disk_takes_what_fits_and_a_read_only_one_nothing() {
    let disk = disk();
    let file = create(&disk, "a", &[1; 5000]);
    disk.set_free_bytes(8192);
    let full = file.write_all_at(&[2; 50_000], 5000).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 16_384);
    file.write_all_at(&[3; 5000], 0).unwrap();
    disk.remove(&path("a")).unwrap();
    create(&disk, "b", &[1; 16_000]);
    disk.set_faults(|faults| faults.read_only = true);
    let file = disk.open(&path("b"), Open::Read).unwrap();
    assert_eq!(file.len().unwrap(), 16_000);
    for refused in [
        disk.open(&path("b"), Open::ReadWrite).map(drop),
        disk.open(&path("c"), Open::CreateNew).map(drop),
        disk.remove(&path("b")),
        disk.sync_dir(Path::new("/d")),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn the_operation_at_which_it_dies_happened_or_not() {
    let disk = disk();
    let file = create(&disk, "a", b"");
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.die_after(1);
    file.write_all_at(b"1", 0).unwrap();
    assert!(!disk.is_dead());
    assert!(file.write_all_at(b"2", 1).is_err());
    assert!(disk.is_dead() && file.len().is_err() && file.write_all_at(b"3", 2).is_err());
    let outcomes = outcomes(&disk, "a");
    let expected = [&b""[..], b"1", b"12", b"\x002"].map(|left| Some(left.to_vec()));
    assert_eq!(outcomes, expected.into());
}

#[test]
fn a_run_can_be_repeated() {
    let run = || {
        let disk = FaultyDisk::new(9);
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.set_faults(|faults| (faults.writes_one_in, faults.syncs_one_in) = (7, 5));
        let file = disk.open(&path("a"), Open::CreateNew).unwrap();
        let mut failures = 0;
        for i in 0..100 {
            failures += u32::from(file.write_all_at(&[1; 600], i * 100).is_err());
            failures += u32::from(file.sync_data().is_err());
        }
        (
            failures,
            disk.trace_digest(),
            disk.trace(),
            disk.crashed(Unsynced::Torn(3)).file(path("a")),
        )
    };
    let (first, second) = (run(), run());
    assert!(first == second && first.0 > 0);
    assert!(first.2.contains("write /d/a 100+600"), "{}", first.2);
    assert!(first.2.contains(" FAILS"), "{}", first.2);
}

#[test]
fn a_small_file_is_replaced_whole_whatever_happens() {
    for operations in 0..12 {
        for seed in 0..50 {
            let disk = disk();
            write_atomic(&disk, &path("a"), b"one").unwrap();
            disk.die_after(operations);
            let done = write_atomic(&disk, &path("a"), b"three").is_ok();
            let after = disk.crashed(Unsynced::Torn(seed));
            let left = read_all(&after, &path("a"), 5).unwrap();
            assert!(left == b"three" || left == b"one" && !done, "{operations} {seed} {left:?}");
        }
    }
}

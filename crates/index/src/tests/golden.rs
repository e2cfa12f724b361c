//! Stored bytes that must never change; regenerated only under `--cfg bless`.

use super::*;

#[test]
fn runs_and_manifest_are_those_of_version_1() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/index/v1");
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    // two pages of keys, one that overflows, and two tables of positions with gaps
    for i in 0..700u32 {
        index.insert(TableId(1), &i.to_le_bytes(), at(i / 100, i));
    }
    for i in 0..400 {
        index.insert_sequence(TableId(2), 1000 + u64::from(i) * 3, at(i / 100, i));
        index.insert_sequence(TableId(3), u64::MAX - (u64::from(i) << 50), at(i / 100, i));
    }
    index.flush(7).unwrap();
    drop(index);
    let names = RealDisk.list(dir.path()).unwrap();
    assert_eq!(names, ["000000000000.run", "000000000001.run", "manifest"]);
    for name in names {
        let made = std::fs::read(dir.path().join(&name)).unwrap();
        if cfg!(bless) {
            std::fs::create_dir_all(&fixtures).unwrap();
            std::fs::write(fixtures.join(&name), &made).unwrap();
        }
        let kept = std::fs::read(fixtures.join(&name)).unwrap();
        assert_eq!(made.len(), kept.len(), "{name}");
        let differs = made.iter().zip(&kept).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs at this byte");
    }
}

#[test]
fn version_1_is_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/index/v1");
    let dir = tempfile::tempdir().unwrap();
    for name in RealDisk.list(&fixtures).unwrap() {
        std::fs::copy(fixtures.join(&name), dir.path().join(&name)).unwrap();
    }
    let index = open(dir.path());
    assert_eq!((index.covered(), index.stats().keyed_entries), (7, 700));
    for i in 0..700u32 {
        assert_eq!(index.lookup(TableId(1), &i.to_le_bytes()).unwrap(), [at(i / 100, i)]);
    }
    assert_eq!(index.lookup_sequence(TableId(2), 1300).unwrap(), Some(at(1, 100)));
    assert_eq!(
        index.sequence_bounds(TableId(3)).unwrap(),
        Some((u64::MAX - (399 << 50), u64::MAX))
    );
}

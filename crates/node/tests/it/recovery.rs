//! What is there after a crash, and after damage.

use crate::support::*;
use prunedb_core::Term;
use prunedb_disk::Disk;
use prunedb_node::{Damage, NodeError, PutMode};

/// Three small shards, a page each, behind the header page.
fn three() -> (FaultyDisk, Vec<Vec<u8>>) {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shards: Vec<Vec<u8>> = (0..3).map(|seed| bytes(seed, 20)).collect();
    for (number, shard) in (0..).zip(&shards) {
        put(&node, id(number), 1, shard).unwrap();
    }
    drop(node);
    assert_eq!(disk.file(FIRST).len(), 4 * PAGE);
    (disk, shards)
}

#[test]
fn reopening_finds_everything() {
    let disk = FaultyDisk::default();
    let mut config = config();
    config.segment_bytes = 500_000;
    let shards: Vec<Vec<u8>> =
        [1, 16_383, 16_384, 16_385, 300_000, 600_000, 5].map(|n| bytes(n as u64, n)).into();
    let node = open_with(config.clone(), &disk);
    for (number, shard) in (0..).zip(&shards) {
        put(&node, id(number), u64::from(number), shard).unwrap();
    }
    let (list, space) = (node.list(LAKE, None, 100).unwrap(), node.space().unwrap());
    drop(node);
    for disk in [
        disk.clone(),
        disk.killed(),
        disk.crashed(Unsynced::Torn(1)),
        disk.crashed(Unsynced::Torn(2)),
    ] {
        let node = open_with(config.clone(), &disk);
        assert_eq!(node.report().damage, []);
        assert_eq!((node.report().shards, node.report().segments), (7, 3));
        assert_eq!(node.list(LAKE, None, 100).unwrap(), list);
        assert_eq!(node.space().unwrap(), space);
        for (number, shard) in (0..).zip(&shards) {
            assert_eq!(get(&node, id(number)).unwrap(), *shard);
            assert_eq!(node.stat(id(number)).unwrap().unwrap().term, Term(u64::from(number)));
        }
    }
}

#[test]
fn a_segment_cut_anywhere_in_its_last_record_keeps_the_others() {
    let (disk, shards) = three();
    let whole = disk.file(FIRST);
    for cut in 3 * PAGE..4 * PAGE {
        disk.put_file(FIRST, whole[..cut].to_vec());
        let node = open(&disk);
        assert_eq!(node.report().damage, [], "cut at {cut}");
        assert_eq!(get(&node, id(0)).unwrap(), shards[0]);
        assert_eq!(get(&node, id(1)).unwrap(), shards[1]);
        assert!(matches!(get(&node, id(2)), Err(NodeError::Absent { .. })), "cut at {cut}");
        put(&node, id(2), 1, &shards[2]).unwrap();
        drop(node);
        let again = disk.file(FIRST);
        assert_eq!(again.len(), whole.len(), "the torn record's place is used again");
        assert_eq!(get(&open(&disk), id(2)).unwrap(), shards[2]);
    }
}

#[test]
fn no_flipped_byte_costs_more_than_its_own_shard() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let sizes = [20, 40_000, 100, 16_384];
    for (number, size) in (0..).zip(sizes) {
        put(&node, id(number), 1, &bytes(u64::from(number), size)).unwrap();
    }
    drop(node);
    let whole = disk.file(FIRST);
    // every byte of the headers and trailers, some of the long data
    let offsets = (0..whole.len()).filter(|at| at % PAGE < 300 || at % PAGE > 3960 || at % 61 == 0);
    let mut recovered = 0;
    for at in offsets {
        disk.put_file(FIRST, whole.clone());
        disk.flip(FIRST, at, 0x40);
        let node = open(&disk);
        let mut bad = 0;
        for (number, size) in (0..).zip(sizes) {
            match get(&node, id(number)) {
                Ok(shard) => assert_eq!(shard, bytes(u64::from(number), size)),
                Err(NodeError::Absent { .. } | NodeError::Damaged { .. }) => bad += 1,
                Err(e) => panic!("byte {at}: {e}"),
            }
        }
        assert!(bad <= 1, "byte {at}: {bad} shards lost");
        recovered += u32::from(bad == 0 && node.report().damage_count > 0);
        // and the node still takes shards
        put(&node, id(9), 1, b"one more").unwrap();
        drop(node);
        assert_eq!(get(&open(&disk), id(9)).unwrap(), b"one more", "byte {at}");
    }
    assert!(recovered > 1000, "headers and trailers heal each other: {recovered}");
}

#[test]
fn a_lost_header_is_found_by_its_trailer() {
    let (disk, shards) = three();
    for at in [0, 30, 60, 127] {
        disk.flip(FIRST, 2 * PAGE + at, 1);
    }
    let node = open(&disk);
    let page = PAGE as u64;
    let damage =
        Damage::Header { segment: 0, offset: 2 * page, bytes: page, recovered: Some(id(1)) };
    assert_eq!(node.report().damage, [damage]);
    for (number, shard) in (0..).zip(&shards) {
        assert_eq!(get(&node, id(number)).unwrap(), *shard);
    }
}

#[test]
fn a_record_without_header_and_trailer_is_skipped() {
    let (disk, shards) = three();
    let mut bytes = disk.file(FIRST);
    bytes[PAGE..2 * PAGE].fill(0xaa);
    disk.put_file(FIRST, bytes);
    let node = open(&disk);
    let page = PAGE as u64;
    let damage = Damage::Header { segment: 0, offset: page, bytes: page, recovered: None };
    assert_eq!(node.report().damage, [damage]);
    assert!(matches!(get(&node, id(0)), Err(NodeError::Absent { .. })));
    assert_eq!(get(&node, id(1)).unwrap(), shards[1]);
    // nothing is written to a damaged segment any more
    put(&node, id(0), 1, &shards[0]).unwrap();
    assert!(disk.has("/node/segments/00000001.seg"));
    assert_eq!(get(&node, id(0)).unwrap(), shards[0]);
}

#[test]
fn a_lost_trailer_is_made_anew_from_good_blocks() {
    let (disk, shards) = three();
    disk.flip(FIRST, 4 * PAGE - 40, 1);
    let node = open(&disk);
    assert_eq!(get(&node, id(2)).unwrap(), shards[2]);
    assert_eq!(
        node.report().damage,
        [Damage::Trailer { segment: 0, offset: 3 * PAGE as u64, id: id(2), recovered: true }]
    );
    drop(node);
    disk.flip(FIRST, 3 * PAGE + 256, 1);
    let node = open(&disk);
    assert!(matches!(get(&node, id(2)), Err(NodeError::Absent { .. })));
    assert_eq!(get(&node, id(1)).unwrap(), shards[1]);
}

#[test]
fn a_lost_segment_header_is_replaced_by_any_record() {
    let (disk, shards) = three();
    let mut bytes = disk.file(FIRST);
    bytes[..PAGE].fill(0);
    disk.put_file(FIRST, bytes);
    let node = open(&disk);
    assert_eq!(node.report().damage, [Damage::SegmentHeader { segment: 0 }]);
    for (number, shard) in (0..).zip(&shards) {
        assert_eq!(get(&node, id(number)).unwrap(), *shard);
    }
}

#[test]
fn foreign_files_are_left_alone() {
    let (disk, shards) = three();
    let mut newer = disk.file(FIRST)[..64].to_vec();
    newer[8] = 2;
    let mut covered = newer[..12].to_vec();
    covered.extend_from_slice(&newer[16..64]);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &covered);
    newer[12..16].copy_from_slice(&u32::try_from(crc).unwrap().to_le_bytes());
    disk.put_file("/node/segments/00000005.seg", newer.clone());
    disk.put_file("/node/segments/00000006.seg", vec![9; 10_000]);
    disk.put_file("/node/segments/00000007.seg", vec![0; 64]);
    disk.put_file("/node/segments/7.seg", vec![1]);
    let node = open(&disk);
    // the newest one is looked at first
    let segments = [(6, None), (5, Some(2))];
    let damage = segments.map(|(segment, version)| Damage::NotASegment { segment, version });
    assert_eq!(node.report().damage, damage);
    assert_eq!(disk.file("/node/segments/00000005.seg"), newer);
    assert_eq!(disk.file("/node/segments/00000006.seg"), vec![9; 10_000]);
    assert!(!disk.has("/node/segments/00000007.seg"), "the trace of a crash is removed");
    put(&node, id(7), 1, b"seven").unwrap();
    assert_eq!(get(&node, id(2)).unwrap(), shards[2]);
}

#[test]
fn bytes_of_a_shard_never_pass_for_a_record() {
    let (disk, _) = three();
    // a shard that holds a segment's own records, placed where a search looks, under another mark
    let node = open(&disk);
    let mut fake = vec![0; PAGE - 256];
    fake.extend_from_slice(&disk.file(FIRST)[PAGE..4 * PAGE]);
    let mut config = config();
    config.mark_seed = Some([8; 32]);
    let other = FaultyDisk::default();
    let victim = open_with(config.clone(), &other);
    put(&victim, id(10), 1, &fake).unwrap();
    put(&victim, id(11), 1, b"behind").unwrap();
    drop((node, victim));
    other.flip(FIRST, PAGE, 1);
    let end = PAGE + (256 + fake.len() + 4 + 128).next_multiple_of(PAGE);
    other.flip(FIRST, end - 1, 1);
    let node = open_with(config, &other);
    assert_eq!(node.list(LAKE, None, 10).unwrap().len(), 1);
    assert_eq!(get(&node, id(11)).unwrap(), b"behind");
}

#[test]
fn uploads_that_were_never_committed_are_dropped() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 600_000);
    let begin = |number| {
        let mut upload = node.put(id(number), Term(1), 600_000, PutMode::IfAbsent).unwrap();
        upload.write(0, &shard[..500_000]).unwrap();
        upload
    };
    let (first, second) = (begin(0), begin(1));
    put(&node, id(2), 1, &shard).unwrap();
    let third = begin(3);
    let killed = disk.killed();
    drop((first, second, third));
    let open_space = node.space().unwrap();
    let reopened = open(&killed);
    assert_eq!(reopened.report().uploads_dropped, 3);
    assert!(reopened.report().bytes_cut > 0);
    assert_eq!(reopened.report().damage, []);
    assert_eq!(reopened.list(LAKE, None, 10).unwrap().len(), 1);
    assert_eq!(get(&reopened, id(2)).unwrap(), shard);
    // the one at the end is cut off, of the others one page each is left, as on the node that went on
    let page = PAGE as u64;
    assert_eq!(reopened.space().unwrap().used_bytes + page, open_space.used_bytes);
    let kept = killed.file(FIRST);
    assert!(kept[2 * PAGE..100 * PAGE].iter().all(|&b| b == 0), "a hole");
    drop(reopened);
    assert_eq!(open(&killed).report().uploads_dropped, 0);
}

#[test]
fn a_delete_survives_a_crash_before_its_hole() {
    let (disk, _) = three();
    let node = open(&disk);
    let before = disk.file(FIRST);
    assert!(node.delete(id(1), Term(1)).unwrap());
    drop(node);
    // the drop mark only
    let after = disk.file(FIRST);
    let mut bytes = before;
    let mark = 2 * PAGE + 128..2 * PAGE + 192;
    bytes[mark.clone()].copy_from_slice(&after[mark]);
    disk.put_file(FIRST, bytes);
    let node = open(&disk);
    assert_eq!(node.report().damage, []);
    assert!(node.stat(id(1)).unwrap().is_none());
    assert_eq!(node.list(LAKE, None, 10).unwrap().len(), 2);
}

#[test]
fn a_replaced_copy_never_comes_back() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 50_000);
    put(&node, id(0), 1, &shard).unwrap();
    put(&node, id(1), 1, &shard).unwrap();
    disk.flip(FIRST, PAGE + 300, 1);
    drop(node);
    let node = open(&disk);
    assert!(matches!(get(&node, id(0)), Err(NodeError::Damaged { offset: 0, .. })));
    let used = node.space().unwrap().used_bytes;
    put_as(&node, id(0), 1, &shard, PutMode::Replace).unwrap();
    assert_eq!(get(&node, id(0)).unwrap(), shard);
    assert_eq!(node.space().unwrap().used_bytes, used + PAGE as u64);
    for seed in 0..20 {
        let crashed = disk.crashed(Unsynced::Torn(seed));
        let again = open(&crashed);
        assert_eq!(get(&again, id(0)).unwrap(), shard);
        assert!(again.delete(id(0), Term(1)).unwrap());
        drop(again);
        let again = open(&crashed.crashed(Unsynced::Torn(seed)));
        assert!(again.stat(id(0)).unwrap().is_none(), "seed {seed}");
        assert_eq!(get(&again, id(1)).unwrap(), shard);
    }
}

#[test]
fn a_segment_where_nothing_counts_is_removed() {
    let disk = FaultyDisk::default();
    let mut config = config();
    config.segment_bytes = 100_000;
    let node = open_with(config.clone(), &disk);
    for number in 0..4 {
        put(&node, id(number), 1, &bytes(1, 40_000)).unwrap();
    }
    assert!(disk.has(FIRST) && disk.has("/node/segments/00000001.seg"));
    for number in 0..2 {
        assert!(node.delete(id(number), Term(1)).unwrap());
    }
    assert!(!disk.has(FIRST) && disk.has("/node/segments/00000001.seg"));
    drop(node);
    let node = open_with(config, &disk);
    assert_eq!(node.report().segments, 1);
    assert_eq!(get(&node, id(3)).unwrap(), bytes(1, 40_000));
}

#[test]
fn fences_and_heads_survive() {
    use prunedb_node::Head;
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let head = Head { term: Term(3), number: 8, bytes: bytes(1, 70_000).into() };
    node.put_head(LAKE, &head).unwrap();
    node.fence(LAKE, Term(7)).unwrap();
    put(&node, id(0), 9, b"shard").unwrap();
    let disk = disk.crashed(Unsynced::Torn(3));
    let node = open(&disk);
    assert_eq!(node.head(LAKE).unwrap(), Some(head));
    let late = put(&node, id(1), 8, b"late");
    assert!(matches!(late, Err(NodeError::Fenced { seen: Term(9), term: Term(8) })), "{late:?}");
    drop(node);

    let files = [format!("/node/lakes/fence-{LAKE}"), format!("/node/lakes/head-{LAKE}")];
    for file in &files {
        disk.flip(file, 30, 1);
    }
    let node = open(&disk);
    let damage = [Damage::Fence { lake: LAKE }, Damage::Head { lake: LAKE }];
    assert_eq!(node.report().damage, damage);
    assert_eq!(node.head(LAKE).unwrap(), None);
    let late = put(&node, id(1), 8, b"late");
    assert!(matches!(late, Err(NodeError::Fenced { seen: Term(9), .. })), "shards bear witness");
    // a term above all that is left might be one that was fenced off
    for term in [9, 10] {
        let put = put(&node, id(2), term, b"more");
        assert!(matches!(put, Err(NodeError::FenceDamaged { .. })), "{put:?}");
    }
    let delete = node.delete(id(1), Term(10));
    assert!(matches!(delete, Err(NodeError::FenceDamaged { .. })), "{delete:?}");
    assert!(matches!(node.fence(LAKE, Term(8)), Err(NodeError::Fenced { seen: Term(9), .. })));
    node.fence(LAKE, Term(9)).unwrap();
    put(&node, id(2), 9, b"more").unwrap();
    drop(node);
    let node = open(&disk);
    assert_eq!(node.report().damage, [Damage::Head { lake: LAKE }], "the fence was written anew");
}

#[test]
fn a_folder_has_one_node() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let second = prunedb_node::Node::open(config(), std::sync::Arc::new(disk.clone()));
    assert!(matches!(second, Err(prunedb_node::OpenError::InUse { .. })));
    drop(node);
    open(&disk);
}

#[test]
fn a_damaged_copy_that_was_noticed_is_as_good_as_none() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 50_000);
    put(&node, id(0), 1, &shard).unwrap();
    put(&node, id(1), 1, &shard).unwrap();
    drop(node);
    disk.flip(FIRST, PAGE + 300, 1);
    let node = open(&disk);
    let upload = node.put(id(0), Term(1), 50_000, PutMode::IfAbsent).unwrap();
    assert_eq!(upload.stored(), Some(name(&shard)), "a put does not look at stored bytes");
    assert!(get(&node, id(0)).is_err());
    put(&node, id(0), 1, &shard).unwrap();
    assert_eq!(get(&node, id(0)).unwrap(), shard);
    let other = put(&node, id(0), 1, &bytes(2, 50_000));
    assert!(matches!(other, Err(NodeError::Conflict { .. })));
}

#[test]
fn the_last_commits_are_read_whole_after_a_crash_but_not_after_a_stop() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 50_000);
    put(&node, id(0), 1, &shard).unwrap();
    put(&node, id(1), 1, &shard).unwrap();
    let before = disk.killed();
    node.checkpoint().unwrap();
    drop(node);
    let last = PAGE + 2 * (256 + 50_000 + 16 + 128_usize).next_multiple_of(PAGE) - 10_000;
    let lost = Damage::Shard { segment: 0, id: id(1) };
    for (disk, damage) in [(before, vec![lost]), (disk, vec![])] {
        disk.flip(FIRST, last, 1);
        let node = open(&disk);
        assert_eq!(node.report().damage, damage);
        assert_eq!(get(&node, id(0)).unwrap(), shard);
        assert!(matches!(get(&node, id(1)), Err(NodeError::Damaged { .. })));
        assert_eq!(node.get(id(1), 0, 16_384).unwrap(), shard[..16_384]);
        put(&node, id(1), 1, &shard).unwrap();
        assert_eq!(get(&node, id(1)).unwrap(), shard);
    }
}

#[test]
fn numbers_of_commits_are_not_given_again_where_the_segments_are_gone() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    for number in 0..3 {
        put(&node, id(number), 1, &bytes(1, 1000)).unwrap();
    }
    node.checkpoint().unwrap();
    drop(node);
    for path in [FIRST, "/node/snapshot"] {
        disk.remove(path.as_ref()).unwrap();
    }
    put(&open(&disk), id(9), 1, &bytes(9, 1000)).unwrap();
    let segment = disk.file(FIRST);
    let (trailer, _) = segment.last_chunk::<128>().unwrap().split_at(88);
    assert_eq!(trailer[80..], 4_u64.to_le_bytes(), "up to 3 counts as durable, whatever is there");
}

//! A lake that a registry governs: batches as everybody sees them, elected holders, the watermark.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_core::{Digest, ShardIndex, Term};
use prunedb_engine::{
    BatchFacts, Cut, CutBatch, Db, Depth, Elected, ElectedGroup, Error, Governance, NodeDomains,
    Outages,
};

const RECORDS: u64 = 120;
const BYTES: usize = 20_000;

#[test]
fn who_has_the_same_records_cuts_the_same_batches_whatever_containers_they_lie_in() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, RECORDS, BYTES);
    db.flush(&mut quiet()).unwrap();
    // another lake, of which some is evicted, some sealed, some neither; its containers end elsewhere
    let mut elsewhere = World::new("2+1", 3);
    (elsewhere.secret, elsewhere.container_bytes) = (77, world.container_bytes / 3);
    elsewhere.create().unwrap();
    let archive = elsewhere.open().unwrap();
    fill(&archive, 0, 31, BYTES);
    archive.evict(&mut quiet()).unwrap();
    fill(&archive, 31, 40, BYTES);
    archive.seal().unwrap();
    fill(&archive, 71, RECORDS - 72, BYTES);
    // the lake is gone as far as the archive is concerned
    world.set_offline(&[0, 1, 2, 3, 4, 5, 6, 7], true);
    let gets = world.gets();
    let (secret, policy) = (world.secret(), world.policy);
    let mut batches = Vec::new();
    while let Some(batch) = db.batch(u32::try_from(batches.len()).unwrap()).unwrap() {
        assert!(batch.group.is_some());
        batches.push(BatchFacts { group: None, ..batch });
    }
    assert!(batches.len() >= 2, "{}", batches.len());
    let mut next = 0;
    for (position, batch) in batches.iter().enumerate() {
        let BatchFacts { number, first_record, records, .. } = *batch;
        assert_eq!(first_record, next, "every record is in one batch");
        next += u64::from(records);
        let cut = Cut { number, first_record, records };
        let made = archive.cut_batch(&secret, cut, policy, None).unwrap();
        if position + 1 == batches.len() {
            assert_eq!(made, None, "the last record is not here yet");
            fill(&archive, RECORDS - 1, 1, BYTES);
        } else {
            assert_eq!(made.unwrap(), CutBatch { batch: batch.clone(), shard: None });
        }
        for index in [0, 3, 5] {
            let shard = Some(ShardIndex(index));
            let made = archive.cut_batch(&secret, cut, policy, shard).unwrap().unwrap();
            assert_eq!(&made.batch, batch);
            let name = Digest(*blake3::hash(&made.shard.unwrap()).as_bytes());
            assert_eq!(name, batch.names[usize::from(index)]);
        }
        let other = archive.cut_batch(&secret, cut, "2+2".parse().unwrap(), None).unwrap();
        let other = other.unwrap().batch;
        assert_ne!(other.root, batch.root);
        assert_eq!(other.container_digest, batch.container_digest);
        assert_eq!(db.own_batch(number, policy).unwrap().unwrap().root, batch.root);
    }
    assert_eq!(next, RECORDS * 2);
    assert_eq!(world.gets(), gets, "nothing was transferred");

    // what no batch is: nothing, half a put, more than a container takes, what nobody has
    let cut = |first_record, records| {
        archive.cut_batch(&secret, Cut { number: 9, first_record, records }, policy, None)
    };
    for (first_record, records) in [(0, 0), (0, 1)] {
        let error = cut(first_record, records).unwrap_err();
        assert!(matches!(error, Error::Codec { .. }), "{error}");
    }
    for (first_record, records) in [(0, u32::MAX), (RECORDS * 2, 1), (u64::MAX, 2)] {
        assert_eq!(cut(first_record, records).unwrap(), None);
    }
}

#[test]
fn nothing_leaves_before_the_registry_allows_it() {
    let (world, db) = World::open_new("4+2", 8);
    db.govern(Governance::default());
    fill(&db, 0, RECORDS, BYTES);
    let early = db.flush(&mut quiet());
    assert!(matches!(early, Err(Error::Governed { .. })), "{early:?}");
    db.govern(Governance { placed: true, prunable_up_to: 0, lease: Some(Term(1)) });
    let evicted = db.evict(&mut quiet()).unwrap();
    let all = db.containers().unwrap().len() as u64;
    assert_eq!((evicted.containers, evicted.kept.len() as u64), (0, all));
    let reason = &evicted.kept[0].1;
    assert!(reason.contains("below 0"), "{reason}");
    db.govern(Governance { placed: true, prunable_up_to: 2, lease: Some(Term(1)) });
    // the watermark never falls
    db.govern(Governance { placed: false, prunable_up_to: 1, lease: Some(Term(1)) });
    let evicted = db.evict(&mut quiet()).unwrap();
    assert_eq!((evicted.containers, evicted.kept.len() as u64), (2, all - 2));
    check(&db, 0, RECORDS, BYTES);
    db.read_back(0).unwrap();
    let address = world.stores.keys().next().unwrap();
    for refused in [
        db.leave(address, &mut quiet()).map(drop),
        db.change_policy("2+2".parse().unwrap(), &mut quiet()).map(drop),
        db.repair(true, &mut quiet()).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Governed { .. })), "{refused:?}");
    }
}

/// The lake's placement as a registry would say it.
fn elected(db: &Db) -> Elected {
    let holders = db.holders().unwrap();
    let nodes = holders.nodes.iter().map(|n| (n.address.clone(), NodeDomains::default()));
    let policy = db.status().unwrap().policy;
    let group = |slots: &Vec<usize>| ElectedGroup {
        policy,
        slots: slots.iter().map(|&slot| Some(slot)).collect(),
    };
    Elected { nodes: nodes.collect(), groups: holders.groups.iter().map(group).collect() }
}

#[test]
fn slots_go_where_the_registry_says() {
    let (world, db) = World::open_new("4+2", 9);
    // before anything is stored the groups are replaced as a whole
    let mut wanted = elected(&db);
    wanted.groups.iter_mut().for_each(|group| group.slots.rotate_left(1));
    db.govern(Governance { placed: true, prunable_up_to: 0, lease: Some(Term(1)) });
    let moved = db.follow_elections(&wanted, &world.connect()).unwrap();
    assert_eq!((moved.slots, moved.copied_shards), (0, 0));
    assert_eq!(elected(&db), wanted);
    fill(&db, 0, RECORDS, BYTES);
    db.flush(&mut quiet()).unwrap();
    assert_eq!(
        db.follow_elections(&wanted, &world.connect()).unwrap(),
        prunedb_engine::Moved::default()
    );

    // node 4 is lost, node 2 leaves: their slots go to whoever holds none of the group
    world.set_offline(&[4], true);
    let (lost, leaver) = (4, 2);
    let mut slots = 0;
    for group in &mut wanted.groups {
        for slot in 0..group.slots.len() {
            if [Some(lost), Some(leaver)].contains(&group.slots[slot]) {
                let free = |node: &usize| {
                    ![lost, leaver].contains(node) && !group.slots.contains(&Some(*node))
                };
                group.slots[slot] = (0..9).find(free);
                slots += 1;
            }
        }
    }
    let moved = db.follow_elections(&wanted, &world.connect()).unwrap();
    assert_eq!(moved.slots, slots);
    assert!(moved.copied_shards > 0 && moved.rebuilt_shards > 0, "{moved:?}");
    assert_eq!(moved.stuck_slots, 0, "{moved:?}");
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    assert_eq!(elected(&db).groups.len(), wanted.groups.len());

    // vacant: the holder before stays; a registry that forgot groups, or has others, is refused
    let mut vacant = elected(&db);
    vacant.groups[0].slots[1] = None;
    assert_eq!(
        db.follow_elections(&vacant, &world.connect()).unwrap(),
        prunedb_engine::Moved::default()
    );
    let mut fewer = elected(&db);
    fewer.groups.pop();
    let mut other = elected(&db);
    other.groups[0].policy = "2+4".parse().unwrap();
    let mut twice = elected(&db);
    twice.nodes[1].0 = twice.nodes[0].0.clone();
    for wrong in [fewer, other, twice] {
        let refused = db.follow_elections(&wrong, &world.connect());
        assert!(matches!(refused, Err(Error::Governed { .. })), "{refused:?}");
    }
    check(&db, 0, RECORDS, BYTES);
}

#[test]
fn a_slot_whose_group_needs_its_node_back_stays() {
    let (world, db) = World::open_new("4+2", 9);
    db.govern(Governance { placed: true, prunable_up_to: 0, lease: Some(Term(1)) });
    fill(&db, 0, RECORDS, BYTES);
    db.flush(&mut quiet()).unwrap();
    let before = elected(&db);
    let lost = [0, 1, 2];
    world.set_offline(&lost, true);
    let mut wanted = before.clone();
    for group in &mut wanted.groups {
        for slot in 0..group.slots.len() {
            if group.slots[slot].is_some_and(|node| lost.contains(&node)) {
                let free = |n: &usize| !lost.contains(n) && !group.slots.contains(&Some(*n));
                group.slots[slot] = (0..9).find(free).or(group.slots[slot]);
            }
        }
    }
    // nor can the head be published
    let published = db.follow_elections(&wanted, &world.connect());
    assert!(matches!(published, Err(Error::Quorum { .. })), "{published:?}");
    let stuck = |group: &ElectedGroup| group.slots.iter().flatten().any(|node| lost.contains(node));
    assert!(elected(&db).groups.iter().any(stuck));
    world.set_offline(&lost, false);
    check(&db, 0, RECORDS, BYTES);
    let moved = db.follow_elections(&wanted, &world.connect()).unwrap();
    assert_eq!(moved.stuck_slots, 0);
    db.heal(&mut Outages::default()).unwrap();
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

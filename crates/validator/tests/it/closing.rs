//! A validator signs the closing of a batch that it has itself, and no other.

use crate::world::{AUTHORITY, VALIDATOR, World, secret};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};
use prunedb_disk::faulty::FaultyDisk;
use prunedb_proof::ContainerFacts;
use prunedb_registry::{Body, CloseBatch, SignedTx, canonical::Canonical};
use prunedb_validator::{Copies, OwnCopy, Proposal};
use std::sync::Arc;

/// Batch 0, and an unreadable batch 1.
struct OneBatch;

fn names() -> Vec<Digest> {
    (1..=4).map(|n| Digest([n; 32])).collect()
}

fn policy() -> Policy {
    "2+2".parse().unwrap()
}

fn root(names: &[Digest]) -> Digest {
    let facts = ContainerFacts {
        lake: LakeId([9; 16]),
        container: ContainerId::data(0),
        policy: policy(),
        codec: 1,
        generation: Generation(0),
        leaf_bytes: 4096,
        leaves_per_shard: 3,
        container_bytes: 20_000,
        coded_bytes: 15_000,
    };
    facts.root(names).unwrap()
}

impl Copies for OneBatch {
    fn own(&self, close: &CloseBatch, policy: Policy) -> Result<Option<OwnCopy>, String> {
        assert_eq!(policy, self::policy());
        match close.batch {
            0 => Ok(Some(OwnCopy {
                container_digest: Digest([8; 32]),
                root: root(&names()),
                first_block: 0,
                blocks: 10,
            })),
            1 => Err("the disk is gone".into()),
            _ => Ok(None),
        }
    }
}

fn proposal() -> Proposal {
    let close = CloseBatch {
        batch: 0,
        term: 1,
        first_block: 0,
        blocks: 10,
        container_digest: Digest([8; 32]),
        root: root(&names()),
        codec: 1,
        generation: 0,
        leaf_bytes: 4096,
        leaves_per_shard: 3,
        container_bytes: 20_000,
        coded_bytes: 15_000,
        group: 0,
    };
    Proposal { nonce: 0, valid_until: 1_000_000, close, names: names(), signature: [0; 64] }
}

/// The proposal with the signature of a key.
fn signed(world: &World, proposal: &Proposal, key: u8) -> Proposal {
    let Proposal { nonce, valid_until, close, .. } = *proposal;
    let body = Body::CloseBatch { batch: close };
    let tx = SignedTx::sign(&world.registry, nonce, valid_until, body, &[&secret(key)]);
    Proposal { signature: tx.signatures[0].1, ..proposal.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lies_gets_no_signature_and_one_that_does_not_closes() {
    let world = World::start(&FaultyDisk::new(1), Arc::new(OneBatch)).await;
    let refused_from = async |key: u8, proposal: &Proposal| {
        let proposal = &signed(&world, proposal, key);
        let (signatures, mut refused) = world.client.cosign(proposal).await;
        assert!(signatures.is_empty());
        refused.pop().unwrap()
    };
    let refused = async |proposal: &Proposal| refused_from(VALIDATOR, proposal).await;
    let reason = refused(&proposal()).await;
    assert!(reason.ends_with("nobody holds it"), "{reason}");
    let me = secret(VALIDATOR);
    let lease = Body::AcquireLease { term: 0, heights: 10_000 };
    world.client.send(&world.registry, lease, &[&me]).await.unwrap();
    let reason = refused(&proposal()).await;
    assert!(reason.ends_with("there is no group 0"), "{reason}");
    world.join(20, 4).await;
    let open = Body::OpenGroups { policy: policy(), count: 1 };
    world.client.send(&world.registry, open, &[&secret(AUTHORITY)]).await.unwrap();

    // nobody codes anything for who does not hold the lease
    let reason = refused_from(AUTHORITY, &proposal()).await;
    assert!(reason.contains("is not proposed by the holder of the lease in term 1"), "{reason}");

    let mut lie = proposal();
    lie.names[2] = Digest([66; 32]);
    let reason = refused(&lie).await;
    assert!(reason.contains("batch 0: ") && reason.contains("root"), "{reason}");
    // a lie that fits itself: other shards, and their root
    lie.close.root = root(&lie.names);
    let reason = refused(&lie).await;
    assert!(reason.contains("one of us archives other blocks"), "{reason}");
    for change in [
        |close: &mut CloseBatch| close.container_digest = Digest([1; 32]),
        |close: &mut CloseBatch| close.blocks = 11,
    ] {
        let mut lie = proposal();
        change(&mut lie.close);
        let reason = refused(&lie).await;
        assert!(reason.contains("is proposed: one of us"), "{reason}");
    }
    let mut gap = proposal();
    gap.close.first_block = 1;
    let reason = refused(&gap).await;
    assert!(reason.contains("from block 1 on, the one before it ends at block 0"), "{reason}");
    let mut later = proposal();
    later.close.batch = 1;
    let reason = refused(&later).await;
    assert!(reason.contains("batch 1 is proposed, batch 0 is the next one"), "{reason}");

    // the master cannot close it alone, nor with a signature for something else
    let nonce = world.client.account(me.key()).await.unwrap().1.unwrap().nonce;
    let honest = signed(&world, &Proposal { nonce, ..proposal() }, VALIDATOR);
    let (signatures, refused) = world.client.cosign(&honest).await;
    assert_eq!((signatures.len(), refused), (1, Vec::new()));
    let body = Body::CloseBatch { batch: honest.close };
    let tx = SignedTx { nonce, valid_until: honest.valid_until, body, signatures };
    let name = world.client.submit(tx.to_bytes()).await.unwrap();
    let outcome = world.client.outcome(name, 10_000).await.unwrap().unwrap();
    assert_eq!(outcome.refused, None);
    let (_, count, closing) = world.client.batches(0, 10).await.unwrap();
    assert_eq!((count, closing.unwrap().root), (0, honest.close.root));
    assert_eq!(world.client.names(honest.close.root).await.unwrap(), names());
    assert_eq!(world.client.offer_names(0, &names()).await, 1);
    assert_eq!(world.client.offer_names(0, &names()[1..]).await, 0);

    // its holders are told
    let mut waiting = 0;
    for node in 20..24 {
        let duty = world.client.duty(secret(node).key()).await.unwrap().unwrap();
        for slot in &duty.slots {
            assert_eq!((slot.acknowledged, slot.missing[0].1.root), (0, honest.close.root));
            waiting += 1;
        }
    }
    assert_eq!(waiting, 4);
}

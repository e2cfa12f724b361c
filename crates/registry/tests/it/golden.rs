//! Published bytes: a transaction of each kind, and the root of a story. They change only on purpose (`--cfg bless`).

use crate::world::{AUTHORITY, OWNER, VALIDATORS, World, params};
use prunedb_core::Digest;
use prunedb_proof::SampleProof;
use prunedb_registry::{
    Amount, Answer, Body, Canonical, Cell, CloseBatch, Endpoint, Evidence, JoinNode, KIND_COUNT,
    Leave, NodeId, Proof, Receipt, Secret, SetInSync, Shown, SignedTx,
};
use std::fmt::Write;

fn evidence(epoch: u32, digest: Digest) -> Evidence {
    Evidence {
        epoch,
        cell: 3,
        shown: vec![Shown { sample: [5; 1024], path: vec![[6; 32]] }],
        leaves: 4,
        position: 1,
        path: vec![digest, Digest([0xd2; 32])],
    }
}

fn bodies() -> Vec<Body> {
    let (node, epoch, amount) = (NodeId(0x0102_0304), 9, Amount(0x0a0b));
    let digest = Digest([0xd1; 32]);
    vec![
        Body::JoinNode {
            join: JoinNode {
                key: OWNER,
                endpoint: Endpoint::new("h:1").unwrap(),
                domains: [1, 2, 3],
                capacity_gib: 4,
                stake: amount,
            },
        },
        Body::LeaveNode { leave: Leave { node } },
        Body::OpenGroups { policy: "16+4".parse().unwrap(), count: 5 },
        Body::CloseBatch {
            batch: CloseBatch {
                batch: 1,
                term: 2,
                first_block: 3,
                blocks: 4,
                container_digest: digest,
                root: Digest([0xd2; 32]),
                codec: 5,
                generation: 6,
                leaf_bytes: 7,
                leaves_per_shard: 8,
                container_bytes: 9,
                coded_bytes: 10,
                group: 11,
            },
        },
        Body::Receipt { receipt: Receipt { node, group: 1, slot: 2, batches: 3 } },
        Body::CommitSeed { epoch, commitment: digest },
        Body::RevealSeed { epoch, secret: [0x5e; 32] },
        Body::Beacon { epoch, value: [0xbe; 32] },
        Body::Prove {
            proof: Proof {
                epoch,
                node,
                endpoint: Endpoint::default(),
                answers: vec![Answer {
                    name: digest,
                    name_path: vec![Digest([1; 32])],
                    sample: SampleProof {
                        sample: Box::new([2; 1024]),
                        path: vec![[3; 32], [4; 32]],
                    },
                }],
            },
        },
        Body::AttestReadBack { up_to: 7 },
        Body::Deposit { account: OWNER, amount },
        Body::Withdraw { amount },
        Body::Transfer { account: OWNER, amount },
        Body::FundEscrow { amount },
        Body::AddStake { node, amount },
        Body::AcquireLease { term: 1, heights: 2 },
        Body::RenewLease { term: 1, heights: 2 },
        Body::SetInSync { in_sync: SetInSync { term: 1, members: vec![OWNER] } },
        Body::CommitHead { term: 1, number: 2, root: digest },
        Body::SetParams { height: 5, params: params() },
        Body::SetValidators { validators: vec![AUTHORITY, OWNER] },
        Body::RentCell {
            cell: Cell {
                holder: node,
                root: digest,
                bytes: 1,
                price: amount,
                epochs: 2,
                owner_heavy: None,
                holder_heavy: Some(node),
            },
        },
        Body::EndCell { cell: 3 },
        Body::ReportCells { heavy: node, epoch, answers_root: digest, proven: vec![0b101] },
        Body::ReportFault { node, batch: 1, slot: 2 },
        Body::AdoptCells { holder: node, heavy: node },
        Body::DisputeReport { heavy: node, evidence: evidence(epoch, digest) },
        Body::DemandAnswer { heavy: node, epoch, cell: 3 },
        Body::ShowAnswer { heavy: node, evidence: evidence(epoch, digest) },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn compare(name: &str, text: &str) {
    let path = format!("{}/fixtures/registry/v1/{name}", env!("CARGO_MANIFEST_DIR"));
    if cfg!(bless) {
        std::fs::create_dir_all(format!("{}/fixtures/registry/v1", env!("CARGO_MANIFEST_DIR")))
            .unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn transactions_are_the_published_bytes() {
    let bodies = bodies();
    assert_eq!(bodies.len(), KIND_COUNT);
    let mut text = String::new();
    for (kind, body) in (1..).zip(&bodies) {
        let bytes = body.to_bytes();
        assert_eq!(bytes[0], kind, "kinds are numbered from 1");
        assert_eq!(&Body::from_bytes("body", &bytes).unwrap(), body);
        writeln!(text, "{}", hex(&bytes)).unwrap();
    }
    compare("bodies.txt", &text);
    let secrets = [Secret::from_seed(&[1; 32]), Secret::from_seed(&[2; 32])];
    let signed =
        SignedTx::sign(&Digest([7; 32]), 8, 9, bodies[1].clone(), &[&secrets[0], &secrets[1]]);
    compare("signed.txt", &format!("{}\n", hex(&signed.to_bytes())));
}

#[test]
fn a_story_has_the_published_roots() {
    let mut world = World::started(params(), "2+2", 6, 3);
    let mut text = format!("{}\n", world.state.root());
    for batch in 0..4 {
        world.archive();
        world.send(Body::AttestReadBack { up_to: batch + 1 }, &[VALIDATORS[1]]).unwrap();
        writeln!(text, "{}", world.state.root()).unwrap();
    }
    compare("roots.txt", &text);
}

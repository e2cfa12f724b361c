//! `rusty_erasure`: ISA-L's code in Rust.

use super::{Job, Peer, by_pieces};
use prunedb_bench::erasure::lost;
use prunedb_core::Policy;
use rusty_erasure::{Coder, Matrix};

pub(crate) struct Rusty;

fn coder(policy: Policy) -> Option<Coder> {
    let matrix = Matrix::cauchy(policy.data_shards(), policy.parity_shards()).ok()?;
    rusty_erasure::coder(matrix).ok()
}

impl Peer for Rusty {
    fn name(&self) -> &'static str {
        "rusty_erasure"
    }

    fn encoder(&self, policy: Policy, _shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let coder = coder(policy)?;
        Some(Box::new(move |data, parity| {
            by_pieces(piece_bytes, data, parity, |data, parity| {
                coder.encode(data, parity).expect("as many and as long as the code has");
            });
        }))
    }

    fn decoder(&self, policy: Policy, _shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let (coder, p, lost) = (coder(policy)?, policy.data_shards(), lost(policy));
        let present: Vec<bool> =
            (0..policy.total_shards()).map(|shard| (lost..p + lost).contains(&shard)).collect();
        let plan = coder.decode_plan(&present, &(0..lost).collect::<Vec<_>>()).ok()?;
        let total = policy.total_shards();
        Some(Box::new(move |have, want| {
            by_pieces(piece_bytes, have, want, |have, want| {
                let mut shards = vec![None; total];
                for (shard, have) in shards[lost..].iter_mut().zip(have) {
                    *shard = Some(*have);
                }
                coder.recover_with(&plan, &shards, want).expect("those that the plan names");
            });
        }))
    }
}

//! `reed-solomon-erasure` with `simd-accel`: its kernels are C. It rebuilds among shards that may all be written, so the
//! decoder works on memory of its own.

use super::{Job, Peer, by_pieces};
use prunedb_bench::{Shards, erasure::lost};
use prunedb_core::Policy;
use reed_solomon_erasure::galois_8::ReedSolomon;

pub(crate) struct Accelerated;

fn code(policy: Policy) -> Option<ReedSolomon> {
    ReedSolomon::new(policy.data_shards(), policy.parity_shards()).ok()
}

impl Peer for Accelerated {
    fn name(&self) -> &'static str {
        "reed-solomon-erasure"
    }

    fn encoder(&self, policy: Policy, _shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let code = code(policy)?;
        Some(Box::new(move |data, parity| {
            by_pieces(piece_bytes, data, parity, |data, parity| {
                code.encode_sep(data, parity).expect("as many and as long as the code has");
            });
        }))
    }

    fn decoder(&self, policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let (code, p, lost) = (code(policy)?, policy.data_shards(), lost(policy));
        // of the parity shards only p in all are there; what is absent has no bytes
        let mut shards = Shards::new(p + lost, shard_bytes);
        let absent = policy.total_shards() - (p + lost);
        Some(Box::new(move |_, _| {
            let mut shards = shards.slices_mut();
            for start in (0..shard_bytes).step_by(piece_bytes) {
                let piece = start..shard_bytes.min(start + piece_bytes);
                let mut pieces: Vec<(&mut [u8], bool)> = shards
                    .iter_mut()
                    .enumerate()
                    .map(|(shard, bytes)| (&mut bytes[piece.clone()], shard >= lost))
                    .collect();
                pieces.extend((0..absent).map(|_| (&mut [][..], false)));
                code.reconstruct_data(&mut pieces).expect("p shards");
            }
        }))
    }
}

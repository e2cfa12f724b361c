//! `reed-solomon-simd`: over GF(2^16), by FFT. It copies shards into memory of its own and hands out what lies there.

use super::{Job, Peer, by_pieces};
use prunedb_bench::erasure::lost;
use prunedb_core::Policy;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use std::hint::black_box;

pub(crate) struct Simd;

impl Peer for Simd {
    fn name(&self) -> &'static str {
        "reed-solomon-simd"
    }

    fn encoder(&self, policy: Policy, _shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let (p, q) = (policy.data_shards(), policy.parity_shards());
        let mut encoder = ReedSolomonEncoder::new(p, q, piece_bytes).ok()?;
        let mut length = piece_bytes;
        Some(Box::new(move |data, parity| {
            by_pieces(piece_bytes, data, parity, |data, _| {
                if data[0].len() != length {
                    length = data[0].len();
                    encoder.reset(p, q, length).expect("an even length");
                }
                for shard in data {
                    encoder.add_original_shard(shard).expect("not yet p");
                }
                black_box(encoder.encode().expect("p shards").recovery(0));
            });
        }))
    }

    fn decoder(&self, policy: Policy, _shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let (p, q, lost) = (policy.data_shards(), policy.parity_shards(), lost(policy));
        let mut decoder = ReedSolomonDecoder::new(p, q, piece_bytes).ok()?;
        let mut length = piece_bytes;
        Some(Box::new(move |have, want| {
            by_pieces(piece_bytes, have, want, |have, _| {
                if have[0].len() != length {
                    length = have[0].len();
                    decoder.reset(p, q, length).expect("an even length");
                }
                for (shard, bytes) in (lost..).zip(have) {
                    let added = match shard.checked_sub(p) {
                        None => decoder.add_original_shard(shard, bytes),
                        Some(parity) => decoder.add_recovery_shard(parity, bytes),
                    };
                    added.expect("each once");
                }
                let restored = decoder.decode().expect("p shards");
                black_box(restored.restored_original(0)).expect("it was lost");
            });
        }))
    }
}

//! Other erasure codes, each used as its documentation says, set up outside of what is measured.
//!
//! Where a crate wants its input or output in memory of its own, it gets it so: copies that only the harness would need are
//! not measured. All work at single byte columns, so that long shards may be cut into pieces that suit their caches.

mod raptor;
mod reed_solomon_erasure;
mod reed_solomon_simd;
mod rusty;

use prunedb_core::Policy;

/// Writes parity, or lost shards, from p others.
pub(crate) type Job = Box<dyn FnMut(&[&[u8]], &mut [&mut [u8]])>;

/// An erasure code.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;
    /// Encodes shards of `shard_bytes`, `piece_bytes` at once; `None` where it cannot.
    fn encoder(&self, policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Job>;
    /// Rebuilds the first data shards, as many as can be lost, from the other data shards and the first parity shards.
    fn decoder(&self, policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Job>;
}

pub(crate) fn all() -> [Box<dyn Peer>; 4] {
    [
        Box::new(rusty::Rusty),
        Box::new(reed_solomon_simd::Simd),
        Box::new(reed_solomon_erasure::Accelerated),
        Box::new(raptor::Raptor),
    ]
}

/// Calls `job` with each piece of all shards; the last one may be shorter.
fn by_pieces(
    piece_bytes: usize,
    from: &[&[u8]],
    to: &mut [&mut [u8]],
    mut job: impl FnMut(&[&[u8]], &mut [&mut [u8]]),
) {
    let shard_bytes = from[0].len();
    if piece_bytes >= shard_bytes {
        return job(from, to);
    }
    for start in (0..shard_bytes).step_by(piece_bytes) {
        let piece = start..shard_bytes.min(start + piece_bytes);
        let from: Vec<&[u8]> = from.iter().map(|shard| &shard[piece.clone()]).collect();
        let mut to: Vec<&mut [u8]> = to.iter_mut().map(|shard| &mut shard[piece.clone()]).collect();
        job(&from, &mut to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_bench::{Shards, erasure::lost};

    /// Those that write where they are told to.
    fn in_place() -> Vec<Box<dyn Peer>> {
        vec![Box::new(rusty::Rusty)]
    }

    #[test]
    fn peers_that_work_in_place_give_lost_shards_back() {
        for policy in ["16+4", "20+80"].map(|text| text.parse::<Policy>().unwrap()) {
            for peer in in_place() {
                let (p, lost, len) = (policy.data_shards(), lost(policy), 10_000);
                let data = Shards::new(p, len);
                let mut parity = vec![vec![0; len]; policy.parity_shards()];
                let mut out: Vec<_> = parity.iter_mut().map(Vec::as_mut_slice).collect();
                peer.encoder(policy, len, 4096).unwrap()(&data.slices(), &mut out);
                let data = data.slices();
                let have: Vec<&[u8]> = data[lost..]
                    .iter()
                    .copied()
                    .chain(parity.iter().map(Vec::as_slice))
                    .take(p)
                    .collect();
                let mut rebuilt = vec![vec![0; len]; lost];
                let mut out: Vec<_> = rebuilt.iter_mut().map(Vec::as_mut_slice).collect();
                peer.decoder(policy, len, 4096).unwrap()(&have, &mut out);
                assert!(rebuilt.iter().zip(data).all(|(a, b)| a == b), "{} {policy}", peer.name());
            }
        }
    }

    #[test]
    fn every_peer_can_do_both_policies() {
        for policy in ["16+4", "20+80"].map(|text| text.parse::<Policy>().unwrap()) {
            for peer in all() {
                let (len, shards) = (8192, Shards::new(100, 8192));
                let have = &shards.slices()[..policy.data_shards()];
                for piece in [4096, 8192] {
                    let mut out = vec![vec![0; len]; policy.parity_shards()];
                    let mut out: Vec<_> = out.iter_mut().map(Vec::as_mut_slice).collect();
                    peer.encoder(policy, len, piece).unwrap()(have, &mut out);
                    peer.decoder(policy, len, piece).unwrap()(have, &mut out[..lost(policy)]);
                }
            }
        }
    }
}

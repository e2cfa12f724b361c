//! Ours and every peer, one after another, over the same bytes.

use crate::peers::{self, Job, Peer};
use prunedb_bench::{Meter, codec::Coding, erasure};
use prunedb_core::Policy;
use serde::Serialize;

/// One thing that several crates do.
#[derive(Debug, Serialize)]
pub(crate) struct Race {
    /// what is done
    pub(crate) what: String,
    /// GB/s per core of ours
    pub(crate) ours_gbps: f64,
    /// the same of each peer; `None` where it cannot do this
    pub(crate) peers: Vec<Rival>,
}

/// A peer's figure.
#[derive(Debug, Serialize)]
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) gbps: Option<f64>,
}

/// Lengths of the pieces that a peer may cut long shards into; the fastest counts. Ours always gets the whole.
const PIECE_BYTES: [usize; 4] = [usize::MAX, 65_536, 16_384, 4096];
/// Shards to find out whether a peer can do a thing at all: longer than a piece.
const PROBE_BYTES: usize = 131_072;

/// Makes a job for shards of a length.
type Prepare<'a> = &'a (dyn Fn(usize) -> Job + Sync);

/// All three races of a policy.
pub(crate) fn race(meter: Meter, policy: Policy) -> anyhow::Result<[Race; 3]> {
    let coding = Coding::new(policy)?;
    let code = coding.code();
    eprintln!("{policy}: encode, in cache");
    let ours = erasure::encode_cache(meter, policy, |_| erasure::encode_job(code)).gbps;
    let cached = of_peers(|peer| {
        drop(peer.encoder(policy, 1024, 1024)?);
        let job = |bytes| peer.encoder(policy, bytes, bytes).expect("it can, as was found out");
        Some(erasure::encode_cache(meter, policy, job).gbps)
    });
    let cached = Race::new(format!("encode {policy}, in cache"), ours, cached);

    eprintln!("{policy}: encode, 64 MB");
    let ours = erasure::encode_memory(meter, policy, |_| erasure::encode_job(code));
    let memory = of_peers(|peer| {
        let make = |bytes, piece| peer.encoder(policy, bytes, piece);
        let measure = |meter, prepare: Prepare<'_>| erasure::encode_memory(meter, policy, prepare);
        fastest(meter, &make, &measure)
    });
    let memory = Race::new(format!("encode {policy}, 64 MB from memory"), ours, memory);

    eprintln!("{policy}: decode, worst case");
    let ours = erasure::decode_worst(meter, policy, |_| erasure::decode_job(code));
    let decode = of_peers(|peer| {
        let make = |bytes, piece| peer.decoder(policy, bytes, piece);
        let measure = |meter, prepare: Prepare<'_>| erasure::decode_worst(meter, policy, prepare);
        fastest(meter, &make, &measure)
    });
    let decode = Race::new(format!("decode {policy}, worst case, 64 MB"), ours, decode);
    Ok([cached, memory, decode])
}

fn of_peers(mut measure: impl FnMut(&dyn Peer) -> Option<f64>) -> Vec<Rival> {
    let rivals = peers::all().into_iter();
    rivals.map(|peer| Rival { name: peer.name(), gbps: measure(&*peer) }).collect()
}

/// The figure with the length of pieces that suits a peer best, found out by short measurements; `None` where it can do
/// none.
fn fastest(
    meter: Meter,
    make: &(dyn Fn(usize, usize) -> Option<Job> + Sync),
    measure: &dyn Fn(Meter, Prepare<'_>) -> f64,
) -> Option<f64> {
    let with_piece = |meter, piece: usize| {
        measure(meter, &|bytes| make(bytes, piece.min(bytes)).expect("it can, as was found out"))
    };
    let can = |piece: &usize| make(PROBE_BYTES, (*piece).min(PROBE_BYTES)).is_some();
    let short = Meter { runs: 1, ..meter };
    let (best, _) = PIECE_BYTES
        .into_iter()
        .filter(can)
        .map(|piece| (piece, with_piece(short, piece)))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(with_piece(meter, best))
}

impl Race {
    pub(crate) fn new(what: String, ours_gbps: f64, mut peers: Vec<Rival>) -> Self {
        let rounded = |gbps: f64| (gbps * 1e4).round() / 1e4;
        peers.iter_mut().for_each(|rival| rival.gbps = rival.gbps.map(rounded));
        Self { what, ours_gbps: rounded(ours_gbps), peers }
    }

    /// The better one of each figure.
    pub(crate) fn best_of(mut self, other: &Self) -> Self {
        self.ours_gbps = self.ours_gbps.max(other.ours_gbps);
        for (mine, other) in self.peers.iter_mut().zip(&other.peers) {
            mine.gbps = mine.gbps.into_iter().chain(other.gbps).reduce(f64::max);
        }
        self
    }
}

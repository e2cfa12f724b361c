//! `raptorq` (RFC 6330): a fountain code, so a symbol stands for a shard's piece. It takes a source block in one piece and
//! owns its packets; the block, and the packets that were received, are there before. Any p packets are enough almost
//! always, not always.

use super::{Job, Peer};
use prunedb_bench::{Shards, erasure::lost};
use prunedb_core::Policy;
use raptorq::{
    EncodingPacket, ObjectTransmissionInformation, SourceBlockDecoder, SourceBlockEncoder,
};
use std::hint::black_box;

pub(crate) struct Raptor;

/// A source block: a piece of each data shard.
struct Blocks {
    info: ObjectTransmissionInformation,
    block_bytes: usize,
    count: usize,
}

impl Blocks {
    fn new(policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Self> {
        let symbol = u16::try_from(piece_bytes).ok()?;
        let block_bytes = policy.data_shards() * piece_bytes;
        let info = ObjectTransmissionInformation::new(block_bytes as u64, symbol, 1, 1, 1);
        Some(Self { info, block_bytes, count: shard_bytes / piece_bytes })
    }

    fn bytes(&self) -> Shards {
        Shards::new(self.count, self.block_bytes)
    }
}

impl Peer for Raptor {
    fn name(&self) -> &'static str {
        "raptorq"
    }

    fn encoder(&self, policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let blocks = Blocks::new(policy, shard_bytes, piece_bytes)?;
        let (data, repair) = (blocks.bytes(), u32::try_from(policy.parity_shards()).ok()?);
        Some(Box::new(move |_, _| {
            for block in data.slices() {
                let encoder = SourceBlockEncoder::new(0, &blocks.info, block);
                black_box(encoder.repair_packets(0, repair));
            }
        }))
    }

    fn decoder(&self, policy: Policy, shard_bytes: usize, piece_bytes: usize) -> Option<Job> {
        let blocks = Blocks::new(policy, shard_bytes, piece_bytes)?;
        let lost = lost(policy);
        let repair = u32::try_from(lost).ok()?;
        let received: Vec<Vec<EncodingPacket>> = blocks
            .bytes()
            .slices()
            .into_iter()
            .map(|block| {
                let encoder = SourceBlockEncoder::new(0, &blocks.info, block);
                let mut packets = encoder.source_packets().split_off(lost);
                packets.extend(encoder.repair_packets(0, repair));
                packets
            })
            .collect();
        let decode = move |packets: &Vec<EncodingPacket>| {
            SourceBlockDecoder::new(0, &blocks.info, blocks.block_bytes as u64)
                .decode(packets.clone())
        };
        decode(received.first()?)?;
        Some(Box::new(move |_, _| {
            for packets in &received {
                black_box(decode(packets));
            }
        }))
    }
}

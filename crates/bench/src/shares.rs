//! Each stage's figure beside the limit that it is judged by.

use crate::{Machine, PolicyReport};

/// One stage of one policy.
#[derive(Debug, Clone)]
pub struct Stage {
    /// its name, for people
    pub name: &'static str,
    /// GB/s per core
    pub gbps: f64,
    /// what it is judged by, where there is such a thing
    pub limit: Option<Limit>,
}

/// What a stage is judged by.
#[derive(Debug, Clone)]
pub struct Limit {
    /// GB/s per core
    pub gbps: f64,
    /// its name, for people
    pub name: &'static str,
}

impl Stage {
    /// Part of the limit; above 1 where the limit is only a yardstick.
    pub fn share(&self) -> Option<f64> {
        self.limit.as_ref().map(|limit| self.gbps / limit.gbps)
    }
}

impl PolicyReport {
    /// Every stage.
    pub fn stages(&self, machine: &Machine) -> [Stage; 9] {
        let limit = |gbps, name| Some(Limit { gbps, name });
        let matrix = machine.affine_gbps / self.policy.parity_shards() as f64;
        let memcpy = || limit(machine.memcpy_gbps, "memcpy");
        let in_turn = 1.0 / (1.0 / self.compress_gbps + machine.coded_share / self.fused_gbps);
        [
            ("compress", self.compress_gbps, None),
            ("encode, in cache", self.encode_cache_gbps, limit(matrix, "the matrix bound")),
            ("encode, 64 MB", self.encode_memory_gbps, memcpy()),
            ("decode worst, 64 MB", self.decode_worst_gbps, memcpy()),
            ("seal, in cache", self.seal_gbps, None),
            ("open, in cache", self.open_gbps, None),
            ("hash, in cache", self.hash_gbps, limit(self.hasher_gbps, "blake3::Hasher")),
            ("fused", self.fused_gbps, limit(self.sum_gbps, "encode, seal, hash in turn")),
            ("whole", self.whole_gbps, limit(in_turn, "compress, fused in turn")),
        ]
        .map(|(name, gbps, limit)| Stage { name, gbps, limit })
    }
}

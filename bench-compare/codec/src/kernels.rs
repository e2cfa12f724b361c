//! Our encoder on every kernel that this processor has: what other processors get.

use prunedb_bench::{Meter, erasure};
use prunedb_core::Policy;
use prunedb_erasure::{Algorithm, Kernel, ReedSolomon};
use serde::Serialize;

/// One kernel's figures for one policy, GB/s of data in the cache.
#[derive(Debug, Serialize)]
pub(crate) struct OnKernel {
    pub(crate) kernel: String,
    pub(crate) policy: String,
    pub(crate) matrix_gbps: f64,
    /// `None` where the policy has no transform
    pub(crate) fft_gbps: Option<f64>,
}

/// Every kernel, the fastest first, each with every policy.
pub(crate) fn measure(meter: Meter, policies: &[Policy]) -> Vec<OnKernel> {
    let mut found = Vec::new();
    for kernel in Kernel::available() {
        for &policy in policies {
            eprintln!("{policy}: kernel {kernel}");
            let gbps = |algorithm| {
                let (p, q) = (policy.data_shards(), policy.parity_shards());
                let code = ReedSolomon::with_algorithm(p, q, kernel, algorithm).ok()?;
                let job = |_| erasure::encode_job(&code);
                Some(erasure::encode_cache(meter, policy, job).gbps)
            };
            found.push(OnKernel {
                kernel: kernel.to_string(),
                policy: policy.to_string(),
                matrix_gbps: gbps(Algorithm::Matrix).expect("every policy has a matrix"),
                fft_gbps: gbps(Algorithm::Fft),
            });
        }
    }
    found
}

impl OnKernel {
    /// The better one of each figure.
    pub(crate) fn best_of(mut self, other: &Self) -> Self {
        self.matrix_gbps = self.matrix_gbps.max(other.matrix_gbps);
        self.fft_gbps = self.fft_gbps.into_iter().chain(other.fft_gbps).reduce(f64::max);
        self
    }
}

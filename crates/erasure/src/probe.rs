//! What the processor itself can do, so that benchmarks can state shares of it.

use crate::{
    Error, Kernel,
    kernel::ForLanes,
    lanes::{Job, Lanes},
};

/// Multiplies registers by coefficients, `rounds` times over, and does nothing else; returns how many bytes were
/// multiplied by a coefficient. Time it: the rate bounds every matrix kernel (`q` products per byte of data).
///
/// # Errors
/// [`Error::KernelUnavailable`] where the processor lacks the kernel.
pub fn multiply(kernel: Kernel, rounds: u64) -> Result<u64, Error> {
    kernel.with_lanes(Multiply { rounds })
}

#[derive(Clone, Copy)]
struct Multiply {
    rounds: u64,
}

impl ForLanes for Multiply {
    type Output = u64;

    fn run<L: Lanes>(self, lanes: L) -> u64 {
        lanes.enter(self);
        self.rounds * (CHAINS * L::BYTES) as u64
    }
}

/// Independent products in flight: enough to hide their latency, few enough for the registers.
const CHAINS: usize = 12;

impl<L: Lanes> Job<L> for Multiply {
    #[inline(always)]
    fn run(self, lanes: L) {
        let stored = std::hint::black_box(L::store_form(29));
        let c = lanes.coefficient(&stored);
        let mut x = [lanes.zero(); CHAINS];
        for _ in 0..self.rounds {
            for x in &mut x {
                *x = lanes.mul(lanes.factor(*x), c);
            }
        }
        std::hint::black_box(x);
    }
}

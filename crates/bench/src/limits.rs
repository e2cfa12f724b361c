//! What the machine itself can do.

use crate::Meter;
use prunedb_erasure::{Error, Kernel, probe};
use std::hint::black_box;

const COPIED_BYTES: usize = 1 << 30;
const ROUNDS: u64 = 4_000_000;

/// GB/s that a plain copy of 1 GiB copies (twice as much goes over the memory bus), shared out among the threads.
pub fn memcpy_gbps(meter: Meter) -> f64 {
    let bytes = COPIED_BYTES / meter.threads;
    Meter { runs: meter.runs.min(5), ..meter }.gbps(bytes, || {
        let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
        move || black_box(&mut to).copy_from_slice(black_box(&from))
    })
}

/// GB/s of products of a byte and a coefficient, in registers: `q` of them per byte of data bound every matrix kernel.
///
/// # Errors
/// Where the processor lacks the kernel.
pub fn affine_gbps(meter: Meter, kernel: Kernel) -> Result<f64, Error> {
    let products = usize::try_from(probe::multiply(kernel, ROUNDS)?).unwrap_or(usize::MAX);
    Ok(meter.gbps(products, || {
        || {
            black_box(probe::multiply(kernel, ROUNDS)).expect("it was there a moment ago");
        }
    }))
}

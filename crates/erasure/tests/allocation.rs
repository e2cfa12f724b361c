//! Encoding and decoding allocate nothing.

use prunedb_erasure::{Algorithm, Kernel, ReedSolomon};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system's allocator; counting in a `Cell` without a destructor allocates nothing
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system's
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system's
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(job: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    job();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn hot_paths_allocate_nothing() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1]))), 1);
    for kernel in Kernel::available() {
        for (p, q) in [(16, 4), (20, 80), (100, 28)] {
            for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
                for len in [5, 16_368] {
                    let code = ReedSolomon::with_algorithm(p, q, kernel, algorithm).unwrap();
                    let p8 = u8::try_from(p).unwrap();
                    let have: Vec<u8> = (0..p8).collect();
                    let data = vec![vec![7; len]; p];
                    let mut parity = vec![vec![0; len]; q];
                    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
                    let mut parity: Vec<&mut [u8]> =
                        parity.iter_mut().map(Vec::as_mut_slice).collect();
                    let decoder = code.decoder(&have, &[p8]).unwrap();
                    let count = allocations(|| {
                        code.encode(&data, &mut parity).unwrap();
                        decoder.decode(&data, &mut parity[..1]).unwrap();
                    });
                    assert_eq!(count, 0, "{p}+{q} {kernel} {algorithm:?} {len}");
                }
            }
        }
    }
}

//! The generator matrix is stored bytes: every kernel and algorithm against files that another implementation made.
//!
//! Never regenerated: a difference means that stored parity can no longer be read.

use prunedb_erasure::{Algorithm, Kernel, ReedSolomon};

const GENERATORS: [(usize, usize, &str); 5] = [
    (16, 4, include_str!("../fixtures/erasure-code/v1/16+4.hex")),
    (20, 80, include_str!("../fixtures/erasure-code/v1/20+80.hex")),
    (20, 20, include_str!("../fixtures/erasure-code/v1/20+20.hex")),
    (100, 28, include_str!("../fixtures/erasure-code/v1/100+28.hex")),
    (130, 100, include_str!("../fixtures/erasure-code/v1/130+100.hex")),
];

/// The generator, row by row, as hex: the parity of unit vectors, data shard `j` being 1 at position `j`.
fn generator(code: &ReedSolomon, len: usize) -> String {
    let mut data = vec![vec![0; len]; code.data_shards()];
    data.iter_mut().enumerate().for_each(|(j, shard)| shard[j] = 1);
    let mut parity = vec![vec![0xee; len]; code.parity_shards()];
    let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&inputs, &mut outputs).expect("shards of one length");
    let mut hex = String::new();
    for shard in parity {
        let (row, rest) = shard.split_at(code.data_shards());
        assert!(rest.iter().all(|&byte| byte == 0), "zeros give zeros");
        row.iter().for_each(|byte| hex.push_str(&format!("{byte:02x}")));
        hex.push('\n');
    }
    hex
}

#[test]
fn generators_are_what_they_always_were() {
    for (p, q, expected) in GENERATORS {
        for kernel in Kernel::available() {
            for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
                let Ok(code) = ReedSolomon::with_algorithm(p, q, kernel, algorithm) else {
                    assert!((p, q, algorithm) == (130, 100, Algorithm::Fft), "{p}+{q} {kernel}");
                    continue;
                };
                for len in [p, 200, 1024] {
                    assert!(generator(&code, len) == expected, "{p}+{q} {kernel} {algorithm:?}");
                }
            }
        }
    }
}

#[test]
fn example_of_the_document() {
    let code = ReedSolomon::new(3, 2).unwrap();
    let (mut x, mut y) = ([0], [0]);
    code.encode(&[&[0x50], &[0x44], &[0x42]], &mut [&mut x, &mut y]).unwrap();
    assert_eq!((x, y), ([0x68], [0x3e]));
}

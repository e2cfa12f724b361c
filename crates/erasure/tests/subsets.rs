//! Any `p` of `p+q` shards give all the others: every set of small codes, thousands of random sets of large ones.

use prunedb_erasure::ReedSolomon;

/// All `q` shards that are not in `have`, from those that are.
fn check(code: &ReedSolomon, all: &[Vec<u8>], have: &[u8]) {
    let total = u8::try_from(code.total_shards()).expect("at most 255");
    let want: Vec<u8> = (0..total).filter(|shard| !have.contains(shard)).collect();
    let present: Vec<&[u8]> =
        have.iter().map(|&shard| all[usize::from(shard)].as_slice()).collect();
    let mut wanted = vec![vec![0; all[0].len()]; want.len()];
    let mut outputs: Vec<&mut [u8]> = wanted.iter_mut().map(Vec::as_mut_slice).collect();
    let decoder = code.decoder(have, &want).expect("p distinct shards");
    decoder.decode(&present, &mut outputs).expect("shards of one length");
    for (shard, bytes) in want.iter().zip(&wanted) {
        assert!(*bytes == all[usize::from(*shard)], "{code:?}: shard {shard} from {have:?}");
    }
}

/// Data shards that are linearly independent of each other, and their parity.
fn encoded(code: &ReedSolomon) -> Vec<Vec<u8>> {
    let (p, q) = (code.data_shards(), code.parity_shards());
    let len = p + 3;
    let mut data = vec![vec![0; len]; p];
    for (j, shard) in data.iter_mut().enumerate() {
        shard[j] = 1;
        (p..len).for_each(|i| shard[i] = u8::try_from((j * 7 + i * 31) % 251).expect("below 251"));
    }
    let mut parity = vec![vec![0; len]; q];
    let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&inputs, &mut outputs).expect("shards of one length");
    data.extend(parity);
    data
}

#[test]
fn every_set_of_small_codes() {
    let most = if cfg!(miri) { 5 } else { 10 };
    for total in 3..=most {
        for p in 2..total {
            let code = ReedSolomon::new(p, total - p).unwrap();
            let all = encoded(&code);
            for set in 0u32..1 << total {
                if set.count_ones() as usize == p {
                    let have: Vec<u8> = (0..10).filter(|shard| set >> shard & 1 == 1).collect();
                    check(&code, &all, &have);
                }
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours there")]
fn random_sets_of_large_codes() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for (p, q, sets) in [
        (16, 4, 1000),
        (20, 80, 1000),
        (20, 20, 500),
        (100, 28, 100),
        (128, 64, 50),
        (130, 100, 50),
        (33, 200, 100),
        (2, 253, 500),
        (254, 1, 50),
    ] {
        let code = ReedSolomon::new(p, q).unwrap();
        let all = encoded(&code);
        let mut numbers: Vec<u8> = (0..u8::try_from(p + q).unwrap()).collect();
        for _ in 0..sets {
            for i in 0..p {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let rest = (numbers.len() - i) as u64;
                numbers.swap(i, i + usize::try_from(state % rest).unwrap());
            }
            check(&code, &all, &numbers[..p]);
        }
    }
}

//! Any policy, any lists of shards, any bytes: encoding and decoding give the shards, or refuse, and every kernel alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_erasure::{Error, Kernel, ReedSolomon};

fuzz_target!(|input: (u8, u8, u8, &[u8], &[u8])| {
    let (p, q, kernel, order, bytes) = input;
    let (p, q) = (usize::from(p), usize::from(q));
    let kernels = Kernel::available();
    let kernel = kernels[usize::from(kernel) % kernels.len()];
    let code = match ReedSolomon::with_kernel(p, q, kernel) {
        Ok(code) => code,
        Err(Error::Policy { .. }) => return assert!(p < 2 || q < 1 || p + q > 255),
        Err(error) => panic!("{error}"),
    };
    // all shards, of as many bytes as there are, and at most 300
    let len = bytes.len().min(300);
    let byte = |shard: usize, at: usize| bytes[at].wrapping_mul((shard as u8) << 1 | 1);
    let mut all: Vec<Vec<u8>> =
        (0..p).map(|shard| (0..len).map(|at| byte(shard, at)).collect()).collect();
    let mut parity = vec![vec![0; len]; q];
    let data: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&data, &mut outputs).expect("shards of one length");
    all.append(&mut parity);

    // hostile lists: whatever the bytes say
    let (have, want) = order.split_at(order.len().min(p));
    let want = &want[..want.len().min(q)];
    let valid = {
        let mut seen = [false; 256];
        let mut fresh =
            |&n: &u8| usize::from(n) < p + q && !std::mem::replace(&mut seen[usize::from(n)], true);
        have.len() == p && have.iter().all(&mut fresh) && want.iter().all(&mut fresh)
    };
    match code.decoder(have, want) {
        Err(_) => assert!(!valid, "{p}+{q} {have:?} {want:?}"),
        Ok(decoder) => {
            assert!(valid, "{p}+{q} {have:?} {want:?}");
            check(&decoder, &all, have, want);
        }
    }

    // and lists that are right: the shards turned by some places
    let turn = order.first().map_or(0, |&n| usize::from(n));
    let numbers: Vec<u8> = (0..p + q).map(|i| ((i + turn) % (p + q)) as u8).collect();
    let (have, want) = numbers.split_at(p);
    check(&code.decoder(have, want).expect("p different shards"), &all, have, want);
});

fn check(decoder: &prunedb_erasure::Decoder, all: &[Vec<u8>], have: &[u8], want: &[u8]) {
    let present: Vec<&[u8]> = have.iter().map(|&n| all[usize::from(n)].as_slice()).collect();
    let mut wanted = vec![vec![0xee; all[0].len()]; want.len()];
    let mut outputs: Vec<&mut [u8]> = wanted.iter_mut().map(Vec::as_mut_slice).collect();
    decoder.decode(&present, &mut outputs).expect("counts and lengths are right");
    for (bytes, &n) in wanted.iter().zip(want) {
        assert!(*bytes == all[usize::from(n)], "shard {n} from {have:?}");
    }
}

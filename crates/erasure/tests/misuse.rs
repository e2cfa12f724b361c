//! Every misuse is a typed error, and nothing is written.

use prunedb_erasure::{Error, Kernel, ReedSolomon, Role};

#[test]
fn impossible_policies() {
    for (data_shards, parity_shards) in
        [(0, 1), (1, 1), (2, 0), (200, 56), (usize::MAX, usize::MAX)]
    {
        let error = ReedSolomon::new(data_shards, parity_shards).unwrap_err();
        assert_eq!(error, Error::Policy { data_shards, parity_shards });
    }
}

#[test]
fn wrong_counts_and_lengths_when_encoding() {
    let code = ReedSolomon::new(3, 2).unwrap();
    let (mut x, mut y, mut z) = ([7; 4], [7; 4], [7; 5]);
    let data: [&[u8]; 3] = [&[1; 4], &[2; 4], &[3; 4]];
    assert_eq!(
        code.encode(&data[..2], &mut [&mut x, &mut y]),
        Err(Error::ShardCount { role: Role::Data, expected: 3, found: 2 })
    );
    assert_eq!(
        code.encode(&data, &mut [&mut x]),
        Err(Error::ShardCount { role: Role::Parity, expected: 2, found: 1 })
    );
    assert_eq!(
        code.encode(&[data[0], &[2; 3], data[2]], &mut [&mut x, &mut y]),
        Err(Error::ShardLength { role: Role::Data, position: 1, expected: 4, found: 3 })
    );
    assert_eq!(
        code.encode(&data, &mut [&mut x, &mut z]),
        Err(Error::ShardLength { role: Role::Parity, position: 1, expected: 4, found: 5 })
    );
    assert_eq!((x, y, z), ([7; 4], [7; 4], [7; 5]));
}

#[test]
fn wrong_shard_numbers() {
    let code = ReedSolomon::new(3, 2).unwrap();
    let error = |have: &[u8], want: &[u8]| code.decoder(have, want).unwrap_err();
    assert_eq!(error(&[0, 1], &[4]), Error::TooFewShards { needed: 3, found: 2 });
    assert_eq!(error(&[], &[]), Error::TooFewShards { needed: 3, found: 0 });
    assert_eq!(
        error(&[0, 1, 2, 3], &[4]),
        Error::ShardCount { role: Role::Present, expected: 3, found: 4 }
    );
    assert_eq!(error(&[0, 1, 1], &[4]), Error::DuplicateShard { shard: 1 });
    assert_eq!(error(&[0, 1, 2], &[4, 4]), Error::DuplicateShard { shard: 4 });
    assert_eq!(error(&[0, 1, 5], &[4]), Error::ShardOutOfRange { shard: 5, last: 4 });
    assert_eq!(error(&[0, 1, 2], &[255]), Error::ShardOutOfRange { shard: 255, last: 4 });
    assert_eq!(error(&[0, 1, 2], &[4, 0]), Error::WantedShardPresent { shard: 0 });
    assert!(code.decoder(&[4, 2, 0], &[]).is_ok());
}

#[test]
fn wrong_counts_and_lengths_when_decoding() {
    let decoder = ReedSolomon::new(2, 2).unwrap().decoder(&[3, 1], &[0]).unwrap();
    let mut x = [7; 4];
    assert_eq!(
        decoder.decode(&[&[1; 4]], &mut [&mut x]),
        Err(Error::ShardCount { role: Role::Present, expected: 2, found: 1 })
    );
    assert_eq!(
        decoder.decode(&[&[1; 4], &[2; 4]], &mut []),
        Err(Error::ShardCount { role: Role::Wanted, expected: 1, found: 0 })
    );
    assert_eq!(
        decoder.decode(&[&[1; 3], &[2; 3]], &mut [&mut x]),
        Err(Error::ShardLength { role: Role::Wanted, position: 0, expected: 3, found: 4 })
    );
    assert_eq!(x, [7; 4]);
}

#[test]
fn kernels_that_the_processor_lacks() {
    for kernel in Kernel::ALL {
        let code = ReedSolomon::with_kernel(4, 2, kernel);
        if kernel.is_available() {
            assert_eq!(code.unwrap().kernel(), kernel);
        } else {
            assert_eq!(code.unwrap_err(), Error::KernelUnavailable { kernel });
        }
    }
}

//! The records that all sides take.

use crate::shards::fill_random;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Values begin somewhere in so many random bytes.
const POOL_BYTES: usize = 8 << 20;

/// Keys of 32 random bytes, values from a pool of random ones.
#[derive(Debug)]
pub struct Records {
    pool: Vec<u8>,
    value_bytes: usize,
}

impl Records {
    /// Records with values of that length.
    pub fn new(value_bytes: usize) -> Self {
        let mut pool = vec![0; POOL_BYTES + value_bytes];
        fill_random(1, &mut pool);
        Self { pool, value_bytes }
    }

    /// Length of each value.
    pub const fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Length of key and value.
    pub const fn record_bytes(&self) -> usize {
        KEY_BYTES + self.value_bytes
    }

    /// 32 bytes that look random, another for each record.
    pub fn key(&self, record: u64) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        for (word, bytes) in (0..).zip(key.chunks_mut(8)) {
            bytes.copy_from_slice(&mixed(record * 4 + word).to_le_bytes());
        }
        key
    }

    /// Its value; no compressor shortens it.
    pub fn value(&self, record: u64) -> &[u8] {
        let start = mixed(!record) % POOL_BYTES as u64;
        let start = usize::try_from(start).expect("within the pool");
        &self.pool[start..start + self.value_bytes]
    }
}

/// A number that has nothing to do with its neighbours' (splitmix64).
const fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

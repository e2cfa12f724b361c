//! Made-up records: each follows from its number, half of each is random and half repeats itself, as blocks' bytes do.

/// Sizes of values go from this on.
const VALUE_BYTES_MIN: usize = 256;
/// Sizes of values stay below this.
const VALUE_BYTES_MAX: usize = 48 << 10;
/// What repeats itself in their second half.
const PATTERN: &[u8] =
    b"transfer 0x0000000000000000000000000000000000000000 -> 21000 gas, status ok; ";

/// The record of a number: its key and its value.
pub fn record(number: u64) -> ([u8; 32], Vec<u8>) {
    let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
    let mut random = blake3::Hasher::new_keyed(&key).finalize_xof();
    let mut size = [0; 8];
    random.fill(&mut size);
    let spread = (VALUE_BYTES_MAX - VALUE_BYTES_MIN) as u64;
    let bytes =
        VALUE_BYTES_MIN + usize::try_from(u64::from_le_bytes(size) % spread).expect("small");
    let mut value = vec![0; bytes];
    let (noise, text) = value.split_at_mut(bytes / 2);
    random.fill(noise);
    for run in text.chunks_mut(PATTERN.len()) {
        run.copy_from_slice(&PATTERN[..run.len()]);
    }
    (key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_the_same_every_time_and_never_the_same_twice() {
        let some: Vec<_> = (0..100).map(record).collect();
        assert_eq!(some, (0..100).map(record).collect::<Vec<_>>());
        let keys: std::collections::BTreeSet<_> = some.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 100);
        assert!(some.iter().all(|(_, v)| (VALUE_BYTES_MIN..VALUE_BYTES_MAX).contains(&v.len())));
    }
}

//! Bytes for tests: reproducible, half of them compressible, as blocks are.

/// `length` bytes that depend on the seed alone: random runs, repeated runs and zeros by turns.
pub(crate) fn sample_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = blake3::Hasher::new_derive_key("prunedb test bytes")
        .update(&seed.to_le_bytes())
        .finalize_xof();
    let mut out: Vec<u8> = Vec::with_capacity(length);
    let mut header = [0; 4];
    while out.len() < length {
        random.fill(&mut header);
        let run = 16 + usize::from(u16::from_le_bytes([header[0], header[1]])) % 600;
        let back = 1 + usize::from(u16::from_le_bytes([header[2], header[3]])) / 2;
        let start = out.len();
        match header[0] % 4 {
            0 => out.resize(start + run, 0),
            1 if back <= start => {
                for at in start - back..start - back + run {
                    out.push(out[at]);
                }
            }
            _ => {
                out.resize(start + run, 0);
                random.fill(&mut out[start..]);
            }
        }
    }
    out.truncate(length);
    out
}

use super::*;
use crate::test_rows::{bytes, lines};

/// A row in bincode to bytesrepr.
type Decode = fn(&[u8]) -> Result<Vec<u8>, ShapeError>;

#[test]
fn bincode_becomes_the_bytesrepr_of_the_same_value() {
    let mut seen = [0; 3];
    for line in lines() {
        let (decode, kind): (Decode, _) = match line[0] {
            "deploy" => (deploy, 0),
            "approvals" => (approvals, 1),
            "header" => (header, 2),
            _ => continue,
        };
        let (bincode, bytesrepr) = (bytes(line[1]), bytes(line[2]));
        assert!(decode(&bincode).unwrap() == bytesrepr, "{}", line[0]);
        for cut in 0..bincode.len() {
            assert!(decode(&bincode[..cut]).is_err(), "{} cut at {cut}", line[0]);
        }
        decode(&[&bincode[..], &[0]].concat()).unwrap_err();
        // a flipped bit is another value, or none; never a panic, and never the same one
        for at in 0..bincode.len() {
            let mut flipped = bincode.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(decode(&flipped).map_or(true, |other| other != bytesrepr));
        }
        seen[kind] += 1;
    }
    assert_eq!(seen, [9, 3, 8]);
}

#[test]
fn a_count_that_cannot_be_true_costs_nothing() {
    let mut bytes = vec![0; 8];
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    approvals(&bytes).unwrap_err();
    body(&[&[0, 0, 0, 0][..], &bytes].concat()).unwrap_err();
}

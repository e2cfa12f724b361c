//! Root of the ordered Merkle-Patricia trie that commits to a block's transactions, receipts and withdrawals.
//!
//! The trie maps `rlp(index)` to the item. Keys are at most 5 bytes and none is a prefix of another, so that no branch
//! holds a value. The trie is never built: the items are taken in key order, each subtree is hashed by recursion
//! (at most 10 levels), and a node is hashed while it is laid out. Cost: one Keccak of every value, plus one per branch.

use super::{
    hash::{Hash32, keccak256},
    rlp::{list_prefix, string_prefix},
};
use sha3::{Digest as _, Keccak256};

/// Root of no items.
pub const EMPTY_ROOT: Hash32 = Hash32([
    0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55, 0xa6, 0xff, 0x83, 0x45, 0xe6, 0x92, 0xc0, 0xf8, 0x6e,
    0x5b, 0x48, 0xe0, 0x1b, 0x99, 0x6c, 0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63, 0xb4, 0x21,
]);

/// The root over `values` in their order. No value may be empty; at most 2^32 values.
pub fn ordered_root(values: &[&[u8]]) -> Hash32 {
    // in the order of the keys: 01..=7f, then 80 (the encoding of 0), then 81 80, ...
    let after_zero = values.len().min(0x80);
    let in_order =
        (1..after_zero).chain(0..values.len().min(1)).chain(after_zero.max(1)..values.len());
    let entries: Vec<Entry<'_>> = in_order.map(|index| Entry::new(index, values[index])).collect();
    if entries.is_empty() {
        return EMPTY_ROOT;
    }
    subtree(&entries, 0).into_hash()
}

struct Entry<'a> {
    key: [u8; 5],
    nibbles: usize,
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn new(index: usize, value: &'a [u8]) -> Self {
        debug_assert!(!value.is_empty());
        let be = u32::try_from(index).expect("at most 2^32 values").to_be_bytes();
        let digits = &be[be.iter().take_while(|&&byte| byte == 0).count()..];
        let prefix = string_prefix(digits);
        let mut key = [0; 5];
        key[..prefix.len()].copy_from_slice(&prefix);
        key[prefix.len()..prefix.len() + digits.len()].copy_from_slice(digits);
        Self { key, nibbles: 2 * (prefix.len() + digits.len()), value }
    }

    fn nibble(&self, at: usize) -> u8 {
        let byte = self.key[at / 2];
        if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }
}

/// A node as its parent holds it: its encoding where that is below 32 bytes, else the string of its hash.
struct NodeRef {
    bytes: [u8; 33],
    len: usize,
}

impl NodeRef {
    const NONE: Self = {
        let mut bytes = [0; 33];
        bytes[0] = 0x80;
        Self { bytes, len: 1 }
    };

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The list of `parts`, which are encoded already.
    fn of_list(parts: &[&[u8]]) -> Self {
        let payload_bytes = parts.iter().map(|part| part.len()).sum();
        let prefix = list_prefix(payload_bytes);
        let mut bytes = [0; 33];
        let len = prefix.len() + payload_bytes;
        if len < 32 {
            let mut at = 0;
            for part in std::iter::once(&*prefix).chain(parts.iter().copied()) {
                bytes[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            return Self { bytes, len };
        }
        let mut hasher = Keccak256::new();
        hasher.update(&*prefix);
        parts.iter().for_each(|part| hasher.update(part));
        bytes[0] = 0xa0;
        bytes[1..].copy_from_slice(&hasher.finalize());
        Self { bytes, len: 33 }
    }

    fn into_hash(self) -> Hash32 {
        if self.len < 33 {
            return keccak256(self.as_slice()); // a root is hashed even if it is short
        }
        Hash32(self.bytes[1..].try_into().expect("33 bytes"))
    }
}

/// The node over `entries` (at least one), whose keys agree in their first `depth` nibbles.
fn subtree(entries: &[Entry<'_>], depth: usize) -> NodeRef {
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    if entries.len() == 1 {
        let path = Path::new(first, depth, first.nibbles, true);
        let value_prefix = string_prefix(first.value);
        return NodeRef::of_list(&[&path.prefix(), path.as_slice(), &value_prefix, first.value]);
    }
    // sorted: what the first and the last share, all share
    let shared = (depth..).take_while(|&at| first.nibble(at) == last.nibble(at)).count();
    if shared > 0 {
        let path = Path::new(first, depth, depth + shared, false);
        let child = branch(entries, depth + shared);
        return NodeRef::of_list(&[&path.prefix(), path.as_slice(), child.as_slice()]);
    }
    branch(entries, depth)
}

fn branch(mut entries: &[Entry<'_>], depth: usize) -> NodeRef {
    let children: [NodeRef; 16] = std::array::from_fn(|nibble| {
        let count = entries.partition_point(|entry| usize::from(entry.nibble(depth)) <= nibble);
        let (mine, rest) = entries.split_at(count);
        entries = rest;
        if mine.is_empty() { NodeRef::NONE } else { subtree(mine, depth + 1) }
    });
    let mut payload = [0; 16 * 33 + 1];
    let mut at = 0;
    for child in &children {
        payload[at..at + child.len].copy_from_slice(child.as_slice());
        at += child.len;
    }
    payload[at] = 0x80; // no value here
    NodeRef::of_list(&[&payload[..=at]])
}

/// A run of nibbles in "hex prefix" form: flags for leaf and oddness, then the nibbles.
struct Path {
    bytes: [u8; 6],
    len: usize,
}

impl Path {
    fn new(entry: &Entry<'_>, from: usize, to: usize, leaf: bool) -> Self {
        let odd = !(to - from).is_multiple_of(2);
        let mut bytes = [0; 6];
        bytes[0] = u8::from(leaf) << 5 | u8::from(odd) << 4;
        let mut at = from;
        if odd {
            bytes[0] |= entry.nibble(at);
            at += 1;
        }
        let mut len = 1;
        while at < to {
            bytes[len] = entry.nibble(at) << 4 | entry.nibble(at + 1);
            at += 2;
            len += 1;
        }
        Self { bytes, len }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn prefix(&self) -> super::rlp::PrefixBytes {
        string_prefix(self.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethereum::rlp::{write_list, write_string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The trie as the yellow paper defines it, over any map of nibbles.
    fn model(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Hash32 {
        if map.is_empty() {
            return keccak256(&[0x80]);
        }
        keccak256(&model_node(map))
    }

    fn model_node(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
        let mut out = Vec::new();
        let (first, value) = map.iter().next().unwrap();
        if map.len() == 1 {
            let (mut path, mut string) = (Vec::new(), Vec::new());
            write_string(&mut path, &hex_prefix(first, 2));
            write_string(&mut string, value);
            write_list(&mut out, &[&path, &string]);
            return out;
        }
        let shared = (0..first.len())
            .take_while(|&at| map.keys().all(|key| key.get(at) == first.get(at)))
            .count();
        if shared > 0 {
            let inner =
                map.iter().map(|(key, value)| (key[shared..].to_vec(), value.clone())).collect();
            let mut path = Vec::new();
            write_string(&mut path, &hex_prefix(&first[..shared], 0));
            write_list(&mut out, &[&path, &reference(model_node(&inner))]);
            return out;
        }
        let mut slots: Vec<Vec<u8>> = Vec::new();
        for nibble in 0..16 {
            let inner: BTreeMap<_, _> = map
                .iter()
                .filter(|(key, _)| key[0] == nibble)
                .map(|(key, value)| (key[1..].to_vec(), value.clone()))
                .collect();
            slots.push(if inner.is_empty() { vec![0x80] } else { reference(model_node(&inner)) });
        }
        slots.push(vec![0x80]);
        write_list(&mut out, &slots.iter().map(Vec::as_slice).collect::<Vec<_>>());
        out
    }

    fn reference(node: Vec<u8>) -> Vec<u8> {
        if node.len() < 32 {
            return node;
        }
        let mut out = Vec::new();
        write_string(&mut out, &keccak256(&node).0);
        out
    }

    fn hex_prefix(nibbles: &[u8], flag: u8) -> Vec<u8> {
        let mut all = if nibbles.len() % 2 == 1 { vec![flag + 1] } else { vec![flag, 0] };
        all.extend(nibbles);
        all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn check(values: &[Vec<u8>]) {
        let map = values.iter().enumerate().map(|(index, value)| {
            let be = (index as u64).to_be_bytes();
            let digits: Vec<u8> = be.iter().copied().skip_while(|&byte| byte == 0).collect();
            let mut key = Vec::new();
            write_string(&mut key, &digits);
            (key.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect(), value.clone())
        });
        let expected = model(&map.collect());
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        assert_eq!(ordered_root(&values), expected, "{} values", values.len());
    }

    proptest! {
        #[test]
        fn equals_the_model(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..70), 0..40)) {
            check(&values);
        }
    }

    #[test]
    fn equals_the_model_at_every_boundary() {
        for count in [0usize, 1, 2, 15, 16, 17, 127, 128, 129, 130, 255, 256, 257, 300, 700] {
            let short: Vec<_> =
                (0..count).map(|i| vec![u8::try_from(i % 251).unwrap() + 1]).collect();
            check(&short);
            let long: Vec<_> =
                (0..count).map(|i| vec![u8::try_from(i % 251).unwrap(); 40 + i % 90]).collect();
            check(&long);
        }
        assert_eq!(EMPTY_ROOT, keccak256(&[0x80]));
    }
}

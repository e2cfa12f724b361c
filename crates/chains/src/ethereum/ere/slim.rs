//! Receipts without blooms, as `.ere` files have them, from and into those of the receipts trie.
//!
//! ```text
//! slim  [type, status or state root, gas used so far, logs]
//! full  [status or state root, gas used so far, bloom, logs], after a type byte if typed
//! ```
//! A bloom follows from the logs: of each log's address and topics, three of its 2,048 bits. What comes out of
//! [`expand`] is true only when its root is the header's.

use crate::ethereum::{
    block::envelopes,
    error::Fault,
    hash::keccak256,
    rlp::{Item, RlpError, list_prefix, string_prefix, write_list, write_string},
    tuple::PART_BYTES_MAX,
};

/// Most receipts of a block, as many as transactions.
const RECEIPTS_MAX: u64 = 1 << 17;
const BLOOM_BYTES: usize = 256;

/// Makes a block's receipts from slim ones; appends them to `out`.
///
/// # Errors
/// When they are not a list of slim receipts, or there are too many of them.
pub(crate) fn expand(slim: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let wrong = Fault::rlp("slim receipt");
    let list = Item::exact(slim).and_then(|item| item.items()).map_err(&wrong)?;
    let (mut full, mut count) = (Vec::new(), 0);
    for item in list {
        count += 1;
        if count > RECEIPTS_MAX {
            return Err(Fault::TooMany { field: "receipts", count_max: RECEIPTS_MAX });
        }
        item.and_then(|item| expand_one(item, &mut full)).map_err(&wrong)?;
        if full.len() > PART_BYTES_MAX {
            let (bytes_max, found) = (PART_BYTES_MAX as u64, full.len() as u64);
            return Err(Fault::TooLong { bytes_max, found });
        }
    }
    write_list(out, &[&full]);
    Ok(())
}

fn expand_one(slim: Item<'_>, out: &mut Vec<u8>) -> Result<(), RlpError> {
    let mut items = slim.items()?;
    let kind = items.item()?.u64()?;
    let kind = u8::try_from(kind).ok().filter(|kind| *kind < 0x80);
    let kind = kind.ok_or(RlpError::Number { bytes_max: 1 })?;
    let (outcome, gas, logs) = (items.item()?, items.item()?, items.item()?);
    items.end()?;
    let bloom = bloom(logs)?;
    let mut encoded_bloom = Vec::with_capacity(BLOOM_BYTES + 3);
    write_string(&mut encoded_bloom, &bloom);
    let fields = [outcome.raw(), gas.raw(), &encoded_bloom, logs.raw()];
    if kind == 0 {
        write_list(out, &fields);
        return Ok(());
    }
    let payload_bytes: usize = fields.iter().map(|field| field.len()).sum();
    let envelope_bytes = 1 + list_prefix(payload_bytes).len() + payload_bytes;
    // two bytes at least, of which the prefix takes only the number
    out.extend_from_slice(&string_prefix(&vec![0; envelope_bytes]));
    out.push(kind);
    write_list(out, &fields);
    Ok(())
}

/// Three bits for each address and topic.
pub(crate) fn bloom(logs: Item<'_>) -> Result<[u8; BLOOM_BYTES], RlpError> {
    let mut bloom = [0; BLOOM_BYTES];
    let mut add = |bytes: &[u8]| {
        for pair in keccak256(bytes).0[..6].as_chunks::<2>().0 {
            let bit = usize::from(u16::from_be_bytes(*pair)) % (8 * BLOOM_BYTES);
            bloom[BLOOM_BYTES - 1 - bit / 8] |= 1 << (bit % 8);
        }
    };
    for log in logs.items()? {
        let mut fields = log?.items()?;
        add(fields.item()?.array::<20>()?);
        for topic in fields.item()?.items()? {
            add(topic?.array::<32>()?);
        }
    }
    Ok(bloom)
}

/// Makes slim receipts from a block's; appends them to `out`.
///
/// # Errors
/// When they are not a list of receipts.
pub(crate) fn shrink(receipts: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let list = Item::exact(receipts).map_err(Fault::rlp("receipts"))?;
    let mut slim = Vec::with_capacity(receipts.len());
    for receipt in envelopes(list, "receipts")? {
        shrink_one(receipt, &mut slim).map_err(Fault::rlp("receipt"))?;
    }
    write_list(out, &[&slim]);
    Ok(())
}

fn shrink_one(receipt: &[u8], out: &mut Vec<u8>) -> Result<(), RlpError> {
    let (kind, list) = match receipt {
        [kind @ 0..=0x7f, list @ ..] => (&[*kind][..], list),
        _ => (&[][..], receipt),
    };
    let mut items = Item::exact(list)?.items()?;
    let (outcome, gas, _bloom, logs) = (items.item()?, items.item()?, items.item()?, items.item()?);
    items.end()?;
    let mut encoded_kind = Vec::with_capacity(1);
    write_string(&mut encoded_kind, kind);
    write_list(out, &[&encoded_kind, outcome.raw(), gas.raw(), logs.raw()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethereum::synthetic::SyntheticChain;
    use proptest::prelude::*;

    /// By the definition, number by number.
    #[test]
    fn a_bloom_has_three_bits_of_each_address_and_topic() {
        let mut log = Vec::new();
        let mut address = Vec::new();
        write_string(&mut address, &[0x11; 20]);
        write_list(&mut log, &[&address, &[0xc0], &[0x80]]);
        let mut logs = Vec::new();
        write_list(&mut logs, &[&log]);
        let bloom = bloom(Item::exact(&logs).unwrap()).unwrap();
        let hash = keccak256(&[0x11; 20]).0;
        let mut bits: Vec<u32> = (0..3)
            .map(|pair| (u32::from(hash[2 * pair]) << 8 | u32::from(hash[2 * pair + 1])) & 2047)
            .collect();
        bits.sort_unstable();
        bits.dedup();
        let set: Vec<u32> =
            (0..2048).filter(|bit| bloom[255 - *bit as usize / 8] >> (bit % 8) & 1 == 1).collect();
        assert_eq!(set, bits);
    }

    #[test]
    fn receipts_come_back_as_they_were() {
        let network = "devnet".parse().unwrap();
        let mut typed = 0;
        for block in SyntheticChain::new(&network, 0, 30, 7).take(30) {
            let (mut slim, mut full) = (Vec::new(), Vec::new());
            shrink(&block.receipts, &mut slim).unwrap();
            expand(&slim, &mut full).unwrap();
            assert!(full == block.receipts);
            let items = Item::exact(&block.receipts).unwrap().items().unwrap();
            typed += items.filter(|item| !item.as_ref().unwrap().is_list()).count();
        }
        assert!(typed > 100);
    }

    #[test]
    fn what_is_no_slim_receipt_is_refused() {
        let good = [0xc5, 0xc4, 0x02, 0x01, 0x05, 0xc0]; // [[2, 1, 5, []]]
        expand(&good, &mut Vec::new()).unwrap();
        for (at, byte) in [(0, 0xc4), (1, 0x84), (2, 0x80 + 1), (5, 0x80)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(expand(&bad, &mut Vec::new()).is_err(), "{at}");
        }
        let typed_above = [0xc6, 0xc5, 0x81, 0x80, 0x01, 0x05, 0xc0];
        assert!(expand(&typed_above, &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut full = Vec::new();
            if expand(&bytes, &mut full).is_ok() {
                let mut slim = Vec::new();
                shrink(&full, &mut slim).unwrap();
                prop_assert_eq!(&slim, &bytes);
            }
            let _ = shrink(&bytes, &mut Vec::new());
        }
    }
}

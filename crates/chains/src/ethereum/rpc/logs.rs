//! `eth_getLogs`: the archived part of a range from here, the rest from the node.
//!
//! The headers' blooms say which blocks need a look; those blocks' receipts are verified against their headers, and headers against the
//! next one's parent hash. A range is answered up to [`BLOCKS_MAX`] archived blocks and [`LOGS_MAX`] entries.

use super::{EthereumRpc, Failure, Found, Result, params};
use crate::{
    archive::Archive,
    ethereum::{
        block::{Block, envelopes},
        error::{EthereumError, Fault},
        hash::{Address, Hash32, keccak256},
        json::{LogJson, Quantity},
        query::{BlockId, History},
        receipt::{Log, Receipt},
        rlp::Item,
    },
};
use prunedb_rpc::{Call, ErrorObject};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// Most archived blocks of a range.
const BLOCKS_MAX: u64 = 10_000;
/// Most entries of an answer.
const LOGS_MAX: usize = 20_000;
/// Most topics of an entry.
const TOPICS_MAX: usize = 4;
/// Blocks read at a time.
const PAGE_BLOCKS: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterJson {
    from_block: Option<String>,
    to_block: Option<String>,
    block_hash: Option<String>,
    address: Option<OneOrMore>,
    topics: Option<Vec<Option<OneOrMore>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn each<T>(self, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::More(texts) => texts,
        };
        texts.iter().map(|text| read(text)).collect()
    }
}

/// What an entry has to have; an empty list is met by all.
struct Filter {
    addresses: Vec<Address>,
    topics: Vec<Vec<Hash32>>,
    /// of each list, what sets the bits of a bloom
    hashes: Vec<Vec<Hash32>>,
}

impl Filter {
    fn read(address: Option<OneOrMore>, topics: Option<Vec<Option<OneOrMore>>>) -> Option<Self> {
        let addresses = address.map_or(Some(Vec::new()), |address| address.each(read_address))?;
        let topics = topics.unwrap_or_default().into_iter();
        let topics =
            topics.map(|topic| topic.map_or(Some(Vec::new()), |topic| topic.each(params::hash)));
        let topics: Vec<Vec<Hash32>> = topics.collect::<Option<_>>()?;
        let of_topics =
            topics.iter().map(|topics| topics.iter().map(|t| keccak256(&t.0)).collect());
        let of_addresses = addresses.iter().map(|address| keccak256(&address.0)).collect();
        let hashes = std::iter::once(of_addresses).chain(of_topics).collect();
        (topics.len() <= TOPICS_MAX).then_some(Self { addresses, topics, hashes })
    }

    /// Whether a block with this bloom may have such an entry.
    fn may_match(&self, bloom: &[u8; 256]) -> bool {
        let any = |hashes: &Vec<Hash32>| {
            hashes.is_empty() || hashes.iter().any(|hash| in_bloom(bloom, hash))
        };
        self.hashes.iter().all(any)
    }

    fn matches(&self, log: &Log<'_>) -> bool {
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= log.topics.len()
            && self
                .topics
                .iter()
                .zip(&log.topics)
                .all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }
}

/// Whether the three bits of a hash are set.
fn in_bloom(bloom: &[u8; 256], hash: &Hash32) -> bool {
    let pairs = hash.0[..6].chunks_exact(2);
    pairs
        .map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]]) & 2047))
        .all(|bit| bloom[255 - bit / 8] >> (bit % 8) & 1 == 1)
}

fn read_address(text: &str) -> Option<Address> {
    let digits =
        text.strip_prefix("0x").filter(|digits| digits.len() == 40 && digits.is_ascii())?;
    let mut address = [0; 20];
    for (byte, at) in address.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(Address(address))
}

/// Entries found, as the inside of a JSON array.
#[derive(Default)]
struct Entries {
    json: String,
    count: usize,
}

impl Entries {
    fn push(&mut self, entry: &str) {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(entry);
    }

    fn into_found(self) -> Found {
        let array = RawValue::from_string(format!("[{}]", self.json));
        Found::Here(array.expect("entries with commas between them"))
    }
}

impl EthereumRpc {
    pub(super) fn logs<A: Archive + ?Sized>(&self, archive: &A, call: &Call) -> Result {
        let Some(asked) = call.argument(0, "filter") else { return Ok(Found::NotHere) };
        let filter: Option<FilterJson> = serde_json::from_str(asked.get()).ok();
        let Some(FilterJson { from_block, to_block, block_hash, address, topics }) = filter else {
            return Ok(Found::NotHere);
        };
        let Some(filter) = Filter::read(address, topics) else { return Ok(Found::NotHere) };
        match (block_hash, from_block, to_block) {
            (Some(hash), None, None) => self.logs_of_block(archive, &hash, &filter),
            (None, Some(from), to) => {
                // up to a tag is up to where the archive ends, and then the node's
                let to = to.map_or(Some(u64::MAX), |to| match to.as_str() {
                    "latest" | "safe" | "finalized" | "pending" => Some(u64::MAX),
                    to => params::height(to),
                });
                match (params::height(&from), to) {
                    (Some(from), Some(to)) if from <= to => {
                        self.logs_of_range(archive, from, to, &filter, asked)
                    }
                    _ => Ok(Found::NotHere),
                }
            }
            _ => Ok(Found::NotHere),
        }
    }

    fn logs_of_block<A: Archive + ?Sized>(
        &self,
        archive: &A,
        hash: &str,
        filter: &Filter,
    ) -> Result {
        let Some(hash) = params::hash(hash) else { return Ok(Found::NotHere) };
        let id = BlockId::Hash(hash);
        let Some(stored) = History::new(archive, &self.network).receipts(id)? else {
            return Ok(Found::NotHere);
        };
        let mut entries = Entries::default();
        let block = stored.block().block();
        entries_of(&block, stored.rlp(), filter, &mut entries)
            .map_err(|fault| self.damaged(stored.block(), fault))?;
        Ok(entries.into_found())
    }

    fn logs_of_range<A: Archive + ?Sized>(
        &self,
        archive: &A,
        from: u64,
        to: u64,
        filter: &Filter,
        asked: &RawValue,
    ) -> Result {
        let mut entries = Entries::default();
        let mut next = from;
        let mut below: Option<Hash32> = None;
        'pages: while next <= to {
            let page = archive.range(&self.tables.block, next, PAGE_BLOCKS)?;
            if page.is_empty() {
                break;
            }
            for (height, rlp) in page {
                if height != next || height > to {
                    break 'pages;
                }
                if height - from == BLOCKS_MAX {
                    let last = height - 1;
                    return Err(too_much(
                        format!("more than {BLOCKS_MAX} blocks are asked for"),
                        from,
                        last,
                    ));
                }
                let damaged = |fault| EthereumError::stored(&self.tables.block, height, fault);
                let block = Block::from_rlp(&rlp).map_err(damaged)?;
                let header = block.header();
                if header.number != height {
                    let fault = Fault::Height { expected: height, found: header.number };
                    return Err(damaged(fault).into());
                }
                if let Some(expected) = below.filter(|hash| *hash != header.parent_hash) {
                    let (parent_height, found) = (height - 1, header.parent_hash);
                    return Err(damaged(Fault::Parent { parent_height, expected, found }).into());
                }
                below = Some(header.hash);
                if filter.may_match(header.logs_bloom) {
                    let receipts = archive.get(&self.tables.receipts, &height.to_be_bytes())?;
                    let Some(receipts) = receipts else { break 'pages };
                    block.verify_receipts(&receipts).map_err(damaged)?;
                    entries_of(&block, &receipts, filter, &mut entries).map_err(damaged)?;
                    if entries.count > LOGS_MAX {
                        let what = format!("more than {LOGS_MAX} entries are asked for");
                        return Err(too_much(what, from, (height - 1).max(from)));
                    }
                }
                let Some(above) = height.checked_add(1) else { return Ok(entries.into_found()) };
                next = above;
            }
        }
        if next > to {
            return Ok(entries.into_found());
        }
        if next == from {
            return Ok(Found::NotHere);
        }
        self.rest_from_node(next, asked, &mut entries)?;
        Ok(entries.into_found())
    }

    /// What the archive has no more, from the node.
    fn rest_from_node(&self, from: u64, asked: &RawValue, entries: &mut Entries) -> Result<()> {
        let mut filter: Value = serde_json::from_str(asked.get()).expect("it was read before");
        filter["fromBlock"] = Quantity(from).to_string().into();
        let rest = self.node.call("eth_getLogs", [filter]);
        let rest = rest.map_err(|error| Failure::Refused(error.to_error_object()))?;
        let inside = rest.get().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let Some(inside) = inside else {
            let message = format!("{} answers eth_getLogs with no list", self.node.upstream());
            return Err(Failure::Refused(ErrorObject::new(ErrorObject::UNAVAILABLE, message)));
        };
        if !inside.trim().is_empty() {
            entries.push(inside);
        }
        Ok(())
    }
}

fn too_much(what: String, from: u64, last: u64) -> Failure {
    let (from, last) = (Quantity(from), Quantity(last));
    let message = format!("{what}: ask for {from} to {last} first");
    Failure::Refused(ErrorObject::new(ErrorObject::LIMIT_EXCEEDED, message))
}

/// Adds a block's entries that match; its receipts are known to be its own.
fn entries_of(
    block: &Block<'_>,
    receipts: &[u8],
    filter: &Filter,
    entries: &mut Entries,
) -> std::result::Result<(), Fault> {
    let transactions = envelopes(block.transactions(), "transactions")?;
    let list = Item::exact(receipts).map_err(Fault::rlp("receipts"))?;
    let receipts = envelopes(list, "receipts")?;
    let mut log_index = 0;
    for (index, (transaction, receipt)) in (0..).zip(transactions.iter().zip(receipts)) {
        let receipt = Receipt::decode(receipt)?;
        for log in &receipt.logs {
            if filter.matches(log) {
                let hash = keccak256(transaction);
                let entry = LogJson::of(block.header(), hash, index, log_index, log);
                entries.push(&serde_json::to_string(&entry).expect("strings and numbers"));
                entries.count += 1;
            }
            log_index += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9";

    fn topic(last: u8) -> String {
        format!("0x{}{last:02x}", "0".repeat(62))
    }

    fn filter(json: &str) -> Filter {
        let read: FilterJson = serde_json::from_str(json).unwrap();
        Filter::read(read.address, read.topics).unwrap()
    }

    #[test]
    fn a_bloom_and_an_entry_of_a_real_block() {
        let mut bloom = [0; 256];
        for bit in [2042, 1675, 1554, 1536, 1362, 987, 680, 270, 87usize] {
            bloom[255 - bit / 8] |= 1 << (bit % 8);
        }
        let (one, two, three) = (topic(1), topic(2), topic(3));
        let topics = [&one, &two].map(|text| params::hash(text).unwrap());
        let log = Log { address: read_address(ADDRESS).unwrap(), topics: topics.into(), data: &[] };
        let other = ADDRESS.replace("cf7e", "cf7f");
        for (json, matches) in [
            ("{}".into(), true),
            (format!(r#"{{"address":"{ADDRESS}"}}"#), true),
            (format!(r#"{{"address":["{other}","{ADDRESS}"],"topics":["{one}","{two}"]}}"#), true),
            (format!(r#"{{"topics":[null,["{three}","{two}"]]}}"#), true),
            (format!(r#"{{"topics":[[],"{two}"]}}"#), true),
            (format!(r#"{{"address":"{other}"}}"#), false),
            (format!(r#"{{"topics":["{three}"]}}"#), false),
            (format!(r#"{{"address":"{ADDRESS}","topics":["{one}","{three}"]}}"#), false),
        ] {
            let filter = filter(&json);
            assert_eq!(
                (filter.may_match(&bloom), filter.matches(&log)),
                (matches, matches),
                "{json}"
            );
        }
        // both are there, in other places
        let swapped = filter(&format!(r#"{{"topics":["{two}","{one}"]}}"#));
        assert!(swapped.may_match(&bloom) && !swapped.matches(&log));
        assert!(!filter(r#"{"topics":[null,null,null]}"#).matches(&log));
    }
}

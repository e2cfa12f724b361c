//! Blocks: header and body as they are in RLP, and the check that one belongs to the other.
//!
//! ```text
//! block  = [header, transactions, ommers]  or  [header, transactions, ommers, withdrawals]   (plain files, the store)
//! body   = [transactions, ommers]          or  [transactions, ommers, withdrawals]           (.era1)
//! ```
//! A block is borrowed from its bytes; only the header's fields are decoded. A transaction is a list (legacy) or a
//! string of type byte and payload; types that are not known here verify all the same.

use super::{
    error::Fault,
    hash::{Address, Hash32, keccak256},
    rlp::{Item, Items, RlpError, list_prefix, write_list},
    transaction,
    trie::ordered_root,
    uint::U256,
};

/// Keccak-256 of the empty list: the ommers hash of most blocks.
const NO_OMMERS: Hash32 = Hash32([
    0x1d, 0xcc, 0x4d, 0xe8, 0xde, 0xc7, 0x5d, 0x7a, 0xab, 0x85, 0xb5, 0x67, 0xb6, 0xcc, 0xd4, 0x1a,
    0xd3, 0x12, 0x45, 0x1b, 0x94, 0x8a, 0x74, 0x13, 0xf0, 0xa1, 0x42, 0xfd, 0x40, 0xd4, 0x93, 0x47,
]);

/// A header's fields; those that came with later forks are `None` before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are Ethereum's own")]
pub struct Header<'a> {
    /// Keccak-256 of its RLP: the block's hash.
    pub hash: Hash32,
    /// Its RLP.
    pub raw: &'a [u8],
    pub parent_hash: Hash32,
    pub ommers_hash: Hash32,
    pub beneficiary: Address,
    pub state_root: Hash32,
    pub transactions_root: Hash32,
    pub receipts_root: Hash32,
    pub logs_bloom: &'a [u8; 256],
    pub difficulty: U256,
    pub number: u64,
    pub gas_limit: u64,
    pub gas_used: u64,
    pub timestamp: u64,
    pub extra_data: &'a [u8],
    pub mix_hash: Hash32,
    pub nonce: &'a [u8; 8],
    pub base_fee_per_gas: Option<U256>,
    pub withdrawals_root: Option<Hash32>,
    pub blob_gas_used: Option<u64>,
    pub excess_blob_gas: Option<u64>,
    pub parent_beacon_block_root: Option<Hash32>,
    pub requests_hash: Option<Hash32>,
}

impl<'a> Header<'a> {
    /// Reads a header; fields after those known here are kept (they are part of the hash) and not shown.
    ///
    /// # Errors
    /// When it is not a list of the known fields.
    pub fn decode(item: Item<'a>) -> Result<Self, Fault> {
        let mut fields = Fields { items: item.items().map_err(Fault::rlp("header"))? };
        Ok(Self {
            hash: keccak256(item.raw()),
            raw: item.raw(),
            parent_hash: fields.hash("parent hash")?,
            ommers_hash: fields.hash("ommers hash")?,
            beneficiary: Address(*fields.next("beneficiary", |item| item.array())?),
            state_root: fields.hash("state root")?,
            transactions_root: fields.hash("transactions root")?,
            receipts_root: fields.hash("receipts root")?,
            logs_bloom: fields.next("logs bloom", |item| item.array())?,
            difficulty: fields.next("difficulty", |item| item.u256())?,
            number: fields.next("number", |item| item.u64())?,
            gas_limit: fields.next("gas limit", |item| item.u64())?,
            gas_used: fields.next("gas used", |item| item.u64())?,
            timestamp: fields.next("timestamp", |item| item.u64())?,
            extra_data: fields.next("extra data", |item| item.string())?,
            mix_hash: fields.hash("mix hash")?,
            nonce: fields.next("nonce", |item| item.array())?,
            base_fee_per_gas: fields.later("base fee", |item| item.u256())?,
            withdrawals_root: fields.later_hash("withdrawals root")?,
            blob_gas_used: fields.later("blob gas used", |item| item.u64())?,
            excess_blob_gas: fields.later("excess blob gas", |item| item.u64())?,
            parent_beacon_block_root: fields.later_hash("parent beacon block root")?,
            requests_hash: fields.later_hash("requests hash")?,
        })
    }
}

struct Fields<'a> {
    items: Items<'a>,
}

impl<'a> Fields<'a> {
    fn next<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(Item<'a>) -> Result<T, RlpError>,
    ) -> Result<T, Fault> {
        self.items.item().and_then(read).map_err(Fault::rlp(field))
    }

    fn hash(&mut self, field: &'static str) -> Result<Hash32, Fault> {
        self.next(field, |item| item.array().map(|bytes| Hash32(*bytes)))
    }

    fn later<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(Item<'a>) -> Result<T, RlpError>,
    ) -> Result<Option<T>, Fault> {
        if self.items.is_empty() { Ok(None) } else { self.next(field, read).map(Some) }
    }

    fn later_hash(&mut self, field: &'static str) -> Result<Option<Hash32>, Fault> {
        self.later(field, |item| item.array().map(|bytes| Hash32(*bytes)))
    }
}

/// What the transactions trie holds of one transaction: legacy ones as a list, typed ones without the string around.
pub(crate) fn envelope<'a>(item: Item<'a>) -> Result<&'a [u8], RlpError> {
    match item.payload() {
        _ if item.is_list() => Ok(item.raw()),
        [] => Err(RlpError::Length { expected: 1, found: 0 }),
        payload => Ok(payload),
    }
}

/// Most transactions of a block: ten times what the largest could have; bounds what hostile lists cost.
const ITEMS_MAX: usize = 1 << 17;

/// The envelopes of a list of transactions or receipts.
pub(crate) fn envelopes<'a>(list: Item<'a>, field: &'static str) -> Result<Vec<&'a [u8]>, Fault> {
    let items = list.items().map_err(Fault::rlp(field))?;
    let mut out = Vec::new();
    for item in items {
        if out.len() == ITEMS_MAX {
            return Err(Fault::TooMany { field, count_max: ITEMS_MAX as u64 });
        }
        out.push(item.and_then(envelope).map_err(Fault::rlp(field))?);
    }
    Ok(out)
}

/// A block, borrowed from its RLP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block<'a> {
    header: Header<'a>,
    transactions: Item<'a>,
    ommers: Item<'a>,
    withdrawals: Option<Item<'a>>,
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads a full block. Nothing is verified yet.
    ///
    /// # Errors
    /// When it is not of a block's shape.
    pub fn from_rlp(block: &'a [u8]) -> Result<Self, Fault> {
        let mut items =
            Item::exact(block).and_then(|item| item.items()).map_err(Fault::rlp("block"))?;
        let header = items.item().map_err(Fault::rlp("header"))?;
        Self::from_items(header, items)
    }

    /// Reads a block whose header and body come apart.
    ///
    /// # Errors
    /// When one of them is not of the right shape.
    pub fn from_parts(header: &'a [u8], body: &'a [u8]) -> Result<Self, Fault> {
        let header = Item::exact(header).map_err(Fault::rlp("header"))?;
        let items = Item::exact(body).and_then(|item| item.items()).map_err(Fault::rlp("body"))?;
        Self::from_items(header, items)
    }

    fn from_items(header: Item<'a>, mut items: Items<'a>) -> Result<Self, Fault> {
        let body = items.rest();
        let header = Header::decode(header)?;
        let mut list = |field| {
            let item = items.item().map_err(Fault::rlp(field))?;
            item.items().map_err(Fault::rlp(field))?; // a list
            Ok(item)
        };
        let transactions = list("transactions")?;
        let ommers = list("ommers")?;
        let withdrawals = match list("withdrawals") {
            Err(Fault::Rlp { source: RlpError::Missing, .. }) => None,
            other => Some(other?),
        };
        items.end().map_err(Fault::rlp("body"))?;
        Ok(Self { header, transactions, ommers, withdrawals, body })
    }

    /// The header.
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The list of transactions.
    pub const fn transactions(&self) -> Item<'a> {
        self.transactions
    }

    /// The list of ommers' headers.
    pub const fn ommers(&self) -> Item<'a> {
        self.ommers
    }

    /// The list of withdrawals, if the block has one.
    pub const fn withdrawals(&self) -> Option<Item<'a>> {
        self.withdrawals
    }

    /// Size of the full block.
    pub fn rlp_bytes(&self) -> u64 {
        let payload = self.header.raw.len() + self.body.len();
        (list_prefix(payload).len() + payload) as u64
    }

    /// Appends the full block.
    pub fn write_rlp(&self, out: &mut Vec<u8>) {
        write_list(out, &[self.header.raw, self.body]);
    }

    /// Appends the body.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        write_list(out, &[self.body]);
    }

    /// Checks everything that the header promises of the body: transactions root, ommers hash, withdrawals root; and
    /// that no transaction is for another chain. Gives the number of transactions.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn verify_body(&self, chain_id: Option<u64>) -> Result<u64, Fault> {
        let header = &self.header;
        let transactions = envelopes(self.transactions, "transactions")?;
        let root = ordered_root(&transactions);
        expect_hash("transactions root", header.transactions_root, root)?;
        let ommers_hash = match self.ommers.payload() {
            [] => NO_OMMERS,
            _ => keccak256(self.ommers.raw()),
        };
        expect_hash("ommers hash", header.ommers_hash, ommers_hash)?;
        match (header.withdrawals_root, self.withdrawals) {
            (None, None) => {}
            (Some(expected), Some(withdrawals)) => {
                let withdrawals = envelopes(withdrawals, "withdrawals")?;
                expect_hash("withdrawals root", expected, ordered_root(&withdrawals))?;
            }
            (root, list) => {
                return Err(Fault::Withdrawals { header: root.is_some(), body: list.is_some() });
            }
        }
        if let Some(expected) = chain_id {
            for (index, envelope) in (0..).zip(&transactions) {
                let found = transaction::chain_id(envelope).map_err(Fault::rlp("transaction"))?;
                if let Some(found) = found.filter(|&found| found != expected) {
                    return Err(Fault::ChainId { transaction: index, expected, found });
                }
            }
        }
        Ok(transactions.len() as u64)
    }

    /// Checks that these are the block's receipts.
    ///
    /// # Errors
    /// When they are not a list of receipts, not one per transaction, or their root is not the header's.
    pub fn verify_receipts(&self, receipts: &[u8]) -> Result<(), Fault> {
        let transactions = self.transactions.items().map_or(0, |items| items.count() as u64);
        verify_receipts(receipts, self.header.receipts_root, transactions)
    }
}

/// Checks that receipts have the root that a header says, and are as many as there are transactions.
pub(crate) fn verify_receipts(
    receipts: &[u8],
    expected: Hash32,
    transactions: u64,
) -> Result<(), Fault> {
    let list = Item::exact(receipts).map_err(Fault::rlp("receipts"))?;
    let receipts = envelopes(list, "receipts")?;
    expect_hash("receipts root", expected, ordered_root(&receipts))?;
    if receipts.len() as u64 != transactions {
        return Err(Fault::ReceiptCount { transactions, receipts: receipts.len() as u64 });
    }
    Ok(())
}

fn expect_hash(what: &'static str, expected: Hash32, found: Hash32) -> Result<(), Fault> {
    if expected == found { Ok(()) } else { Err(Fault::Root { what, expected, found }) }
}

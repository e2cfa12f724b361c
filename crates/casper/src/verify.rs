//! A block's rows against what Casper promises.
//!
//! | level | what holds |
//! | --- | --- |
//! | hashes | header, body and every transaction hash to their keys; the body is the header's; all are of this network; every row belongs to the block |
//! | roots | the approvals are those of the state's root, where the node kept the proof (2.x) |
//! | signatures | every approval and every validator's signature |
//!
//! What no header promises cannot be checked: execution results, transfers, and anything of 1.x that was kept in bincode beyond headers, bodies,
//! deploys, approvals and signatures. It is kept as it is.

use crate::{
    block::{
        approvals,
        body::{Body, TransactionId},
        header::Header,
        signatures::{BlockSignatures, Verification},
        transaction::{self, Transaction},
    },
    bytesrepr::{Reader, ShapeError},
    database::{Kind, Row, Rows},
    error::{CasperError, Fault},
    hash::blake2b,
};
use prunedb_chains::contract::{BadBlock, ChainVerifier, CheckedBlock, Hash, Level, RawBlock, hex};
use std::{borrow::Cow, collections::HashMap};

/// The part with a block's header.
pub(crate) const HEADER: &str = "header";
/// The part with body, signatures, approvals' hashes and transfers.
pub(crate) const BLOCK: &str = "block";
/// The part with all transactions, what executing them did, and their finalized approvals.
pub(crate) const TRANSACTIONS: &str = "transactions";

/// Verifies Casper's blocks.
#[derive(Clone, Debug)]
pub struct CasperVerifier {
    network: String,
    /// the digest of its name, which validators sign
    name_hash: Hash,
    /// transactions may be for other networks
    any_network: bool,
}

impl CasperVerifier {
    /// Of the network with this name, such as `casper` (the main one) or `casper-test`.
    ///
    /// # Errors
    /// When no network has such a name.
    pub fn new(network: &str) -> Result<Self, CasperError> {
        let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if network.is_empty() || network.len() > 64 || !network.chars().all(sound) {
            return Err(CasperError::NetworkName(network.into()));
        }
        Ok(Self {
            network: network.into(),
            name_hash: blake2b(&[network.as_bytes()]),
            any_network: false,
        })
    }

    /// Takes transactions for other networks, too: tools that make up blocks for tests make up names.
    #[must_use]
    pub fn with_any_network(self) -> Self {
        Self { any_network: true, ..self }
    }

    /// The digest of the network's name, as blocks' signatures have it.
    pub(crate) const fn name_hash(&self) -> &Hash {
        &self.name_hash
    }
}

impl ChainVerifier for CasperVerifier {
    type Fault = Fault;

    fn chain(&self) -> &'static str {
        "casper"
    }

    fn network(&self) -> &str {
        &self.network
    }

    fn parts(&self) -> &'static [&'static str] {
        &[HEADER, BLOCK, TRANSACTIONS]
    }

    fn transactions_part(&self) -> &'static str {
        TRANSACTIONS
    }

    fn verify(
        &self,
        blocks: &[RawBlock],
        level: Level,
    ) -> Result<Vec<CheckedBlock>, BadBlock<Fault>> {
        let mut signed = Signed { verification: Verification::default(), owners: Vec::new() };
        let mut all = Vec::with_capacity(blocks.len());
        for block in blocks {
            let height = block.height;
            let before = signed.verification.count;
            let mut checked =
                self.check(block, level, &mut signed).map_err(|fault| match fault {
                    Err(fault) => BadBlock { height, fault },
                    Ok(bad) => bad,
                })?;
            checked.signatures = signed.verification.count - before;
            all.push(checked);
        }
        signed.verification.flush().map_err(|wrong| signed.bad(wrong))?;
        Ok(all)
    }
}

/// Signatures, and whose they are.
struct Signed {
    verification: Verification,
    /// height, and the transaction if it is not the block that was signed
    owners: Vec<(u64, Option<Hash>)>,
}

impl Signed {
    /// Adds every approval in these bytes.
    fn approvals(&mut self, height: u64, hash: Hash, approvals: &[u8]) -> Result<(), Bad> {
        self.owners.push((height, Some(hash)));
        let mut signed = Vec::new();
        transaction::each_approval(&mut Reader::new(approvals), &mut |key, signature| {
            signed.push((key, signature));
        })
        .map_err(shape("approvals"))?;
        if signed.is_empty() {
            return Err(Err(Fault::NotApproved(hash)));
        }
        signed.into_iter().try_for_each(|(key, signature)| self.push(&hash, key, signature))
    }

    /// Adds a signature of the last owner.
    fn push(&mut self, message: &[u8], key: &[u8], signature: &[u8]) -> Result<(), Bad> {
        let owner = self.owners.len() - 1;
        let pushed = self.verification.push(message, key, signature, owner);
        pushed.map_err(|wrong| Ok(self.bad(wrong)))
    }

    fn bad(&self, (owner, error): (usize, crate::SignatureError)) -> BadBlock<Fault> {
        let (height, transaction) = self.owners[owner];
        let what = match transaction {
            Some(hash) => format!("an approval of transaction {}", hex(&hash)),
            None => "a validator's signature".into(),
        };
        BadBlock { height, fault: Fault::Signature { what, error } }
    }
}

/// What is wrong: with this block, or (a signature of the batch) with an earlier one.
type Bad = Result<BadBlock<Fault>, Fault>;

fn shape(what: &str) -> impl Fn(ShapeError) -> Bad + '_ {
    move |error| Err(Fault::Shape { what: what.into(), error })
}

fn same(what: &'static str, expected: Hash, found: Hash) -> Result<(), Bad> {
    if expected == found { Ok(()) } else { Err(Err(Fault::Hash { what, expected, found })) }
}

fn foreign(row: &Row<'_>) -> Bad {
    Err(Fault::Foreign { database: row.database.name(), key: row.key.to_vec() })
}

impl CasperVerifier {
    fn check(
        &self,
        block: &RawBlock,
        level: Level,
        signed: &mut Signed,
    ) -> Result<CheckedBlock, Bad> {
        let bytes = block.part(HEADER).ok_or(Err(Fault::Missing("header")))?;
        let header = header_of(bytes)?;
        if header.height != block.height {
            let (what, expected, found) = ("its height", block.height, header.height);
            return Err(Err(Fault::Number { what, expected, found }));
        }
        let mut checked = CheckedBlock {
            hash: header.hash,
            parent: header.parent,
            transactions: Vec::new(),
            signatures: 0,
        };
        let Some(bytes) = block.part(BLOCK) else {
            return match block.part(TRANSACTIONS) {
                Some(_) => Err(Err(Fault::Missing("body"))),
                None => Ok(checked),
            };
        };
        let rows = Rows::read(bytes).map_err(shape("rows of a block"))?;
        let (body, approvals) = self.check_block(&header, &rows, level, signed)?;
        let Some(bytes) = block.part(TRANSACTIONS) else { return Ok(checked) };
        let rows = Rows::read(bytes).map_err(shape("rows of transactions"))?;
        self.check_transactions(&header, &body, approvals, &rows, level, signed)?;
        checked.transactions = body.transactions.iter().map(|id| id.hash).collect();
        Ok(checked)
    }

    /// Body, signatures, approvals' hashes; gives the body, and the hashes where the state vouches for them.
    fn check_block(
        &self,
        header: &Header,
        rows: &[Row<'_>],
        level: Level,
        signed: &mut Signed,
    ) -> Result<(Body, Option<Vec<Hash>>), Bad> {
        let mut body: Option<Body> = None;
        for row in rows {
            let key =
                if row.database.kind() == Kind::Body { &header.body_hash } else { &header.hash };
            if row.key != key || rows.iter().filter(|r| r.database == row.database).count() > 1 {
                return Err(foreign(row));
            }
            match row.database.kind() {
                Kind::Body => {
                    let read = Body::of_row(row).map_err(shape("body"))?;
                    same("the body's hash", header.body_hash, read.hash)?;
                    body = Some(read);
                }
                Kind::Signatures => self.check_signatures(header, row, level, signed)?,
                Kind::Transfers | Kind::ApprovalsHashes => {}
                _ => return Err(foreign(row)),
            }
        }
        let body = body.ok_or(Err(Fault::Missing("body")))?;
        if body.is_v2 != header.is_v2 {
            let (what, expected) = ("the version of its body", u64::from(header.is_v2));
            return Err(Err(Fault::Number { what, expected, found: u64::from(body.is_v2) }));
        }
        let mut hashes = None;
        let proven = rows
            .iter()
            .find(|row| row.database.kind() == Kind::ApprovalsHashes && !row.database.is_legacy());
        if let Some(row) = proven.filter(|_| level >= Level::Roots) {
            let verified = approvals::verify(row.value, &header.hash, &header.state_root, &body);
            hashes = Some(verified.map_err(|error| Err(error.into()))?);
        }
        Ok((body, hashes))
    }

    fn check_signatures(
        &self,
        header: &Header,
        row: &Row<'_>,
        level: Level,
        signed: &mut Signed,
    ) -> Result<(), Bad> {
        let signatures = BlockSignatures::of_row(row).map_err(shape("signatures"))?;
        same("the block that its signatures name", header.hash, signatures.block)?;
        let number = |what, expected, found| Err(Err(Fault::Number { what, expected, found }));
        if signatures.era != header.era {
            return number("the era that its signatures name", header.era, signatures.era);
        }
        if let Some(v2) = signatures.v2 {
            if v2.height != header.height {
                return number("the height that its signatures name", header.height, v2.height);
            }
            if v2.chain_name_hash != self.name_hash {
                return Err(Err(Fault::SignedNetwork { network: self.network.clone() }));
            }
        }
        if level < Level::Signatures {
            return Ok(());
        }
        signed.owners.push((header.height, None));
        let message = signatures.message();
        signatures
            .proofs
            .iter()
            .try_for_each(|(key, signature)| signed.push(&message, key, signature))
    }

    fn check_transactions(
        &self,
        header: &Header,
        body: &Body,
        approvals: Option<Vec<Hash>>,
        rows: &[Row<'_>],
        level: Level,
        signed: &mut Signed,
    ) -> Result<(), Bad> {
        let mut named: HashMap<Hash, (TransactionId, Found<'_>)> =
            body.transactions.iter().map(|id| (id.hash, (*id, Found::default()))).collect();
        for row in rows {
            let hash = match (row.key.len(), row.database.is_legacy()) {
                (32, true) => row.key,
                (33, false) => &row.key[1..],
                _ => return Err(foreign(row)),
            };
            let Some((id, found)) = hash.try_into().ok().and_then(|h: Hash| named.get_mut(&h))
            else {
                return Err(foreign(row));
            };
            if found.databases & (1 << row.database.number()) != 0
                || (!row.database.is_legacy() && row.key != id.key())
            {
                return Err(foreign(row));
            }
            found.databases |= 1 << row.database.number();
            match row.database.kind() {
                Kind::Transaction => {
                    let transaction = Transaction::of_row(row)
                        .map_err(shape(&format!("transaction {}", hex(&id.hash))))?;
                    self.check_transaction(id, &transaction)?;
                    found.approvals = Some(transaction.approvals);
                }
                Kind::FinalizedApprovals => {
                    let approvals = transaction::finalized_approvals(row)
                        .map_err(shape("finalized approvals"))?;
                    found.finalized = Some(approvals);
                }
                Kind::Execution => {}
                _ => return Err(foreign(row)),
            }
        }
        for (index, id) in body.transactions.iter().enumerate() {
            let (_, found) = &named[&id.hash];
            let own = found.approvals.as_deref().ok_or(Err(Fault::Missing("transaction")))?;
            if let Some(expected) = approvals.as_ref().map(|hashes| hashes[index]) {
                let finalized = found.finalized.as_deref().unwrap_or(own);
                if blake2b(&[finalized]) != expected {
                    return Err(Err(Fault::OtherApprovals(id.hash)));
                }
            }
            if level >= Level::Signatures {
                signed.approvals(header.height, id.hash, own)?;
                if let Some(finalized) = &found.finalized {
                    signed.approvals(header.height, id.hash, finalized)?;
                }
            }
        }
        Ok(())
    }

    fn check_transaction(&self, id: &TransactionId, found: &Transaction) -> Result<(), Bad> {
        same("a transaction's hash", id.hash, found.computed)?;
        same("the hash that a transaction names", id.hash, found.hash)?;
        if let Some((expected, found)) = found.body {
            same("the hash of a deploy's body", expected, found)?;
        }
        if found.is_v1 != id.is_v1 {
            let (what, expected) = ("the version of a transaction", u64::from(id.is_v1));
            return Err(Err(Fault::Number { what, expected, found: u64::from(found.is_v1) }));
        }
        if !self.any_network && found.chain_name != self.network.as_bytes() {
            return Err(Err(Fault::Network {
                transaction: id.hash,
                expected: self.network.clone(),
                found: String::from_utf8_lossy(&found.chain_name).into_owned(),
            }));
        }
        Ok(())
    }
}

/// What was found of a transaction.
#[derive(Default)]
struct Found<'a> {
    /// a bit for each database that has a row of it
    databases: u32,
    approvals: Option<Vec<u8>>,
    finalized: Option<Cow<'a, [u8]>>,
}

/// The header in its part: of 1.x, of 2.x, or in both forms.
fn header_of(bytes: &[u8]) -> Result<Header, Bad> {
    let rows = Rows::read(bytes).map_err(shape("rows of a header"))?;
    let mut header: Option<Header> = None;
    for row in &rows {
        if row.database.kind() != Kind::Header || rows.len() > 2 {
            return Err(foreign(row));
        }
        let read = Header::of_row(row).map_err(shape("header"))?;
        let expected = row.key.try_into().map_err(|_| foreign(row))?;
        same("the header's hash", expected, read.hash)?;
        if header.as_ref().is_some_and(|header| header.hash != read.hash) {
            return Err(foreign(row));
        }
        header = Some(read);
    }
    header.ok_or(Err(Fault::Missing("header")))
}

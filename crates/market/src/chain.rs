//! The registry, as a participant uses it.

use crate::{keys::Keys, message::TxSlot};
use prunedb_access::SIGNATURE_BYTES;
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Body, CELLS_MAX, CellReport, Endpoint, JoinNode, Key, NodeId, RentedCell, SignedTx,
    canonical::Canonical,
};
use prunedb_validator::{Client, ClientError, Included, PAGE_MAX};
use std::sync::Arc;

/// Heights that a transaction counts for which several sign.
const SLOT_HEIGHTS: u64 = 1_000;
/// How long to ask for the outcome of a transaction at once.
const WAIT_MS: u32 = 10_000;

/// The registry's validators, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) client: Client,
    pub(crate) registry: Digest,
    keys: Arc<Keys>,
}

impl Chain {
    pub(crate) async fn new(validators: &[String], keys: Arc<Keys>) -> Result<Self, ClientError> {
        let client = Client::new(validators.iter().cloned());
        let registry = client.status().await?.registry;
        Ok(Self { client, registry, keys })
    }

    /// The number of the node with a key.
    pub(crate) async fn node_of(&self, key: Key) -> Result<Option<NodeId>, ClientError> {
        Ok(self.client.duty(key).await?.map(|duty| duty.node))
    }

    pub(crate) async fn balance(&self, key: Key) -> Result<Amount, ClientError> {
        let (_, account) = self.client.account(key).await?;
        Ok(account.map(|a| a.balance).unwrap_or_default())
    }

    /// All cells, by number.
    pub(crate) async fn cells(&self) -> Result<Vec<(u64, RentedCell)>, ClientError> {
        all_cells(&self.client).await
    }

    /// All cells that any of the validators knows, where more than half of them answer; `None`: fewer do. For those who
    /// would lose something by a validator that lies, or is far behind.
    pub(crate) async fn cells_anybody_knows(&self) -> Option<Vec<RentedCell>> {
        let validators: Vec<String> = self.client.addresses().map(Into::into).collect();
        let (asked, mut told, mut known) = (validators.len(), 0, Vec::new());
        for validator in validators {
            if let Ok(cells) = all_cells(&Client::new([validator])).await {
                told += 1;
                known.extend(cells.into_iter().map(|(_, cell)| cell));
            }
        }
        (2 * told > asked).then_some(known)
    }

    /// The last height up to which a transaction of somebody else's may count that one signs now: later, what was agreed
    /// on is forgotten.
    pub(crate) async fn last_height_to_sign(&self) -> Result<u64, ClientError> {
        // validators need not be equally far
        Ok(self.client.height(0, 0).await?.saturating_add(SLOT_HEIGHTS + SLOT_HEIGHTS / 10))
    }

    /// The last report of one heavy node.
    pub(crate) async fn report_of(&self, heavy: NodeId) -> Result<Option<CellReport>, ClientError> {
        let reports = self.reports().await?;
        Ok(reports.into_iter().find(|(node, _)| *node == heavy).map(|(_, report)| report))
    }

    /// The last report of each heavy node.
    pub(crate) async fn reports(&self) -> Result<Vec<(NodeId, CellReport)>, ClientError> {
        self.client.cell_reports().await
    }

    /// The next transaction of one's own that others are to sign, too.
    pub(crate) async fn slot(&self) -> Result<TxSlot, ClientError> {
        let key = self.keys.key();
        let (height, account) = self.client.account(key).await?;
        let nonce = account.ok_or(ClientError::Account { key })?.nonce;
        Ok(TxSlot { nonce, valid_until: height + SLOT_HEIGHTS })
    }

    /// One's own signature under a transaction.
    pub(crate) fn sign(&self, slot: TxSlot, body: Body) -> (Key, [u8; SIGNATURE_BYTES]) {
        let TxSlot { nonce, valid_until } = slot;
        let signed = SignedTx::sign(&self.registry, nonce, valid_until, body, &[&self.keys.secret]);
        signed.signatures[0]
    }

    /// Hands a transaction in that others signed, too, and waits for its block.
    pub(crate) async fn send_signed(
        &self,
        slot: TxSlot,
        body: Body,
        others: Vec<(Key, [u8; SIGNATURE_BYTES])>,
    ) -> Result<Included, ClientError> {
        let mut signatures = vec![self.sign(slot, body.clone())];
        signatures.extend(others);
        let TxSlot { nonce, valid_until } = slot;
        let tx = SignedTx { nonce, valid_until, body, signatures };
        let name = self.client.submit(tx.to_bytes()).await?;
        loop {
            if let Some(outcome) = self.client.outcome(name, WAIT_MS).await? {
                return match outcome.refused {
                    None => Ok(Included { tx: name, height: outcome.height }),
                    Some(refused) => Err(ClientError::Rejected {
                        height: outcome.height,
                        reason: refused.reason,
                    }),
                };
            }
            if self.client.height(0, 0).await? > valid_until {
                return Err(ClientError::NotIncluded { valid_until });
            }
        }
    }

    /// A transaction of one's own alone.
    pub(crate) async fn send(&self, body: Body) -> Result<Included, ClientError> {
        self.client.send(&self.registry, body, &[&self.keys.secret]).await
    }
}

/// All cells, page by page.
async fn all_cells(client: &Client) -> Result<Vec<(u64, RentedCell)>, ClientError> {
    let (mut all, mut first) = (Vec::new(), 0);
    loop {
        let page = client.cells(first, PAGE_MAX).await?;
        let is_last = page.len() < PAGE_MAX as usize;
        let next = page.iter().map(|(number, _)| number.saturating_add(1)).max();
        all.extend(page.into_iter().filter(|(number, _)| *number >= first));
        // a page goes on behind the one before, and there are no more than can be, whatever a validator says
        match next.filter(|next| *next > first) {
            Some(next) if !is_last && all.len() < CELLS_MAX => first = next,
            _ => return Ok(all),
        }
    }
}

/// The transaction by which a node of the marketplace joins.
pub(crate) fn join_body(
    key: Key,
    endpoint: Endpoint,
    domains: [u32; prunedb_registry::DOMAIN_KINDS],
    capacity_bytes: u64,
) -> Body {
    let capacity_gib = u32::try_from(capacity_bytes >> 30).unwrap_or(u32::MAX).max(1);
    let stake = Amount(0);
    Body::JoinNode { join: JoinNode { key, endpoint, domains, capacity_gib, stake } }
}

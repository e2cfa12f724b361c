//! The registry, as a participant uses it.

use crate::{keys::Keys, message::TxSlot};
use prunedb_access::SIGNATURE_BYTES;
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Body, CellReport, Endpoint, JoinNode, Key, NodeId, RentedCell, SignedTx,
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
        let mut all: Vec<(u64, RentedCell)> = Vec::new();
        loop {
            let first = all.last().map_or(0, |(last, _)| last + 1);
            let page = self.client.cells(first, PAGE_MAX).await?;
            let is_last = page.len() < PAGE_MAX as usize;
            // each page goes on behind the one before, whatever a validator says
            all.extend(page.into_iter().filter(|(number, _)| *number >= first));
            if is_last {
                return Ok(all);
            }
        }
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

//! Transactions on their way to the other validators, so that whoever proposes next has them.
//!
//! A message is some transactions, each behind its length as u32. What is lost stays with the validator that took it from its client.

use super::{PublicKey, shared::Shared};
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::Clock;
use prunedb_format::bytes::{Reader, put_long};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Most transactions that wait to be told.
pub(crate) const WAITING_MAX: usize = 4096;
/// A message is sent when it has so many bytes; one transaction may go beyond.
const MESSAGE_BYTES: usize = 256 << 10;
/// Longest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = MESSAGE_BYTES + 4 + prunedb_registry::TX_BYTES_MAX;
/// Messages a second to each validator: below the channel's quota.
pub(crate) const MESSAGES_PER_SECOND: u32 = 50;

/// Tells what comes in.
pub(crate) async fn tell(
    clock: impl Clock,
    mut txs: mpsc::Receiver<Vec<u8>>,
    mut sender: impl Sender<PublicKey = PublicKey>,
) {
    while let Some(first) = txs.recv().await {
        let mut message = Vec::new();
        put_long(&mut message, &first);
        while message.len() < MESSAGE_BYTES
            && let Ok(next) = txs.try_recv()
        {
            put_long(&mut message, &next);
        }
        let _ = sender.send(Recipients::All, message, false);
        clock.sleep(Duration::from_secs(1) / MESSAGES_PER_SECOND).await;
    }
}

/// Hears what others tell.
pub(crate) async fn hear(shared: Arc<Shared>, mut receiver: impl Receiver<PublicKey = PublicKey>) {
    while let Ok((_, message)) = receiver.recv().await {
        let mut from = Reader::new("transactions", message.as_ref());
        while from.remaining() > 0 {
            let Ok(tx) = from.long_bytes() else { break };
            shared.heard(tx.to_vec());
        }
    }
}

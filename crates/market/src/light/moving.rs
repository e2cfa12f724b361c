//! Has cells whose heavy node is gone taken over by another one, at which the light node is registered.
//!
//! The registry says when: a heavy node that let a whole epoch pass without its report is silent. Until then the cells
//! stay; what was not reported is neither paid nor counted, so no epoch of a contract is lost. A look comes with each epoch,
//! and after [`PAUSE`] where something failed.

use super::Inner;
use crate::message::{Answer, Request};
use prunedb_registry::{Body, NodeId};
use prunedb_validator::{ClientError, WAIT_MS_MAX};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Pause between two looks at the height, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a heavy node may take to sign.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(inner: Arc<Inner>) {
    let (mut height, mut looked) = (0, None);
    loop {
        let look = async {
            height = inner.chain.client.height(height + 1, WAIT_MS_MAX).await?;
            let epoch = inner.chain.client.epoch().await?.number;
            if looked != Some(epoch) && move_on(&inner, epoch).await? {
                looked = Some(epoch);
            }
            Ok::<_, ClientError>(())
        };
        if let Err(error) = look.await {
            tracing::debug!(%error, "whether a heavy node is silent cannot be told");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Moves what is to be moved; whether nothing is left to do in this epoch.
async fn move_on(inner: &Inner, epoch: u32) -> Result<bool, ClientError> {
    let Some(node) = inner.node() else { return Ok(false) };
    let reports: BTreeMap<NodeId, _> = inner.chain.reports().await?.into_iter().collect();
    let cells = inner.chain.cells().await?;
    let forsaken = |heavy: &NodeId| {
        let mut own = cells.iter().map(|(_, c)| c).filter(|c| c.cell.holder == node);
        own.any(|c| c.cell.holder_heavy == Some(*heavy) && c.is_forsaken(reports.get(heavy), epoch))
    };
    let heavies: BTreeSet<NodeId> = cells.iter().filter_map(|(_, c)| c.cell.holder_heavy).collect();
    let silent: BTreeSet<NodeId> = heavies.into_iter().filter(forsaken).collect();
    if silent.is_empty() {
        return Ok(true);
    }
    let attached = inner.attached().clone();
    for link in inner.links.iter().filter(|link| attached.contains(&link.address().key)) {
        let key = link.address().key;
        let Some(heavy) = inner.chain.node_of(key).await? else { continue };
        if silent.contains(&heavy) {
            continue;
        }
        let slot = inner.chain.slot().await?;
        let signatures = match link.ask(&Request::Adopt { slot }, PATIENCE).await {
            Ok(Answer::Countersigned { signatures }) => signatures,
            answered => {
                let error = answered.err().unwrap_or_else(|| link.confused());
                tracing::warn!(%error, "a heavy node does not take cells over");
                continue;
            }
        };
        let body = Body::AdoptCells { holder: node, heavy };
        inner.chain.send_signed(slot, body, signatures).await?;
        tracing::warn!(?silent, %heavy, "a heavy node was silent: another one checks its cells now");
        return Ok(true);
    }
    tracing::warn!(
        ?silent,
        "a heavy node is silent, its cells are not checked, and no other one takes them over: name one more with --heavy"
    );
    Ok(false)
}

//! What a light node does for a heavy node: registers, gives signs of life, does jobs; and it tidies up.

use super::{Inner, LightState};
use crate::{
    chain::join_body,
    link::{Link, LinkError},
    message::{Answer, Job, Outcome, Request, WAIT_MS_MAX},
};
use prunedb_registry::Body;
use prunedb_validator::ClientError;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How long the heavy node's check of the capacity may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(600);
/// How long an answer may take, beyond a wait that was asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after the heavy node did not answer, or refused.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks for cells that are not rented any more.
const TIDY: Duration = Duration::from_secs(20);

/// Why there is no work.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error(transparent)]
    Heavy(#[from] LinkError),
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    #[error("the storage: {0}")]
    Storage(#[from] prunedb_node::NodeError),
}

pub(super) async fn attend(inner: Arc<Inner>, link: Arc<Link>) {
    let heavy = link.address().key;
    loop {
        let worked = async {
            register(&inner, &link).await?;
            work(&inner, &link).await
        };
        let Err(error) = worked.await;
        {
            let mut attached = inner.attached();
            if attached.remove(&heavy) {
                tracing::warn!(%error, heavy = %link.address(), "a heavy node is lost; registering anew");
            }
            if attached.is_empty() {
                inner.state.send_replace(LightState::Waiting(Some(error.to_string())));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Has the capacity checked, and joins the registry where it has not yet.
async fn register(inner: &Inner, link: &Link) -> Result<(), AgentError> {
    let _turn = inner.registering.lock().await;
    let key = inner.keys.key();
    let known = inner.chain.node_of(key).await?;
    let join = if known.is_some() { None } else { Some(inner.chain.slot().await?) };
    let probe = inner.cells.probe(link.address().key)?;
    let request = Request::Register { terms: inner.terms.clone(), probe, join };
    let answer = link.ask(&request, PROBE_PATIENCE).await?;
    let Answer::Registered { signature, .. } = answer else {
        return Err(link.confused().into());
    };
    let terms = &inner.terms;
    if let Some(slot) = join {
        let signature = signature.ok_or_else(|| link.confused())?;
        let body = join_body(key, terms.endpoint.clone(), terms.domains, terms.capacity_bytes);
        let heavy = link.address().key;
        inner.chain.send_signed(slot, body, vec![(heavy, signature)]).await?;
    }
    // the first heartbeat has the heavy node look the number up
    heartbeat(inner, link, 0).await?;
    let node = inner.chain.node_of(key).await?.ok_or(ClientError::Account { key })?;
    let mut attached = inner.attached();
    attached.insert(link.address().key);
    inner.state.send_replace(LightState::Registered(node));
    Ok(())
}

async fn heartbeat(
    inner: &Inner,
    link: &Link,
    wait_ms: u32,
) -> Result<Vec<(u64, Job)>, AgentError> {
    let request = Request::Attend { free_bytes: inner.cells.free_bytes(), wait_ms };
    let patience = PATIENCE + Duration::from_millis(wait_ms.into());
    match link.ask(&request, patience).await? {
        Answer::Jobs { jobs } => Ok(jobs),
        _ => Err(link.confused().into()),
    }
}

/// Does jobs, several at once, until the heavy node does not answer or does not know us any more.
async fn work(
    inner: &Arc<Inner>,
    link: &Arc<Link>,
) -> Result<std::convert::Infallible, AgentError> {
    let mut doing = JoinSet::new();
    loop {
        for (number, job) in heartbeat(inner, link, WAIT_MS_MAX).await? {
            let (inner, link) = (Arc::clone(inner), Arc::clone(link));
            doing.spawn(async move {
                let outcome = do_job(&inner, job).await;
                let outcome = outcome.unwrap_or_else(|reason| Outcome::Refused { reason });
                let told = link.ask(&Request::Done { job: number, outcome }, PATIENCE).await;
                if let Err(error) = told {
                    tracing::debug!(%error, number, "nobody waits for the job any more");
                }
            });
        }
        while doing.try_join_next().is_some() {}
    }
}

async fn do_job(inner: &Arc<Inner>, job: Job) -> Result<Outcome, String> {
    match job {
        Job::Prove { root, bytes, seed, samples } => {
            let storage = Arc::clone(inner);
            let shown = tokio::task::spawn_blocking(move || {
                storage.cells.show(&root, bytes, &seed, samples)
            });
            let samples = shown.await.map_err(|e| e.to_string())??;
            Ok(Outcome::Shown { samples })
        }
        Job::Grant { wish } => {
            Ok(Outcome::Granted { capability: inner.cells.grant(&wish, &inner.terms)? })
        }
        Job::Sign { wish, slot, cell } => {
            let node = inner.node().ok_or("it is registering")?;
            inner.cells.check(&wish, &cell, node)?;
            let last = inner.chain.last_height_to_sign().await.map_err(|e| e.to_string())?;
            if slot.valid_until > last {
                return Err(format!("the transaction would count after height {last}"));
            }
            let (_, signature) = inner.chain.sign(slot, Body::RentCell { cell });
            Ok(Outcome::Signed { signature })
        }
    }
}

/// Deletes cells that are not rented any more.
pub(super) async fn tidy(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(TIDY).await;
        let Some(node) = inner.node() else { continue };
        let Some(mut contracts) = inner.chain.cells_anybody_knows().await else {
            tracing::debug!("too few validators answer: no cell goes");
            continue;
        };
        contracts.retain(|c| c.cell.holder == node);
        let inner = Arc::clone(&inner);
        let tidied = tokio::task::spawn_blocking(move || inner.cells.tidy(&contracts));
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "tidying ended early");
        }
    }
}

//! Signing the closing of a batch: only where the validator's own copy of the batch agrees.

use crate::{
    message::{Answer, Proposal},
    validator::Shared,
};
use prunedb_core::{LakeId, Policy};
use prunedb_registry::{Body, SignedTx, State};
use std::sync::Arc;

/// Why a validator does not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// Not the batch whose turn it is.
    #[error("batch {found} is proposed, batch {expected} is the next one")]
    Number {
        /// the next one
        expected: u32,
        /// the one proposed
        found: u32,
    },
    /// Not where the batch before ends.
    #[error(
        "batch {batch} is proposed from block {found} on, the one before it ends at block {expected}"
    )]
    FirstBlock {
        /// which batch
        batch: u32,
        /// the end of the batch before
        expected: u64,
        /// the one proposed
        found: u64,
    },
    /// Not from who may write.
    #[error("batch {batch} is not proposed by the holder of the lease in term {term}: {reason}")]
    Proposer {
        /// which batch
        batch: u32,
        /// the term that holds
        term: u64,
        /// what is wrong
        reason: String,
    },
    /// No such group.
    #[error("there is no group {group}")]
    Group {
        /// which
        group: u32,
    },
    /// The names do not make the root.
    #[error("batch {batch}: {reason}")]
    Names {
        /// which batch
        batch: u32,
        /// what is wrong
        reason: String,
    },
    /// This machine does not have the batch.
    #[error(
        "this validator does not have batch {batch} itself (yet): it signs what it has seen only"
    )]
    NoCopy {
        /// which batch
        batch: u32,
    },
    /// This machine's copy cannot be read.
    #[error("this validator's copy of batch {batch} cannot be read: {reason}")]
    Unreadable {
        /// which batch
        batch: u32,
        /// why
        reason: String,
    },
    /// The proposal is not what this machine has.
    #[error(
        "batch {batch} has {what} {own} here, {proposed} is proposed: one of us archives other blocks"
    )]
    Differs {
        /// which batch
        batch: u32,
        /// what differs
        what: &'static str,
        /// what it is here
        own: String,
        /// what is proposed
        proposed: String,
    },
    /// The names could not be kept.
    #[error("the names of the shards cannot be kept: {reason}")]
    NotKept {
        /// why
        reason: String,
    },
}

/// Whether the names are those of the batch that is proposed.
fn check_names(lake: LakeId, policy: Policy, proposal: &Proposal) -> Result<(), CosignError> {
    let close = &proposal.close;
    // the facts of a shard do not depend on the height
    let facts = close.record(0).facts(lake, close.batch, policy);
    facts
        .verify(&proposal.names, &close.root)
        .map_err(|e| CosignError::Names { batch: close.batch, reason: e.to_string() })
}

fn agrees<T: PartialEq + ToString>(
    batch: u32,
    what: &'static str,
    own: T,
    proposed: T,
) -> Result<(), CosignError> {
    if own == proposed {
        return Ok(());
    }
    let (own, proposed) = (own.to_string(), proposed.to_string());
    Err(CosignError::Differs { batch, what, own, proposed })
}

/// Signs a closing, or says why not.
pub(crate) async fn cosign(shared: &Arc<Shared>, proposal: Proposal) -> Answer {
    match sign(shared, proposal).await {
        Ok(answer) => {
            shared.note_unsigned(None);
            answer
        }
        Err(error) => {
            let reason = error.to_string();
            // it is asked for again with every block: said once
            if shared.unsigned().as_ref() != Some(&reason) {
                tracing::warn!(reason, "a closing was not signed");
            }
            // a stranger's proposal says nothing of the writer's
            if !matches!(error, CosignError::Proposer { .. }) {
                shared.note_unsigned(Some(reason));
            }
            Answer::Refused { reason: error.to_string() }
        }
    }
}

/// Whether a closing is the next one, and proposed by who holds the lease: anybody can reach the door, and what follows costs
/// as much as coding a container.
fn check_proposal(state: &State, proposal: &Proposal) -> Result<Policy, CosignError> {
    let close = &proposal.close;
    let batch = close.batch;
    let lease = state.lease();
    let proposer = |reason: String| {
        let term = lease.map_or(0, |lease| lease.term.0);
        CosignError::Proposer { batch, term, reason }
    };
    let lease = lease.ok_or_else(|| proposer("nobody holds it".into()))?;
    let tx = SignedTx {
        nonce: proposal.nonce,
        valid_until: proposal.valid_until,
        body: Body::CloseBatch { batch: *close },
        signatures: vec![(lease.holder, proposal.signature)],
    };
    tx.check(state.registry()).map_err(|e| proposer(e.to_string()))?;
    let expected = state.batches().count();
    if batch != expected {
        return Err(CosignError::Number { expected, found: batch });
    }
    let group = state.groups().get(close.group as usize);
    let group = group.ok_or(CosignError::Group { group: close.group })?;
    let last = state.batches().iter().last();
    let expected = last.map_or(0, |last| last.first_block + u64::from(last.blocks));
    if close.first_block != expected {
        return Err(CosignError::FirstBlock { batch, expected, found: close.first_block });
    }
    Ok(group.policy)
}

async fn sign(shared: &Arc<Shared>, proposal: Proposal) -> Result<Answer, CosignError> {
    let close = proposal.close;
    let batch = close.batch;
    let (registry, lake, policy) = {
        let machine = shared.machine();
        let state = machine.state();
        let policy = check_proposal(state, &proposal)?;
        (*state.registry(), state.lake(), policy)
    };
    check_names(lake, policy, &proposal)?;
    // one at a time: it takes as long as coding a container
    let mut own = shared.own.lock().await;
    let known =
        own.as_ref().filter(|(c, p, _)| (*c, *p) == (close, policy)).map(|(.., o)| o.clone());
    let copy = match known {
        Some(copy) => copy,
        None => {
            let copies = Arc::clone(&shared.copies);
            let looked = tokio::task::spawn_blocking(move || copies.own(&close, policy)).await;
            let looked = looked.unwrap_or_else(|e| Err(e.to_string()));
            let found = looked.map_err(|reason| CosignError::Unreadable { batch, reason })?;
            let copy = found.ok_or(CosignError::NoCopy { batch })?;
            *own = Some((close, policy, copy.clone()));
            copy
        }
    };
    drop(own);
    agrees(batch, "container digest", copy.container_digest, close.container_digest)?;
    agrees(batch, "root", copy.root, close.root)?;
    agrees(batch, "first block", copy.first_block, close.first_block)?;
    agrees(batch, "blocks", copy.blocks, close.blocks)?;
    let kept = shared.names.put(&close.root, &proposal.names);
    kept.map_err(|e| CosignError::NotKept { reason: e.to_string() })?;
    let body = Body::CloseBatch { batch: close };
    let secret = shared.key.secret();
    let signed = SignedTx::sign(&registry, proposal.nonce, proposal.valid_until, body, &[secret]);
    let (key, signature) = signed.signatures[0];
    Ok(Answer::Cosigned { key, signature })
}

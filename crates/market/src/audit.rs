//! What a heavy node shows of its last report: anybody may ask.

use crate::{
    chain::Chain,
    judge::Finding,
    keys::{HeavyAddress, Keys},
    link::{Link, LinkError},
    message::{Answer, Refusal, Request},
};
use prunedb_registry::Key;
use prunedb_validator::ClientError;
use std::{sync::Arc, time::Duration};

/// How long a heavy node may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why nothing can be said about a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The heavy node.
    #[error(transparent)]
    Heavy(#[from] LinkError),
    /// The registry.
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    /// It is no node.
    #[error("the registry knows no node with the key {0}")]
    Unknown(Key),
    /// It has not reported yet.
    #[error("heavy node {0} has reported no epoch yet")]
    Unreported(Key),
}

/// What a heavy node shows of a cell in the last epoch that it reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audited {
    /// which epoch
    pub epoch: u32,
    /// samples of the holder's, under the root that is in the registry; none: it did not prove. Or what is wrong
    pub shown: Result<usize, Finding>,
}

/// Has a heavy node show what it reported of a cell last, and holds it against the root in the registry. `seed`: a key to
/// ask with, of anybody.
///
/// # Errors
/// [`AuditError`]: nobody can tell.
pub async fn audit(
    seed: &[u8; 32],
    heavy: HeavyAddress,
    registry: &[String],
    cell: u64,
) -> Result<Audited, AuditError> {
    let keys = Arc::new(Keys::from_seed(seed));
    let chain = Chain::new(registry, Arc::clone(&keys)).await?;
    let key = heavy.key;
    let node = chain.node_of(key).await?.ok_or(AuditError::Unknown(key))?;
    let report = chain.report_of(node).await?.ok_or(AuditError::Unreported(key))?;
    let epoch = report.epoch;
    let link = Link::new(heavy, keys);
    let shown = match link.ask(&Request::Evidence { epoch, cell }, PATIENCE).await {
        Ok(Answer::Evidence { evidence }) => {
            let is_asked_for = evidence.cell == cell && evidence.epoch == epoch;
            match is_asked_for && evidence.is_under(&report.answers_root) {
                true => Ok(evidence.shown.len()),
                false => Err(Finding::NotCommitted),
            }
        }
        Ok(_) => return Err(link.confused().into()),
        Err(LinkError::Refused(Refusal::Absent { .. })) => Err(Finding::Withheld),
        Err(error) => return Err(error.into()),
    };
    Ok(Audited { epoch, shown })
}

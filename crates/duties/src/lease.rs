//! The right to write: a lease of the registry, taken anew by each process, and the heads that are committed under it.
//!
//! ```text
//! new process ── nobody wrote since ──> acquire: the next term ──> renewed ... ──> a newer term is there: out for good
//!                                       each closed batch ──> CommitHead
//! ```
//! The term of the lease is a block of terms at the nodes, so who was replaced is refused by the registry and by the nodes.
//! A process that was replaced does not take the lease back: it starts again, and compares the head in the registry with its own.

use crate::writer::WriterError;
use prunedb_core::Term;
use prunedb_engine::{Db, HeadName};
use prunedb_registry::{Amount, Body, Head, Lease, Secret};
use prunedb_validator::{Client, ClientError, Status};

/// Heights of a lease, and how many are left when it is renewed.
const LEASE_HEIGHTS: u32 = 2_000;
const LEASE_RENEW: u64 = 1_000;

/// A process's right to write.
pub(crate) struct Tenure {
    key: Secret,
    /// signs that a key of the writer's own may have the lease
    authority: Option<Secret>,
    /// the term that this process has, or had
    term: Option<Term>,
    /// batches that were closed when a head was committed last
    committed_at: Option<u32>,
}

impl Tenure {
    pub(crate) const fn new(key: Secret, authority: Option<Secret>) -> Self {
        Self { key, authority, term: None, committed_at: None }
    }

    /// Who has it.
    pub(crate) const fn key(&self) -> &Secret {
        &self.key
    }

    /// Takes the lease, or goes on with it; its term.
    ///
    /// # Errors
    /// [`WriterError::Replaced`], [`WriterError::LeaseHeld`], [`WriterError::OtherWriter`] where it is another's.
    pub(crate) async fn keep(
        &mut self,
        client: &Client,
        status: &Status,
        db: &Db,
    ) -> Result<Term, WriterError> {
        let is_free = |lease: &Lease| lease.holder == self.key.key() || lease.until < status.height;
        match (&status.lease, self.term) {
            // a validator that does not know of ours yet
            (None, Some(ours)) => Ok(ours),
            (Some(lease), Some(ours)) if lease.term < ours => Ok(ours),
            (Some(Lease { term, holder, .. }), Some(ours)) if *term > ours => {
                Err(WriterError::Replaced { ours, term: *term, holder: *holder })
            }
            (Some(lease), Some(ours)) if lease.until >= status.height => {
                if lease.until - status.height <= LEASE_RENEW {
                    let body = Body::RenewLease { term: ours.0, heights: LEASE_HEIGHTS };
                    self.send(client, status, body).await?;
                }
                Ok(ours)
            }
            (Some(lease), _) if !is_free(lease) => {
                Err(WriterError::LeaseHeld { holder: lease.holder, until: lease.until })
            }
            (lease, _) => {
                if let Some(head) = status.head.as_ref().filter(|head| db.is_replaced(&name(head)))
                {
                    return Err(WriterError::OtherWriter { term: head.term, head: head.number });
                }
                let last = lease.as_ref().map_or(Term(0), |lease| lease.term);
                self.acquire(client, status, last).await
            }
        }
    }

    async fn acquire(
        &mut self,
        client: &Client,
        status: &Status,
        last: Term,
    ) -> Result<Term, WriterError> {
        let account = self.key.key();
        if let Some(authority) = &self.authority
            && client.account(account).await?.1.is_none()
        {
            // moves nothing: it opens the account
            let body = Body::Deposit { account, amount: Amount(0) };
            client.send(&status.registry, body, &[authority]).await?;
        }
        self.send(client, status, Body::AcquireLease { term: last.0, heights: LEASE_HEIGHTS })
            .await?;
        let term = Term(last.0 + 1);
        (self.term, self.committed_at) = (Some(term), None);
        tracing::info!(%term, "this writer has the lease");
        Ok(term)
    }

    async fn send(&self, client: &Client, status: &Status, body: Body) -> Result<(), ClientError> {
        let signers: Vec<&Secret> = [&self.key].into_iter().chain(&self.authority).collect();
        client.send(&status.registry, body, &signers).await.map(drop)
    }

    /// Whether batches have closed since a head was committed.
    pub(crate) fn wants_head(&self, status: &Status) -> bool {
        self.committed_at != Some(status.batches)
    }

    /// Tells the registry of a head that says where all closed batches are.
    pub(crate) async fn commit_head(
        &mut self,
        client: &Client,
        status: &Status,
        head: HeadName,
    ) -> Result<(), ClientError> {
        if status.head.is_none_or(|last| last.number < head.number) {
            let HeadName { lease, number, root } = head;
            let body = Body::CommitHead { term: lease.0, number, root };
            client.send(&status.registry, body, &[&self.key]).await?;
        }
        self.committed_at = Some(status.batches);
        Ok(())
    }
}

/// A head of the registry as the engine names it.
pub(crate) const fn name(head: &Head) -> HeadName {
    HeadName { lease: head.term, number: head.number, root: head.root }
}

//! What a registry is told of the manifest's heads, and whether the manifest here is as new as that.
//!
//! Nodes that keep a newer head back can show a reader an old lake; the head in the registry tells that it is old. It tells
//! nothing else to who does not have the lake's secret.

use crate::{db::Db, error::Error, lake::head_root, manifest::State, terms::lease_of};
use prunedb_codec::LakeSecret;
use prunedb_core::{Digest, Term};
use prunedb_format::head::HeadBody;
use std::sync::PoisonError;

/// A head, as a registry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadName {
    /// the lease under which it was written
    pub lease: Term,
    /// rises with every head
    pub number: u64,
    /// says which head of that number it is, to who has the lake's secret
    pub root: Digest,
}

impl HeadName {
    pub(crate) fn new(secret: &LakeSecret, term: Term, number: u64, body: &HeadBody) -> Self {
        Self { lease: lease_of(term), number, root: head_root(secret, term, number, body) }
    }
}

impl Db {
    /// The newest head: that this writer has published since it was opened, or that this reader follows.
    pub fn head_name(&self) -> Option<HeadName> {
        if !self.is_reader() {
            return *self.inner.published.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let State { term, head_number, body, .. } = self.inner.manifest.state();
        Some(HeadName::new(&self.inner.lake.secret, term, head_number, &body))
    }

    /// Publishes what the lake's head does not say yet; the newest head that this writer has published since it was opened.
    ///
    /// # Errors
    /// [`Error::Governed`] where a registry does not let it, [`Error::Offload`], [`Error::Quorum`], [`Error::Fenced`].
    pub fn publish_head(&self) -> Result<Option<HeadName>, Error> {
        self.inner.publish()?;
        Ok(self.head_name())
    }

    /// Whether another writer has the lake, or had it last, as far as a registry knows: what is here is not all that there is, and a
    /// writer must not go on from it.
    pub fn is_replaced(&self, committed: &HeadName) -> bool {
        let state = self.inner.manifest.state();
        lease_of(state.term) < committed.lease || state.head_number < committed.number
    }

    /// Compares the manifest here with the head that a registry has.
    ///
    /// # Errors
    /// [`Error::BehindRegistry`] where this one is older, [`Error::OtherHead`] where it is another one.
    pub fn check_head(&self, committed: &HeadName) -> Result<(), Error> {
        let ours = self.inner.manifest.state().head_number;
        if ours < committed.number {
            return Err(Error::BehindRegistry { ours, committed: committed.number });
        }
        let named = self.head_name().filter(|name| name.number == committed.number);
        if named.is_some_and(|name| name.root != committed.root) {
            return Err(Error::OtherHead { number: committed.number });
        }
        Ok(())
    }
}

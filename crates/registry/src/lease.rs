//! The right to write the lake, who may take it over, and the manifest's newest head.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    ids::Key,
    reject::{Reject, expect_value},
    state::State,
    tx::{CheckedTx, SetInSync},
};
use prunedb_core::{Digest, Term};

canonical_struct! {
    /// The right to write.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Lease {
        /// its generation: nodes refuse older ones
        pub term: Term,
        /// who writes
        pub holder: Key,
        /// the last height at which it holds
        pub until: u64,
        /// standbys that have everything acknowledged: only they may take it over; nobody: any validator, by losing the tail
        pub in_sync: Vec<Key>,
    }
}

impl crate::canonical::Canonical for Term {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn get(
        from: &mut prunedb_format::bytes::Reader<'_>,
    ) -> Result<Self, prunedb_format::FormatError> {
        Ok(Self(from.u64()?))
    }
}

canonical_struct! {
    /// The manifest's newest head.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Head {
        /// term of its writer
        pub term: Term,
        /// rises, across terms too
        pub number: u64,
        /// its root
        pub root: Digest,
    }
}

/// Longest lease, in heights.
const LEASE_HEIGHTS_MAX: u32 = 10_000;
/// Most standbys.
const IN_SYNC_MAX: usize = 8;

impl State {
    pub(crate) fn acquire_lease(
        &mut self,
        tx: &CheckedTx,
        term: u64,
        heights: u32,
        events: &mut Events,
    ) -> Result<(), Reject> {
        self.require_writer(tx)?;
        let until = self.lease_end(heights)?;
        let holder = tx.sender();
        let (last, in_sync) = match &self.lease {
            None => (Term(0), Vec::new()),
            Some(lease) => {
                if lease.until >= self.height && lease.holder != holder {
                    return Err(Reject::Phase("the lease is held"));
                }
                let may = lease.holder == holder
                    || lease.in_sync.is_empty()
                    || lease.in_sync.contains(&holder);
                if !may {
                    return Err(Reject::Signer("one of the in-sync set"));
                }
                (lease.term, lease.in_sync.iter().copied().filter(|k| *k != holder).collect())
            }
        };
        if last != Term(term) {
            return Err(Reject::Term { expected: last, found: Term(term) });
        }
        let term = Term(last.0.checked_add(1).ok_or(Reject::Overflow)?);
        self.lease = Some(Lease { term, holder, until, in_sync });
        events.push(Event::Leased { holder, term });
        Ok(())
    }

    /// Who may have the lease: a validator, or who has the authorities' word for it.
    fn require_writer(&self, tx: &CheckedTx) -> Result<(), Reject> {
        if self.require_validator(tx).is_ok() || self.require_authorities(tx).is_ok() {
            return Ok(());
        }
        Err(Reject::Signer("a validator, or enough authorities"))
    }

    fn lease_end(&self, heights: u32) -> Result<u64, Reject> {
        if !(1..=LEASE_HEIGHTS_MAX).contains(&heights) {
            let expected = LEASE_HEIGHTS_MAX.into();
            return Err(Reject::Value {
                what: "heights of a lease",
                expected,
                found: heights.into(),
            });
        }
        self.height.checked_add(heights.into()).ok_or(Reject::Overflow)
    }

    pub(crate) fn renew_lease(
        &mut self,
        tx: &CheckedTx,
        term: u64,
        heights: u32,
    ) -> Result<(), Reject> {
        self.require_lease(tx, term)?;
        // whose right was taken away goes on until the lease runs out, and no longer
        self.require_writer(tx)?;
        let until = self.lease_end(heights)?;
        let lease = self.lease.as_mut().expect("just checked");
        lease.until = lease.until.max(until);
        Ok(())
    }

    pub(crate) fn set_in_sync(&mut self, tx: &CheckedTx, set: &SetInSync) -> Result<(), Reject> {
        self.require_lease(tx, set.term)?;
        let is_rising = set.members.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_rising || set.members.len() > IN_SYNC_MAX {
            return Err(Reject::Full("standbys, each once and in order"));
        }
        if !set.members.iter().all(|member| self.validators.contains(member)) {
            return Err(Reject::Signer("validators only"));
        }
        self.lease.as_mut().expect("just checked").in_sync.clone_from(&set.members);
        Ok(())
    }

    pub(crate) fn commit_head(
        &mut self,
        tx: &CheckedTx,
        head: Head,
        events: &mut Events,
    ) -> Result<(), Reject> {
        self.require_lease(tx, head.term.0)?;
        let last = self.head.map_or(0, |h| h.number);
        if head.number <= last {
            expect_value("number of the head", head.number, last.saturating_add(1))?;
        }
        self.head = Some(head);
        events.push(Event::Head { number: head.number, root: head.root });
        Ok(())
    }
}

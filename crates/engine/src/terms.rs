//! The term of this process, under which it writes to the lake: nodes refuse an older one than they have seen.
//!
//! ```text
//! without a registry   the first write takes the next term; a takeover begins the next block of 65,536
//! with a registry      term L of its lease is the block L: the first write takes the next term of it
//! ```
//! Invariant: two writers never write under one term, as equal terms fence nobody off. Without a registry a takeover sees to it;
//! with one, the registry, which gives each term of the lease to one holder.

use crate::{db::Inner, error::Error};
use prunedb_core::Term;
use prunedb_format::head::HeadPrefix;
use std::{ops::RangeInclusive, sync::PoisonError};

/// The writer that is replaced takes one more term with each start, also where it then publishes nothing: it must not meet the
/// one that took over.
const TERM_BITS: u32 = 16;

/// The last term of the block of a term: the next one is that of a takeover.
pub(crate) const fn last_of_block(term: Term) -> Term {
    Term(term.0 | ((1 << TERM_BITS) - 1))
}

/// The lease under which a term was taken; 0 where no registry governed the lake.
pub(crate) const fn lease_of(term: Term) -> Term {
    Term(term.0 >> TERM_BITS)
}

/// The terms of a lease; `None` where there are no such numbers.
fn terms_of(lease: Term) -> Option<RangeInclusive<Term>> {
    let first = Term(lease.0.checked_mul(1 << TERM_BITS)?);
    Some(first..=last_of_block(first))
}

impl Inner {
    /// The term of this process: the first write to the lake takes the next one and fences the others off.
    ///
    /// Only who knows the newest head may: a manifest that misses what another writer published would undo it.
    pub(crate) fn term(&self) -> Result<Term, Error> {
        if self.reader.is_some() {
            return Err(Error::ReadOnly);
        }
        let mut held = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = self.allowed_terms()?;
        if let Some(term) = held.filter(|term| allowed.contains(term)) {
            return Ok(term);
        }
        let state = self.manifest.state();
        let is_foreign =
            |head: &&HeadPrefix| head.term > state.term || head.number > state.head_number;
        if let Some(head) = self.lake.heads().iter().find(is_foreign) {
            return Err(Error::Fenced { term: state.term, seen: head.term });
        }
        // kept only where the nodes agreed: who is fenced off must not climb past the other by trying again
        let term = Term(state.term.0 + 1).max(*allowed.start());
        if term > *allowed.end() {
            return Err(Error::Fenced { term: *allowed.end(), seen: state.term });
        }
        self.lake.fence(term)?;
        // the other one may have published before the fence stood
        if let Some(head) = self.lake.heads().iter().find(is_foreign) {
            return Err(Error::Fenced { term: state.term, seen: head.term });
        }
        self.manifest.update(|state| state.term = term)?;
        *held = Some(term);
        Ok(term)
    }

    /// Goes on under the next term, as if this process had begun anew.
    pub(crate) fn next_term(&self) -> Result<Term, Error> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.term()
    }

    /// The terms that this writer may take.
    ///
    /// # Errors
    /// [`Error::Governed`] where the lake has a registry and this writer does not hold its lease.
    fn allowed_terms(&self) -> Result<RangeInclusive<Term>, Error> {
        let Some(governance) = self.governance() else { return Ok(Term(0)..=Term(u64::MAX)) };
        let terms = governance.lease.and_then(terms_of);
        terms.ok_or_else(|| {
            let reason = "this writer does not hold the registry's lease, so it stores nothing in the lake: `prunedb up` takes the \
                          lease, `prunedb registry status` shows who has it; what was put is safe here";
            Error::Governed { reason: reason.into() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lease_has_terms_of_its_own_above_those_before() {
        let (third, fourth) = (terms_of(Term(3)).unwrap(), terms_of(Term(4)).unwrap());
        assert_eq!(third.end().0 + 1, fourth.start().0);
        for term in [*third.start(), *third.end()] {
            assert_eq!((lease_of(term), last_of_block(term)), (Term(3), *third.end()));
        }
        assert_eq!(lease_of(Term(7)), Term(0), "of a lake before it had a registry");
        assert_eq!(terms_of(Term(1 << 48)), None);
    }
}

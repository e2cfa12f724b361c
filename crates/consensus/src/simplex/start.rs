//! Beginning with the state that others have, instead of the first block.
//!
//! ```text
//! state after height h ── block h+1 ── ... ── a block that agrees on the state's root ── ... ── a block with a certificate
//! ```
//! `h` is the last height of a sitting, so that the state itself tells who votes for the blocks behind it. That alone would be a circle: anybody can
//! found a committee. What breaks it is who signed: more than a third of those whom this validator was told about by
//! its operator, of whom at least one is honest as long as fewer than a third are not.

use super::{Certificate, committees, proof::Proof, sittings::sitting_of};
use crate::block::{Finalized, SITTING_HEIGHTS};
use commonware_consensus::{Epochable, types::Epoch};
use commonware_cryptography::certificate::Scheme as _;
use commonware_parallel::Sequential;
use commonware_utils::ordered::Quorum as _;
use prunedb_core::Digest;
use prunedb_registry::Key;
use std::collections::BTreeSet;

/// A state that others have, and what shows that it was agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// height of the state: [`crate::SITTING_HEIGHTS`] divides it
    pub height: u64,
    /// its root
    pub root: Digest,
    /// the registry's validators in it
    pub validators: Vec<Key>,
    /// the blocks behind it, up to [`crate::SITTING_HEIGHTS`] of them, each with its proof ([`crate::Orderer::proof`]); those behind the last
    /// one that is signed are left out
    pub blocks: Vec<(Finalized, Vec<u8>)>,
}

/// Why a validator does not begin with a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not the end of a sitting.
    #[error(
        "a state after height {height} says nothing of who votes next: take one whose height {} divides",
        SITTING_HEIGHTS
    )]
    Height {
        /// its height
        height: u64,
    },
    /// The own blocks go as far.
    #[error("the state after height {height} is older than block {last}, which is here")]
    Old {
        /// the state's height
        height: u64,
        /// the last block here
        last: u64,
    },
    /// The blocks do not follow on it, or on each other.
    #[error("block {height} does not follow on the state and the blocks before it")]
    Chain {
        /// the block that was expected
        height: u64,
    },
    /// None of the blocks agrees on the state's root.
    #[error(
        "none of the {blocks} blocks behind the state after height {height} agrees on its root"
    )]
    NoRoot {
        /// the state's height
        height: u64,
        /// how many blocks
        blocks: usize,
    },
    /// They agreed on another one.
    #[error(
        "the state after height {height} has root {found}, {agreed} was agreed on: it is damaged, or a lie"
    )]
    OtherRoot {
        /// the state's height
        height: u64,
        /// its root
        found: Digest,
        /// the root in a block
        agreed: Digest,
    },
    /// The last block is not signed by who votes in its sitting.
    #[error("the last block is not signed by the state's validators: {0}")]
    Signatures(String),
    /// Too few of the signers are known.
    #[error(
        "only {known} of those who signed are among the {peers} validators in the settings, more than a third is needed: \
         get the settings of a validator that votes now"
    )]
    Strangers {
        /// how many are known
        known: usize,
        /// how many could be
        peers: usize,
    },
}

impl Start {
    /// The blocks up to the last one that is signed.
    pub(crate) fn signed(&self) -> &[(Finalized, Vec<u8>)] {
        let is_signed =
            |(_, proof): &(_, Vec<u8>)| Proof::decode(proof).is_ok_and(|p| p.certificate.is_some());
        let signed = self.blocks.iter().rposition(is_signed);
        &self.blocks[..signed.map_or(0, |last| last + 1)]
    }

    /// Checks all of it; the last block's certificate.
    pub(crate) fn verify(
        &self,
        registry: &Digest,
        peers: &[Key],
        chance: &mut impl rand_core::CryptoRng,
    ) -> Result<Certificate, StartError> {
        let height = self.height;
        if height == 0 || !height.is_multiple_of(SITTING_HEIGHTS) {
            return Err(StartError::Height { height });
        }
        let certificate = self.chain()?;
        let signed = self.signed();
        let agreed =
            signed.iter().filter_map(|(block, _)| block.checkpoint).find(|c| c.height == height);
        match agreed.ok_or(StartError::NoRoot { height, blocks: signed.len() })?.root {
            agreed if agreed == self.root => {}
            agreed => return Err(StartError::OtherRoot { height, found: self.root, agreed }),
        }
        let unsigned = |why: &str| StartError::Signatures(why.into());
        let members = committees::members(&self.validators).map_err(unsigned)?;
        let scheme = super::Scheme::verifier(&registry.0, members);
        if certificate.epoch() != Epoch::new(sitting_of(height + 1)) {
            return Err(unsigned("it is of another sitting"));
        }
        let signers = &certificate.certificate.signers;
        if signers.len() != scheme.participants().len() {
            return Err(unsigned("it is of another committee"));
        }
        if !certificate.verify(chance, &scheme, &Sequential) {
            return Err(unsigned("a signature is wrong, or too few are there"));
        }
        let peers: BTreeSet<[u8; 32]> = peers.iter().map(|key| key.0).collect();
        let keys = signers.iter().filter_map(|signer| scheme.participants().key(signer));
        let known =
            keys.filter(|key| peers.iter().any(|peer| peer[..] == key.as_ref()[..])).count();
        if known * 3 <= peers.len() {
            return Err(StartError::Strangers { known, peers: peers.len() });
        }
        Ok(certificate)
    }

    /// Whether each block follows on the one before; the certificate of the last one that is signed.
    fn chain(&self) -> Result<Certificate, StartError> {
        let mut before = None;
        let mut last = None;
        for (height, (block, proof)) in
            (self.height + 1..=self.height + SITTING_HEIGHTS).zip(self.signed())
        {
            let wrong = StartError::Chain { height };
            let proof = Proof::decode(proof).map_err(|_| wrong.clone())?;
            let digest = proof.digest(block);
            let follows = before.is_none_or(|before| before == proof.parent);
            let is_signed = proof.certificate.as_ref().is_none_or(|c| c.proposal.payload == digest);
            if block.height != height || !follows || !is_signed {
                return Err(wrong);
            }
            (before, last) = (Some(digest), proof.certificate);
        }
        last.ok_or_else(|| StartError::Signatures("none of them has a certificate".into()))
    }
}

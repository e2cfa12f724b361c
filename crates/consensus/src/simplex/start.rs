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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Checkpoint;
    use commonware_codec::{Copying, DecodeExt};
    use commonware_consensus::{
        simplex::types::{Finalize, Proposal},
        types::{Round, View},
    };
    use commonware_cryptography::ed25519::PrivateKey;
    use commonware_utils::{TestRng, non_empty};
    use prunedb_registry::Secret;

    const REGISTRY: Digest = Digest([3; 32]);
    const HEIGHT: u64 = 2 * SITTING_HEIGHTS;

    fn key(number: u8) -> Key {
        Secret::from_seed(&[number; 32]).key()
    }

    /// A state whose validators are 1 to 4, with three blocks, of which some have signed the last one.
    fn start(sitting: u64, signers: &[u8]) -> Start {
        let validators: Vec<Key> = (1..=4).map(key).collect();
        let members = committees::members(&validators).unwrap();
        let scheme = |number: &u8| {
            let secret = PrivateKey::decode(Copying(&[*number; 32][..])).unwrap();
            committees::scheme(&REGISTRY, members.clone(), &secret)
        };
        let root = Digest([7; 32]);
        let mut blocks = Vec::new();
        let mut parent = commonware_cryptography::blake3::Digest([9; 32]);
        for height in HEIGHT + 1..=HEIGHT + 3 {
            let is_second = height == HEIGHT + 2;
            let checkpoint = is_second.then_some(Checkpoint { height: HEIGHT, root });
            let block = Finalized { height, checkpoint, txs: vec![vec![1]] };
            let mut proof = Proof { parent, certificate: None };
            parent = proof.digest(&block);
            if height == HEIGHT + 3 {
                let round = Round::new(Epoch::new(sitting), View::new(3));
                let proposal = Proposal::new(round, View::new(2), parent);
                let sign = |number| Finalize::sign(&scheme(number), proposal.clone()).unwrap();
                let votes: Vec<_> = signers.iter().map(sign).collect();
                let certificate =
                    Certificate::from_finalizes(&scheme(&1), non_empty![@&votes], &Sequential);
                proof.certificate = Some(certificate.unwrap());
            }
            blocks.push((block, proof.to_bytes()));
        }
        Start { height: HEIGHT, root, validators, blocks }
    }

    fn verify(start: &Start, peers: &[u8]) -> Result<(), StartError> {
        let peers: Vec<Key> = peers.iter().map(|&number| key(number)).collect();
        start.verify(&REGISTRY, &peers, &mut TestRng::new(1)).map(|_| ())
    }

    #[test]
    fn what_the_known_have_signed_is_believed() {
        let good = start(2, &[1, 2, 3]);
        assert_eq!(verify(&good, &[1, 2, 3, 4]), Ok(()));
        // three of the six that it has heard of have signed
        assert_eq!(verify(&good, &[1, 2, 3, 7, 8, 9]), Ok(()));
        let strangers = Err(StartError::Strangers { known: 2, peers: 6 });
        assert_eq!(verify(&good, &[1, 2, 4, 7, 8, 9]), strangers);
        assert_eq!(verify(&good, &[]), Err(StartError::Strangers { known: 0, peers: 0 }));
        // blocks behind the last certificate are left out
        let mut longer = good.clone();
        longer.blocks.push((Finalized::default(), vec![0; 32]));
        assert_eq!(verify(&longer, &[1, 2, 3, 4]), Ok(()));
        assert_eq!(longer.signed().len(), 3);
    }

    #[test]
    fn everything_else_is_refused_for_its_own_reason() {
        let good = start(2, &[1, 2, 3]);
        let refused = |change: &dyn Fn(&mut Start)| {
            let mut bad = good.clone();
            change(&mut bad);
            verify(&bad, &[1, 2, 3, 4]).unwrap_err()
        };
        let is_chain = |error, expected| assert_eq!(error, StartError::Chain { height: expected });
        is_chain(refused(&|s| s.blocks[1].0.txs.push(vec![2])), HEIGHT + 3);
        is_chain(refused(&|s| s.blocks[2].0.txs.push(vec![2])), HEIGHT + 3);
        is_chain(refused(&|s| drop(s.blocks.remove(1))), HEIGHT + 2);
        is_chain(refused(&|s| s.height += SITTING_HEIGHTS), HEIGHT + SITTING_HEIGHTS + 1);
        assert_eq!(refused(&|s| s.height += 1), StartError::Height { height: HEIGHT + 1 });
        assert_eq!(refused(&|s| s.height = 0), StartError::Height { height: 0 });
        let other = refused(&|s| s.root = Digest([8; 32]));
        assert!(matches!(other, StartError::OtherRoot { agreed: Digest([7, ..]), .. }), "{other}");
        let is_unsigned = |error: StartError| {
            assert!(matches!(error, StartError::Signatures(_)), "{error}");
        };
        is_unsigned(refused(&|s| s.blocks.truncate(2)));
        is_unsigned(refused(&|s| s.blocks.clear()));
        is_unsigned(refused(&|s| s.validators.truncate(3)));
        is_unsigned(refused(&|s| s.validators[0] = key(5)));
        is_unsigned(refused(&|s| s.validators.clear()));
        is_unsigned(refused(&|s| *s.blocks[2].1.last_mut().unwrap() ^= 1));
        is_unsigned(verify(&start(3, &[1, 2, 3]), &[1, 2, 3, 4]).unwrap_err());
        let mut unagreed = start(2, &[1, 2, 3]);
        unagreed.blocks.drain(..2);
        is_chain(verify(&unagreed, &[1, 2, 3, 4]).unwrap_err(), HEIGHT + 1);
    }
}

//! One engine for each sitting, handed over at its last height: whoever is a member votes, the others listen.
//!
//! ```text
//! sitting t: its last height is final and durable here, the state after it has told who votes next
//!     └─> the engine of t ends ─> the engine of t + 1 begins with that block
//! ```
//! Each sitting's votes have a subchannel of their own. Whoever hears of a later sitting asks who said so for the last block of its own:
//! with it come the blocks before, and the state after them knows the next committee.

use super::{
    Digest, Mailbox, PublicKey, Scheme,
    application::Proposer,
    chain::Block,
    committees::Committees,
    engine::{BUFFER_BYTES, VIEWS_KEPT},
    sittings::{Sittings, eve_of, sitting_of},
};
use commonware_consensus::{
    marshal::standard::Inline,
    simplex::{self, ForwardPolicy, SkipBudget, SkipPolicy, elector::RoundRobin},
    types::{Epoch, Height},
};
use commonware_p2p::{
    Blocker, Receiver, Sender,
    utils::mux::{Builder as _, MuxHandle, Muxer},
};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Metrics, Spawner, Storage, Supervisor, buffer::paged::CacheRef};
use commonware_utils::{NZDuration, vec::NonEmptyVec};
use rand_core::CryptoRng;
use std::{num::NonZeroUsize, time::Duration};
use tokio::sync::watch;

/// What the engines of all sittings have in common.
pub(crate) struct Voting<B> {
    pub(crate) committees: Committees,
    pub(crate) proposer: Proposer,
    pub(crate) marshal: Mailbox,
    pub(crate) blocker: B,
    /// in front of the names of everything stored
    pub(crate) prefix: String,
    pub(crate) mailbox_size: NonZeroUsize,
    pub(crate) page_cache: CacheRef,
    pub(crate) heights: watch::Receiver<u64>,
}

type Application<E> = Inline<E, Scheme, Proposer, Block, Sittings>;
type Engine<E, B> = simplex::Engine<
    E,
    Scheme,
    RoundRobin,
    B,
    Digest,
    Application<E>,
    Application<E>,
    Application<E>,
    Sequential,
>;

/// The channels of a sitting's engine.
struct Lines<S: Sender> {
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    requests: MuxHandle<S>,
}

impl<B: Blocker<PublicKey = PublicKey>> Voting<B> {
    /// Until a part of it ends.
    pub(crate) async fn run<E, S, R>(
        mut self,
        context: E,
        votes: (S, R),
        certificates: (S, R),
        requests: (S, R),
    ) where
        E: Clock + CryptoRng + Spawner + Storage + Metrics + Supervisor + Sync,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let (mux, votes, mut later) =
            Muxer::builder(context.child("votes"), votes.0, votes.1).with_backup().build();
        mux.start();
        let (mux, certificates) =
            Muxer::new(context.child("certificates"), certificates.0, certificates.1);
        mux.start();
        let (mux, requests) = Muxer::new(context.child("requests"), requests.0, requests.1);
        mux.start();
        let mut lines = Lines { votes, certificates, requests };
        let application = Inline::new(
            context.child("application"),
            self.proposer.clone(),
            self.marshal.clone(),
            Sittings,
        );
        loop {
            let sitting = sitting_of(*self.heights.borrow_and_update() + 1);
            let scheme = self.committees.wait(sitting).await;
            let floor = match self.proposer.shared.eve(eve_of(sitting)) {
                Ok(eve) => eve,
                Err(reason) => return self.proposer.shared.fail(reason),
            };
            let engine = self.engine(&context, (sitting, &scheme), floor, application.clone());
            let (votes, certificates, requests) = (
                lines.votes.register(sitting).await,
                lines.certificates.register(sitting).await,
                lines.requests.register(sitting).await,
            );
            let (Ok(votes), Ok(certificates), Ok(requests)) = (votes, certificates, requests)
            else {
                return;
            };
            let mut engine = engine.start(votes, certificates, requests);
            let last = eve_of(sitting + 1);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut engine => return,
                    over = self.heights.wait_for(|&height| height >= last) => match over {
                        Ok(_) => break,
                        Err(_) => return,
                    },
                    heard = later.recv() => match heard {
                        Some((later, (peer, _))) if later > sitting => {
                            self.marshal.hint_finalized(Height::new(last), NonEmptyVec::new(peer));
                        }
                        Some(_) => {}
                        None => return,
                    },
                }
            }
            engine.abort();
            let _ = engine.await;
            // votes of the sitting before this one are not asked for any more; none are there after a start in this one
            if let Some(old) = sitting.checked_sub(1) {
                let _ = context.remove(&self.partition(old), None).await;
            }
        }
    }

    fn partition(&self, sitting: u64) -> String {
        format!("{}simplex-{sitting}", self.prefix)
    }

    fn engine<E>(
        &self,
        context: &E,
        (sitting, scheme): (u64, &Scheme),
        eve: Digest,
        application: Application<E>,
    ) -> Engine<E, B>
    where
        E: Clock + CryptoRng + Spawner + Storage + Metrics + Supervisor + Sync,
    {
        let leader_timeout = self.proposer.interval * 2 + Duration::from_millis(500);
        simplex::Engine::new(
            context.child("simplex").with_attribute("sitting", sitting),
            simplex::Config {
                scheme: scheme.clone(),
                elector: <RoundRobin>::default(),
                blocker: self.blocker.clone(),
                automaton: application.clone(),
                relay: application.clone(),
                reporter: application,
                track_historical_votes: false,
                strategy: Sequential,
                partition: self.partition(sitting),
                mailbox_size: self.mailbox_size,
                epoch: Epoch::new(sitting),
                floor: simplex::Floor::Genesis(eve),
                replay_buffer: BUFFER_BYTES,
                write_buffer: BUFFER_BYTES,
                page_cache: self.page_cache.clone(),
                leader_timeout,
                certification_timeout: leader_timeout * 2,
                timeout_retry: leader_timeout * 2,
                view_retention: VIEWS_KEPT,
                skip: SkipPolicy::Enabled {
                    timeout: leader_timeout * 3,
                    budget: SkipBudget::Participants,
                },
                fetch_timeout: NZDuration!(Duration::from_secs(1)),
                fetch_retry_delay: Duration::from_millis(100),
                forward: ForwardPolicy::SilentVoters,
            },
        )
    }
}

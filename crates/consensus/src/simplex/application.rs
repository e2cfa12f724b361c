//! What the consensus engine asks: make a block, judge a block.

use super::{Context, Scheme, chain::Block, shared::Shared};
use crate::block::Finalized;
use commonware_consensus::{Application, Heightable, marshal::ancestry::Ancestry};
use commonware_cryptography::{Digested, Digestible};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Metrics, Spawner};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};

/// The registry's side of the engine. Transactions are not looked into: what is wrong with one, the state machine says, and a
/// block of nonsense costs its proposer's turn and bounded bytes.
#[derive(Clone, Debug)]
pub(crate) struct Proposer {
    pub(crate) shared: Arc<Shared>,
    /// time between a block and the next proposal
    pub(crate) interval: Duration,
}

impl<E: Clock + Metrics + Spawner> Application<E> for Proposer {
    type SigningScheme = Scheme;
    type Context = Context;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, _): (E, Context),
        mut ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        clock.sleep(self.interval).await;
        let parent = ancestry.next().await?;
        let mut pending: Vec<Digested<Block>> = vec![parent.clone()];
        let is_final =
            |block: &Digested<Block>| block.height().get() <= self.shared.journal.last_height();
        while !pending.last().is_some_and(is_final) {
            pending.push(ancestry.next().await?);
        }
        let height = parent.height().next().get();
        let bodies = pending.iter().map(|block| block.inner().body());
        let body: Finalized = self.shared.propose(height, bodies);
        Some(Digested::compute(Block::new(parent.digest(), body), &Sequential).await)
    }

    async fn verify(&mut self, _: (E, Context), ancestry: impl Ancestry<Block>) -> bool {
        // height and parent were checked before; lengths by the decoder
        match ancestry.peek() {
            Some(block) => self.shared.agrees(block.inner().body().checkpoint).await,
            None => false,
        }
    }
}

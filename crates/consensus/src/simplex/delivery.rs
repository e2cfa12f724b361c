//! From the engine to the journal: blocks that are final, in order, each acknowledged when it is durable.

use super::{Mailbox, chain::Block, proof::Proof, shared::Shared};
use commonware_actor::Feedback;
use commonware_consensus::{Block as _, Heightable, Reporter, marshal::Update};
use commonware_cryptography::Digested;
use commonware_utils::{Acknowledgement, acknowledgement::Exact};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

type Delivered = (Digested<Block>, Exact);

/// Takes what the engine reports.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Delivered>);

/// Where it comes out.
#[derive(Debug)]
pub(crate) struct Delivery {
    blocks: mpsc::Receiver<Delivered>,
    shared: Arc<Shared>,
    heights: watch::Sender<u64>,
}

/// A queue as long as the engine delivers ahead of acknowledgements.
pub(crate) fn queue(
    ahead: usize,
    shared: Arc<Shared>,
    heights: watch::Sender<u64>,
) -> (Inbox, Delivery) {
    let (sender, blocks) = mpsc::channel(ahead);
    (Inbox(sender), Delivery { blocks, shared, heights })
}

impl Reporter for Inbox {
    type Activity = Update<Block>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let Update::Block(block, ack) = activity else { return Feedback::Ok };
        match self.0.try_send((block, ack)) {
            Ok(()) => Feedback::Ok,
            // the engine stops, as it does for every acknowledgement that is dropped
            Err(_) => Feedback::Closed,
        }
    }
}

impl Delivery {
    /// Until the engine ends, or the disk fails.
    pub(crate) async fn run(mut self, marshal: Mailbox) {
        while let Some((block, ack)) = self.blocks.recv().await {
            let height = block.height();
            let certificate = marshal.get_finalization(height).await;
            let proof = Proof { parent: block.parent(), certificate };
            match self.shared.finalize(block.inner().body(), &proof.to_bytes()) {
                Ok(true) => {
                    self.heights.send_replace(height.get());
                }
                Ok(false) => {}
                Err(reason) => {
                    self.shared.fail(reason);
                    return;
                }
            }
            ack.acknowledge();
        }
    }
}

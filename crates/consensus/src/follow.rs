//! The blocks one after another, as they become final.

use crate::{
    block::Finalized,
    orderer::{OrderError, Orderer},
};
use std::sync::Arc;
use tokio::sync::watch;

/// Reads an orderer's blocks in their order, and waits for the next one.
#[derive(Debug)]
pub struct Follower<O: ?Sized> {
    orderer: Arc<O>,
    heights: watch::Receiver<u64>,
    next: u64,
}

impl<O: Orderer + ?Sized> Follower<O> {
    /// Begins at a height: one more than that of the state.
    pub fn new(orderer: Arc<O>, from: u64) -> Self {
        let heights = orderer.heights();
        Self { orderer, heights, next: from }
    }

    /// The next block. Where the future is dropped nothing is lost.
    ///
    /// # Errors
    /// As [`Orderer::block`]; [`OrderError::Stopped`] where there will be none.
    pub async fn next(&mut self) -> Result<Finalized, OrderError> {
        loop {
            if let Some(block) = self.orderer.block(self.next)? {
                self.next += 1;
                return Ok(block);
            }
            if self.heights.wait_for(|&height| height >= self.next).await.is_err() {
                let reason = self.orderer.status().failure;
                let reason = reason.unwrap_or_else(|| "it was shut down".into());
                return Err(OrderError::Stopped { reason });
            }
        }
    }
}

//! Reading closed batches back, in the name of validators.

use crate::{
    reader::LakeReader,
    task::{Stop, Task},
};
use prunedb_engine::Db;
use prunedb_registry::{Body, Secret};
use prunedb_validator::{Client, ClientError, Status};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How long one wait for the next block is.
const WAIT_MS: u32 = 1_000;

/// Why batches were not read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The registry did not take it, or does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The lake did not give it.
    #[error(transparent)]
    Engine(#[from] prunedb_engine::Error),
    /// The lake cannot be opened.
    #[error("the lake cannot be read: {reason}")]
    Lake {
        /// why
        reason: String,
    },
}

/// How far some validators have read back.
#[derive(Debug)]
pub(crate) struct ReadBack {
    secrets: Vec<Secret>,
    /// batches below this were read back, and told so
    pub(crate) done: u32,
}

impl ReadBack {
    pub(crate) const fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets, done: 0 }
    }

    /// Whether there is a batch to be read.
    pub(crate) fn is_due(&mut self, status: &Status) -> bool {
        self.done = self.done.max(status.prunable_up_to);
        !self.secrets.is_empty() && self.done < status.batches
    }

    /// Reads what is due, and says so.
    pub(crate) fn step(
        &mut self,
        client: &Client,
        runtime: &Handle,
        db: &Db,
        status: &Status,
        stop: &Stop,
    ) -> Result<(), AttestError> {
        if !self.is_due(status) {
            return Ok(());
        }
        for number in self.done..status.batches {
            // each one's own read, of shards drawn anew
            for _ in &self.secrets {
                if stop.is_asked() {
                    return Ok(());
                }
                db.read_back(number)?;
            }
        }
        for secret in &self.secrets {
            let body = Body::AttestReadBack { up_to: status.batches };
            match runtime.block_on(client.send(&status.registry, body, &[secret])) {
                Err(ClientError::Rejected { reason, .. }) if reason.contains("attested") => {}
                sent => _ = sent?,
            }
        }
        self.done = status.batches;
        Ok(())
    }
}

/// A validator's part beside voting: it reads every closed batch back itself, and says so.
pub struct Attester {
    client: Client,
    runtime: Handle,
    lake: Arc<LakeReader>,
    read_back: ReadBack,
}

impl Attester {
    /// The validator with this key, and how it reads the lake.
    pub fn new(client: Client, secret: Secret, lake: Arc<LakeReader>, runtime: Handle) -> Self {
        Self { client, runtime, lake, read_back: ReadBack::new(vec![secret]) }
    }

    /// Does what is due, block after block, in a thread.
    pub fn run(mut self) -> Task {
        Task::each_height("prunedb-attester", move |height, stop| self.step(height, stop))
    }

    /// Waits for a height, a little, and reads what is closed by then.
    fn step(&mut self, height: u64, stop: &Stop) -> Result<u64, AttestError> {
        let reached = self.runtime.block_on(self.client.height(height, WAIT_MS))?;
        if reached < height {
            return Ok(reached);
        }
        let status = self.runtime.block_on(self.client.status())?;
        if self.read_back.is_due(&status) {
            let db = self.lake.refreshed().map_err(|reason| AttestError::Lake { reason })?;
            self.read_back.step(&self.client, &self.runtime, &db, &status, stop)?;
        }
        Ok(reached)
    }
}

//! Starting a validator that votes, from its own blocks or from the state of others.

use super::Voting;
use crate::session;
use anyhow::Context;
use prunedb_consensus::{Orderer, Simplex, SimplexConfig, Start, kept_blocks};
use prunedb_registry::State;
use prunedb_validator::{Behind, Client, Snapshot, behind};
use std::sync::Arc;
use tokio::runtime::Runtime;

impl Voting<'_> {
    /// With the blocks that are here.
    pub(super) fn start(self) -> anyhow::Result<Arc<dyn Orderer>> {
        Ok(Arc::new(Simplex::start(session::disk(), self.config(None)?)?))
    }

    /// With the blocks that are here, unless the others keep those after them no more.
    pub(super) fn start_or_catch_up(
        self,
        others: &Client,
        runtime: &Runtime,
    ) -> anyhow::Result<Arc<dyn Orderer>> {
        let dir = self.folder.validator(self.number);
        let kept = kept_blocks(session::disk(), &dir.join("blocks"))?;
        let height = prunedb_validator::kept_height(&*session::disk(), &dir.join("state"))?;
        // blocks that do not follow on the state are of no use: a snapshot was not kept to its end
        let here = if height + 1 < kept.start { height } else { kept.end - 1 };
        let registry = *State::new(self.genesis)?.registry();
        match runtime.block_on(behind(others, registry, here)) {
            None => self.start(),
            Some(behind) => self.catch_up(&behind, runtime),
        }
    }

    fn catch_up(self, behind: &Behind, runtime: &Runtime) -> anyhow::Result<Arc<dyn Orderer>> {
        let mut failures = Vec::new();
        for number in 0..behind.count() {
            match runtime.block_on(behind.snapshot(number)) {
                Ok(snapshot) => match self.go_on_from(&snapshot) {
                    Ok(orderer) => return Ok(orderer),
                    Err(error) => failures.push(format!("{error:#}")),
                },
                Err(error) => failures.push(error.to_string()),
            }
        }
        anyhow::bail!(
            "the other validators keep the next block no more, and none of their snapshots will do: {}",
            failures.join("; ")
        )
    }

    fn go_on_from(&self, snapshot: &Snapshot) -> anyhow::Result<Arc<dyn Orderer>> {
        let state = snapshot.state();
        let start = Start {
            height: state.height(),
            root: state.root(),
            validators: state.validators().to_vec(),
            blocks: snapshot.blocks.clone(),
        };
        let orderer = Simplex::start(session::disk(), self.config(Some(start))?)?;
        let dir = self.folder.validator(self.number).join("state");
        snapshot
            .save(&*session::disk(), &dir)
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        tracing::info!(height = state.height(), "goes on from the state of another validator");
        Ok(Arc::new(orderer))
    }

    fn config(&self, start: Option<Start>) -> anyhow::Result<SimplexConfig> {
        let dir = self.folder.validator(self.number);
        Ok(SimplexConfig {
            seed: crate::secret::key_seed(&dir.join("validator.key"))?,
            dir,
            registry: *State::new(self.genesis)?.registry(),
            listen: self.listen,
            founders: self.genesis.validators.clone(),
            peers: self.peers.clone(),
            interval: self.interval,
            start,
        })
    }
}

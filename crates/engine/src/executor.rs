//! What drives a database's calls to its nodes, and where it takes chance from.

use crate::error::Error;
use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::{Handle, Runtime};

/// A tokio runtime as the database uses it. A [`Handle`] converts into one.
#[derive(Clone)]
pub struct Executor(Kind);

#[derive(Clone)]
enum Kind {
    Threads(Handle),
    Caller(Arc<Runtime>, Arc<Mutex<blake3::OutputReader>>),
}

impl Executor {
    /// For simulations: runs every call, and what it starts, on the thread that waits for it, and draws all chance from the
    /// seed. With a runtime of one thread (`new_current_thread`) and a paused clock, a database and all its nodes go the
    /// same way each time. Never for a lake that matters: its heads are sealed with what comes from the seed.
    pub fn simulated(runtime: Arc<Runtime>, seed: u64) -> Self {
        let chance = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        Self(Kind::Caller(runtime, Arc::new(Mutex::new(chance))))
    }

    pub(crate) fn handle(&self) -> &Handle {
        match &self.0 {
            Kind::Threads(handle) => handle,
            Kind::Caller(runtime, _) => runtime.handle(),
        }
    }

    pub(crate) fn block_on<F: Future>(&self, call: F) -> F::Output {
        match &self.0 {
            Kind::Threads(handle) => handle.block_on(call),
            Kind::Caller(runtime, _) => runtime.block_on(call),
        }
    }

    /// Random bytes.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives none.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        match &self.0 {
            Kind::Threads(_) => getrandom::fill(&mut bytes).map_err(|e| Error::Io {
                path: "system randomness".into(),
                source: io::Error::other(e.to_string()),
            })?,
            Kind::Caller(_, chance) => {
                chance.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
            }
        }
        Ok(bytes)
    }
}

impl From<Handle> for Executor {
    fn from(handle: Handle) -> Self {
        Self(Kind::Threads(handle))
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

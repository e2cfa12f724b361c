//! The tests that need a real Bitcoin node, with one.

use crate::{bitcoind, process::run, workspace};
use std::{path::PathBuf, process::Command};

/// Runs them with the program that `BITCOIND` names, or one that is built for them.
///
/// # Errors
/// The program cannot be built, or a test fails.
pub(crate) fn run_tests() -> anyhow::Result<()> {
    let program = match std::env::var_os("BITCOIND").map(PathBuf::from) {
        Some(program) => program,
        None => bitcoind::build()?,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(workspace()?)
        .args(["test", "--package", "prunedb-cli", "--test", "e2e", "bitcoind", "--"])
        .arg("--nocapture")
        .env("BITCOIND", program))
}

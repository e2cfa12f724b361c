//! Folders for what a command tries out.

use crate::commands::up::stop_signal;
use anyhow::Context;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A new folder in `parent` (that of temporary files where there is none), removed at the end and by Ctrl-C.
///
/// # Errors
/// Where it cannot be created.
pub(crate) fn folder(parent: Option<&Path>, runtime: &Runtime) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("prunedb-demo-");
    let folder = match parent {
        Some(parent) => std::fs::create_dir_all(parent).and_then(|()| builder.tempdir_in(parent)),
        None => builder.tempdir(),
    };
    let folder = folder.context("cannot create a temporary folder: choose one with --dir")?;
    let path = folder.path().to_owned();
    runtime.spawn(async move {
        if let Ok(stopped) = stop_signal() {
            stopped.await;
            _ = std::fs::remove_dir_all(&path);
            std::process::exit(i32::from(crate::io::ERROR_CODE));
        }
    });
    Ok(folder)
}

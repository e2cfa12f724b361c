//! Programs that tasks run.

use anyhow::{Context, bail};
use std::process::{Command, Stdio};

/// Runs a program; what it says goes to stderr.
///
/// # Errors
/// It is not there, or does not end well.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    eprintln!("+ {command:?}");
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Runs a program and gives what it writes to stdout.
///
/// # Errors
/// It is not there, or does not end well.
pub(crate) fn stdout_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    eprintln!("+ {command:?}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !output.status.success() {
        bail!("{name} ended with {}", output.status);
    }
    Ok(output.stdout)
}

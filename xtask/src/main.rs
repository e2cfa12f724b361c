//! `cargo xtask`: what takes more than cargo. Each task says what it runs, and runs nothing twice.

mod bitcoind;
mod e2e_bitcoin;
mod process;
mod registry;

use anyhow::{Context, bail};
use std::path::PathBuf;

const HELP: &str = "\
cargo xtask TASK

  bitcoind      builds Bitcoin Core from the source that the crate libbitcoinkernel-sys carries, and says where it is;
                about 6 minutes on 2 cores, once (Debian: cmake g++ libboost-dev)
  e2e-bitcoin   archives, prunes, refills, syncs and restores real nodes on regtest: the tests of the prunedb command that need
                one, with that program, or the one that BITCOIND names
  registry FILE.era1 [PROGRAM]
                archives the file in several batches over 24 nodes at 16+4 with four validators that vote, a process each; kills a
                holder and a validator; shows that every batch is elected anew, repaired and readable; builds the command with
                `--release --features simplex`, or takes the one that is given";

fn main() -> anyhow::Result<()> {
    let tasks: Vec<String> = std::env::args().skip(1).collect();
    match tasks.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bitcoind"] => {
            let program = bitcoind::build()?;
            println!("BITCOIND={}", program.display());
        }
        ["e2e-bitcoin"] => e2e_bitcoin::run_tests()?,
        ["registry", file] => registry::tell(file, None)?,
        ["registry", file, program] => registry::tell(file, Some(program))?,
        ["help" | "--help" | "-h"] | [] => println!("{HELP}"),
        _ => bail!("no such task\n\n{HELP}"),
    }
    Ok(())
}

/// The workspace's folder.
fn workspace() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).context("the folder xtask lies in the workspace")
}

/// Where tasks keep what they make: beside what cargo builds.
fn output() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = match target {
        Some(target) => workspace()?.join(target),
        None => workspace()?.join("target"),
    };
    Ok(target.join("xtask"))
}

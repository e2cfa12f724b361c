//! The real Bitcoin node, built from source.
//!
//! The crate `libbitcoinkernel-sys` carries the whole source of Bitcoin Core, so cargo fetches and checks it like any other
//! dependency. It is a dependency of nothing here: a manifest of its own, below the target folder, asks for it.

use crate::{
    output,
    process::{run, stdout_of},
};
use anyhow::Context;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const CRATE: &str = "libbitcoinkernel-sys";
/// Carries Bitcoin Core 31.99.
const VERSION: &str = "0.4.1";
/// Nothing but the node: no wallet, no graphics, no tests; the optimiser takes longer than the tests gain.
const OFF: [&str; 17] = [
    "BUILD_BENCH",
    "BUILD_BITCOIN_BIN",
    "BUILD_CLI",
    "BUILD_FUZZ_BINARY",
    "BUILD_GUI",
    "BUILD_KERNEL_LIB",
    "BUILD_TESTS",
    "BUILD_TX",
    "BUILD_UTIL",
    "BUILD_UTIL_CHAINSTATE",
    "ENABLE_EXTERNAL_SIGNER",
    "ENABLE_IPC",
    "ENABLE_WALLET",
    "INSTALL_MAN",
    "WITH_CCACHE",
    "WITH_EMBEDDED_ASMAP",
    "WITH_ZMQ",
];

/// Builds the node, unless it was built before, and says where it is.
///
/// # Errors
/// A tool is missing, or the build fails; building again goes on where it stopped.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let folder = output()?.join(format!("bitcoind-{VERSION}"));
    let program = folder.join("build/bin/bitcoind");
    if program.exists() {
        return Ok(program);
    }
    let source = source(&folder.join("source"))?;
    let build = folder.join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(&source).arg("-B").arg(&build);
    configure.args(["-DBUILD_DAEMON=ON", "-DCMAKE_BUILD_TYPE=Release"]);
    configure.arg("-DCMAKE_CXX_FLAGS_RELEASE=-O1");
    configure.args(OFF.map(|option| format!("-D{option}=OFF")));
    run(&mut configure).context("Debian: apt-get install cmake g++ libboost-dev")?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(Command::new("cmake").arg("--build").arg(&build).args([
        "--target",
        "bitcoind",
        "--parallel",
        &jobs.to_string(),
    ]))?;
    anyhow::ensure!(program.exists(), "the build has no {}", program.display());
    Ok(program)
}

/// The folder `bitcoin` of the crate, wherever cargo has put it.
fn source(asking: &Path) -> anyhow::Result<PathBuf> {
    let manifest = format!(
        "[package]\nname = \"source\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\npath = \"lib.rs\"\n\n\
        [dependencies]\n{CRATE} = \"={VERSION}\"\n\n[workspace]\n"
    );
    let file = asking.join("Cargo.toml");
    fs::create_dir_all(asking).with_context(|| asking.display().to_string())?;
    fs::write(&file, manifest).with_context(|| file.display().to_string())?;
    fs::write(asking.join("lib.rs"), "").with_context(|| asking.display().to_string())?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = stdout_of(
        Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--manifest-path"])
            .arg(&file),
    )?;
    let metadata: Value = serde_json::from_slice(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.with_context(|| format!("{CRATE} was not fetched"))?);
    Ok(manifest.with_file_name("bitcoin"))
}

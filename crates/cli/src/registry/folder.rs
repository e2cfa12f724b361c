//! What lies in `registry/`.
//!
//! ```text
//! genesis           what the registry began with, as canonical bytes
//! settings.json     time between blocks, number of validators
//! authority.key     signs who joins, deposits, new parameters
//! validators/NN/    key, blocks, state of each validator that runs here
//! nodes/NN.key      keys of the local nodes
//! doors.json        where the validators answer, while they run
//! governance.json   what the registry last said of the lake: what may leave this machine
//! ```

use crate::{secret, session};
use anyhow::{Context, ensure};
use prunedb_disk::{read_all, write_atomic};
use prunedb_engine::Governance;
use prunedb_registry::{Genesis, Secret, canonical::Canonical};
use prunedb_validator::{Client, ValidatorKey};
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Largest file of ours that is read here.
const FILE_BYTES_MAX: usize = 1 << 20;

/// How the validators of a folder run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// time between blocks
    pub(crate) block_ms: u64,
    /// validators that run here
    pub(crate) validators: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Doors {
    validators: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Governed {
    prunable_up_to: u32,
    placed: bool,
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct RegistryFolder {
    dir: PathBuf,
}

impl RegistryFolder {
    /// The place of the registry of a database's folder, whether there is one or not.
    pub(crate) fn of(database: &Path) -> Self {
        Self { dir: database.join("registry") }
    }

    /// That of a database which has one.
    pub(crate) fn find(database: &Path) -> Option<Self> {
        Some(Self::of(database)).filter(|folder| folder.file("genesis").exists())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder of a validator.
    pub(crate) fn validator(&self, number: u8) -> PathBuf {
        self.dir.join("validators").join(format!("{number:02}"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(name);
        write_atomic(&*session::disk(), &path, bytes)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.file(name);
        match read_all(&*session::disk(), &path, FILE_BYTES_MAX) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn read_json<T: for<'a> Deserialize<'a>>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).with_context(|| format!("{}", self.file(name).display()))
    }

    /// Writes what a registry begins with; the genesis comes last: with it there is one.
    pub(crate) fn create(&self, genesis: &Genesis, settings: &Settings) -> anyhow::Result<()> {
        self.write("settings.json", &serde_json::to_vec_pretty(settings)?)?;
        self.write("genesis", &genesis.to_bytes())
    }

    pub(crate) fn genesis(&self) -> anyhow::Result<Genesis> {
        let bytes = self.read("genesis")?.context("this folder has no registry")?;
        Genesis::from_bytes("genesis", &bytes)
            .with_context(|| format!("{} is damaged", self.file("genesis").display()))
    }

    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.read_json("settings.json")?.context("registry/settings.json is missing")
    }

    /// The key of a file that must be there.
    pub(crate) fn known_secret(&self, path: &Path) -> anyhow::Result<Secret> {
        ensure!(path.exists(), "there is no key file {}", path.display());
        self.secret(path)
    }

    /// A key of the folder, made where there is none.
    pub(crate) fn secret(&self, path: &Path) -> anyhow::Result<Secret> {
        let seed = secret::key_seed(path)?;
        Ok(Secret::from_seed(&seed))
    }

    pub(crate) fn authority(&self) -> anyhow::Result<Secret> {
        let path = self.file("authority.key");
        ensure!(
            path.exists(),
            "{} is missing: only who has it governs the registry",
            path.display()
        );
        self.secret(&path)
    }

    pub(crate) fn validator_key(&self, number: u8) -> anyhow::Result<ValidatorKey> {
        let path = self.validator(number).join("validator.key");
        let seed = secret::key_seed(&path)?;
        Ok(ValidatorKey::from_seed(&seed))
    }

    /// Tells other processes where the validators answer.
    pub(crate) fn write_doors(&self, validators: Vec<String>) -> anyhow::Result<()> {
        self.write("doors.json", &serde_json::to_vec(&Doors { validators })?)
    }

    /// Asks the validators that run from this folder.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        ensure!(
            self.file("genesis").exists(),
            "{} has no registry: `prunedb registry init` founds one, `prunedb up` runs it (or name a validator with --at HOST:PORT)",
            self.dir.parent().unwrap_or(&self.dir).display()
        );
        let doors: Doors = self.read_json("doors.json")?.context(
            "the registry of this folder does not run: `prunedb up` runs it (or name a validator with --at HOST:PORT)",
        )?;
        Ok(Client::new(doors.validators))
    }

    /// What the registry last said of the lake.
    pub(crate) fn governance(&self) -> anyhow::Result<Governance> {
        let known: Option<Governed> = self.read_json("governance.json")?;
        Ok(known.map_or_else(Governance::default, |known| Governance {
            prunable_up_to: known.prunable_up_to,
            placed: known.placed,
        }))
    }

    pub(crate) fn write_governance(&self, governance: Governance) -> anyhow::Result<()> {
        let Governance { prunable_up_to, placed } = governance;
        self.write("governance.json", &serde_json::to_vec(&Governed { prunable_up_to, placed })?)
    }
}

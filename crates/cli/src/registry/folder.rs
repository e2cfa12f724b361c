//! What lies in `registry/`.
//!
//! ```text
//! genesis           what the registry began with, as canonical bytes
//! settings.json     time between blocks, number of validators, and where those are that have a process of their own
//! authority.key     signs who joins, deposits, new parameters
//! writer.key        takes the lease, where the validators have processes of their own
//! validators/NN/    key, blocks, state of each validator that runs here
//! nodes/NN.key      keys of the local nodes
//! doors.json        where the validators answer, while they run
//! governance.json   what the registry last said of the lake: what may leave this machine, which lease it had
//! ```
//! The folder of a validator with a process of its own has copies of genesis and settings, and `validators/00`: its own.

use crate::{secret, session};
use anyhow::{Context, ensure};
use prunedb_core::{Digest, Term};
use prunedb_disk::{read_all, write_atomic};
use prunedb_engine::Governance;
use prunedb_registry::{Genesis, Key, Secret, canonical::Canonical};
use prunedb_validator::{Client, DoorAddress, ValidatorKey};
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Largest file of ours that is read here.
const FILE_BYTES_MAX: usize = 1 << 20;

/// How the validators of a registry run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// time between blocks
    pub(crate) block_ms: u64,
    /// validators that run in the process of the founder's `prunedb up`
    pub(crate) validators: u8,
    /// validators with a process and a folder of their own, and where they are
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) peers: Vec<Peer>,
}

/// A validator with a process of its own. As text: `KEY,VOTES,DOOR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    #[serde(with = "key_text")]
    pub(crate) key: Key,
    /// where the other validators reach it
    pub(crate) votes: SocketAddr,
    /// where nodes, writers and commands ask it
    pub(crate) door: SocketAddr,
}

impl Peer {
    /// Where it answers, and as whom.
    pub(crate) fn address(&self) -> DoorAddress {
        DoorAddress { server: self.door.to_string(), key: self.key }
    }
}

impl FromStr for Peer {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split(',').collect();
        let [key, votes, door] = parts[..] else {
            anyhow::bail!("write KEY,VOTES,DOOR: its key, where it votes, where it answers");
        };
        let key: Digest = key.parse().context("a validator's key has 64 hex digits")?;
        let address = |text: &str| {
            text.parse::<SocketAddr>().with_context(|| format!("`{text}`: write IP:PORT"))
        };
        Ok(Self { key: Key(key.0), votes: address(votes)?, door: address(door)? })
    }
}

/// A key as its hex digits.
mod key_text {
    use prunedb_core::Digest;
    use prunedb_registry::Key;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(key)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Key, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<Digest>().map(|digest| Key(digest.0)).map_err(D::Error::custom)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Doors {
    validators: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Governed {
    prunable_up_to: u32,
    placed: bool,
    /// term of the lease that the last `prunedb up` had
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<u64>,
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
        self.write_settings(settings)?;
        self.write("genesis", &genesis.to_bytes())
    }

    pub(crate) fn write_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        self.write("settings.json", &serde_json::to_vec_pretty(settings)?)
    }

    pub(crate) fn genesis(&self) -> anyhow::Result<Genesis> {
        let bytes = self.read("genesis")?.with_context(|| self.missing("genesis"))?;
        Genesis::from_bytes("genesis", &bytes).with_context(|| {
            format!(
                "{} is damaged: copy it again from the founder's",
                self.file("genesis").display()
            )
        })
    }

    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.read_json("settings.json")?.with_context(|| self.missing("settings.json"))
    }

    /// What to do about a file of the founder's that is not here.
    fn missing(&self, name: &str) -> String {
        let (dir, database) =
            (self.dir.display(), self.dir.parent().unwrap_or(&self.dir).display());
        format!(
            "{database} has no registry, {dir}/{name} is missing: a founder's folder gets one by `prunedb registry init`; a validator's \
             gets copies of the founder's registry/genesis and registry/settings.json, into {dir}"
        )
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
            "{} has no registry: `prunedb registry init` founds one, `prunedb up` runs it (or name a validator with --at tls://HOST:PORT/KEY)",
            self.dir.parent().unwrap_or(&self.dir).display()
        );
        let peers = self.settings()?.peers;
        if !peers.is_empty() {
            return Ok(Client::new(peers.iter().map(|peer| peer.address().to_string())));
        }
        let doors: Doors = self.read_json("doors.json")?.context(
            "the registry of this folder does not run: `prunedb up` runs it (or name a validator with --at tls://HOST:PORT/KEY)",
        )?;
        Ok(Client::new(doors.validators))
    }

    /// The key that takes the lease for a database whose validators have processes of their own.
    pub(crate) fn writer(&self) -> anyhow::Result<Secret> {
        self.secret(&self.file("writer.key"))
    }

    /// What the registry last said of the lake.
    pub(crate) fn governance(&self) -> anyhow::Result<Governance> {
        let known: Option<Governed> = self.read_json("governance.json")?;
        Ok(known.map_or_else(Governance::default, |known| Governance {
            prunable_up_to: known.prunable_up_to,
            placed: known.placed,
            lease: known.lease.map(Term),
        }))
    }

    pub(crate) fn write_governance(&self, governance: Governance) -> anyhow::Result<()> {
        let Governance { prunable_up_to, placed, lease } = governance;
        let governed = Governed { prunable_up_to, placed, lease: lease.map(|term| term.0) };
        self.write("governance.json", &serde_json::to_vec(&governed)?)
    }
}

//! Finding a lake from an empty folder, by its secret and some nodes: for `recover` and for readers.

use crate::{
    args::LakeAccess,
    commands::init::write_config,
    config::{Config, Layers, Source},
    io::Io,
    secret,
    session::{self, CONFIG_FILE},
};
use anyhow::ensure;
use prunedb_engine::{LakeSecret, Status};
use std::path::Path;

/// What the folder and the flags say of a lake. Nothing is written yet.
pub(super) struct Found {
    layers: Layers,
    pub(super) config: Config,
    pub(super) secret: LakeSecret,
    /// the folder has a configuration
    pub(super) configured: bool,
}

impl Found {
    /// # Errors
    /// Where something is missing or does not fit.
    pub(super) fn new(
        access: &LakeAccess,
        dir: &Path,
        flags: &[String],
        io: &Io,
    ) -> anyhow::Result<Self> {
        let configured = dir.join(CONFIG_FILE).exists();
        let layers = if configured {
            ensure!(
                access.nodes.is_empty(),
                "{} has the nodes already: leave --nodes out",
                dir.join(CONFIG_FILE).display()
            );
            session::layers(dir, flags)?
        } else {
            ensure!(
                !access.nodes.is_empty(),
                "{} has no {CONFIG_FILE}: put your copy of it there, or name the lake's nodes with --nodes",
                dir.display()
            );
            let mut layers = Layers::default();
            layers.overlay(session::environment(), flags)?;
            layers.set("nodes", access.nodes.join(","), Source::Flag)?;
            // any will do to open the lake, which says which one it is
            layers.set("policy", "2+1".into(), Source::Flag)?;
            layers
        };
        let config = Config::new(&layers, dir)?;
        // before anything is written: a wrong secret leaves no trace
        let secret = secret_of(access, &config, io)?;
        if let Some(lake) = config.lake {
            ensure!(
                secret.lake_id() == lake,
                "wrong lake secret: it opens lake {}, {CONFIG_FILE} is of lake {lake}; put the right one there",
                secret.lake_id()
            );
        }
        Ok(Self { layers, config, secret, configured })
    }

    /// Makes the folder one of a reader when its configuration is written.
    pub(super) fn into_reader(mut self, dir: &Path) -> anyhow::Result<Self> {
        self.layers.set("reader", "true".into(), Source::Flag)?;
        self.config = Config::new(&self.layers, dir)?;
        Ok(self)
    }

    /// Writes down what the folder lacks: a copy of the secret, and the configuration with what the lake says.
    pub(super) fn keep(&self, dir: &Path, status: &Status) -> anyhow::Result<()> {
        if !self.config.secret_file.exists() {
            secret::write(&self.config.secret_file, &self.secret)?;
        }
        if !self.configured {
            let mut layers = self.layers.clone();
            layers.set("lake", status.lake.to_string(), Source::Flag)?;
            layers.set("policy", status.policy.to_string(), Source::Flag)?;
            let addresses: Vec<&str> = status.nodes.iter().map(|n| n.address.as_str()).collect();
            layers.set("nodes", addresses.join(","), Source::Flag)?;
            write_config(dir, &layers)?;
        }
        Ok(())
    }
}

/// The secret of `--secret`, or that in the folder; both, only where they are the same.
fn secret_of(access: &LakeAccess, config: &Config, io: &Io) -> anyhow::Result<LakeSecret> {
    let in_folder = &config.secret_file;
    let Some(path) = &access.secret else { return secret::read(in_folder) };
    let secret = secret::read(&io.path(path))?;
    if in_folder.exists() {
        ensure!(
            secret::read(in_folder)?.lake_id() == secret.lake_id(),
            "{} is the secret of another lake: move it away, or leave --secret out",
            in_folder.display()
        );
    }
    Ok(secret)
}

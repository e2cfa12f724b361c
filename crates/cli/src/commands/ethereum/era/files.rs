//! The files of one network, of both formats.
//!
//! A file is made when it is asked for, verified as an export is, and kept in a folder; the ones that were not asked for the longest
//! are removed. One is made at a time; who wants another waits. What an `.ere` file of an epoch that was never imported as such
//! is, size and SHA-256, is known when it was made, until the process ends.

use crate::{
    archive::DbArchive,
    commands::ethereum::file::{KnownFile, sha256_text},
};
use anyhow::Context as _;
use prunedb_chains::ethereum::{
    Era1Name, EreName, EthereumError, ExportReport, Network, era1_epochs, ere_epochs, ere_name,
    export_era1, export_ere,
};
use prunedb_engine::Db;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs::File,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

/// Of the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Era1,
    Ere,
}

/// A file that there is, or that can be made.
#[derive(Clone)]
struct Listed {
    epoch: u64,
    name: String,
    /// `None` before it was made, of one that was not imported
    known: Option<Known>,
}

#[derive(Clone)]
struct Known {
    sha256: String,
    bytes: u64,
}

impl From<KnownFile> for Listed {
    fn from(file: KnownFile) -> Self {
        let known = Some(Known { sha256: file.sha256, bytes: file.file_bytes });
        Self { epoch: file.epoch, name: file.name, known }
    }
}

/// Lists, makes and keeps them.
pub(super) struct Files {
    db: Db,
    network: Network,
    folder: PathBuf,
    threads: NonZeroUsize,
    keep: usize,
    /// names of files in the folder, the last asked for at the end; held while one is made
    ready: Mutex<VecDeque<String>>,
    /// `.ere` files by epoch that were not imported; their blocks do not change
    own: Mutex<BTreeMap<u64, Listed>>,
}

impl Files {
    /// Finds what an earlier run left.
    pub(super) fn open(
        db: Db,
        network: Network,
        folder: PathBuf,
        threads: NonZeroUsize,
        keep: usize,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let ready = Mutex::new(left_from_before(&folder)?);
        Ok(Self { db, network, folder, threads, keep, ready, own: Mutex::default() })
    }

    /// The page with the links.
    pub(super) fn index(&self, format: Format) -> Result<String, EthereumError> {
        let mut page = format!("<!DOCTYPE html>\n<title>{0}</title>\n<h1>{0}</h1>\n", self.network);
        for Listed { epoch, name, known } in self.listed(format)? {
            let size = known.map_or_else(String::new, |known| format!(" {} bytes", known.bytes));
            // one name in a line, or readers that look for names find it twice
            _ = writeln!(page, "<a href=\"{name}\">epoch {epoch}</a>{size}<br>");
        }
        page.push_str(
            "<a href=\"checksums.txt\">checksums</a> <a href=\"SHA256SUMS\">for sha256sum</a>\n",
        );
        Ok(page)
    }

    /// The line's number is the epoch's: one that is not there, or not known yet, has an empty line.
    pub(super) fn checksums(&self, format: Format) -> Result<String, EthereumError> {
        let (mut text, mut next) = (String::new(), 0);
        for Listed { epoch, known, .. } in self.listed(format)? {
            let Some(known) = known else { continue };
            for _ in next..epoch {
                text.push('\n');
            }
            text.push_str(&known.sha256);
            text.push('\n');
            next = epoch + 1;
        }
        Ok(text)
    }

    /// For `sha256sum --check`: what is known.
    pub(super) fn manifest(&self, format: Format) -> Result<String, EthereumError> {
        let line = |file: Listed| {
            file.known.map(|known| format!("{}  {}\n", known.sha256, file.name)).unwrap_or_default()
        };
        Ok(self.listed(format)?.into_iter().map(line).collect())
    }

    /// The file of that name, with its SHA-256; `None` if there is none.
    pub(super) fn file(
        &self,
        format: Format,
        name: &str,
    ) -> Result<Option<(File, String)>, EthereumError> {
        let listed = self.listed(format)?.into_iter().find(|file| file.name == name);
        let Some(Listed { epoch, known, .. }) = listed else { return Ok(None) };
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(name);
        let io = |source| EthereumError::Io { path: path.clone(), source };
        let position = ready.iter().position(|kept| kept == name);
        if let Some(position) = position {
            ready.remove(position);
        }
        let kept = position.and_then(|_| File::open(&path).ok()).zip(known);
        if let Some((file, known)) = kept
            && file.metadata().map_err(io)?.len() == known.bytes
        {
            ready.push_back(name.into());
            return Ok(Some((file, known.sha256)));
        }
        self.make_room(&mut ready);
        let made = self.make(format, epoch)?;
        let file = File::open(&path).map_err(io)?;
        ready.push_back(name.into());
        Ok(Some((file, sha256_text(&made.sha256))))
    }

    fn archive(&self) -> DbArchive {
        DbArchive::new(self.db.clone(), Arc::new(AtomicBool::new(false)))
    }

    /// In the epochs' order.
    fn listed(&self, format: Format) -> Result<Vec<Listed>, EthereumError> {
        let (archive, network) = (self.archive(), &self.network);
        if format == Format::Era1 {
            let epochs = era1_epochs(&archive, network)?;
            let listed = |(epoch, record)| KnownFile::era1(network, epoch, &record).into();
            return Ok(epochs.into_iter().map(listed).collect());
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        for known in ere_epochs(&archive, network)? {
            let epoch = known.epoch;
            files.push(match (known.record, own.get(&epoch)) {
                (Some(record), _) => KnownFile::ere(network, epoch, &record).into(),
                (None, Some(listed)) => listed.clone(),
                (None, None) => {
                    let name = ere_name(&archive, network, epoch)?;
                    let listed = Listed { epoch, name, known: None };
                    own.entry(epoch).or_insert(listed).clone()
                }
            });
        }
        Ok(files)
    }

    fn make(&self, format: Format, epoch: u64) -> Result<ExportReport, EthereumError> {
        let (archive, network, folder) = (self.archive(), &self.network, &self.folder);
        if format == Format::Era1 {
            return Ok(export_era1(&archive, network, epoch, folder, self.threads, &mut |_| ())?.1);
        }
        let made = export_ere(&archive, network, epoch, folder, self.threads, &mut |_| ())?.1;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = own.get_mut(&epoch) {
            let (sha256, bytes) = (sha256_text(&made.sha256), made.file_bytes);
            listed.known = Some(Known { sha256, bytes });
        }
        Ok(made)
    }

    /// Removes what was not asked for the longest; who reads it still reads it to its end.
    fn make_room(&self, ready: &mut VecDeque<String>) {
        while ready.len() >= self.keep {
            let Some(oldest) = ready.pop_front() else { return };
            if let Err(error) = std::fs::remove_file(self.folder.join(&oldest)) {
                tracing::warn!(%error, file = oldest, "an era file stays where it is");
            }
        }
    }
}

/// Whole files of an earlier run; what is not whole has another name.
fn left_from_before(folder: &Path) -> anyhow::Result<VecDeque<String>> {
    let reading = || format!("cannot read {}", folder.display());
    let is_ours = |name: &&str| Era1Name::parse(name).is_some() || EreName::parse(name).is_some();
    let mut names = VecDeque::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        names.extend(name.to_str().filter(is_ours).map(Into::into));
    }
    Ok(names)
}

//! What can go wrong, grouped by what the caller does about it.

use std::{io, path::PathBuf};

/// Why the index could not do something.
///
/// [`Error::is_damage`] says whether the runs are to be rebuilt from the containers' footers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// what was tried
        doing: &'static str,
        /// on which file or folder
        path: PathBuf,
        /// what the disk said
        source: io::Error,
    },
    /// A page's checksum does not fit its bytes.
    #[error("index run {run}, page {page}: checksum {found:08x}, expected {expected:08x}")]
    DamagedPage {
        /// number of the run
        run: u64,
        /// number of the page in the run
        page: u32,
        /// checksum that the page holds
        expected: u32,
        /// checksum of its bytes
        found: u32,
    },
    /// A run that is missing, cut short, or holds what cannot be.
    #[error("index run {run} is damaged: {reason}")]
    DamagedRun {
        /// number of the run
        run: u64,
        /// what is wrong
        reason: &'static str,
    },
    /// The list of runs cannot be read.
    #[error("index manifest {} is damaged: {reason}", path.display())]
    DamagedManifest {
        /// the file
        path: PathBuf,
        /// what is wrong
        reason: &'static str,
    },
    /// Written by a newer PruneDB.
    #[error("{} has format version {found}, this program reads up to {supported}: use a newer one", path.display())]
    NewerVersion {
        /// the file
        path: PathBuf,
        /// its version
        found: u32,
        /// the newest that is known here
        supported: u32,
    },
    /// The index was built with another seed: another lake, or another secret.
    #[error("the index in {} belongs to another lake or was made with another secret", path.display())]
    WrongSeed {
        /// the index's folder
        path: PathBuf,
    },
}

impl Error {
    /// Whether stored bytes are damaged: [`Index::reset`](crate::Index::reset) or
    /// [`Index::create`](crate::Index::create) and a rebuild from footers heal that.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::DamagedPage { .. } | Self::DamagedRun { .. } | Self::DamagedManifest { .. }
        )
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

//! Folders: which names are there, and what a crash leaves of changes to them.

use super::{Chance, Unsynced};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add(PathBuf, u64),
    Folder(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn names(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Self::Add(path, _) | Self::Folder(path) | Self::Remove(path) => (path, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        [Some(first), second].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Whether syncing a folder makes it durable.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        self.names().any(|name| name.parent() == Some(folder))
    }
}

/// Paths are absolute; `/` is always there.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    files: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Add(path, file) => _ = self.files.insert(path.clone(), *file),
            NameChange::Folder(path) => _ = self.folders.insert(path.clone()),
            NameChange::Remove(path) => _ = self.files.remove(path),
            NameChange::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
        }
    }

    pub(super) fn file(&self, path: &Path) -> Option<u64> {
        self.files.get(path).copied()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        self.files.values().copied()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    pub(super) fn has_folder(&self, path: &Path) -> bool {
        path == Path::new("/") || self.folders.contains(path)
    }

    pub(super) fn list(&self, folder: &Path) -> Vec<String> {
        let paths = self.files.keys().chain(&self.folders);
        let names = paths.filter(|path| path.parent() == Some(folder));
        let names = names.filter_map(|path| path.file_name()?.to_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }
}

/// What a crash leaves: each change or not, but of one name none whose predecessor is lost.
pub(super) fn crashed(
    synced: &Names,
    since: &[NameChange],
    unsynced: Unsynced,
    chance: &mut Chance,
) -> Names {
    let mut names = synced.clone();
    let mut lost: BTreeSet<&Path> = BTreeSet::new();
    let kept_of_four = match unsynced {
        Unsynced::Lost => 0,
        Unsynced::Kept => 4,
        Unsynced::Torn(_) => chance.below(5),
    };
    for change in since {
        let follows = change.names().all(|name| !lost.contains(name));
        if follows && chance.below(4) < kept_of_four {
            names.apply(change);
        } else {
            lost.extend(change.names());
        }
    }
    // what lies in a folder that is gone is gone
    let folders = names.folders.clone();
    let reachable = |path: &Path| {
        path.ancestors().skip(1).all(|above| above == Path::new("/") || folders.contains(above))
    };
    names.files.retain(|path, _| reachable(path));
    names.folders.retain(|path| reachable(path));
    names
}

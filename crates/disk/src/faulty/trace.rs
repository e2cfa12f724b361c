//! What was asked of a disk, so that a failure can be understood.

use super::Chance;
use std::{collections::VecDeque, fmt, path::PathBuf};

/// Operations that are kept.
const STEPS: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    Sync,
    Name,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// offset, bytes
    Write(u64, u64),
    Length(u64),
    /// offset, bytes
    Hole(u64, u64),
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Create(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Folder(PathBuf),
    SyncFolder(PathBuf),
    Sync(PathBuf),
    Change(PathBuf, Shape),
    /// offset, bytes; noted where it fails
    Read(PathBuf, u64, u64),
}

impl Step {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Change(..) | Self::Read(..) => Kind::Write,
            Self::Sync(_) => Kind::Sync,
            _ => Kind::Name,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {}", path.display()),
            Self::Rename(from, to) => write!(f, "rename {} {}", from.display(), to.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::Folder(path) => write!(f, "folder {}", path.display()),
            Self::SyncFolder(path) => write!(f, "sync folder {}", path.display()),
            Self::Sync(path) => write!(f, "sync {}", path.display()),
            Self::Change(path, shape) => {
                let path = path.display();
                match shape {
                    Shape::Write(offset, bytes) => write!(f, "write {path} {offset}+{bytes}"),
                    Shape::Length(bytes) => write!(f, "length {path} {bytes}"),
                    Shape::Hole(offset, bytes) => write!(f, "hole {path} {offset}+{bytes}"),
                }
            }
            Self::Read(path, offset, bytes) => {
                write!(f, "read {} {offset}+{bytes}", path.display())
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    steps: VecDeque<(u64, Step, bool)>,
    count: u64,
    digest: u64,
}

impl Trace {
    pub(super) fn note(&mut self, step: Step, failed: bool) {
        self.count += 1;
        let mut mix = |word: u64| self.digest = Chance::new(self.digest ^ word).bits();
        mix(step.kind() as u64);
        match &step {
            Step::Change(_, Shape::Write(a, b) | Shape::Hole(a, b)) | Step::Read(_, a, b) => {
                mix(*a);
                mix(*b);
            }
            Step::Change(_, Shape::Length(a)) => mix(*a),
            _ => {}
        }
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back((self.count, step, failed));
    }

    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step, failed) in &self.steps {
            writeln!(f, "{number:>6} {step}{}", if *failed { " FAILS" } else { "" })?;
        }
        Ok(())
    }
}

//! Readers: a database that another one writes, opened from its lake, read-only, anywhere, as many as one likes.
//!
//! ```text
//! head of q+1 nodes ─> manifest containers behind ours ─> new edits ─> footers ─> index
//!                                                                 └──> local manifest (one transaction each)
//! ```
//! A reader has its own folder with manifest, index and frame cache. It never writes to a node: no fence, no term, no
//! containers of its own. It sees what is offloaded and published; its folder can be deleted and is built anew.
//!
//! Invariants:
//! - the local manifest is always a prefix of what a valid head named, and moves forward only: a head that is older than
//!   ours, or whose edits are not those that we have, is refused;
//! - the index knows a container before the manifest does, and lookups skip what the manifest does not know: whoever
//!   sees a container finds all of its records.

use crate::{
    db::{Db, Inner},
    error::Error,
    executor::Executor,
    heads::{Found, answers_needed, newest, newest_from_seeds, order, read_edits},
    indexing::insert_footer,
    lake::Connect,
    manifest::{Container, Manifest, State},
    options::Options,
    progress::{Job, OnProgress},
    writer::Position,
};
use prunedb_codec::LakeSecret;
use prunedb_core::{ContainerId, ContainerKind, Term};
use prunedb_disk::Disk;
use prunedb_format::{
    head::{HeadBody, ManifestRef},
    manifest::Edit,
};
use prunedb_index::Location;
use prunedb_store::ShardStore;
use std::{
    cmp::Ordering,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What makes a database a reader.
pub(crate) struct Follower {
    seeds: Vec<String>,
    connect: Arc<Connect>,
    /// one refresh at a time
    turn: Mutex<()>,
    /// which node is asked first, so that readers and polls spread over all
    first: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    confirmed: Option<Instant>,
    answered: usize,
    failure: Option<String>,
}

/// How far a reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderStatus {
    /// number of the head that is here; 0: none yet
    pub head_number: u64,
    /// its term
    pub term: Term,
    /// time since so many nodes answered that there was nothing newer than what is here; `None`: not yet since it was
    /// opened
    pub confirmed_ago: Option<Duration>,
    /// nodes that answered last time
    pub nodes_answered: u64,
    /// answers that rule out something newer
    pub nodes_needed: u64,
    /// why the last look at the lake brought nothing, where it failed
    pub failure: Option<String>,
}

impl Follower {
    fn new(seeds: &[String], connect: Arc<Connect>) -> Self {
        let (turn, first, seen) = (Mutex::default(), AtomicUsize::default(), Mutex::default());
        Self { seeds: seeds.into(), connect, turn, first, seen }
    }
}

impl Db {
    /// Opens a reader: an empty folder gets manifest and index from the lake, one of a reader goes on where it stopped.
    /// The lake is looked at once; where that fails, what the folder has is served, and [`Self::reader_status`] says
    /// why. [`Self::with_background`] goes on following.
    ///
    /// The seeds are a beginning, as in [`Self::recover`]. `options.policy` and what only writers need do not matter.
    ///
    /// # Errors
    /// [`Error::NoHead`] and those of reading the lake, where the folder is empty; [`Error::Role`] where it is a
    /// writer's; [`Error::WrongSecret`], [`Error::InUse`].
    pub fn open_reader(
        disk: Arc<dyn Disk>,
        options: Options,
        secret: LakeSecret,
        seeds: &[String],
        connect: Arc<Connect>,
        runtime: impl Into<Executor>,
        report: &mut OnProgress<'_>,
    ) -> Result<Self, Error> {
        let runtime = runtime.into();
        let joins = !Manifest::exists(&*disk, &options.metadata_dir)?;
        if joins {
            let found = newest_from_seeds(&secret, seeds, &*connect, &runtime)?;
            let body = HeadBody { next_data: 0, ..found.body };
            let manifest = Self::prepare(&disk, &options, secret.lake_id(), body)?;
            manifest.update(|state| (state.reader, state.head_dirty) = (true, false))?;
            manifest.finish(&*disk)?;
        }
        let follower = Follower::new(seeds, Arc::clone(&connect));
        let inner = Inner::open(disk, options, secret, &*connect, runtime, Some(follower), report)?;
        let db = Self::from(inner);
        match db.inner.refresh(report) {
            // what was begun goes on with the next try
            Err(error) if joins => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the lake cannot be followed: what is here is served");
                Ok(db)
            }
            Ok(_) => Ok(db),
        }
    }

    /// Whether this is a reader: nothing can be put.
    pub fn is_reader(&self) -> bool {
        self.inner.reader.is_some()
    }

    /// How far a reader is; `None` for a writer.
    pub fn reader_status(&self) -> Option<ReaderStatus> {
        self.inner.reader_status()
    }

    /// Looks at the lake once; whether something new was there.
    ///
    /// # Errors
    /// [`Error::NoHead`], [`Error::Quorum`] where too few nodes answer, [`Error::RolledBack`], [`Error::Diverged`],
    /// those of reading the lake, [`Error::Role`] for a writer. What is here stays.
    pub fn refresh(&self) -> Result<bool, Error> {
        self.inner.refresh(&mut |_| {})
    }
}

impl Inner {
    pub(crate) fn reader_status(&self) -> Option<ReaderStatus> {
        let seen = self.reader.as_ref()?.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.manifest.state();
        Some(ReaderStatus {
            head_number: state.head_number,
            term: state.term,
            confirmed_ago: seen.confirmed.map(|at| at.elapsed()),
            nodes_answered: seen.answered as u64,
            nodes_needed: answers_needed(&state.body) as u64,
            failure: seen.failure.clone(),
        })
    }

    /// Behind everything that can be read now.
    pub(crate) fn visible_end(&self) -> Position {
        match &self.reader {
            None => self.writer.durable(),
            Some(_) => {
                let container = self.manifest.state().body.next_data;
                Position::before(Location { container, offset: 0 })
            }
        }
    }

    /// See [`Db::refresh`].
    pub(crate) fn refresh(&self, report: &mut OnProgress<'_>) -> Result<bool, Error> {
        let Some(follower) = &self.reader else {
            let path = self.options.metadata_dir.clone();
            return Err(Error::Role { path, found: "writer", wanted: "reader" });
        };
        let _turn = follower.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Instant::now();
        let (answered, result) = match self.newest_head(follower) {
            Err(error) => (0, Err(error)),
            Ok(found) => (found.answered, self.follow(follower, &found, report)),
        };
        let mut seen = follower.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.answered = answered;
        seen.failure = result.as_ref().err().map(Error::to_string);
        if result.is_ok() {
            seen.confirmed = Some(asked);
        }
        result
    }

    /// The newest head of q+1 nodes, another one asked for each that fails.
    fn newest_head(&self, follower: &Follower) -> Result<Found, Error> {
        let (secret, runtime) = (&self.lake.secret, &self.lake.runtime);
        let needed = answers_needed(&self.manifest.state().body);
        let placement = self.lake.placement();
        let mut stores: Vec<Arc<dyn ShardStore>> =
            placement.nodes.iter().map(|node| Arc::clone(&node.store)).collect();
        let first = follower.first.fetch_add(1, Relaxed) % stores.len().max(1);
        stores.rotate_left(first);
        match newest(secret, &stores, |_| needed, runtime) {
            // all nodes may be reached through other addresses now
            Err(Error::NoHead { answered: 0, .. }) => {
                newest_from_seeds(secret, &follower.seeds, &*follower.connect, runtime)
            }
            found => found,
        }
    }

    /// Goes on to a head; whether it is a newer one than ours.
    fn follow(
        &self,
        follower: &Follower,
        found: &Found,
        report: &mut OnProgress<'_>,
    ) -> Result<bool, Error> {
        let Found { prefix, body, .. } = found;
        let state = self.manifest.state();
        let ours = (state.term.0, state.head_number);
        let newer = match order(prefix).cmp(&ours) {
            Ordering::Less if found.is_newest() => {
                let (found, ours) = ((prefix.term, prefix.number), (state.term, state.head_number));
                return Err(Error::RolledBack { found, ours });
            }
            Ordering::Less | Ordering::Equal => false,
            Ordering::Greater => true,
        };
        if newer {
            check_extends(&state, body)?;
            self.lake.follow_placement(body, &*follower.connect);
            self.follow_edits(body, report)?;
            self.manifest.update(|state| {
                (state.body, state.head_number) = (Arc::new(body.clone()), prefix.number);
                state.term = prefix.term;
            })?;
            tracing::info!(head = prefix.number, term = %prefix.term, "followed");
        }
        self.index_noted()?;
        if !found.is_newest() {
            let (answered, needed) = (found.answered, found.needed);
            let what = "looking for a newer head";
            return Err(Error::Quorum { what, answered, needed, failures: found.failures.clone() });
        }
        Ok(newer)
    }

    /// Reads the manifest containers that have new edits, oldest first; each is a step that stays.
    fn follow_edits(&self, body: &HeadBody, report: &mut OnProgress<'_>) -> Result<(), Error> {
        let begun = self.manifest.state();
        let mut job = Job::start("follow", body.next_edit - begun.next_edit, report);
        for (position, reference) in body.manifests.iter().enumerate() {
            let (first, end) = (reference.first_edit, reference.first_edit + reference.edits);
            let next_edit = self.manifest.state().next_edit;
            if end <= next_edit {
                continue;
            }
            let edits = read_edits(&self.lake, reference)?;
            let known = usize::try_from(next_edit - first).expect("within the container");
            let (known, new) = edits.split_at(known);
            self.check_known(first, known)?;
            let manifests: Vec<ManifestRef> = body.manifests[..=position].into();
            // snapshots see what is new when all of it is here
            let next_data = begun.body.next_data;
            let body = Arc::new(HeadBody { manifests, next_edit: end, next_data, ..body.clone() });
            // nobody builds the index anew between its step and the manifest's
            self.healing(|| {
                self.index_new(new)?;
                self.manifest.follow(new, |state| state.body = Arc::clone(&body))
            })?;
            job.did(new.len() as u64, reference.stream.id);
        }
        Ok(())
    }

    /// What a manifest container repeats must be what we have.
    fn check_known(&self, first: u64, known: &[Edit]) -> Result<(), Error> {
        let ours = self.manifest.edits_from(first, usize::MAX)?;
        for (edit, (number, ours)) in known.iter().zip(ours) {
            if edit.encode() != ours {
                return Err(Error::Diverged { edit: number });
            }
        }
        Ok(())
    }

    /// Adds the records of new containers to the index. It is on disk by then as far as the next open would not find
    /// out by itself.
    fn index_new(&self, edits: &[Edit]) -> Result<(), Error> {
        let (mut next, mut late) = (self.index.covered(), false);
        for edit in edits {
            let Edit::Container(entry) = edit else { continue };
            let ContainerId { kind: ContainerKind::Data, number } = entry.stream.id else {
                continue;
            };
            // coded anew: its records are where they were
            if self.manifest.is_offloaded(number)? {
                continue;
            }
            let container = Container::new((**entry).clone())
                .map_err(|reason| Error::Codec { container: entry.stream.id, reason })?;
            match self.lake_footer(&Arc::new(container)) {
                Ok(footer) => insert_footer(&self.index, number, &footer),
                // it may have been coded anew since, and a later edit names the shards that it has now
                Err(Error::Lost { .. }) => {
                    self.manifest.set_unindexed(number, true)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            late |= number < self.index.covered();
            next = next.max(number.saturating_add(1));
            if self.index_is_large() {
                self.index.flush(next)?;
                late = false;
            }
        }
        if late {
            self.index.flush(next)?;
        }
        Ok(())
    }
}

/// A newer head must go on from what we have: as many edits, and no manifest container within them that we do not know.
fn check_extends(state: &State, body: &HeadBody) -> Result<(), Error> {
    if body.next_edit < state.next_edit {
        return Err(Error::Diverged { edit: body.next_edit });
    }
    for reference in &body.manifests {
        let within = reference.first_edit + reference.edits <= state.next_edit;
        if within && !state.body.manifests.contains(reference) {
            return Err(Error::Diverged { edit: reference.first_edit });
        }
    }
    Ok(())
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

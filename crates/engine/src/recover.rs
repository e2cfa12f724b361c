//! A database out of its lake: from the secret and any `p` nodes of each group.

use crate::{
    db::Db,
    error::Error,
    executor::Executor,
    heads::{Found, newest_from_seeds, read_edits},
    indexing::adopt_index,
    lake::{Connect, Lake},
    manifest::Manifest,
    options::Options,
    progress::OnProgress,
    terms::last_of_block,
};
use prunedb_codec::LakeSecret;
use prunedb_core::{ContainerId, ContainerKind, ShardId, ShardIndex, Term};
use prunedb_disk::Disk;
use prunedb_format::head::HeadBody;
use std::{collections::BTreeMap, sync::Arc};

/// What a recovery brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// data containers
    pub containers: u64,
    /// their records
    pub records: u64,
    /// tables
    pub tables: u64,
    /// number of the head that was found
    pub head_number: u64,
    /// its term
    pub term: Term,
    /// containers whose footers could not be read: their records are not found until their nodes are back and the
    /// database is opened again
    pub unindexed: Vec<ContainerId>,
    /// nodes that answered
    pub nodes_answered: u64,
    /// answers that rule out a newer head; with fewer, the newest that was found counts
    pub nodes_needed: u64,
}

/// So many containers may an old writer have stored after its last head.
const NUMBERS_AHEAD_MAX: u32 = 1 << 20;

impl Db {
    /// Rebuilds manifest and index in empty folders from the lake, and takes the lake over: an old writer is fenced
    /// off with the next write. Data stays in the lake; only footers are read.
    ///
    /// The seeds are a beginning: the nodes that their head names are asked too. Where so few answer that all of them
    /// may have missed the newest head ([`Recovered::nodes_needed`]), what it added is not found: recover again when
    /// more nodes are back.
    ///
    /// # Errors
    /// [`Error::NoHead`], [`Error::Lost`] where a manifest container or a footer cannot be read,
    /// [`Error::AlreadyADatabase`], [`Error::LocalContainers`]. After an error the folders hold nothing that passes for a
    /// database.
    pub fn recover(
        disk: Arc<dyn Disk>,
        options: Options,
        secret: LakeSecret,
        seeds: &[String],
        connect: &Connect,
        runtime: impl Into<Executor>,
        report: &mut OnProgress<'_>,
    ) -> Result<(Self, Recovered), Error> {
        let runtime = runtime.into();
        let found = newest_from_seeds(&secret, seeds, connect, &runtime)?;
        let Found { prefix, body, answered, needed, .. } = found;
        if answered < needed {
            tracing::warn!(
                head = prefix.number,
                answered,
                needed,
                "a newer head may be on the nodes that did not answer"
            );
        }
        let found = Lake::new(
            secret.clone(),
            runtime.clone(),
            &body.nodes,
            body.groups.clone(),
            &options.domains,
            connect,
            0,
        );
        let found = Arc::new(found);
        let mut recovered = Recovered {
            head_number: prefix.number,
            term: prefix.term,
            nodes_answered: answered as u64,
            nodes_needed: needed as u64,
            ..Recovered::default()
        };
        let body = HeadBody {
            next_data: found.next_number(ContainerKind::Data, body.next_data),
            next_manifest: found.next_number(ContainerKind::Manifest, body.next_manifest),
            ..body
        };
        // until everything is in, the folder does not pass for a database: the manifest gets its name at the end
        let manifest = Self::prepare(&disk, &options, secret.lake_id(), body.clone())?;
        for reference in &body.manifests {
            manifest.adopt(&read_edits(&found, reference)?, prefix.number)?;
        }
        let totals = manifest.state().totals;
        recovered.containers = totals.containers;
        recovered.records = totals.records;
        recovered.tables = manifest.tables().len() as u64;
        manifest.update(|state| {
            state.body = Arc::new(body);
            state.head_number = prefix.number;
            // a takeover begins the next block
            state.term = last_of_block(prefix.term);
            state.head_dirty = false;
            state.next_index = found.next_number(ContainerKind::Index, state.next_index);
        })?;
        if let Some(index) = manifest.index() {
            manifest.retire_index(prefix.number, &BTreeMap::new())?;
            adopt_index(&*disk, &options.metadata_dir, &secret, &index)?;
        }
        manifest.finish(&*disk)?;
        drop(manifest);
        let dir = options.metadata_dir.clone();
        let opened =
            Self::open_reporting(Arc::clone(&disk), options, secret, connect, runtime, report);
        let opened = opened.and_then(|db| db.inner.flush_index().map(|()| db));
        match opened {
            Ok(db) => {
                let unindexed = db.inner.manifest.unindexed();
                recovered.unindexed = unindexed.into_iter().map(ContainerId::data).collect();
                Ok((db, recovered))
            }
            Err(error) => {
                Manifest::unfinish(&*disk, &dir)?;
                Err(error)
            }
        }
    }
}

impl Lake {
    /// One past the highest number of a kind that any node holds a shard of, `next` at least: ids are never reused,
    /// not even those that an old writer used after its last head. What a node claims of numbers far ahead of the head
    /// does not count: one liar could use all of them up.
    fn next_number(&self, kind: ContainerKind, next: u32) -> u32 {
        // invariant: some node may hold a number in low..high, none holds one from high on
        let (mut low, mut high) = (next, next.saturating_add(NUMBERS_AHEAD_MAX));
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_from(kind, middle).filter(|&found| found < end) {
                Some(found) => low = found + 1,
                None => high = middle,
            }
        }
        low
    }

    /// The lowest number from `number` on that some node holds a shard of.
    fn first_from(&self, kind: ContainerKind, number: u32) -> Option<u32> {
        let lake = self.id;
        // the last possible shard before it
        let before = match number.checked_sub(1) {
            Some(number) => Some(ContainerId { kind, number }),
            None => (kind != ContainerKind::Data)
                .then_some(ContainerId { kind: ContainerKind::Data, number: u32::MAX }),
        };
        let after = before.map(|container| ShardId { lake, container, index: ShardIndex(u8::MAX) });
        let answers = self.all(|store| Box::pin(async move { store.list(lake, after, 1).await }));
        let first = answers.into_iter().flatten().flatten().map(|stat| stat.id.container);
        // a store that answers out of order is not believed
        first.filter(|c| c.kind == kind && c.number >= number).map(|c| c.number).min()
    }
}

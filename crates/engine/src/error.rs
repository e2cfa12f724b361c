//! What can go wrong in the Prune DB, with what, where, and what to do next.

use crate::db::Table;
use prunedb_core::{ContainerId, Digest, LakeId, ShardIndex, Term};
use prunedb_format::FormatError;
use prunedb_store::StoreError;
use std::{fmt, io, path::PathBuf};

/// A failure of the Prune DB.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// which file or folder
        path: PathBuf,
        /// what it said
        source: io::Error,
    },
    /// The key was not found, but its record may be in a container whose footer could not be read for the index.
    #[error(
        "not found, but {container} may hold it, and too few of its shards could be read to index it: bring its nodes back; the next command, or `prunedb up` within a minute, looks into it"
    )]
    Unindexed {
        /// which container
        container: ContainerId,
    },
    /// The file system has no room left. Nothing that was acknowledged is lost.
    #[error("the disk of {path} is full: {needed_bytes} bytes are needed, {free_bytes} are free; free some space (`prunedb evict` drops what is safe in the lake) and repeat the command", path = path.display())]
    DiskFull {
        /// which folder
        path: PathBuf,
        /// bytes needed
        needed_bytes: u64,
        /// bytes free
        free_bytes: u64,
    },
    /// A folder without a database.
    #[error("{path} holds no database: create one with `prunedb init`, or rebuild it from its lake with `prunedb recover`", path = path.display())]
    NotADatabase {
        /// which folder
        path: PathBuf,
    },
    /// A folder with a database already.
    #[error("{path} holds a database already: nothing was changed", path = path.display())]
    AlreadyADatabase {
        /// which folder
        path: PathBuf,
    },
    /// Container files without the manifest that they belong to.
    #[error(
        "{path} holds {count} containers of an earlier database: nothing was changed; move them away first (what is not in its lake is nowhere else)", path = path.display()
    )]
    LocalContainers {
        /// which folder
        path: PathBuf,
        /// how many
        count: usize,
    },
    /// Another process has the folder.
    #[error("{path} is in use by another process: stop it, or let the command talk to it (`prunedb up` listens on a socket in the folder)", path = path.display())]
    InUse {
        /// which folder
        path: PathBuf,
    },
    /// The secret belongs to another lake.
    #[error(
        "wrong lake secret: it opens lake {found}, this database is of lake {expected}; put the right secret back"
    )]
    WrongSecret {
        /// the database's lake
        expected: LakeId,
        /// the secret's lake
        found: LakeId,
    },
    /// A file of ours that is damaged or of a newer version.
    #[error("{path}: {source}", path = path.display())]
    Format {
        /// which file
        path: PathBuf,
        /// what is wrong
        source: FormatError,
    },
    /// A container's bytes are damaged below what was durable: corruption, never a torn tail.
    #[error("{container}: damaged at byte {offset}: {reason}")]
    Damaged {
        /// which container
        container: ContainerId,
        /// where in it
        offset: u64,
        /// what is wrong
        reason: String,
    },
    /// An earlier write or fsync failed: the writer is dead, what was acknowledged is safe.
    #[error(
        "writing stopped after a failure ({reason}); what was acknowledged is safe: repair the cause and open the database again"
    )]
    Poisoned {
        /// the first failure
        reason: String,
    },
    /// No such table.
    #[error("no table `{name}`: `prunedb status` lists them")]
    UnknownTable {
        /// its name
        name: String,
    },
    /// A table name that cannot be.
    #[error("`{name}` cannot name a table: 1 to 128 bytes of letters, digits and - _ . /")]
    TableName {
        /// the name
        name: String,
    },
    /// A table of the other kind.
    #[error("table `{name}` is {found}, not {wanted}")]
    TableKind {
        /// its name
        name: String,
        /// its kind
        found: &'static str,
        /// the kind wanted
        wanted: &'static str,
    },
    /// A key over its limit, or of the wrong length for a sequence.
    #[error("a key of {bytes} bytes: {limit}")]
    Key {
        /// its length
        bytes: usize,
        /// what is allowed
        limit: &'static str,
    },
    /// A value over its limit.
    #[error("a value of {bytes} bytes: at most {bytes_max} are taken")]
    ValueTooLong {
        /// its length
        bytes: usize,
        /// the limit
        bytes_max: usize,
    },
    /// A put that no container can hold.
    #[error("a put of {bytes} bytes: one put lies in one container, at most {bytes_max} bytes")]
    PutTooLarge {
        /// its length
        bytes: usize,
        /// the limit
        bytes_max: usize,
    },
    /// Not enough nodes for the policy.
    #[error(
        "policy {policy} needs {needed} nodes, one for each shard; {given} are given: add nodes, or choose a smaller policy"
    )]
    TooFewNodes {
        /// the policy
        policy: prunedb_core::Policy,
        /// p+q
        needed: usize,
        /// nodes given
        given: usize,
    },
    /// One node under two slots would lose two shards at once.
    #[error("node {address} is given twice: name each node once")]
    RepeatedNode {
        /// its address
        address: String,
    },
    /// A node that the lake does not have.
    #[error("{address} is none of the lake's nodes: `prunedb status` lists them")]
    UnknownNode {
        /// its address
        address: String,
    },
    /// A node cannot leave: nobody could take its slots.
    #[error(
        "{address} cannot leave: for some of its {slots} slots there is no other node, each group needs one that holds none of it; add a node first"
    )]
    NoSpareNode {
        /// its address
        address: String,
        /// slots that it holds
        slots: usize,
    },
    /// A shard of a node that leaves reached no other.
    #[error(
        "{container}: its shard could not be handed over; {failures}; the node keeps its slots, repeat the command when the others answer"
    )]
    NotHandedOver {
        /// which container
        container: ContainerId,
        /// why
        failures: Failures,
    },
    /// Too few nodes took a container, so it stays local.
    #[error("{container} stays local: {stored} of {needed} needed shards were stored; {failures}")]
    Offload {
        /// which container
        container: ContainerId,
        /// shards stored
        stored: usize,
        /// shards needed
        needed: usize,
        /// what each node said
        failures: Failures,
    },
    /// Too few nodes answered to a change that needs a quorum.
    #[error("{what}: {answered} of {needed} needed nodes answered; {failures}")]
    Quorum {
        /// the change
        what: &'static str,
        /// nodes that did it
        answered: usize,
        /// nodes needed
        needed: usize,
        /// what the others said
        failures: Failures,
    },
    /// A reader was asked to write.
    #[error("this is a reader: it only reads the lake; put where the writer is")]
    ReadOnly,
    /// A writer's folder opened as a reader's, or the other way round.
    #[error("{path} is the folder of a {found}, not of a {wanted}: choose another folder", path = path.display())]
    Role {
        /// which folder
        path: PathBuf,
        /// whose it is
        found: &'static str,
        /// whose it should be
        wanted: &'static str,
    },
    /// The newest head of so many nodes that there is no newer one is older than what a reader has.
    #[error(
        "the nodes have gone back: their newest head is {} of term {}, {} of term {} was read before; nothing was changed",
        found.1, found.0, ours.1, ours.0
    )]
    RolledBack {
        /// term and number of theirs
        found: (Term, u64),
        /// and of ours
        ours: (Term, u64),
    },
    /// A newer head that does not go on from what a reader has.
    #[error(
        "the lake's manifest is another one from edit {edit} on: its writer was recovered from an older head; nothing was \
         changed here: to follow it, remove the reader's data and metadata folders"
    )]
    Diverged {
        /// the first edit that differs, or the one behind which ours are missing
        edit: u64,
    },
    /// What is here is older than what a registry has.
    #[error(
        "the manifest here is at head {ours}, the registry has head {committed}: the nodes that were asked keep newer heads back, \
         or another writer has the lake"
    )]
    BehindRegistry {
        /// ours
        ours: u64,
        /// the registry's
        committed: u64,
    },
    /// Another head of the same number than a registry has.
    #[error(
        "head {number} here is not the one in the registry: two writers published under one number"
    )]
    OtherHead {
        /// which
        number: u64,
    },
    /// A newer writer has the lake.
    #[error(
        "another writer has taken the lake over (term {seen}, ours is {term}): if it is gone for good, `prunedb recover` takes the lake back"
    )]
    Fenced {
        /// our term
        term: Term,
        /// the highest term seen
        seen: Term,
    },
    /// More than q shards of a container are gone.
    #[error(
        "{container} cannot be read: {found} of {needed} needed shards are there; missing or damaged: {failures}"
    )]
    Lost {
        /// which container
        container: ContainerId,
        /// good shards
        found: usize,
        /// p
        needed: usize,
        /// each shard that is not, and why
        failures: Failures,
    },
    /// A container whose local copy must stay.
    #[error("{container} stays here: {reason}")]
    NotSafe {
        /// which container
        container: ContainerId,
        /// why, and what helps
        reason: String,
    },
    /// The lake's registry decides this, or decided otherwise.
    #[error("{reason}")]
    Governed {
        /// what it is about, and what helps
        reason: String,
    },
    /// A store's answer that stops an operation.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shard or frame that is not what the manifest says.
    #[error("{container}: {reason}")]
    Codec {
        /// which container
        container: ContainerId,
        /// what the codec said
        reason: String,
    },
    /// The index failed.
    #[error("index: {0}")]
    Index(#[from] prunedb_index::Error),
    /// The local manifest is damaged.
    #[error("the local manifest {path} is damaged ({reason}): keep the folder, what was not offloaded is only there; `prunedb recover` with another folder gives back what is in the lake", path = path.display())]
    Manifest {
        /// its file
        path: PathBuf,
        /// what is wrong with it
        reason: String,
    },
    /// No node has a head of this lake.
    #[error(
        "no head of lake {lake} on {answered} of {asked} nodes that answered: the secret is of another lake, or nothing was offloaded yet; {failures}"
    )]
    NoHead {
        /// the secret's lake
        lake: LakeId,
        /// nodes that answered
        answered: usize,
        /// nodes asked
        asked: usize,
        /// what the others said
        failures: Failures,
    },
    /// Offloading is behind and failing, so nothing more is taken.
    #[error(
        "{waiting} sealed containers wait for the lake and offloading fails ({reason}): what was put is safe locally; bring the nodes back and repeat the command"
    )]
    OffloadBehind {
        /// containers that wait
        waiting: usize,
        /// why the last offload failed
        reason: String,
    },
    /// Two records with one key and different values where one is demanded.
    #[error(
        "table `{table}`: the key is stored already with another value (write once): it hashes to {stored}, the new one to {given}"
    )]
    Contradiction {
        /// which table
        table: String,
        /// BLAKE3 of the value that is stored
        stored: Digest,
        /// BLAKE3 of the value that was to be put
        given: Digest,
    },
}

impl Error {
    /// A key of a table that is stored with another value.
    pub fn contradiction(table: &Table, stored: &[u8], given: &[u8]) -> Self {
        let [stored, given] = [stored, given].map(|value| Digest(*blake3::hash(value).as_bytes()));
        Self::Contradiction { table: table.name().into(), stored, given }
    }
}

/// One shard or node that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// which shard, where it is about one
    pub shard: Option<ShardIndex>,
    /// which node
    pub node: String,
    /// why
    pub reason: String,
}

/// A list of failures, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures(pub Vec<Failure>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no node failed");
        }
        for (i, failure) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            if let Some(shard) = failure.shard {
                write!(f, "shard {shard} on ")?;
            }
            if failure.reason.starts_with(&failure.node) {
                f.write_str(&failure.reason)?; // a store names itself
            } else {
                write!(f, "{}: {}", failure.node, failure.reason)?;
            }
        }
        Ok(())
    }
}

/// Names the file of an I/O error.
pub(crate) trait At<T> {
    fn at(self, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| {
            if source.kind() == io::ErrorKind::StorageFull {
                Error::DiskFull { path: path.into(), needed_bytes: 1, free_bytes: 0 }
            } else {
                Error::Io { path: path.into(), source }
            }
        })
    }
}

impl<T> At<T> for Result<T, FormatError> {
    fn at(self, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Format { path: path.into(), source })
    }
}

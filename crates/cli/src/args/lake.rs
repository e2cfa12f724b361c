//! Flags of the commands for the whole lake: how it begins, is looked at, kept whole, and found again.

use clap::Args;
use prunedb_core::Policy;
use prunedb_validator::DoorAddress;
use std::path::PathBuf;

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  prunedb init --local 24\n  \
    prunedb init --policy 2+1 --nodes 10.0.0.1:9900,10.0.0.2:9900,10.0.0.3:9900\n\n\
    Without --nodes and --local: 24 local nodes. The policy is 16+4 for local nodes, 20+80 for 100 nodes and more, \
    otherwise it must be given. A node is HOST:PORT, or a plain store: zdb://HOST:PORT/NAMESPACE, file:///FOLDER, s3://BUCKET/PREFIX \
    (docs/stores.md says what they cannot do). Keep a copy of lake.secret elsewhere: without it nothing can be read back.")]
pub(crate) struct Init {
    /// p+q: any p of p+q shards give a container back, each on its own node
    #[arg(long, value_name = "P+Q")]
    pub(crate) policy: Option<Policy>,
    /// The storage nodes of the lake
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', conflicts_with = "local")]
    pub(crate) nodes: Vec<String>,
    /// Storage nodes in the database's own folder and process
    #[arg(long, value_name = "COUNT")]
    pub(crate) local: Option<u16>,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct Status {
    /// List every container, too
    #[arg(long)]
    pub(crate) containers: bool,
    /// Ask these validators of the lake's registry, tls://HOST:PORT/KEY each, whether the manifest here is as new as the head that
    /// they have; exits with 1 where it is older
    #[arg(long, value_name = "DOOR,...", value_delimiter = ',')]
    pub(crate) registry: Vec<DoorAddress>,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  prunedb explain 4011\n  prunedb explain 0x5c50...2060\n  \
    prunedb explain --table ethereum/mainnet/receipts 4011\n\n\
    Without --table the key is looked for in every table; a hash leads on to its block.\n\
    Exits with 1 if the key is nowhere.")]
pub(crate) struct Explain {
    /// A height, a block or transaction hash, or any table's key: text, a number, or hex with 0x
    pub(crate) key: String,
    /// Look in this table only
    #[arg(long)]
    pub(crate) table: Option<String>,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Exits with 1 if a container stays, and says why.")]
pub(crate) struct Evict {
    /// The files of the index as well: lookups then read pages of it from the nodes
    #[arg(long)]
    pub(crate) index: bool,
}

#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb verify\n  prunedb verify casper --range 100..199\n  prunedb verify ethereum --range 8192.. --level roots\n\n\
    Exits with 1 if a shard is missing or damaged (`prunedb repair` rebuilds it) or its node does not answer, with 2 \
    if more than q shards of a container are out of reach. Of a chain: with 1 if a block is damaged or a height is missing; what is verified at each level is in docs/chains."
)]
pub(crate) struct Verify {
    /// Read back what is stored of this chain, block by block, instead of checking shards
    #[arg(value_name = "CHAIN", conflicts_with_all = ["deep", "samples"])]
    pub(crate) chain: Option<crate::commands::verify_chain::Chain>,
    /// Heights to verify, both included: A..B, A.. or ..B [default: all]
    #[arg(long, value_name = "A..B", requires = "chain", value_parser = crate::commands::verify_chain::parse_range)]
    pub(crate) range: Option<std::ops::RangeInclusive<u64>>,
    /// What is checked of each block: hashes, roots, signatures; each with those before
    #[arg(long, value_name = "LEVEL", requires = "chain", default_value_t = prunedb_chains::contract::Level::Signatures)]
    pub(crate) level: prunedb_chains::contract::Level,
    /// Network of the chain [default: the one that is stored]
    #[arg(long, value_name = "NAME", requires = "chain")]
    pub(crate) network: Option<String>,
    /// Read every byte of every shard and hash it, instead of asking each node what it has
    #[arg(long)]
    pub(crate) deep: bool,
    /// Have each node show so many samples (1 to 64) of every shard, drawn now, with proof that they are the shard's:
    /// its disk reads all of the shard, about 1.5 KB a sample are sent
    #[arg(long, value_name = "N", conflicts_with = "deep",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) samples: Option<u16>,
}

#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Reads, offloads and `prunedb verify` find what is missing or damaged; repair rebuilds it from any p other shards, the \
    containers nearest to their loss first. It can be interrupted: what is done stays done. `prunedb up` repairs by itself, \
    and moves the slots of nodes that were out of reach for node_lost_after_s."
)]
pub(crate) struct Repair {
    /// First give the slots of unreachable nodes to spare ones
    #[arg(long)]
    pub(crate) move_away: bool,
}

#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Example:\n  prunedb sweep --dry-run\n\nEvery node is looked through. A shard that nothing names is noted, with the time; a sweep that still finds \
        it so a day later deletes it: by then nobody needs it who wrote or read when it was noted. Nothing is deleted while a newer \
        head may be on nodes that do not answer. In a lake with a registry shards of batches stay, whoever has them: holders answer for \
        them. `prunedb up` sweeps once a day by itself; `prunedb status` shows what is noted."
)]
pub(crate) struct Sweep {
    /// Show what would be deleted now; notes and deletes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what was noted at least so long ago
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) older_than: u16,
}

#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Example:\n  prunedb policy 20+80\n\nEach container is read from its shards, coded anew, read back from random ones of the \
        new shards and compared; only then the manifest names them. The old shards are deleted some publications later, when \
        readers have followed. It can be interrupted: what is done stays done, the same command goes on. Meanwhile the lake holds \
        the shards of both policies."
)]
pub(crate) struct ChangePolicy {
    /// p+q: any p shards of p+q give a container back, each on its own node
    #[arg(value_name = "P+Q")]
    pub(crate) policy: Policy,
}

#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Needs the lake secret and any p nodes of each group. Put lake.secret and prunedb.toml into the folder, or give \
    them by flags. The old writer, if it is alive, can no longer write.\n\nExamples:\n  \
    prunedb recover --dir ./restored --secret /safe/lake.secret --nodes 10.0.0.1:9900,10.0.0.2:9900,...\n  \
    rm -r prunedb-data/data prunedb-data/metadata && prunedb recover"
)]
pub(crate) struct Recover {
    #[command(flatten)]
    pub(crate) lake: LakeAccess,
}

/// How a lake is found from an empty folder.
#[derive(Args, Debug, Clone)]
pub(crate) struct LakeAccess {
    /// File with the lake secret, copied into the folder [default: lake.secret in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: Option<PathBuf>,
    /// Nodes of the lake, where the folder has no prunedb.toml; the others are learned from them
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
}

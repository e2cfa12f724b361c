//! Flags of the commands for storage nodes, and of who may do what there.

use clap::{Args, Subcommand};
use prunedb_access::{Operations, Owner, PublicKey};
use prunedb_core::{ContainerId, Digest, LakeId, ShardIndex, units::ByteSize};
use prunedb_node::{AdminPassword, Mode};
use prunedb_proof::AUDIT_SAMPLES_MAX;
use prunedb_validator::DoorAddress;
use std::{net::SocketAddr, path::PathBuf};

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Node {
    /// Serve shards from a folder until Ctrl-C
    #[command(
        after_help = "Examples:\n  prunedb node run --listen 0.0.0.0:9900 --dir /disk1/node --capacity 4TB\n  \
        prunedb node run --listen 0.0.0.0:9900 --dir /disk1/node --capacity 4TB --tls --owner LAKE:KEY\n  \
        PRUNEDB_ZDB_ADMIN=... prunedb node run --listen 0.0.0.0:9900 --zdb-socket /run/zdb.sock \
        --dir /disk1/node --capacity 4TB\n\n\
        Clients of 0-db work with it as they are; values up to 8 MiB, keys up to 255 bytes."
    )]
    Run(NodeRun),
    /// Ask a storage node how full it is, and how far it is with checking what it holds
    #[command(
        after_help = "Examples:\n  prunedb node status 10.0.0.25:9900\n  prunedb node status tls://10.0.0.25:9900/KEY --json\n\n\
        A closed node answers the lake's owner (--dir is the database) and holders of a capability. A node checks each leaf once \
        within 30 days."
    )]
    Status(NodeAsk),
    /// Have one storage node show that it holds what it says: random samples of shards, each with its proof
    #[command(after_help = "Examples:\n  prunedb node audit 10.0.0.25:9900\n  \
        prunedb node audit tls://10.0.0.25:9900/KEY --key auditor.key --capability CAPABILITY\n  \
        prunedb node audit 10.0.0.25:9900 --lake LAKE --shard d12/3 --name HASH\n\n\
        Who audits needs no secret: a closed node answers the lake's owner (--dir is the database) and holders of a capability to read. \
        A sample is 1 KiB of a shard with its path to the shard's name, the BLAKE3 hash of all of it; which ones are asked for \
        nobody knew before. Without --name a node is held to the names that it tells itself: `prunedb verify --samples` holds all \
        nodes to those of the manifest. Exits with 1 where something was not shown, or nothing is there.")]
    Audit(NodeAudit),
    /// Take a storage node into the lake: a spare one, and a holder of a new placement group
    #[command(after_help = "Examples:\n  prunedb node add 10.0.0.25:9900\n  \
        prunedb node add tls://10.0.0.25:9900/KEY\n  \
        prunedb node add 10.0.0.25:9900 --operator alice --network as3303 --place zurich\n\n\
        No more than q shards of a container lie in one failure domain, as far as there are enough of them: then the loss of a \
        whole operator, network or place loses nothing. Nodes of which nothing is said are domains of their own. The domains of the \
        first nodes stand in prunedb.toml (node_domains).")]
    Add(NodeAdd),
    /// Copy everything that a node holds to others, give them its slots, and take it off the lake
    #[command(
        after_help = "Example:\n  prunedb node leave 10.0.0.7:9900\n\nThe node keeps its slots until every shard is \
        on its new node; what was copied before an interruption is not copied again. What the node cannot give is rebuilt \
        from others. When the command has ended the node may be switched off."
    )]
    Leave(NodeAddress),
}

#[derive(Args, Debug, Clone)]
pub(crate) struct NodeAsk {
    /// The node's address
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The holder's key file, where a capability is shown
    #[arg(long, value_name = "FILE", requires = "capability")]
    pub(crate) key: Option<PathBuf>,
    /// The capability: hex digits, as `prunedb access grant` shows them
    #[arg(long, value_name = "CAPABILITY", requires = "key")]
    pub(crate) capability: Option<String>,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct NodeAudit {
    #[command(flatten)]
    pub(crate) ask: NodeAsk,
    /// Which lake's shards [default: the capability's, or that of the database in --dir]
    #[arg(long, value_name = "LAKE")]
    pub(crate) lake: Option<LakeId>,
    /// This shard only, such as d12/3
    #[arg(long, value_name = "CONTAINER/SHARD", value_parser = shard)]
    pub(crate) shard: Option<(ContainerId, ShardIndex)>,
    /// The shard's right name, as who keeps the lake knows it
    #[arg(long, value_name = "HASH", requires = "shard")]
    pub(crate) name: Option<Digest>,
    /// How many shards, drawn among all that the node lists
    #[arg(long, default_value_t = 100, conflicts_with = "shard", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) shards: u16,
    /// Samples of each
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(AUDIT_SAMPLES_MAX)))]
    pub(crate) samples: u16,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct NodeAddress {
    /// The node's address, as `prunedb status` shows it
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct NodeAdd {
    /// The node's address
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// Who runs it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) operator: String,
    /// The network it is in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) network: String,
    /// The place where it is
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) place: String,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct NodeRun {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Bytes that it may take up, such as 4TB
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: ByteSize,
    /// Speak TLS with this node's own key (DIR/node.key, made at the first start): its address is then tls://HOST:PORT/KEY,
    /// as it is shown at the start
    #[arg(long)]
    pub(crate) tls: bool,
    /// Close the node to everybody but the owner of this lake and those whom it has given a capability, as `prunedb access
    /// owner` shows it; may be repeated
    #[arg(long, value_name = "LAKE:KEY", requires = "tls")]
    pub(crate) owner: Vec<Owner>,
    /// An address for /metrics (Prometheus) and /healthz
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Do this node's duties for a registry: its validators, tls://HOST:PORT/KEY each. The node's key (DIR/node.key) must have
    /// joined
    #[arg(long, value_name = "DOOR,...", value_delimiter = ',')]
    pub(crate) registry: Vec<DoorAddress>,
    /// A unix socket to listen on, too
    #[arg(long, value_name = "PATH")]
    pub(crate) zdb_socket: Option<PathBuf>,
    /// 0-db: the administrator's password; without one, every client may do everything
    #[arg(long, value_name = "PASSWORD", env = "PRUNEDB_ZDB_ADMIN", hide_env_values = true)]
    pub(crate) zdb_admin: Option<AdminPassword>,
    /// 0-db: the mode of all namespaces [default: each has its own, `user` at first]
    #[arg(long, value_name = "user|seq", value_parser = zdb_mode)]
    pub(crate) zdb_mode: Option<Mode>,
    /// 0-db: a program to run for each event, as PROGRAM EVENT INSTANCE ARGUMENTS...
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) zdb_hook: Option<PathBuf>,
    /// 0-db: answer before values are on the disk; a loss of power then takes the last ones
    #[arg(long)]
    pub(crate) zdb_no_sync: bool,
    /// 0-db: most keys of all namespaces; each takes up to 40 bytes of memory
    #[arg(long, value_name = "COUNT", default_value = "50000000")]
    pub(crate) zdb_keys_max: u64,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Access {
    /// Show the lake's owner, for `prunedb node run --owner`
    Owner,
    /// Show the public key of a key file, which is made where there is none
    #[command(after_help = "Example:\n  prunedb access key auditor.key")]
    Key {
        /// The file; it is readable by its owner only
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Allow the holder of a key to do something at all nodes that know this lake's owner
    #[command(
        after_help = "Example:\n  prunedb access grant --holder KEY --allow read --days 30\n\n\
        Shows the capability: 352 hex digits, of no use to anybody who does not hold the key. Nothing takes it back before it \
        ends. It reads sealed bytes: what is in them takes the lake secret."
    )]
    Grant(Grant),
    /// Show what a capability says
    Show {
        /// Its hex digits
        #[arg(value_name = "CAPABILITY")]
        capability: String,
    },
}

#[derive(Args, Debug, Clone)]
pub(crate) struct Grant {
    /// The holder's public key, as `prunedb access key` shows it
    #[arg(long, value_name = "KEY")]
    pub(crate) holder: PublicKey,
    /// What it may do: read, write, delete, lead, with commas between them
    #[arg(long, value_name = "OPERATIONS")]
    pub(crate) allow: Operations,
    /// For how long, up to 366
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
    /// The highest term that it may write under [default: any]
    #[arg(long)]
    pub(crate) term: Option<u64>,
    /// One shard only, such as d12/3
    #[arg(long, value_name = "CONTAINER/SHARD", value_parser = shard)]
    pub(crate) shard: Option<(ContainerId, ShardIndex)>,
}

fn shard(text: &str) -> Result<(ContainerId, ShardIndex), String> {
    let (container, index) = text.split_once('/').ok_or("write CONTAINER/SHARD, such as d12/3")?;
    let container = container.parse::<ContainerId>().map_err(|e| e.to_string())?;
    let index = index.parse().map_err(|e| format!("the shard's number: {e}"))?;
    Ok((container, ShardIndex(index)))
}

fn zdb_mode(text: &str) -> Result<Mode, &'static str> {
    match text {
        "user" => Ok(Mode::User),
        "seq" => Ok(Mode::Sequence),
        _ => Err("user or seq"),
    }
}

//! The flags and commands, as clap reads them. Help texts live here, behaviour in [`crate::commands`].

mod chain;
mod door;
mod kv;
mod lake;
mod node;

pub(crate) use chain::*;
pub(crate) use door::*;
pub(crate) use kv::*;
pub(crate) use lake::*;
pub(crate) use node::*;

use clap::{Args as ClapArgs, Parser, Subcommand};
use prunedb_core::units::ByteSize;
use std::path::PathBuf;

/// Takes a blockchain's history off its nodes: an append-only store over an erasure-coded, encrypted lake.
#[derive(Parser, Debug, Clone)]
#[command(
    name = "prunedb",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 \"no\" (absent, damaged, differs), 2 error.\n\
        Data goes to stdout, everything else to stderr. RUST_LOG sets what is logged.\n\n\
        Begin with `prunedb demo`; then `prunedb init --local 24`, `prunedb import ethereum FILE.era1`, \
        `prunedb status`."
)]
pub(crate) struct Args {
    /// Folder of the database [default: ./prunedb-data, or PRUNEDB_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Set a configuration key for this command; goes before the environment and prunedb.toml
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Command {
    /// Run the whole story on this machine: store, lose nodes, read everything back, heal
    Demo(Demo),
    /// Create a database: its folder, lake secret and configuration
    Init(Init),
    /// Run the database and its local nodes until Ctrl-C; other commands then talk to it
    Up(Up),
    /// As `up`, for redis clients, or for clients of a chain's node
    Serve(Serve),
    /// Run a storage node
    #[command(subcommand)]
    Node(Node),
    /// Say who may do what at closed nodes
    #[command(subcommand)]
    Access(Access),
    /// Take a chain's history in, verified; ends when all of it is in the lake
    #[command(subcommand)]
    Import(Import),
    /// Take a live node's new blocks in as they come, verified
    #[command(subcommand)]
    Follow(Follow),
    /// Give a chain's history back, verified, bit-identical
    #[command(subcommand)]
    Export(Export),
    /// Give a chain's history back to its own node, as it was
    #[command(subcommand)]
    Restore(crate::commands::casper::restore::Restore),
    /// Check a chain node's own files, without a database
    #[command(subcommand)]
    Check(crate::commands::casper::check::Check),
    /// Read a chain's history
    #[command(subcommand)]
    Get(Get),
    /// Put, get and scan records of any table
    #[command(subcommand)]
    Kv(Kv),
    /// Show what is stored, where, and how the nodes are
    Status(Status),
    /// Show where a key is: container, frame, shards, nodes, and each one's health
    Explain(Explain),
    /// Drop every local copy of what is safe in the lake (offloads and reads it back first)
    Evict(Evict),
    /// Show which heights of each chain are stored, missing, at risk, or may be deleted elsewhere
    Coverage(crate::commands::coverage::Coverage),
    /// Check every shard on every node; or what is stored of a chain, by the chain's own hashes and signatures
    Verify(Verify),
    /// Rebuild the shards that are known to be missing or damaged
    Repair(Repair),
    /// Delete shards on the nodes that nothing names: of uploads that never counted, of slots that moved
    Sweep(Sweep),
    /// Give new containers another policy, and code those that are stored anew
    Policy(ChangePolicy),
    /// Take the history that is safe here off a chain's node, or show what may go and the proof
    Prune(Prune),
    /// Rebuild the database from its lake, on an empty folder
    Recover(Recover),
    /// Show the effective configuration and where each value comes from
    Config,
    /// Work out what a lake of this shape survives, what its repair costs, and whether it can be kept
    Plan(crate::commands::plan::Plan),
    /// Show which containers the loss of nodes would put at risk or lose, as things are now
    WhatIf(crate::commands::what_if::WhatIf),
    /// Show on this machine that what is claimed of a lake holds: real nodes, sockets and disks
    #[command(
        subcommand,
        after_help = "Each builds a lake of its own in a new folder within --dir (or that of temporary files) and removes it at the \
        end. Exits with 1 where a claim does not hold. docs/proof-points.md says what each shows."
    )]
    Prove(crate::commands::prove::Prove),
    /// Found, ask and govern the lake's registry: which batches are archived, who holds them, whether they still do
    #[command(subcommand)]
    Registry(crate::commands::registry::Registry),
    /// Show the batches that the registry has
    #[command(subcommand)]
    Batch(crate::commands::registry::Batch),
    /// Show who was elected to hold a batch
    #[command(subcommand)]
    Election(crate::commands::registry::Election),
    /// Show which nodes proved in an epoch that they have what they hold
    Proofs(crate::commands::registry::Proofs),
    /// Show and move money of the registry
    #[command(subcommand)]
    Account(crate::commands::registry::Account),
    /// Run or ask a heavy node of the marketplace: it finds holders for owners, checks them, relays
    #[command(subcommand)]
    Heavy(crate::commands::market::Heavy),
    /// Offer a disk in the marketplace, or rent cells on others' disks
    #[command(subcommand)]
    Light(crate::commands::market::Light),
    /// Measure this machine
    #[command(subcommand)]
    Bench(crate::commands::bench::Bench),
}

/// 24 storage nodes on loopback at 16+4: fill two containers, offload, evict all local bytes, stop three nodes, damage
/// a fourth one's disk, read everything back, heal, check every shard.
#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb demo\n  prunedb demo --from mainnet-00000-5ec1ffb8.era1 --json\n  prunedb demo --marketplace --cell 1MiB\n  \
    prunedb demo --dir ./demo && prunedb status --dir ./demo\n\n\
    With --dir (an empty or new folder) the database stays there, otherwise it is removed at the end.\n\
    Exits with 1 if a single byte differs."
)]
pub(crate) struct Demo {
    /// Ethereum history to use (.era1 or RLP; file or folder) instead of the built-in Bitcoin block and made-up records
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
    /// The marketplace instead: 3 heavy and 12 light nodes rent, prove, pay; one loses its cell and is caught. Exits with 1 if
    /// something does not hold
    #[arg(long, conflicts_with = "from")]
    pub(crate) marketplace: bool,
    /// Size of the marketplace's cells
    #[arg(long, value_name = "SIZE", default_value = "256MiB", requires = "marketplace")]
    pub(crate) cell: ByteSize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Args::command().debug_assert();
    }
}

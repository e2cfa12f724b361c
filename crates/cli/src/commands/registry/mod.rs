//! `prunedb registry`, `batch`, `election`, `proofs`, `account`: the lake's registry.

mod account;
mod ask;
mod batches;
mod found;
mod govern;
mod proofs;
mod run;
mod validators;

use crate::io::{Exit, Io};
use clap::Subcommand;
use std::path::Path;
use tokio::runtime::Runtime;

pub(crate) use account::{Account, run as account};
pub(crate) use batches::{Batch, Election, batch, election};
pub(crate) use govern::leave;
pub(crate) use proofs::{Proofs, run as proofs};

/// The registry itself.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Registry {
    /// Found a registry for this database's lake: `prunedb up` then runs it
    #[command(
        after_help = "Example:\n  prunedb init --local 24 && prunedb registry init && prunedb up\n\n\
        The lake must be empty: batches are counted from its first container. `prunedb up` runs the validator in its process, has \
        local nodes join, and opens the placement groups. DIR/registry/authority.key governs the registry: keep a copy."
    )]
    Init(found::Init),
    /// Show the key of the validator of this folder, which is made where there is none
    #[command(after_help = "Example:\n  prunedb registry key --dir /srv/validator")]
    Key,
    /// Run a validator as a process of its own until Ctrl-C
    #[command(
        after_help = "Examples:\n  prunedb registry run --dir /srv/validator --secret /safe/lake.secret --nodes 10.0.0.1:9900,10.0.0.2:9900\n  \
        prunedb registry run --dir /srv/validator --archive /srv/archive --node 0.0.0.0:9900 --capacity 4TB\n\n\
        DIR/registry has copies of the founder's registry/genesis and registry/settings.json. The validator votes, answers, and gives \
        its part to every epoch's seed. It signs the closing of a batch only where it has read the batch back from random holders, and \
        coded it to the same root; that takes the lake secret. With --archive it signs only what it cuts from its own records instead, and \
        --node makes the shards of that node from them. Killed and started again it catches up with the others. Several \
        validators need a build with `--features simplex`."
    )]
    Run(run::Run),
    /// Show how far the registry is, at each validator
    Status(ask::At),
    /// Have a storage node join: signed by the authority of this folder and by the node's own key
    #[command(
        after_help = "Example:\n  prunedb registry join 10.0.0.1:9900 --node-key /disk1/node/node.key --capacity 4TB\n\n\
        The node itself runs as `prunedb node run --registry tls://HOST:PORT/KEY ...`."
    )]
    Join(govern::Join),
    /// Open placement groups, elected at once
    Groups(govern::Groups),
    /// Show the rules that hold, or set one
    #[command(
        after_help = "Examples:\n  prunedb registry params\n  prunedb registry params --change misses_max=3"
    )]
    Params(govern::ShowParams),
    /// Show who votes, or have others vote: signed by the authority of this folder
    #[command(
        after_help = "Example: a fifth validator instead of the fourth\n  prunedb registry key --dir /srv/validator                     # on its machine\n  \
        prunedb registry peer KEY5,10.0.0.5:7701,10.0.0.5:7700        # in each one's folder, its own too\n  \
        prunedb registry validators --add KEY5 --remove KEY4          # the authority's\n\n\
        They are the registry's validators from its next epoch on, and vote from the next sitting of 64 blocks on. A validator heeds its \
        settings when it starts: start them again one at a time, the new one first, before it is named. More than two thirds must run all \
        the time."
    )]
    Validators(validators::Validators),
    /// Write down where a validator is, or forget one, in this folder's settings
    #[command(
        after_help = "Example:\n  prunedb registry peer KEY,10.0.0.5:7701,10.0.0.5:7700 --dir /srv/validator\n\n\
        The validator of the folder heeds it when it starts again."
    )]
    Peer(validators::ChangePeer),
    /// Show what became of a transaction, or hand one in
    Tx(govern::Tx),
}

pub(crate) fn run(
    asked: &Registry,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    match asked {
        Registry::Init(args) => found::run(args, dir, flags, runtime, io),
        Registry::Key => run::key(dir, io),
        Registry::Run(args) => run::run(args, dir, flags, runtime, io),
        Registry::Status(at) => ask::status(at, dir, runtime, io),
        Registry::Join(args) => govern::join(args, dir, runtime, io),
        Registry::Groups(args) => govern::groups(args, dir, runtime, io),
        Registry::Params(args) => govern::params(args, dir, runtime, io),
        Registry::Validators(args) => validators::validators(args, dir, runtime, io),
        Registry::Peer(args) => validators::peer(args, dir, io),
        Registry::Tx(args) => govern::tx(args, dir, runtime, io),
    }
}

//! The flags and commands, as clap reads them. Help texts live here, behaviour in [`crate::commands`].

use clap::{Args as ClapArgs, Parser, Subcommand};
use prunedb_access::{Operations, Owner, PublicKey};
use prunedb_chains::{
    bitcoin,
    ethereum::{BlockId, Hash32, Network},
};
use prunedb_core::{ContainerId, Policy, ShardIndex, units::ByteSize};
use prunedb_node::{AdminPassword, Mode};
use std::{net::SocketAddr, path::PathBuf};

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
    /// Measure this machine
    #[command(subcommand)]
    Bench(crate::commands::bench::Bench),
}

/// 24 storage nodes on loopback at 16+4: fill two containers, offload, evict all local bytes, stop three nodes, damage
/// a fourth one's disk, read everything back, heal, check every shard.
#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb demo\n  prunedb demo --from mainnet-00000-5ec1ffb8.era1 --json\n  \
    prunedb demo --dir ./demo && prunedb status --dir ./demo\n\n\
    With --dir (an empty or new folder) the database stays there, otherwise it is removed at the end.\n\
    Exits with 1 if a single byte differs."
)]
pub(crate) struct Demo {
    /// Ethereum history to use (.era1 or RLP; file or folder) instead of the built-in Bitcoin block and made-up records
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Up {
    /// Serve redis clients (RESP) on this address, too; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) resp: Option<SocketAddr>,
    /// Where the validator of this folder's registry answers (`prunedb registry init` founds one); port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) registry_listen: SocketAddr,
}

#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb serve\n  prunedb serve --resp 0.0.0.0:6379\n  redis-cli SET key value\n  \
    prunedb serve --reader --dir ./reader --secret /safe/lake.secret --nodes 10.0.0.1:9900,10.0.0.2:9900\n\n\
    Commands: SET GET MGET MSET SETNX EXISTS SCAN SELECT INFO DBSIZE TYPE STRLEN PING ... A SET is answered when it is \
    durable. Nothing is ever changed or deleted. A connection begins with the table `default`; SELECT takes a name, or a \
    table's number. There is no password: whoever reaches the address reads and writes.\n\n\
    A reader sees what the writer has offloaded, a second or so later. Its folder is a cache: it can be removed at any time."
)]
pub(crate) struct Serve {
    #[command(subcommand)]
    pub(crate) door: Option<Door>,
    /// Follow a lake that another one writes, read-only, in a folder of its own; any number of readers may
    #[arg(long)]
    pub(crate) reader: bool,
    #[command(flatten)]
    pub(crate) lake: LakeAccess,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6379")]
    pub(crate) resp: SocketAddr,
}

/// What is served instead of redis clients.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Door {
    /// Give archived blocks to Bitcoin nodes by their peer protocol
    #[command(after_help = "Examples:\n  prunedb serve bitcoin-p2p\n  \
        bitcoin-cli addnode 127.0.0.1:8733 onetry && bitcoin-cli getblockfrompeer HASH PEER\n  \
        bitcoind -connect=127.0.0.1:8733\n\n\
        A pruned node gets blocks back by getblockfrompeer; a new one syncs up to the highest block that has a height here. \
        Served are headers and blocks, nothing else; at most 64 nodes at once.")]
    BitcoinP2p(BitcoinP2p),
    /// A Bitcoin node's JSON-RPC, with the blocks that it has pruned from the archive
    #[command(
        after_help = "Examples:\n  prunedb serve bitcoin-rpc --upstream http://127.0.0.1:8332 --listen 127.0.0.1:8734\n  \
        bitcoin-cli -rpcport=8734 getblock HASH 2\n\n\
        Every call goes to the node first, with the client's own name and password: so the node says who may ask. Where it says that a block is \
        pruned, or knows a transaction by its block only, getblock and getrawtransaction are answered from the archive, at every verbosity, with \
        the fields that this version of the node gives. What is not archived either is the node's error with what there is instead, never null.\n\n\
        With a name and password in --upstream whoever reaches the address may do what that user may."
    )]
    BitcoinRpc(crate::commands::bitcoin::rpc::ServeBitcoinRpc),
    /// Ethereum's .era1 files by HTTP, as nodes download them
    #[command(
        after_help = "Examples:\n  prunedb serve era --listen 0.0.0.0:8556\n  curl http://127.0.0.1:8556/\n  \
        reth import-era --url http://127.0.0.1:8556/\n  geth download-era --server http://127.0.0.1:8556/ --epoch 0\n\n\
        / lists the files, /checksums.txt has the SHA-256 of each epoch's in its line, /SHA256SUMS is for `sha256sum --check`. Ranges are \
        answered, so that a download goes on where it stopped. A file is made when it is asked for, verified as an export is, and \
        kept for a while."
    )]
    Era(crate::commands::ethereum::era::ServeEra),
    /// An Ethereum node's JSON-RPC, with its old history from the archive: what is not archived, the node answers
    #[command(
        after_help = "Examples:\n  prunedb serve ethereum-rpc --upstream http://127.0.0.1:8545 --listen 127.0.0.1:8555\n  \
        curl 127.0.0.1:8555 -H 'content-type: application/json' -d \\\n    \
        '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBlockByNumber\",\"params\":[\"0x1\",true]}'\n\n\
        Answered from the archive: blocks, headers, ommers, receipts, transactions, raw ones too, and logs of ranges, single and in batches. \
        The rest goes to the node in one request, as it came. An archived block that cannot be read, or one that is missing between \
        others, is the error 4444 with the reason, never null. There is no password: whoever reaches the address can ask, and what is \
        passed on reaches the node, with the credentials of --upstream if it has any."
    )]
    EthereumRpc(crate::commands::ethereum::rpc::ServeEthereumRpc),
    /// A Casper node's binary port, with its old history from the archive: what is not archived, the node answers
    #[command(
        after_help = "Example:\n  prunedb serve casper --upstream 127.0.0.1:7779 --listen 127.0.0.1:7780\n\n\
        A sidecar that is pointed at it serves blocks that the node has pruned. Answered from the archive: headers, blocks with signatures, transactions \
        with what executing them did, and their rows. Bodies by their own hash and transfers are the node's to answer. There is no \
        password: whoever reaches the address can ask, and what is passed on reaches the node."
    )]
    Casper(crate::commands::casper::serve::ServeCasper),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct BitcoinP2p {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8733")]
    pub(crate) listen: SocketAddr,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<bitcoin::Network>,
}

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

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct NodeAddress {
    /// The node's address, as `prunedb status` shows it
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
}

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
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
    /// Do this node's duties for a registry: its validators. The node's key (DIR/node.key) must have joined
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub(crate) registry: Vec<String>,
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

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Import {
    /// .era1 files and plain RLP blocks; a file that was imported before is skipped, an interrupted import goes on
    #[command(after_help = "Examples:\n  prunedb import ethereum mainnet-00000-5ec1ffb8.era1\n  \
        prunedb import ethereum /era1 --checksums /era1/checksums.txt\n  \
        prunedb import ethereum blocks.rlp --network sepolia\n\n\
        Folders are searched for *.era1, *.rlp and *.blocks. Each file is verified as a whole before \
        anything is stored: hash chain, transaction, ommers and receipts roots, accumulator, block \
        index. The first bad file stops the import.")]
    Ethereum(ImportEthereum),
    /// Block and undo files of a Bitcoin node; files that were imported before are skipped, an interrupted import goes on
    #[command(after_help = "Examples:\n  prunedb import bitcoin ~/.bitcoin/blocks\n  \
        prunedb import bitcoin ~/.bitcoin/regtest/blocks --network regtest\n\n\
        The folder has blk*.dat, and where the node has them rev*.dat and xor.dat. Before anything is stored, all headers \
        are read: records, proof of work, links. Each file is verified as a whole before it is stored: Merkle roots, \
        witness commitments, checksums of undo data. Stop the node first, or it may write while its files are read.\n\n\
        A file has one block as it is, or several, framed as in block files (bootstrap.dat, and what `export bitcoin --heights` writes): they get the heights \
        that they say, or that follow from what is stored, whatever lies over them.")]
    Bitcoin(ImportBitcoin),
    /// A Casper node's storage.lmdb: rows as they are, of 1.x and 2.x; every block and transaction is verified first
    #[command(
        after_help = "Examples:\n  prunedb import casper /var/lib/casper/casper-node/casper/storage.lmdb\n  \
        prunedb import casper storage.lmdb --from-height 100000 --to-height 199999\n\n\
        The node must be stopped, or the file a copy of a running one's (mdb_copy -n). Everything is verified before anything is \
        stored: hashes of blocks, bodies and transactions, the chain's links, the approvals against the state's root, every \
        signature. Blocks that are stored already are compared; an interrupted import goes on when it is repeated."
    )]
    Casper(crate::commands::casper::import::ImportCasper),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ImportBitcoin {
    /// The folder `blocks` of a node; or a file with one block, or with framed ones
    #[arg(value_name = "BLOCKS_DIR|FILE")]
    pub(crate) path: PathBuf,
    /// Refuse files of another network; of a file with one block: its network [default: mainnet]
    #[arg(long)]
    pub(crate) network: Option<bitcoin::Network>,
    /// Blocks that must lie over a block before it gets its height; until then it is stored by its hash
    /// [default: 6, on testnets 100, on regtest 0]
    #[arg(long, value_name = "BLOCKS")]
    pub(crate) confirmations: Option<u64>,
    /// Take in what is whole of files that a crash left half overwritten, and keep the rest as it is
    #[arg(long)]
    pub(crate) salvage: bool,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ImportEthereum {
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Network, where the file's name does not say it [default for plain RLP: mainnet]
    #[arg(long)]
    pub(crate) network: Option<Network>,
    /// Published SHA-256 sums: lines of checksum and file name; files that are not in it are refused
    #[arg(long, value_name = "FILE")]
    pub(crate) checksums: Option<PathBuf>,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Follow {
    /// An Ethereum node, by its JSON-RPC; goes on where it stopped
    #[command(after_help = "Examples:\n  prunedb follow ethereum --rpc http://127.0.0.1:8545\n  \
        prunedb follow ethereum --rpc http://127.0.0.1:8545 --from 22000000 --once\n\n\
        Blocks and receipts are rebuilt from the JSON as they were hashed. Before a block is stored its hash, its parent and the roots \
        of its transactions, withdrawals, ommers and receipts are checked; what does not fit is refused, and nothing that is stored \
        ever changes. Runs until Ctrl-C: every block that was archived stays, and the same command goes on after it. A node that is \
        out of reach is asked again (with --once: an error).")]
    Ethereum(crate::commands::ethereum::follow::FollowEthereum),
    /// A Bitcoin node's blocks and what they spend, over its JSON-RPC
    #[command(
        after_help = "Examples:\n  prunedb follow bitcoin --rpc-cookie ~/.bitcoin/.cookie\n  \
        prunedb follow bitcoin --rpc http://user:password@10.0.0.5:8332 --once\n\n\
        Goes on after the highest stored block, until Ctrl-C, also after the node was away. Each block is verified as by `prunedb import \
        bitcoin` before it is stored; undo data is made from what the node says about each input. A reorganisation deeper than \
        --confirmations stops it with exit 2. A long history comes faster from files: import them first. Blocks come by REST where the node \
        has it (-rest=1)."
    )]
    Bitcoin(crate::commands::bitcoin::follow::FollowBitcoin),
    /// A Casper node's blocks over its binary port, every block, transaction and signature verified
    #[command(after_help = "Examples:\n  prunedb follow casper --binary-port 127.0.0.1:7779\n  \
        prunedb follow casper --binary-port 127.0.0.1:7779 --once --json\n\n\
        Goes on where the stored blocks end, until it is stopped; what is stored stays, the same command goes on. The node closes its connections \
        after a while: others are opened. Rows are stored as the node has them, as by `prunedb import casper`, and `prunedb prune casper` may then \
        take them off it. A node lets itself be asked some hundred times a second (qps_limit): a block is six requests and each of its transactions \
        three, so import a copy of its file first and follow from there. Exits with 2 when the node gives no answer for --patience seconds, \
        or what it gives does not verify.")]
    Casper(crate::commands::casper::follow::FollowCasper),
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Export {
    /// .era1 files as they were imported; those that are there and right are kept
    #[command(after_help = "Examples:\n  prunedb export ethereum --epoch 0 --out ./era1\n  \
        prunedb export ethereum --out ./era1 && (cd era1 && sha256sum --check SHA256SUMS)")]
    Ethereum(ExportEthereum),
    /// Block and undo files of a Bitcoin node as they were imported
    #[command(after_help = "Examples:\n  prunedb export bitcoin --out ./blocks\n  \
        prunedb export bitcoin --out ./blocks --file blk00012.dat --file rev00012.dat\n  \
        prunedb export bitcoin --out . --heights 100000..100999 && bitcoind -loadblock=blocks-0100000-0100999.dat\n\n\
        Names, order, padding and xor.dat are those of the imported files; the output is one for `sha256sum --check`.")]
    Bitcoin(ExportBitcoin),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ExportBitcoin {
    /// Folder to write to; created if it is not there, files that are there and right are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Only this file, as often as wanted
    #[arg(long = "file", value_name = "NAME")]
    pub(crate) files: Vec<bitcoin::FileName>,
    /// The blocks of these heights instead, both included, as one file that a node loads (-loadblock)
    #[arg(long, value_name = "A..B", conflicts_with = "files", value_parser = crate::commands::verify_chain::parse_range)]
    pub(crate) heights: Option<std::ops::RangeInclusive<u64>>,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<bitcoin::Network>,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ExportEthereum {
    /// Number of the epoch: its first height divided by 8192 [default: all, with a list for `sha256sum --check`]
    #[arg(long)]
    pub(crate) epoch: Option<u64>,
    /// Folder to write to; created if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<Network>,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Get {
    /// A block, its receipts or a transaction
    #[command(
        subcommand,
        after_help = "Examples:\n  prunedb get ethereum block 4011\n  \
        prunedb get ethereum receipts 4011 --raw > receipts.rlp\n  prunedb get ethereum tx 0x5c50...2060\n\n\
        JSON in the words of Ethereum's JSON-RPC, or with --raw the RLP bytes. Both were verified again when read."
    )]
    Ethereum(GetEthereum),
    /// A block, its undo data or a transaction
    #[command(
        subcommand,
        after_help = "Examples:\n  prunedb get bitcoin block 702861\n  \
        prunedb get bitcoin block 702861 --raw > block\n  prunedb get bitcoin tx 4a5e1e4b...afdeda33b\n\n\
        JSON in the words of Bitcoin Core, or with --raw the bytes. They were verified again when read."
    )]
    Bitcoin(GetBitcoin),
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum GetBitcoin {
    /// Header and transaction ids, as of getblock
    Block(GetBitcoinBlock),
    /// What its transactions spend, as the node keeps it
    Undo(GetBitcoinBlock),
    /// A transaction and where it is
    Tx(GetBitcoinTx),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetBitcoinBlock {
    /// The block's height or hash
    #[arg(value_name = "HEIGHT|HASH")]
    pub(crate) block: bitcoin::BlockId,
    #[command(flatten)]
    pub(crate) how: GetBitcoinHow,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetBitcoinTx {
    /// The transaction's id
    #[arg(value_name = "TXID")]
    pub(crate) txid: bitcoin::Hash,
    #[command(flatten)]
    pub(crate) how: GetBitcoinHow,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetBitcoinHow {
    /// Write the bytes
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<bitcoin::Network>,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum GetEthereum {
    /// As of eth_getBlockByNumber, with full transactions
    Block(GetBlock),
    /// As of eth_getBlockReceipts
    Receipts(GetBlock),
    /// As of eth_getTransactionByHash
    Tx(GetTx),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetBlock {
    /// The block's height or hash
    #[arg(value_name = "HEIGHT|0xHASH")]
    pub(crate) block: BlockId,
    #[command(flatten)]
    pub(crate) how: GetHow,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetTx {
    /// The transaction's hash
    #[arg(value_name = "0xHASH")]
    pub(crate) hash: Hash32,
    #[command(flatten)]
    pub(crate) how: GetHow,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct GetHow {
    /// Write the RLP bytes
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<Network>,
}

const KEYS_HELP: &str = "Keys and values are text, or hex with 0x. In a sequence a key is a number.\n\
    A key is written once: putting the same value again is a no-op, another value is refused with exit 1.";

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Kv {
    /// Put a record; durable when the command ends
    #[command(after_help = KEYS_HELP)]
    Put(KvPut),
    /// Write a record's value to stdout, byte for byte
    #[command(after_help = KEYS_HELP)]
    Get(KvGet),
    /// List records: in the order in which they were put, or by number in a sequence
    Scan(KvScan),
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct KvPut {
    /// Table; created if it is not there
    #[arg(long)]
    pub(crate) table: String,
    /// A new table is a sequence: its keys are numbers
    #[arg(long)]
    pub(crate) sequence: bool,
    /// The key
    pub(crate) key: String,
    /// The value; `-` reads it from stdin, byte for byte
    pub(crate) value: String,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct KvGet {
    /// Table
    #[arg(long)]
    pub(crate) table: String,
    /// The key
    pub(crate) key: String,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct KvScan {
    /// Table
    #[arg(long)]
    pub(crate) table: String,
    /// Where to go on: what an earlier scan called `next`, or a number in a sequence
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Most records to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Status {
    /// List every container, too
    #[arg(long)]
    pub(crate) containers: bool,
}

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
#[command(after_help = "Exits with 1 if a container stays, and says why.")]
pub(crate) struct Evict {
    /// The files of the index as well: lookups then read pages of it from the nodes
    #[arg(long)]
    pub(crate) index: bool,
}

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Example:\n  prunedb sweep --dry-run\n\nEvery node is looked through. A shard that nothing names is noted, with the time; a sweep that still finds \
        it so a day later deletes it: by then nobody needs it who wrote or read when it was noted. Nothing is deleted while a newer \
        head may be on nodes that do not answer. `prunedb up` sweeps once a day by itself; `prunedb status` shows what is noted."
)]
pub(crate) struct Sweep {
    /// Show what would be deleted now; notes and deletes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what was noted at least so long ago
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) older_than: u16,
}

#[derive(ClapArgs, Debug, Clone)]
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

#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "A range is safe when its container is in the lake, was read back from its shards and compared, each of its \
    shards is healthy now, and the container after it is closed.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Prune {
    /// Prune this chain's node
    #[command(subcommand)]
    pub(crate) chain: Option<PruneChain>,
    /// Show only; nothing is deleted anywhere
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read every byte of every shard and hash it, instead of asking each node what it has
    #[arg(long)]
    pub(crate) deep: bool,
}

/// Chains whose nodes can be pruned.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum PruneChain {
    /// Write a stopped node's storage.lmdb anew, without the blocks that are safe in the lake
    #[command(
        after_help = "Examples:\n  prunedb prune casper storage.lmdb --chainspec chainspec.toml --node-config config.toml --dry-run\n  \
        prunedb prune casper storage.lmdb --chainspec chainspec.toml --node-config config.toml --keep-last 20000 --swap\n\n\
        The node must be stopped, its sync_handling \"ttl\". At least max_ttl and the era before it stay complete, and every \
        switch block's header. Each block that goes was compared with the archived one, row by row. The smaller file is written \
        beside, read back and compared; the node's own file is never changed, and is kept as FILE.old after a swap.\n\
        Exits with 1 if there is nothing to prune."
    )]
    Casper(crate::commands::casper::prune::PruneCasper),
    /// Delete .era1 files that are archived byte for byte, and safe in the lake
    #[command(
        after_help = "Examples:\n  prunedb prune ethereum /var/lib/geth/era --dry-run\n  prunedb prune ethereum mainnet-00000-5ec1ffb8.era1\n\n\
        A file goes when its SHA-256 is that of the imported one, and every container with its blocks is in the lake, was read back, and has all \
        its shards just now. Others stay, with the reason. `prunedb export ethereum` gives them back, bit for bit.\n\
        Exits with 1 if a file stays."
    )]
    Ethereum(crate::commands::ethereum::prune::PruneEthereum),
    /// Have a running node in manual pruning mode delete the blocks that are safe in the lake
    #[command(
        after_help = "Examples:\n  prunedb prune bitcoin --rpc-cookie ~/.bitcoin/.cookie --dry-run\n  \
        prunedb prune bitcoin --rpc http://user:password@127.0.0.1:8332 --keep-last 2016\n\n\
        The node must run with -prune=1. Before it is told to delete anything, each block that may go is compared with the node's own by \
        its hash, read back from the lake with its undo data, and verified, and all shards of its containers are looked for. The node deletes \
        whole files, so fewer blocks may go than are named. Exits with 1 if there is nothing to prune."
    )]
    Bitcoin(crate::commands::bitcoin::prune::PruneBitcoin),
}

#[derive(ClapArgs, Debug, Clone)]
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
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct LakeAccess {
    /// File with the lake secret, copied into the folder [default: lake.secret in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: Option<PathBuf>,
    /// Nodes of the lake, where the folder has no prunedb.toml; the others are learned from them
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
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

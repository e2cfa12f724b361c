//! Flags of the commands for a chain's history: in, out, and off its nodes.

use clap::{Args, Subcommand};
use prunedb_chains::{
    bitcoin,
    ethereum::{BlockId, Hash32, Network},
};
use std::path::PathBuf;

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Import {
    /// .era1 and .ere files, and plain RLP blocks; a file that was imported before is skipped, an interrupted import goes on
    #[command(after_help = "Examples:\n  prunedb import ethereum mainnet-00000-5ec1ffb8.era1\n  \
        prunedb import ethereum /era1 --checksums /era1/checksums.txt\n  \
        prunedb import ethereum blocks.rlp --network sepolia\n\n\
        Folders are searched for *.era1, *.ere, *.rlp and *.blocks. Each file is verified as a whole before \
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

#[derive(Args, Debug, Clone)]
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

#[derive(Args, Debug, Clone)]
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
        prunedb follow ethereum --rpc http://127.0.0.1:8545 --from 22000000 --once\n  \
        prunedb follow ethereum --rpc https://node.example/KEY --fill --once\n\n\
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
    /// .era1 files as they were imported; those that are there and right are kept; or .ere files of every whole epoch
    #[command(after_help = "Examples:\n  prunedb export ethereum --epoch 0 --out ./era1\n  \
        prunedb export ethereum --out ./era1 && (cd era1 && sha256sum --check SHA256SUMS)\n  \
        prunedb export ethereum --format ere --out ./ere\n\n\
        With --format ere: files that were imported come back bit for bit; of other epochs those are made of which every block is stored with its \
        receipts, wherever they came from (.era1 files, a live node), before the merge and after. They have no proofs, as their names say \
        (-noproofs). What is not stored whole is named, and the exit code is 1.")]
    Ethereum(ExportEthereum),
    /// Block and undo files of a Bitcoin node as they were imported
    #[command(after_help = "Examples:\n  prunedb export bitcoin --out ./blocks\n  \
        prunedb export bitcoin --out ./blocks --file blk00012.dat --file rev00012.dat\n  \
        prunedb export bitcoin --out . --heights 100000..100999 && bitcoind -loadblock=blocks-0100000-0100999.dat\n\n\
        Names, order, padding and xor.dat are those of the imported files; the output is one for `sha256sum --check`.")]
    Bitcoin(ExportBitcoin),
}

#[derive(Args, Debug, Clone)]
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

#[derive(Args, Debug, Clone)]
pub(crate) struct ExportEthereum {
    /// What the files are
    #[arg(long, value_name = "FORMAT", default_value = "era1")]
    pub(crate) format: crate::commands::export::Format,
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

#[derive(Args, Debug, Clone)]
pub(crate) struct GetBitcoinBlock {
    /// The block's height or hash
    #[arg(value_name = "HEIGHT|HASH")]
    pub(crate) block: bitcoin::BlockId,
    #[command(flatten)]
    pub(crate) how: GetBitcoinHow,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct GetBitcoinTx {
    /// The transaction's id
    #[arg(value_name = "TXID")]
    pub(crate) txid: bitcoin::Hash,
    #[command(flatten)]
    pub(crate) how: GetBitcoinHow,
}

#[derive(Args, Debug, Clone)]
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

#[derive(Args, Debug, Clone)]
pub(crate) struct GetBlock {
    /// The block's height or hash
    #[arg(value_name = "HEIGHT|0xHASH")]
    pub(crate) block: BlockId,
    #[command(flatten)]
    pub(crate) how: GetHow,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct GetTx {
    /// The transaction's hash
    #[arg(value_name = "0xHASH")]
    pub(crate) hash: Hash32,
    #[command(flatten)]
    pub(crate) how: GetHow,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct GetHow {
    /// Write the RLP bytes
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<Network>,
}

#[derive(Args, Debug, Clone)]
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
    /// Delete .era1 and .ere files that are archived byte for byte, and safe in the lake
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

//! Flags of `prunedb up` and `prunedb serve`: who is let in, and where.

use super::LakeAccess;
use clap::{Args, Subcommand};
use prunedb_chains::bitcoin;
use std::net::SocketAddr;

#[derive(Args, Debug, Clone)]
pub(crate) struct Up {
    /// Serve redis clients (RESP) on this address, too; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) resp: Option<SocketAddr>,
    /// Where the validator of this folder's registry answers (`prunedb registry init` founds one); port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) registry_listen: SocketAddr,
}

#[derive(Args, Debug, Clone)]
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
    /// Ethereum's .era1 and .ere files by HTTP, as nodes download them
    #[command(
        after_help = "Examples:\n  prunedb serve era --listen 0.0.0.0:8556\n  curl http://127.0.0.1:8556/\n  \
        reth import-era --url http://127.0.0.1:8556/\n  geth download-era --server http://127.0.0.1:8556/ --epoch 0\n\n\
        / lists the .era1 files, /checksums.txt has the SHA-256 of each epoch's in its line, /SHA256SUMS is for `sha256sum --check`. The same \
        under /ere/ of the .ere files, those that were imported and those of epochs that are stored whole; the SHA-256 of the latter is known \
        when one was made. Ranges are answered, so that a download goes on where it stopped. A file is made when it is asked for, verified as \
        an export is, and kept for a while."
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

#[derive(Args, Debug, Clone)]
pub(crate) struct BitcoinP2p {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8733")]
    pub(crate) listen: SocketAddr,
    /// Network [default: the one that is stored]
    #[arg(long)]
    pub(crate) network: Option<bitcoin::Network>,
}

//! `prunedb bench`: what this machine can do.

mod codec;
mod engine;
mod node;
mod node_start;
mod rpc;
mod scale;

use crate::io::{Exit, Io};
use clap::Subcommand;
pub(crate) use codec::BenchCodec;
pub(crate) use engine::BenchEngine;

/// What is measured.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Bench {
    /// GB/s per core of each stage of coding, as shares of what this machine can do
    #[command(
        after_help = "Example:\n  prunedb bench codec --policy 16+4 --policy 20+80 --json\n\n\
        Thread CPU time, the best of several runs; GB are 10^9 bytes of input, for seal and hash of shards.\n\
        With PRUNEDB_CORPUS set, its Ethereum blocks are what is compressed.\n\
        PRUNEDB_KERNEL chooses the erasure code's instructions."
    )]
    Codec(BenchCodec),
    /// Puts, reads, scans and reopening of the database on this disk, beside a raw append to a file
    #[command(
        after_help = "Example:\n  prunedb bench engine --mb 1024 --value-bytes 1024,16384 --dir /data --json\n\n\
        Keys are 32 random bytes. Raw append: key and value into a buffer, which is written to one\n\
        file and fdatasynced each time it holds --group-bytes; the database groups by the same number,\n\
        writes its index, and offloads nothing. Both take turns. Cold: the system's cache of all files\n\
        (posix_fadvise) was dropped before, the index's too; scan_mbps is cold. write_amp counts all\n\
        files, in pages, from /proc/self/io. Each value size runs in a process of its own, and takes\n\
        about four times --mb of disk."
    )]
    Engine(BenchEngine),
    /// Index and manifest of lakes up to 100 TB: build, lookups, memory, reopen
    #[command(
        after_help = "Example:\n  prunedb bench scale --keys 1e6,1e7,1e8,1e9 --dir /mnt/big --json\n\n\
        Index, manifest and reads are real; shards, and the records in them, are computed as they are\n\
        asked for. Cold: the files of index and manifest were taken out of the file cache. The files of\n\
        each size are removed before the next one begins."
    )]
    Scale(scale::BenchScale),
    /// SET and GET of 0-db's protocol on a storage node in a process of its own, over loopback
    #[command(after_help = "Example:\n  prunedb bench node --dir /dev/shm/bench --json\n\n\
        Values of 4 KiB by two pipelining connections, SET with and without syncs; GET of 1 MiB. Figures are by wall\n\
        clock, and by CPU second of the node's process alone.")]
    Node(node::BenchNode),
    /// How fast a storage node with 1e8 shards starts, its memory, and what finding a shard costs
    #[command(
        after_help = "Example:\n  prunedb bench node-start --shards 1e8 --dir /data --json\n\n\
        The index is a real one, of shards of 5 MB that are not there: 1e8 of them are 500 TB. The node\n\
        runs in a process of its own and is asked over loopback. Not cached: the index was taken out of\n\
        the file cache before (posix_fadvise). All files are removed at the end."
    )]
    NodeStart(node_start::BenchNodeStart),
    /// eth_getBlockByNumber over HTTP, at an address such as that of `prunedb serve ethereum-rpc`
    #[command(
        after_help = "Examples:\n  prunedb bench rpc --to 8191\n  prunedb evict && prunedb serve ethereum-rpc --upstream URL &\n  \
        prunedb bench rpc --to 8191 --once --every 200 --clients 1\n\n\
        Warm: random blocks for some seconds. Cold (--once, after an evict): each block once; a frame of 128 KiB that one block brings from \
        the nodes may hold its neighbours (--every)."
    )]
    Rpc(rpc::BenchRpc),
}

pub(crate) fn run(args: &Bench, io: &mut Io) -> anyhow::Result<Exit> {
    match args {
        Bench::Codec(args) => codec::run(args, io),
        Bench::Engine(args) => engine::run(args, io),
        Bench::Scale(args) => scale::run(args, io),
        Bench::Node(args) => node::run(args, io),
        Bench::NodeStart(args) => node_start::run(args, io),
        Bench::Rpc(args) => rpc::run(args, io),
    }
}

//! The stores, each with the settings that its documentation advises for values of kilobytes.
//!
//! Alike for all: a group of 1 MiB is one atomic commit where the store has such, durable by one fdatasync or what the
//! store does for it; no compression; caches of [`CACHE_BYTES`] where the store has one of its own.

mod fjall;
mod lmdb;
mod ours;
mod raw;
mod redb;
mod rocksdb;

use crate::store::OpenStore;

/// Of each store's own cache.
pub(crate) const CACHE_BYTES: u32 = 64 << 20;
/// Values from this length on lie outside of the tree, where a store can do that.
pub(crate) const SEPARATED_BYTES: u32 = 512;

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// how it is set, for the page
    pub(crate) settings: &'static str,
    pub(crate) open: OpenStore,
}

pub(crate) fn all() -> Vec<Peer> {
    vec![
        Peer {
            name: "raw append",
            settings: "one file, a copy into a buffer, a write and an fdatasync for each group; reads are a pread through a map in memory",
            open: raw::open,
        },
        Peer {
            name: "prunedb",
            settings: "`prunedb::Db` with its background thread, `group_bytes` of 1 MiB and a `commit` after each group, nothing offloaded",
            open: ours::open,
        },
        Peer {
            name: "fjall",
            settings: "key-value separation from 512 B on, a cache of 64 MiB, one batch with `PersistMode::SyncData` for each group",
            open: fjall::open,
        },
        Peer {
            name: "rocksdb",
            settings: "BlobDB: blob files from 512 B on; write buffers of 64 MiB, 2 background jobs, a block cache of 64 MiB, Bloom filters of 10 bits, one synced `WriteBatch` for each group",
            open: rocksdb::open,
        },
        Peer {
            name: "redb",
            settings: "a cache of 64 MiB, one durable transaction for each group",
            open: redb::open,
        },
        Peer {
            name: "lmdb",
            settings: "through `heed`, mapped (no cache of its own), one synced transaction for each group",
            open: lmdb::open,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;

    #[test]
    fn every_store_gives_back_what_it_took_and_in_order() {
        for peer in all() {
            let dir = tempfile::tempdir().unwrap();
            let mut store = (peer.open)(dir.path()).unwrap();
            let values: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; 3000]).collect();
            for table in [Table::Hashes, Table::Heights] {
                for half in [0..25, 25..50u64] {
                    let key = |n: u64| match table {
                        Table::Hashes => {
                            [n.wrapping_mul(0x9e37_79b9); 4].map(u64::to_be_bytes).concat()
                        }
                        Table::Heights => n.to_be_bytes().to_vec(),
                    };
                    let value = |n: u64| &values[usize::try_from(n).unwrap()][..];
                    store.put(table, &half.map(|n| (key(n), value(n))).collect()).unwrap();
                }
            }
            for _ in 0..2 {
                let mut reader = store.reader().unwrap();
                for (n, value) in (0..).zip(&values) {
                    let key = [u64::wrapping_mul(n, 0x9e37_79b9); 4].map(u64::to_be_bytes).concat();
                    let found = reader.get(&key).unwrap().expect(peer.name);
                    assert!((*found).as_ref() == value, "{}", peer.name);
                }
                assert!(reader.get(&[7; 32]).unwrap().is_none(), "{}", peer.name);
                drop(reader);
                let mut scanned = Vec::new();
                store.scan(&mut |value| scanned.push(value.to_vec())).unwrap();
                assert!(scanned == values, "{}", peer.name);
                store.close().unwrap();
                store = (peer.open)(dir.path()).unwrap();
            }
        }
    }
}

//! PruneDB as a library: the Prune DB's public interface.
//!
//! Everything here is synchronous; the lake's nodes are reached over a tokio runtime that the caller owns, and calls
//! must not be made from that runtime's own tasks.
//!
//! ```
//! use prunedb::{Db, LakeSecret, Options, TableKind};
//! use prunedb::{disk::RealDisk, store::{MemoryStore, ShardStore}};
//! use std::{collections::HashMap, sync::Arc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! // a lake of six nodes; here they are in memory, `store::NodeStore` is one behind TCP
//! let nodes: HashMap<String, MemoryStore> =
//!     (0..6).map(|n| format!("node-{n}")).map(|n| (n.clone(), MemoryStore::new(n))).collect();
//! let mut addresses: Vec<String> = nodes.keys().cloned().collect();
//! addresses.sort();
//! let connect = move |address: &str| Arc::new(nodes[address].clone()) as Arc<dyn ShardStore>;
//!
//! // in real life: 32 random bytes that are kept safe
//! let secret = LakeSecret::new(prunedb::Key::new([42; 32]));
//! let options = Options::new(dir.path(), "4+2".parse()?);
//! let disk: Arc<dyn prunedb::disk::Disk> = Arc::new(RealDisk);
//! Db::create(&disk, &options, secret.lake_id(), addresses)?;
//! let db = Db::open(disk, options, secret, &connect, runtime.handle().clone())?;
//!
//! let blocks = db.ensure_table("mychain/blocks", TableKind::Sequence)?;
//! db.put(&blocks, &7u64.to_be_bytes(), b"a block")?; // durable when it returns
//!
//! db.flush(&mut |_| {})?; // sealed, coded, encrypted, spread over the nodes
//! db.evict(&mut |_| {})?; // read back from the nodes, then dropped here
//! assert_eq!(db.status()?.local_data_bytes, 0);
//! assert_eq!(db.get(&blocks, &7u64.to_be_bytes())?.as_deref(), Some(&b"a block"[..]));
//! # Ok(())
//! # }
//! ```

pub use prunedb_codec::Key;
pub use prunedb_disk as disk;
pub use prunedb_engine::*;
pub use prunedb_store as store;

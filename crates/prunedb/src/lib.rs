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
//!
//! // keyed tables take any key; records come in the order in which they were put
//! let names = db.ensure_table("mychain/names", TableKind::Keyed)?;
//! for n in 0..100 {
//!     db.append(&[(&names, format!("name-{n}").as_bytes(), b"value")])?;
//! }
//! db.commit()?; // one sync for all of them
//! assert_eq!(db.scan(&names, None, 10)?.entries.len(), 10);
//! assert_eq!(db.iter(&names)?.count(), 100);
//! assert!(!db.put_checked(&names, b"name-7", b"value")?, "it is there already, with this value");
//! assert!(db.put_checked(&names, b"name-7", b"another").is_err(), "written once");
//! # Ok(())
//! # }
//! ```
//!
//! A reader follows a lake that another one writes, in a folder of its own, and never writes to it:
//!
//! ```
//! # use prunedb::{Db, Key, LakeSecret, Options, TableKind};
//! # use prunedb::{disk::{Disk, RealDisk}, store::{MemoryStore, ShardStore}};
//! # use std::{collections::BTreeMap, sync::Arc};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let handle = runtime.handle().clone();
//! # let nodes: BTreeMap<String, MemoryStore> =
//! #     (0..3).map(|n| format!("node-{n}")).map(|n| (n.clone(), MemoryStore::new(n))).collect();
//! # let addresses: Vec<String> = nodes.keys().cloned().collect();
//! # let connect = Arc::new(move |address: &str| Arc::new(nodes[address].clone()) as Arc<dyn ShardStore>);
//! # let secret = LakeSecret::new(Key::new([42; 32]));
//! # let disk: Arc<dyn Disk> = Arc::new(RealDisk);
//! # let options = Options::new(dir.path().join("writer"), "2+1".parse()?);
//! # Db::create(&disk, &options, secret.lake_id(), addresses.clone())?;
//! # let writer = Db::open(Arc::clone(&disk), options, secret.clone(), &*connect, handle.clone())?;
//! let blocks = writer.ensure_table("mychain/blocks", TableKind::Sequence)?;
//! writer.put(&blocks, &1u64.to_be_bytes(), b"one")?;
//! writer.evict(&mut |_| {})?;
//!
//! let options = Options::new(dir.path().join("reader"), "2+1".parse()?);
//! let reader = Db::open_reader(disk, options, secret, &addresses, connect, handle, &mut |_| {})?;
//! let blocks = reader.table("mychain/blocks")?;
//! assert_eq!(reader.get(&blocks, &1u64.to_be_bytes())?.as_deref(), Some(&b"one"[..]));
//!
//! writer.put(&blocks, &2u64.to_be_bytes(), b"two")?;
//! writer.flush(&mut |_| {})?;
//! assert!(reader.refresh()?, "something new; `with_background` looks by itself");
//! assert_eq!(reader.range(&blocks, 0, 10)?.len(), 2);
//! assert!(reader.put(&blocks, &3u64.to_be_bytes(), b"three").is_err());
//! # Ok(())
//! # }
//! ```

pub mod archive;

pub use prunedb_chains as chains;
pub use prunedb_codec::Key;
pub use prunedb_disk as disk;
pub use prunedb_engine::*;
pub use prunedb_store as store;

//! A storage node: the production node over a disk that tears and forgets. RESP in, RESP out.

use crate::link::Reach;
use bytes::{Bytes, BytesMut};
use prunedb_core::{LakeId, Term};
use prunedb_disk::{
    Disk,
    faulty::{Chance, FaultyDisk, Unsynced},
};
use prunedb_node::{Head, Node, NodeConfig, NodeError, ShardInfo, Upload};
use prunedb_wire::{Command, Limits, Refusal, Reply, RequestDecoder, answer};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

const DIR: &str = "/node";
const CAPACITY_BYTES: u64 = 1 << 40;
/// Small, so that segments close and empty ones go.
const SEGMENT_BYTES: u64 = 8 << 20;

pub(crate) struct Machine {
    number: usize,
    seed: u64,
    disk: FaultyDisk,
    /// `None` while it is down
    node: Option<Node>,
    pub(crate) reach: Reach,
    uploads: BTreeMap<u32, (LakeId, Upload)>,
    handles: u32,
    /// highest term that it acknowledged since its disk was new
    acknowledged: BTreeMap<LakeId, Term>,
    /// what it did against its word
    pub(crate) broken: Option<String>,
}

impl Machine {
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        let mut machine = Self {
            number,
            seed,
            disk: FaultyDisk::new(seed),
            node: None,
            reach: Reach::Well,
            uploads: BTreeMap::new(),
            handles: 0,
            acknowledged: BTreeMap::new(),
            broken: None,
        };
        machine.start();
        machine
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Comes up from what is on its disk.
    pub(crate) fn start(&mut self) {
        if self.node.is_some() {
            return;
        }
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = NodeConfig::new(listen, DIR, CAPACITY_BYTES);
        config.segment_bytes = SEGMENT_BYTES;
        let mut mark_seed = [0; 32];
        mark_seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        mark_seed[8..16].copy_from_slice(&(self.number as u64).to_le_bytes());
        config.mark_seed = Some(mark_seed);
        match Node::open(config, Arc::new(self.disk.clone()) as Arc<dyn Disk>) {
            Ok(node) => self.node = Some(node),
            Err(e) => self.broken = Some(format!("node {} does not open: {e}", self.number)),
        }
    }

    /// Loses power: what was not synced is torn.
    pub(crate) fn crash(&mut self, torn: u64) {
        self.uploads.clear();
        self.node = None;
        self.disk = self.disk.crashed(Unsynced::Torn(torn));
    }

    /// Loses its disk, and goes on with an empty one.
    pub(crate) fn lose_disk(&mut self) {
        self.uploads.clear();
        self.node = None;
        self.seed = self.seed.wrapping_add(1);
        self.disk = FaultyDisk::new(self.seed);
        self.acknowledged.clear();
        self.start();
    }

    /// Bits rot in its segments; how many bytes.
    pub(crate) fn rot(&mut self, chance: &mut Chance) -> usize {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
        let segments: Vec<PathBuf> = self.disk.paths().into_iter().filter(is_segment).collect();
        if segments.is_empty() {
            return 0;
        }
        let bytes = 1 + chance.below(8);
        for _ in 0..bytes {
            let path = chance.pick(&segments).clone();
            let length = self.disk.file(&path).len() as u64;
            let at = usize::try_from(chance.below(length)).expect("below a length");
            if length > 0 {
                self.disk.flip(&path, at, 1 << chance.below(8));
            }
        }
        usize::try_from(bytes).expect("a few")
    }

    /// An upload whose connection is gone.
    pub(crate) fn abort(&mut self, handle: u32) {
        self.uploads.remove(&handle);
    }

    /// Answers one request.
    pub(crate) fn serve(&mut self, request: &mut BytesMut) -> Option<BytesMut> {
        let node = self.node.clone()?;
        let mut decoder = RequestDecoder::new(Limits::default());
        let reply = match decoder.decode(request) {
            Ok(Some(arguments)) => match Command::parse(&arguments) {
                Ok(command) => self.run(&node, command),
                Err(e) => Reply::from(&Refusal::Bad { reason: e.to_string() }),
            },
            Ok(None) => Reply::from(&Refusal::Bad { reason: "half a request".into() }),
            Err(e) => Reply::from(&Refusal::Bad { reason: e.to_string() }),
        };
        let mut out = BytesMut::new();
        reply.encode(&mut out);
        Some(out)
    }

    fn run(&mut self, node: &Node, command: Command) -> Reply {
        match command {
            Command::Put { id, term, bytes, mode } => match node.put(id, term, bytes, mode) {
                Ok(upload) => {
                    self.handles += 1;
                    let stored = upload.stored();
                    self.uploads.insert(self.handles, (id.lake, upload));
                    answer::put(answer::PutAnswer { handle: self.handles, stored })
                }
                Err(e) => refused(&e),
            },
            Command::Data { handle, offset, chunk } => match self.uploads.get_mut(&handle) {
                Some((_, upload)) => match upload.write(offset, &chunk) {
                    Ok(()) => answer::data(upload.received()),
                    Err(e) => refused(&e),
                },
                None => no_such_upload(),
            },
            Command::Commit { handle, name, term } => match self.uploads.remove(&handle) {
                Some((lake, upload)) => {
                    let done = upload.commit(name, term);
                    self.acknowledge(lake, term, "commit", done.is_ok());
                    done.map_or_else(|e| refused(&e), |()| Reply::OK)
                }
                None => no_such_upload(),
            },
            Command::Get { id, offset, bytes } => {
                node.get(id, offset, bytes).map_or_else(|e| refused(&e), Reply::Bulk)
            }
            Command::Stat { id } => {
                node.stat(id).map_or_else(|e| refused(&e), |info| answer::stat(info.map(stat)))
            }
            Command::List { lake, after, count } => node.list(lake, after, count).map_or_else(
                |e| refused(&e),
                |list| answer::list(&list.into_iter().map(stat).collect::<Vec<_>>()),
            ),
            Command::Prove(audit) => {
                node.prove(&audit).map_or_else(|e| refused(&e), |shown| answer::prove(&shown))
            }
            Command::Delete { id, term } => {
                let done = node.delete(id, term);
                self.acknowledge(id.lake, term, "delete", done.is_ok());
                done.map_or_else(|e| refused(&e), answer::deleted)
            }
            Command::Fence { lake, term } => {
                let done = node.fence(lake, term);
                self.acknowledge(lake, term, "fence", done.is_ok());
                done.map_or_else(|e| refused(&e), |()| Reply::OK)
            }
            Command::HeadPut { lake, term, number, bytes } => {
                let done = node.put_head(lake, &Head { term, number, bytes });
                self.acknowledge(lake, term, "head", done.is_ok());
                done.map_or_else(|e| refused(&e), |()| Reply::OK)
            }
            Command::HeadGet { lake } => match node.head(lake) {
                Ok(head) => answer::head(head.map(|Head { term, number, bytes }| answer::Head {
                    term,
                    number,
                    bytes,
                })),
                Err(e) => refused(&e),
            },
            Command::Space => match node.space() {
                Ok(space) => answer::space(answer::Space {
                    capacity_bytes: space.capacity_bytes,
                    used_bytes: space.used_bytes,
                    shards: space.shards,
                }),
                Err(e) => refused(&e),
            },
            other => Reply::Error(Bytes::from(format!("not simulated: {other:?}"))),
        }
    }

    /// Remembers the highest term that was acknowledged; a lower one behind it breaks the fence.
    fn acknowledge(&mut self, lake: LakeId, term: Term, what: &str, done: bool) {
        if !done {
            return;
        }
        let highest = self.acknowledged.entry(lake).or_default();
        if term < *highest {
            self.broken = Some(format!(
                "node {} took a {what} of term {term} after it acknowledged term {highest}",
                self.number
            ));
        }
        *highest = term.max(*highest);
    }
}

fn refused(error: &NodeError) -> Reply {
    Reply::from(&Refusal::from(error))
}

fn no_such_upload() -> Reply {
    Reply::from(&Refusal::Bad { reason: "no such upload".into() })
}

fn stat(info: ShardInfo) -> answer::Stat {
    answer::Stat { id: info.id, bytes: info.bytes, term: info.term, name: info.name }
}

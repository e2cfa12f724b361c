//! The native commands of a connection: shards, fences, heads.

use crate::{
    Head, Node, NodeError, ShardInfo, Space, Upload,
    connection::{Connection, End, unix_time},
    door,
    server::Shared,
};
use bytes::Bytes;
use prunedb_access::Denied;
use prunedb_core::{ContainerKind, ShardId};
use prunedb_wire::{Command, Refusal, Reply, answer};
use std::sync::Arc;

/// Bulk strings up to this are copied beside other answers.
const COPY_BYTES: usize = 16 << 10;
/// Memory for a head: read, and copied into the answer.
const HEAD_ROOM_BYTES: u32 = 2 << 20;
/// Memory for samples and their paths, twice, and for what is read to make them.
const PROOFS_ROOM_BYTES: u32 = 768 << 10;
/// Memory for a range beside its own bytes: blocks at both ends are read whole.
const BLOCKS_ROOM_BYTES: u32 = 33 << 10;
/// Uploads of one connection at once.
const UPLOADS_MAX: usize = 16;

/// Whether a command is one of ours; all others are 0-db's.
pub(crate) fn is_native(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"PDB."))
}

impl Connection {
    fn answer_or<T>(&mut self, done: Result<T, NodeError>, reply: impl FnOnce(T) -> Reply) {
        match done {
            Ok(value) => self.answer(&reply(value)),
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
    }

    pub(crate) async fn native(&mut self, arguments: &[Bytes]) -> Result<(), End> {
        let command = match Command::parse(arguments) {
            Ok(command) => command,
            Err(e) => {
                self.refuse(&Refusal::Bad { reason: e.to_string() });
                return Ok(());
            }
        };
        let shared = Arc::clone(&self.shared);
        if let Err(denied) = self.door.allows(&command, &self.uploads, unix_time().as_secs()) {
            self.deny(denied);
            return Ok(());
        }
        let node = shared.node.clone();
        match command {
            // the 0-db side has these
            Command::Ping | Command::Info => {}
            Command::Put { id, term, bytes, mode } => {
                if self.uploads.len() >= UPLOADS_MAX {
                    let max = UPLOADS_MAX;
                    let e = NodeError::Limit { what: "uploads of one connection", max };
                    self.refuse(&Refusal::from(&e));
                } else {
                    let put =
                        shared.disk(move || node.put_of_client(id, term, bytes, mode)).await?;
                    self.put(put);
                }
            }
            Command::Data { handle, offset, chunk } => self.data(handle, offset, chunk).await?,
            Command::Commit { handle, name, term } => match self.uploads.remove(&handle) {
                Some(upload) => {
                    let done = shared.disk(move || upload.commit(name, term)).await?;
                    self.answer_or(done, |()| Reply::OK);
                }
                None => self.no_such_handle(handle),
            },
            Command::Abort { handle } => match self.uploads.remove(&handle) {
                Some(upload) => {
                    shared.disk(move || drop(upload)).await?;
                    self.answer(&Reply::OK);
                }
                None => self.no_such_handle(handle),
            },
            Command::Get { id, offset, bytes } => self.get(&shared, id, offset, bytes).await?,
            Command::Prove(audit) => {
                let permit = shared.room(PROOFS_ROOM_BYTES).await?;
                let done = shared.disk(move || node.prove(&audit)).await?;
                self.answer_or(done, |shown| answer::prove(&shown));
                self.flush(None).await?;
                drop(permit);
            }
            Command::Stat { id } => {
                let done = shared.disk(move || node.stat(id)).await?;
                self.answer_or(done, |info| answer::stat(info.map(stat)));
            }
            Command::List { lake, after, count } => {
                let done = shared.disk(move || node.list(lake, after, count)).await?;
                self.answer_or(done, |list| {
                    answer::list(&list.into_iter().map(stat).collect::<Vec<_>>())
                });
            }
            Command::Delete { id, term } => {
                let done = shared.disk(move || node.delete(id, term)).await?;
                self.answer_or(done, answer::deleted);
            }
            Command::Fence { lake, term } => {
                let done = shared.disk(move || node.fence(lake, term)).await?;
                self.answer_or(done, |()| Reply::OK);
            }
            Command::HeadPut { lake, term, number, bytes } => {
                let head = Head { term, number, bytes };
                let done = shared.disk(move || node.put_head(lake, &head)).await?;
                self.answer_or(done, |()| Reply::OK);
            }
            Command::HeadGet { lake } => {
                let permit = shared.room(HEAD_ROOM_BYTES).await?;
                let done = shared.disk(move || node.head(lake)).await?;
                self.answer_or(done, |head| {
                    answer::head(head.map(|Head { term, number, bytes }| answer::Head {
                        term,
                        number,
                        bytes,
                    }))
                });
                self.flush(None).await?;
                drop(permit);
            }
            Command::Scrub => {
                let done =
                    shared.disk(move || node.space().map(|space| scrub(&node, space))).await?;
                self.answer_or(done, answer::scrub);
            }
            Command::Access { capability } => {
                let now = unix_time().as_secs();
                match self.door.admit(&shared.gate, &capability, now) {
                    Ok(()) => self.answer(&Reply::OK),
                    Err(denied) => self.deny(denied),
                }
            }
            Command::Space => {
                let done = shared.disk(move || node.space()).await?;
                self.answer_or(done, |space| {
                    answer::space(answer::Space {
                        capacity_bytes: space.capacity_bytes,
                        used_bytes: space.used_bytes,
                        shards: space.shards,
                    })
                });
            }
        }
        Ok(())
    }

    fn deny(&mut self, denied: Denied) {
        self.shared.zdb.counters.unauthorized.add(1);
        self.refuse(&door::refusal(denied));
    }

    fn put(&mut self, put: Result<Upload, NodeError>) {
        match put {
            Ok(upload) => {
                self.handles = self.handles.wrapping_add(1);
                while self.uploads.contains_key(&self.handles) {
                    self.handles = self.handles.wrapping_add(1);
                }
                let (handle, stored) = (self.handles, upload.stored());
                self.uploads.insert(handle, upload);
                self.answer(&answer::put(answer::PutAnswer { handle, stored }));
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
    }

    async fn data(&mut self, handle: u32, offset: u64, chunk: Bytes) -> Result<(), End> {
        let Some(mut upload) = self.uploads.remove(&handle) else {
            self.no_such_handle(handle);
            return Ok(());
        };
        let received = &self.shared.received;
        let of_kind = match upload.id().container.kind {
            ContainerKind::Data => &received.data_bytes,
            _ => &received.other_bytes,
        };
        of_kind.add(chunk.len() as u64);
        let done = self.shared.disk(move || match upload.write(offset, &chunk) {
            Ok(()) => Ok(upload),
            // the upload ends here and now, while this thread may do I/O
            Err(e) => Err(e),
        });
        match done.await? {
            Ok(upload) => {
                let received = upload.received();
                self.uploads.insert(handle, upload);
                self.answer(&answer::data(received));
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
        Ok(())
    }

    async fn get(
        &mut self,
        shared: &Shared,
        id: ShardId,
        offset: u64,
        bytes: u32,
    ) -> Result<(), End> {
        let permit = shared.room(bytes.saturating_add(BLOCKS_ROOM_BYTES)).await?;
        let node = shared.node.clone();
        match shared.disk(move || node.get(id, offset, bytes)).await? {
            Ok(range) => {
                let long = Reply::Bulk(range).encode_head(COPY_BYTES, &mut self.output);
                if long.is_some() {
                    self.flush(long).await?;
                }
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
        drop(permit);
        Ok(())
    }

    fn no_such_handle(&mut self, handle: u32) {
        let reason = format!("no upload {handle} on this connection: it ended or failed");
        self.refuse(&Refusal::Bad { reason });
    }
}

fn scrub(node: &Node, space: Space) -> answer::Scrub {
    let status = node.scrub_status();
    answer::Scrub {
        rounds: status.rounds,
        last_ended: status.last_ended,
        began: status.began,
        shards: status.shards,
        bytes: status.bytes,
        total_bytes: space.used_bytes,
        pace: node.scrub_pace(),
        damaged: status.damaged_count,
    }
}

fn stat(info: ShardInfo) -> answer::Stat {
    answer::Stat { id: info.id, bytes: info.bytes, term: info.term, name: info.name }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Node>();
    is_send::<Upload>();
};

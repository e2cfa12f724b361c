//! Who wants to know what others do: WAIT, once, and MIRROR, for ever.
//!
//! A mirror that does not keep up is ended, never skipped over: what it holds is bounded.

use super::namespace::Namespace;
use crate::state::lock;
use bytes::{BufMut, Bytes, BytesMut};
use prunedb_wire::put_bulk;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, oneshot};

/// Bytes that a mirror may be behind.
const BEHIND_BYTES_MAX: usize = 16 << 20;
/// Mirrors at once.
const MIRRORS_MAX: usize = 16;

/// Who listens.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    watchers: Mutex<Vec<Watcher>>,
    mirrors: Mutex<Vec<Weak<Mirror>>>,
    /// both together: nothing is done while nobody listens
    listening: AtomicUsize,
}

#[derive(Debug)]
struct Watcher {
    session: u64,
    namespace: u32,
    /// `None`: any
    command: Option<&'static str>,
    tell: oneshot::Sender<&'static str>,
}

/// What a mirror has not been sent yet.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    queue: Mutex<Behind>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Behind {
    items: VecDeque<Bytes>,
    bytes: usize,
    overflown: bool,
}

/// A command as it was run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) session: u64,
    /// who the command came from first, where it came through a replica
    pub(crate) owner: u64,
    pub(crate) command: &'static str,
    pub(crate) arguments: &'a [Bytes],
    pub(crate) seconds: u64,
}

impl Feed {
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listening.load(Ordering::Acquire) > 0
    }

    /// How many wait for a command, and how many mirrors there are.
    pub(crate) fn listeners(&self) -> (usize, usize) {
        let waiting =
            lock(&self.watchers).iter().filter(|watcher| !watcher.tell.is_closed()).count();
        let mirrors = lock(&self.mirrors).iter().filter(|mirror| mirror.strong_count() > 0).count();
        (waiting, mirrors)
    }

    /// Waits for a command of another connection on a namespace.
    pub(crate) fn watch(
        &self,
        session: u64,
        namespace: &Namespace,
        command: Option<&'static str>,
    ) -> oneshot::Receiver<&'static str> {
        let (tell, told) = oneshot::channel();
        let mut watchers = lock(&self.watchers);
        let before = watchers.len();
        watchers.retain(|watcher| !watcher.tell.is_closed());
        self.listening.fetch_sub(before - watchers.len(), Ordering::AcqRel);
        watchers.push(Watcher { session, namespace: namespace.id, command, tell });
        self.listening.fetch_add(1, Ordering::AcqRel);
        told
    }

    /// Begins a mirror; `None` where there are too many.
    pub(crate) fn mirror(&self) -> Option<Arc<Mirror>> {
        let mut mirrors = lock(&self.mirrors);
        self.sweep(&mut mirrors);
        if mirrors.len() >= MIRRORS_MAX {
            return None;
        }
        let mirror = Arc::new(Mirror::default());
        mirrors.push(Arc::downgrade(&mirror));
        self.listening.fetch_add(1, Ordering::AcqRel);
        Some(mirror)
    }

    fn sweep(&self, mirrors: &mut Vec<Weak<Mirror>>) {
        let before = mirrors.len();
        mirrors.retain(|mirror| mirror.strong_count() > 0);
        self.listening.fetch_sub(before - mirrors.len(), Ordering::AcqRel);
    }

    /// Tells everybody of a command.
    pub(crate) fn tell(&self, namespace: &Namespace, event: Event<'_>) {
        let mut watchers = lock(&self.watchers);
        let mut at = 0;
        while at < watchers.len() {
            let watcher = &watchers[at];
            let matches = watcher.namespace == namespace.id
                && watcher.session != event.session
                && watcher.command.is_none_or(|command| command == event.command);
            if matches || watcher.tell.is_closed() {
                let watcher = watchers.swap_remove(at);
                self.listening.fetch_sub(1, Ordering::AcqRel);
                if matches {
                    // an error means that it has given up
                    _ = watcher.tell.send(event.command);
                }
            } else {
                at += 1;
            }
        }
        drop(watchers);
        let mut mirrors = lock(&self.mirrors);
        self.sweep(&mut mirrors);
        if mirrors.is_empty() || matches!(event.command, "AUTH" | "SELECT") {
            // what only concerns a connection, and holds its secrets
            return;
        }
        let item = encode(&namespace.settings().name, event);
        for mirror in mirrors.iter().filter_map(Weak::upgrade) {
            mirror.push(item.clone());
        }
    }
}

impl Mirror {
    fn push(&self, item: Bytes) {
        let mut behind = lock(&self.queue);
        if behind.bytes + item.len() > BEHIND_BYTES_MAX {
            behind.overflown = true;
        } else {
            behind.bytes += item.len();
            behind.items.push_back(item);
        }
        drop(behind);
        self.changed.notify_one();
    }

    /// The next command; `None` where it was too slow, and must end.
    pub(crate) async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut behind = lock(&self.queue);
                if behind.overflown {
                    return None;
                }
                if let Some(item) = behind.items.pop_front() {
                    behind.bytes -= item.len();
                    return Some(item);
                }
            }
            self.changed.notified().await;
        }
    }
}

/// `*N :seconds ns :owner command arguments`.
fn encode(namespace: &[u8], event: Event<'_>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(format!("*{}\r\n:{}\r\n", event.arguments.len() + 3, event.seconds).as_bytes());
    put_bulk(namespace, &mut out);
    out.put_slice(format!(":{}\r\n", event.owner).as_bytes());
    event.arguments.iter().for_each(|argument| put_bulk(argument, &mut out));
    out.freeze()
}

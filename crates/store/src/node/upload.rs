//! An upload: chunks go out ahead of their answers, up to a window.

use super::{Client, Connection, Failure, Subject};
use crate::{Pending, ShardUpload, StoreError};
use bytes::Bytes;
use prunedb_core::Digest;
use prunedb_wire::{Command, DATA_BYTES_MAX, answer, answer::PutAnswer};
use std::{collections::VecDeque, future::Future, sync::Arc};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// Bytes of one `PDB.DATA`: what the node hashes and writes at once.
const CHUNK_BYTES: usize = 256 << 10;
const _: () = assert!(CHUNK_BYTES <= DATA_BYTES_MAX);
/// Pieces of one `PDB.DATA`; more are sent before the chunk is full.
const PIECES_MAX: usize = 256;

pub(super) struct NodeUpload {
    client: Arc<Client>,
    /// `None` once it failed, so that dropping it closes it
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
    handle: u32,
    /// the name under which the node has the shard already: nothing is sent
    stored: Option<Digest>,
    subject: Subject,
    /// bytes of the next chunk
    pieces: Vec<Bytes>,
    piece_bytes: usize,
    /// bytes that were sent
    sent: u64,
    /// where the chunks end whose answers are to come
    unanswered: VecDeque<u64>,
    answered: u64,
}

impl NodeUpload {
    pub(super) fn new(
        client: Arc<Client>,
        connection: Connection,
        permit: OwnedSemaphorePermit,
        answer: PutAnswer,
        subject: Subject,
    ) -> Self {
        Self {
            client,
            connection: Some(connection),
            _permit: permit,
            handle: answer.handle,
            stored: answer.stored,
            subject,
            pieces: Vec::new(),
            piece_bytes: 0,
            sent: 0,
            unanswered: VecDeque::new(),
            answered: 0,
        }
    }

    /// Runs a step that needs the connection; where it fails or takes too long the connection is gone.
    async fn step<T>(
        client: &Client,
        connection: &mut Option<Connection>,
        step: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        // taken out while the step runs: a future that is dropped halfway leaves no half-used connection
        let Some(mut open) = connection.take() else {
            return Err(client.unreachable("the upload has failed before"));
        };
        let done = timed(client, step(&mut open)).await;
        match done {
            Ok(value) => {
                *connection = Some(open);
                Ok(value)
            }
            Err(failure) => Err(client.failed(failure)),
        }
    }

    async fn send(&mut self) -> Result<(), StoreError> {
        if self.piece_bytes == 0 {
            return Ok(());
        }
        let (handle, offset, bytes) = (self.handle, self.sent, self.piece_bytes);
        let pieces = &mut self.pieces;
        Self::step(&self.client, &mut self.connection, async |connection| {
            connection.send_data(handle, offset, bytes, pieces).await
        })
        .await?;
        self.piece_bytes = 0;
        self.sent += bytes as u64;
        self.unanswered.push_back(self.sent);
        let window = self.client.options.window_bytes as u64;
        while self.sent - self.answered > window && self.unanswered.len() > 1 {
            self.answer().await?;
        }
        Ok(())
    }

    /// Takes the answer to the oldest chunk.
    async fn answer(&mut self) -> Result<(), StoreError> {
        let Some(expected) = self.unanswered.pop_front() else { return Ok(()) };
        let reply =
            Self::step(&self.client, &mut self.connection, async |c| c.reply(0).await).await?;
        let received = self.client.accepted(reply, self.subject).and_then(|reply| {
            match answer::read_data(&reply) {
                Ok(received) if received == expected => Ok(received),
                _ => Err(self.client.rejected("bytes were lost on their way")),
            }
        });
        match received {
            Ok(received) => {
                self.answered = received;
                Ok(())
            }
            Err(e) => {
                self.connection = None;
                Err(e)
            }
        }
    }

    async fn push(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        let so_far = self.sent + self.piece_bytes as u64;
        if bytes.len() as u64 > self.subject.bytes - so_far {
            self.connection = None;
            return Err(self.client.rejected("more bytes than announced"));
        }
        if self.stored.is_some() {
            self.sent += bytes.len() as u64;
            return Ok(());
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK_BYTES - self.piece_bytes));
            self.piece_bytes += piece.len();
            self.pieces.push(piece);
            if self.piece_bytes == CHUNK_BYTES || self.pieces.len() == PIECES_MAX {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self, name: Digest) -> Result<(), StoreError> {
        self.send().await?;
        if self.sent != self.subject.bytes {
            self.connection = None;
            return Err(self.client.rejected("fewer bytes than announced"));
        }
        let commit = Command::Commit { handle: self.handle, name, term: self.subject.term };
        Self::step(&self.client, &mut self.connection, async |connection| {
            connection.queue(&commit);
            connection.flush().await
        })
        .await?;
        while !self.unanswered.is_empty() {
            self.answer().await?;
        }
        let reply =
            Self::step(&self.client, &mut self.connection, async |c| c.reply(0).await).await?;
        if let Some(connection) = self.connection.take() {
            self.client.keep(connection);
        }
        let reply = self.client.accepted(reply, self.subject)?;
        answer::read_ok(&reply).map_err(|e| self.client.rejected(e))
    }
}

async fn timed<T>(
    client: &Client,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(client.options.request_timeout, step).await.unwrap_or(Err(Failure::TimedOut))
}

impl ShardUpload for NodeUpload {
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(self.push(bytes))
    }

    fn commit(self: Box<Self>, name: Digest) -> Pending<'static, ()> {
        Box::pin((*self).finish(name))
    }
}

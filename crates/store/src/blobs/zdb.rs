//! A plain 0-db server: one namespace in user mode, by its own protocol (RESP), with no native command.
//!
//! 0-db reads whole values only, so chunks are 256 KiB: what a read of a few leaves costs. It lists its keys in the order of
//! their making, so a list of shards scans the whole namespace: recovery and repair list, reads and offloads do not. Start
//! the server with `--sync`, or what it acknowledges is not durable.

mod reply;

use super::{BlobError, BlobFuture, Blobs};
use crate::NodeOptions;
use bytes::{Bytes, BytesMut};
use reply::{Value, parse};
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

const CHUNK_BYTES: u32 = 256 << 10;
/// Largest answer that is taken: a value, or what one `SCAN` gives.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// Keys that a list may find before it gives up.
const KEYS_MAX: usize = 8 << 20;

/// A namespace of a 0-db server.
#[derive(Debug)]
pub struct ZdbBlobs {
    address: String,
    namespace: String,
    password: Option<String>,
    options: NodeOptions,
    idle: Mutex<Vec<Connection>>,
    requests: Semaphore,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    input: BytesMut,
}

impl ZdbBlobs {
    /// The namespace of the server at `address` (`host:port`); created where it is not there and the server lets us.
    pub fn new(
        address: impl Into<String>,
        namespace: impl Into<String>,
        password: Option<String>,
        options: NodeOptions,
    ) -> Self {
        Self {
            address: address.into(),
            namespace: namespace.into(),
            password,
            options,
            idle: Mutex::default(),
            requests: Semaphore::new(options.requests_max.max(1)),
        }
    }

    async fn connect(&self) -> Result<Connection, BlobError> {
        let opened = timeout(self.options.connect_timeout, TcpStream::connect(&self.address)).await;
        let socket = match opened {
            Ok(Ok(socket)) => socket,
            Ok(Err(e)) => return Err(BlobError::Unreachable(e.to_string())),
            Err(_) => return Err(BlobError::Unreachable("connecting took too long".into())),
        };
        socket.set_nodelay(true).map_err(|e| BlobError::Unreachable(e.to_string()))?;
        let mut connection = Connection { socket, input: BytesMut::new() };
        let namespace = self.namespace.as_bytes();
        let mut select = vec![b"SELECT".as_slice(), namespace];
        select.extend(self.password.as_ref().map(String::as_bytes));
        if let Value::Error(first) = connection.exchange(&select).await? {
            // it may not be there yet
            let made = connection.exchange(&[b"NSNEW", namespace]).await?;
            let again = connection.exchange(&select).await?;
            if matches!(made, Value::Error(_)) || matches!(again, Value::Error(_)) {
                let reason = format!("namespace {} cannot be selected: {first}", self.namespace);
                return Err(BlobError::Refused(reason));
            }
        }
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// One command. A kept connection that turns out dead is replaced once.
    async fn call(&self, arguments: &[&[u8]]) -> Result<Value, BlobError> {
        let closed = |_| BlobError::Unreachable("it is closed".into());
        let _permit = self.requests.acquire().await.map_err(closed)?;
        let mut kept = self.take_idle();
        loop {
            let (mut connection, was_kept) = match kept.take() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            let answer = timeout(self.options.request_timeout, connection.exchange(arguments));
            match answer.await {
                Ok(Ok(Value::Error(reason))) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return Ok(Value::Error(reason));
                }
                Ok(Ok(value)) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return Ok(value);
                }
                Ok(Err(_)) if was_kept => {}
                Ok(Err(e)) => return Err(e),
                Err(_) => return Err(BlobError::Unreachable("no answer in time".into())),
            }
        }
    }
}

impl Connection {
    async fn exchange(&mut self, arguments: &[&[u8]]) -> Result<Value, BlobError> {
        let broken = |e: std::io::Error| BlobError::Unreachable(e.to_string());
        let bytes: usize = arguments.iter().map(|a| a.len() + 32).sum();
        let mut out = BytesMut::with_capacity(bytes + 32);
        prunedb_wire::put_array_head(arguments.len(), &mut out);
        arguments.iter().for_each(|argument| prunedb_wire::put_bulk(argument, &mut out));
        self.socket.write_all_buf(&mut out).await.map_err(broken)?;
        loop {
            match parse(&self.input) {
                Ok(Some((value, used))) => {
                    let _taken = self.input.split_to(used);
                    return Ok(value);
                }
                Ok(None) if self.input.len() < REPLY_BYTES_MAX => {}
                Ok(None) => return Err(BlobError::Refused("its answer is too long".into())),
                Err(reason) => return Err(BlobError::Refused(reason.into())),
            }
            if self.socket.read_buf(&mut self.input).await.map_err(broken)? == 0 {
                return Err(BlobError::Unreachable("it closed the connection".into()));
            }
        }
    }
}

fn refused(reason: &str) -> BlobError {
    if reason.starts_with("No space left") {
        BlobError::Full
    } else {
        BlobError::Refused(reason.into())
    }
}

fn unexpected() -> BlobError {
    BlobError::Refused("its answer is none of 0-db's".into())
}

impl Blobs for ZdbBlobs {
    fn chunk_bytes(&self) -> u32 {
        CHUNK_BYTES
    }

    fn reads_ranges(&self) -> bool {
        false
    }

    fn put(&self, key: String, value: Bytes) -> BlobFuture<'_, ()> {
        Box::pin(async move {
            match self.call(&[b"SET", key.as_bytes(), &value]).await? {
                // nil: the value is there already
                Value::Bulk(_) | Value::Nil => Ok(()),
                Value::Error(reason) => Err(refused(&reason)),
                _ => Err(unexpected()),
            }
        })
    }

    fn get(&self, key: String, range: Option<Range<u64>>) -> BlobFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            debug_assert!(range.is_none(), "0-db reads whole values");
            match self.call(&[b"GET", key.as_bytes()]).await? {
                Value::Bulk(value) => Ok(Some(value)),
                Value::Nil => Ok(None),
                Value::Error(reason) => Err(refused(&reason)),
                _ => Err(unexpected()),
            }
        })
    }

    fn delete(&self, key: String) -> BlobFuture<'_, ()> {
        Box::pin(async move {
            match self.call(&[b"DEL", key.as_bytes()]).await? {
                Value::Error(reason) if !reason.contains("not found") => Err(refused(&reason)),
                _ => Ok(()),
            }
        })
    }

    fn list(
        &self,
        prefix: String,
        _after: Option<String>,
        _count: usize,
    ) -> BlobFuture<'_, Vec<(String, u64)>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut cursor: Option<Bytes> = None;
            loop {
                let mut scan = vec![b"SCAN".as_slice()];
                scan.extend(cursor.as_deref());
                let (next, keys) = match self.call(&scan).await? {
                    Value::Error(_) => break, // no more data
                    Value::Array(answer) => match <[Value; 2]>::try_from(answer) {
                        Ok([Value::Bulk(next), Value::Array(keys)]) => (next, keys),
                        _ => return Err(unexpected()),
                    },
                    _ => return Err(unexpected()),
                };
                for entry in keys {
                    let Value::Array(entry) = entry else { return Err(unexpected()) };
                    let [Value::Bulk(key), Value::Integer(bytes), ..] = &entry[..] else {
                        return Err(unexpected());
                    };
                    // keys of others are none of ours
                    let Ok(key) = std::str::from_utf8(key) else { continue };
                    if key.starts_with(&prefix) {
                        found.push((key.to_owned(), u64::try_from(*bytes).unwrap_or(0)));
                    }
                }
                if found.len() > KEYS_MAX || cursor.as_ref() == Some(&next) {
                    return Err(BlobError::Refused("its namespace has too many keys".into()));
                }
                cursor = Some(next);
            }
            found.sort_unstable();
            found.dedup_by(|a, b| a.0 == b.0);
            Ok(found)
        })
    }
}

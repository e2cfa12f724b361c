//! `SET` and `DEL`: what they ask for. They run one after another under the namespace's writer.

use super::{Command, bulk};
use crate::zdb::{
    error::ZdbError,
    layout::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
    session::Session,
    write::{SetDone, WriteRun},
};
use bytes::Bytes;
use prunedb_wire::{Reply, parse_u64};

/// A command that writes.
#[derive(Debug)]
pub(crate) enum Write<'a> {
    Set { key: &'a Bytes, value: &'a Bytes, timestamp: u32 },
    Delete { key: &'a Bytes, timestamp: u32 },
}

impl<'a> Write<'a> {
    /// What a request asks for, if the session may.
    pub(crate) fn parse(
        command: &Command,
        arguments: &'a [Bytes],
        session: &Session,
        seconds: u32,
    ) -> Result<Self, ZdbError> {
        command.check(session, arguments.len())?;
        let is_delete = command.name == "DEL";
        let (key, rest) = arguments.split_first().ok_or(ZdbError::Count)?;
        let (value, rest) = match rest {
            _ if is_delete => (None, rest),
            [value, rest @ ..] => (Some(value), rest),
            [] => return Err(ZdbError::Count),
        };
        let timestamp = match rest {
            [] => seconds,
            [_] if !session.admin => return Err(ZdbError::NotAdmin),
            [given] => parse_u64(given)
                .and_then(|seconds| u32::try_from(seconds).ok())
                .ok_or(ZdbError::Argument { want: "a timestamp in seconds" })?,
            _ => return Err(ZdbError::Count),
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(ZdbError::KeyTooLong);
        }
        session.writable()?;
        match value {
            None if key.is_empty() => Err(ZdbError::Argument { want: "a key of 1 to 255 bytes" }),
            None => Ok(Self::Delete { key, timestamp }),
            Some(value) if value.len() > VALUE_BYTES_MAX => {
                Err(ZdbError::Argument { want: "a value of at most 8 MiB" })
            }
            Some(value) => Ok(Self::Set { key, value, timestamp }),
        }
    }

    pub(crate) fn key(&self) -> &'a Bytes {
        match self {
            Self::Set { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// Writes it.
    pub(crate) fn run(&self, run: &mut WriteRun<'_>) -> Result<Reply, ZdbError> {
        match *self {
            Self::Set { key, value, timestamp } => Ok(match run.set(key, value, timestamp)? {
                SetDone::Stored => bulk(key.clone()),
                SetDone::StoredAs(id) => bulk(id.to_le_bytes().to_vec()),
                SetDone::Same => Reply::Nil,
            }),
            Self::Delete { key, timestamp } => {
                run.delete(key, timestamp)?;
                Ok(Reply::OK)
            }
        }
    }
}

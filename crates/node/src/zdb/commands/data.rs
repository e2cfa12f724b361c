//! Reading keys.

use super::{Call, Next, bulk, integer};
use crate::zdb::{
    error::ZdbError,
    layout::{Position, RecordHeader, VALUE_BYTES_MAX},
    session::FREE_VALUE_BYTES,
};
use bytes::BytesMut;
use prunedb_wire::{CRLF, Reply, put_array_head, put_bulk_head};

/// `GET key`: the value, checked, or nil.
pub(super) fn get(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    let key = call.key()?.clone();
    put_value(call, &key)
}

/// `MGET key...`: the values go out one by one, so that memory is that of the longest.
pub(super) fn get_many(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    put_array_head(call.arguments.len(), call.out);
    call.session.more_keys.extend(call.arguments.iter().rev().cloned());
    Ok(Next::Done)
}

/// Appends a key's value or nil; `Room` where it is longer than there is room for.
pub(crate) fn put_value(call: &mut Call<'_>, key: &[u8]) -> Result<Next, ZdbError> {
    let (room, out) = (call.room_bytes, &mut *call.out);
    let start = out.len();
    let done = call.session.namespace.get(key, |bytes, fill| {
        if bytes > FREE_VALUE_BYTES && bytes > room {
            return Ok(Next::Room(bytes));
        }
        put_bulk_head(bytes, out);
        let value = out.len();
        out.resize(value + bytes, 0);
        fill(&mut out[value..])?;
        out.extend_from_slice(CRLF);
        Ok(Next::Done)
    });
    let counters = &call.session.shared.counters;
    match done {
        Ok(Some(next)) => {
            counters.value_bytes_read.add((out.len() - start) as u64);
            Ok(next)
        }
        Ok(None) => call.reply(&Reply::Nil),
        Err(e) => {
            // bytes that fail their check never leave
            out.truncate(start);
            counters.disk_errors.add(1);
            Err(e.into())
        }
    }
}

fn header(call: &mut Call<'_>) -> Result<Option<RecordHeader>, ZdbError> {
    call.session.readable()?;
    let key = call.key()?;
    Ok(call.session.namespace.find(key)?.map(|found| found.head.header))
}

fn answer(call: &mut Call<'_>, field: impl FnOnce(RecordHeader) -> u32) -> Result<Next, ZdbError> {
    let header = header(call)?;
    call.reply(&header.map_or(Reply::Nil, |header| integer(field(header))))
}

/// `EXISTS key`: 1 or 0.
pub(super) fn exists(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let found = header(call)?.is_some();
    call.reply(&integer(u8::from(found)))
}

/// `LENGTH key`: bytes of the value, or nil.
pub(super) fn length(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    answer(call, |header| header.value_bytes)
}

/// `KEYTIME key`: when it was set, or nil.
pub(super) fn key_time(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    answer(call, |header| header.timestamp)
}

/// `CHECK key`: whether the stored value is right, or nil.
pub(super) fn check(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    if call.room_bytes < VALUE_BYTES_MAX {
        return Ok(Next::Room(VALUE_BYTES_MAX));
    }
    let key = call.key()?.clone();
    let mut value = BytesMut::new();
    let checked = call.session.namespace.get(&key, |bytes, fill| {
        value.resize(bytes, 0);
        fill(&mut value)
    });
    let reply = match checked {
        Ok(None) => Reply::Nil,
        Ok(Some(())) => integer(1),
        Err(_) => integer(0),
    };
    call.reply(&reply)
}

/// `HISTORY key [cursor]`: a version, and the cursor of the one before it or nil.
pub(super) fn history(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    // the value, and its copy in the answer
    if call.room_bytes < 2 * VALUE_BYTES_MAX {
        return Ok(Next::Room(2 * VALUE_BYTES_MAX));
    }
    let key = call.key()?;
    let at = match call.arguments.get(1) {
        None => None,
        Some(cursor) => Some(read_cursor(cursor).ok_or(ZdbError::BadCursor)?),
    };
    let version = call.session.namespace.version(key, at)?.ok_or(ZdbError::NoKey)?;
    let older = version.older.map_or(Reply::Nil, |older| {
        bulk([older.log.to_le_bytes(), older.unit.to_le_bytes()].concat())
    });
    let reply = Reply::Array(vec![older, bulk(version.timestamp.to_string()), bulk(version.value)]);
    call.reply(&reply)
}

fn read_cursor(bytes: &[u8]) -> Option<Position> {
    let (log, rest) = bytes.split_first_chunk()?;
    let (unit, rest) = rest.split_first_chunk()?;
    rest.is_empty()
        .then(|| Position { log: u32::from_le_bytes(*log), unit: u32::from_le_bytes(*unit) })
}

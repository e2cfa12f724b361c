//! Walking over the keys of a namespace.
//!
//! A cursor is 17 bytes, little-endian: bytes of the key u8, log u32, bytes of the value u32, unit u32, CRC u32.

use super::{Call, Next, bulk, integer};
use crate::zdb::{
    error::ZdbError,
    layout::{Position, RecordHeader},
    namespace::Scanned,
    settings::Mode,
};
use prunedb_wire::Reply;

/// Entries of one answer.
const SCAN_COUNT: usize = 256;
/// Bytes of keys in one answer to `KSCAN`.
const KEYS_BYTES_MAX: usize = 4 << 20;
const CURSOR_BYTES: usize = 17;

fn cursor(position: Position, header: RecordHeader) -> Reply {
    let mut out = Vec::with_capacity(CURSOR_BYTES);
    out.push(header.key_bytes);
    for field in [position.log, header.value_bytes, position.unit, header.value_crc] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    bulk(out)
}

fn read_cursor(bytes: &[u8]) -> Result<Position, ZdbError> {
    let bytes: &[u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| ZdbError::BadCursor)?;
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let position = Position { log: field(1), unit: field(9) };
    if bytes[0] == 0 || position.unit == 0 {
        return Err(ZdbError::BadCursor);
    }
    Ok(position)
}

fn from(call: &Call<'_>) -> Result<Option<Position>, ZdbError> {
    call.session.readable()?;
    call.arguments.first().map(|cursor| read_cursor(cursor)).transpose()
}

fn answer(call: &mut Call<'_>, found: Vec<Scanned>) -> Result<Next, ZdbError> {
    let last = found.last().ok_or(ZdbError::NoMoreData)?;
    let next = cursor(last.position, last.header);
    let entries = found.into_iter().map(|Scanned { key, header, .. }| {
        Reply::Array(vec![bulk(key), integer(header.value_bytes), integer(header.timestamp)])
    });
    call.reply(&Reply::Array(vec![next, Reply::Array(entries.collect())]))
}

/// `SCAN [cursor]`: in the order in which they were set.
pub(super) fn forward(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let found = call.session.namespace.scan(from(call)?, SCAN_COUNT)?;
    answer(call, found)
}

/// `RSCAN [cursor]`: the other way round.
pub(super) fn backward(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let found = call.session.namespace.scan_back(from(call)?, SCAN_COUNT)?;
    answer(call, found)
}

/// `KSCAN prefix`: all keys that begin so.
pub(super) fn keys(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    if call.session.namespace.settings().mode == Mode::Sequence {
        return Err(ZdbError::NotInSequence);
    }
    let prefix = call.key()?;
    let (mut after, mut bytes, mut keys) = (None, 0, Vec::new());
    loop {
        let found = call.session.namespace.scan(after, SCAN_COUNT)?;
        let Some(last) = found.last() else { break };
        after = Some(last.position);
        for Scanned { key, .. } in found {
            if key.starts_with(prefix) {
                bytes += key.len() + 64;
                keys.push(bulk(key));
            }
        }
        if bytes > KEYS_BYTES_MAX {
            return Err(ZdbError::TooManyMatches { bytes_max: KEYS_BYTES_MAX });
        }
    }
    if keys.is_empty() {
        return Err(ZdbError::NoKeysMatch);
    }
    call.reply(&Reply::Array(vec![bulk("0"), Reply::Array(keys)]))
}

/// `KEYCUR key`: the cursor of a key, from which `SCAN` goes on.
pub(super) fn cursor_of(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.readable()?;
    let key = call.key()?;
    let found = call.session.namespace.find(key)?.ok_or(ZdbError::NoKey)?;
    let header = found.head.header;
    call.reply(&cursor(found.log.at(header.origin), header))
}

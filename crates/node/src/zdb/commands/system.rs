//! The server and the connection.

use super::{Call, Command, Next, bulk, integer, simple};
use crate::zdb::{
    error::ZdbError,
    layout::{Position, VALUE_BYTES_MAX},
    password::is_proof,
};
use prunedb_wire::{Reply, parse_u64};
use std::fmt::Write;

/// How long `WAIT` waits, if it does not say.
const WAIT_MS: u64 = 5000;

/// `PING`.
pub(super) fn ping(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.reply(&simple("PONG"))
}

/// `TIME`: seconds since 1970, and the microseconds behind them.
pub(super) fn time(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let (seconds, micros) = (call.now.as_secs(), call.now.subsec_micros());
    call.reply(&Reply::Array(vec![bulk(seconds.to_string()), bulk(micros.to_string())]))
}

/// `INFO`: lines of `field: value`.
pub(super) fn info(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let shared = &call.session.shared;
    let (counters, store) = (&shared.counters, &shared.store);
    let mut text = String::new();
    let mut line = |field: &str, value: &dyn std::fmt::Display| {
        _ = if value.to_string().is_empty() {
            writeln!(text, "# {field}")
        } else {
            writeln!(text, "{field}: {value}")
        };
    };
    let uptime = call.now.saturating_sub(shared.started).as_secs();
    line("server", &"");
    line("server_name", &"prunedb node (0-db)");
    line("server_revision", &env!("CARGO_PKG_VERSION"));
    line("engine_revision", &env!("CARGO_PKG_VERSION"));
    line("instance_id", &shared.instance);
    line("boot_time", &shared.started.as_secs());
    line("uptime", &uptime);
    line("clients", &"");
    line("clients_lifetime", &counters.clients.get());
    let (waiting, mirrors) = shared.feed.listeners();
    line("clients_waiting", &waiting);
    line("mirrors", &mirrors);
    line("internals", &"");
    line("sequential_key_size", &8);
    line("index_file_version", &1);
    line("data_file_version", &1);
    line("keys", &store.budget.keys());
    line("keys_max", &store.budget.keys_max);
    line("data_disk_bytes", &store.budget.bytes());
    line("sync", &if store.config.sync { "yes" } else { "no" });
    line("damage_found_at_start", &shared.damage_found);
    line("stats", &"");
    line("commands_executed", &counters.commands.get());
    line("commands_failed", &counters.failed.get());
    line("commands_unauthorized", &counters.unauthorized.get());
    line("disk_errors", &counters.disk_errors.get());
    line("data_disk_read_bytes", &counters.value_bytes_read.get());
    line("data_disk_write_bytes", &counters.value_bytes_written.get());
    line("network_rx_bytes", &counters.network_bytes_in.get());
    line("network_tx_bytes", &counters.network_bytes_out.get());
    call.reply(&bulk(text))
}

/// `AUTH password`, `AUTH SECURE CHALLENGE`, `AUTH SECURE proof`.
pub(super) fn auth(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let shared = std::sync::Arc::clone(&call.session.shared);
    let admin = shared.store.config.admin.as_ref().ok_or(ZdbError::NoAdmin)?;
    let right = match call.arguments {
        [given] => shared.store.is_admin(given)?,
        [how, _] if !how.eq_ignore_ascii_case(b"SECURE") => {
            return Err(ZdbError::Argument { want: "SECURE before a proof" });
        }
        [_, what] if what.eq_ignore_ascii_case(b"CHALLENGE") => {
            let mut nonce = [0; 8];
            getrandom::fill(&mut nonce).map_err(|e| ZdbError::Disk {
                doing: "make a challenge",
                source: std::io::Error::other(e.to_string()),
            })?;
            let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
            let reply = Reply::Simple(nonce.clone().into());
            call.session.nonce = Some(nonce);
            return call.reply(&reply);
        }
        [_, proof] => {
            let nonce = call.session.nonce.take().ok_or(ZdbError::NoChallenge)?;
            is_proof(&nonce, admin.as_bytes(), proof)
        }
        _ => return Err(ZdbError::Count),
    };
    if !right {
        return Err(call.session.denied());
    }
    call.session.admin = true;
    call.reply(&Reply::OK)
}

/// `WAIT command|* [milliseconds]`.
pub(super) fn wait(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    const WANT: ZdbError = ZdbError::Argument { want: "100 to 1800000 milliseconds" };
    let command = match &call.arguments[0][..] {
        b"*" => None,
        name => {
            let known = Command::find(name);
            Some(known.ok_or(ZdbError::Argument { want: "the name of a command, or *" })?.name)
        }
    };
    let timeout_ms = match call.arguments.get(1) {
        None => WAIT_MS,
        Some(ms) => parse_u64(ms).filter(|ms| (100..=1_800_000).contains(ms)).ok_or(WANT)?,
    };
    Ok(Next::Wait { command, timeout_ms })
}

/// `STOP`: for tests only.
pub(super) fn stop(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    if !call.session.shared.store.config.may_stop {
        return Err(ZdbError::Unauthorized);
    }
    simple("Stopping").encode(call.out);
    Ok(Next::Stop)
}

/// `HOOKS`: the last runs of the hook.
pub(super) fn hooks(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let reply = call.session.shared.hooks.list();
    call.reply(&reply)
}

/// `INDEX DIRTY [RESET]`: the logs that changed since the last reset.
pub(super) fn index(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    const WANT: ZdbError = ZdbError::Argument { want: "DIRTY, and perhaps RESET" };
    let [what, rest @ ..] = call.arguments else { return Err(ZdbError::Count) };
    if !what.eq_ignore_ascii_case(b"DIRTY") {
        return Err(WANT);
    }
    let namespace = &call.session.namespace;
    let reply = match rest {
        [] => Reply::Array(namespace.state().dirty.iter().copied().map(integer).collect()),
        [reset] if reset.eq_ignore_ascii_case(b"RESET") => {
            namespace.state_mut().dirty.clear();
            Reply::OK
        }
        _ => return Err(WANT),
    };
    call.reply(&reply)
}

/// `DATA RAW log offset`: the record at a byte offset: key, previous, crc, flags, timestamp, value.
pub(super) fn data(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    const WANT: ZdbError = ZdbError::Argument { want: "RAW, the number of a log, and an offset" };
    call.session.readable()?;
    if call.room_bytes < 2 * VALUE_BYTES_MAX {
        return Ok(Next::Room(2 * VALUE_BYTES_MAX));
    }
    let number = |at: usize| parse_u64(&call.arguments[at]).ok_or(WANT);
    if !call.arguments[0].eq_ignore_ascii_case(b"RAW") {
        return Err(WANT);
    }
    let (log, offset) = (number(1)?, number(2)?);
    let log = u32::try_from(log).map_err(|_| ZdbError::BadCursor)?;
    if offset % 16 != 0 {
        return Err(ZdbError::BadCursor);
    }
    let unit = u32::try_from(offset / 16).map_err(|_| ZdbError::BadCursor)?;
    let found = call.session.namespace.at(Position { log, unit });
    let (log, head) = found.ok_or(ZdbError::BadCursor)?;
    let mut value = vec![0; head.header.value_len()];
    log.value(&head, &mut value)?;
    let previous = head.header.previous.map_or(0, |previous| u64::from(previous.unit) * 16);
    let is_deleted = head.header.kind != crate::zdb::layout::Kind::Value;
    let reply = Reply::Array(vec![
        bulk(head.key().to_vec()),
        integer(previous),
        integer(head.header.value_crc),
        integer(u8::from(is_deleted)),
        integer(head.header.timestamp),
        bulk(value),
    ]);
    call.reply(&reply)
}

/// `MIRROR`: from now on, every command of everybody.
pub(super) fn mirror(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    simple("Starting mirroring").encode(call.out);
    Ok(Next::Mirror)
}

/// `MASTER`: this connection brings commands from another server, each with its first owner behind it.
pub(super) fn master(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.master = true;
    call.reply(&simple("Hello, master"))
}

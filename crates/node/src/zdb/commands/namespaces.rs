//! Namespaces: choosing, making, changing, emptying.

use super::{Call, Next, bulk, integer};
use crate::zdb::{
    error::ZdbError,
    hook::Event,
    password::{PASSWORD_BYTES_MAX, is_proof},
    settings::Mode,
    store::{Change, no_hash},
};
use prunedb_wire::{Reply, parse_u64};
use std::{fmt::Write, sync::Arc, sync::atomic::Ordering};
use zeroize::Zeroizing;

/// `SELECT namespace [password]`, `SELECT namespace SECURE proof`.
pub(super) fn select(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let namespace = call.session.shared.store.get(&call.arguments[0])?;
    let (password, public) = {
        let settings = namespace.settings();
        (settings.password.clone(), settings.public)
    };
    let mut writable = true;
    if let Some(password) = password {
        match &call.arguments[1..] {
            [] if !public => return Err(ZdbError::Private),
            [] => writable = false,
            [given] => {
                if given.len() > PASSWORD_BYTES_MAX || !password.is(given).map_err(no_hash)? {
                    return Err(call.session.denied());
                }
            }
            [how, proof, ..] => {
                if !how.eq_ignore_ascii_case(b"SECURE") {
                    return Err(ZdbError::Argument { want: "SECURE before a proof" });
                }
                let nonce = call.session.nonce.take().ok_or(ZdbError::NoChallenge)?;
                let clear = password.clear().ok_or(ZdbError::NoClearPassword)?;
                if !is_proof(&nonce, clear, proof) {
                    return Err(call.session.denied());
                }
            }
        }
    }
    call.session.namespace = namespace;
    call.session.writable = writable;
    call.reply(&Reply::OK)
}

/// `NSLIST`.
pub(super) fn list(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let names = call.session.shared.store.list().into_iter().map(bulk).collect();
    call.reply(&Reply::Array(names))
}

/// `NSINFO namespace`: lines of `field: value`.
pub(super) fn info(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let shared = Arc::clone(&call.session.shared);
    let namespace = shared.store.get(&call.arguments[0])?;
    let settings = namespace.settings().clone();
    let (entries, index_bytes, value_bytes) = {
        let state = namespace.state();
        (state.index.len(), state.index.bytes(), state.value_bytes)
    };
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mode = match settings.mode {
        Mode::User => "userkey",
        Mode::Sequence => "sequential",
    };
    let free_bytes = shared.store.budget.free();
    let next_id = crate::state::lock(&namespace.writer).next_id;
    let mut text = String::from("# namespace\n");
    let mut line = |field: &str, value: &dyn std::fmt::Display| {
        _ = writeln!(text, "{field}: {value}");
    };
    line("name", &String::from_utf8_lossy(&settings.name));
    line("entries", &entries);
    line("public", &yes(settings.public));
    line("worm", &yes(settings.worm));
    line("locked", &yes(settings.lock));
    line("frozen", &yes(settings.freeze));
    line("password", &yes(settings.password.is_some()));
    line("data_size_bytes", &value_bytes);
    line("data_size_mb", &mib(value_bytes));
    line("data_limits_bytes", &settings.size_max);
    line("index_size_bytes", &index_bytes);
    line("index_size_kb", &format!("{:.2}", index_bytes as f64 / 1024.0));
    line("next_internal_id", &format!("0x{:08x}", next_id.swap_bytes() >> 32));
    line("mode", &mode);
    line("stats_data_io_errors", &namespace.disk_errors.load(Ordering::Relaxed));
    if settings.size_max > 0 {
        line("space_available", &settings.size_max.saturating_sub(value_bytes));
    }
    line("data_disk_bytes", &namespace.log_bytes());
    for disk in ["index", "data"] {
        line(&format!("{disk}_disk_freespace_bytes"), &free_bytes);
        line(&format!("{disk}_disk_freespace_mb"), &mib(free_bytes));
    }
    if call.session.master
        && let Some(clear) = settings.password.as_ref().and_then(|password| password.clear())
    {
        line("password_raw", &String::from_utf8_lossy(clear));
    }
    call.reply(&bulk(text))
}

fn mib(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 20))
}

/// `DBSIZE`: keys of the namespace.
pub(super) fn entries(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let entries = call.session.namespace.state().index.len();
    call.reply(&integer(entries))
}

/// `NSNEW namespace`.
pub(super) fn create(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.shared.store.create(&call.arguments[0])?;
    told(call, "namespace-created")
}

/// `NSDEL namespace`.
pub(super) fn delete(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let name = &call.arguments[0];
    let store = &call.session.shared.store;
    if Arc::ptr_eq(&store.get(name)?, &call.session.namespace) {
        return Err(ZdbError::InUse);
    }
    store.delete(name)?;
    told(call, "namespace-deleted")
}

fn told(call: &mut Call<'_>, event: &'static str) -> Result<Next, ZdbError> {
    let arguments = call.arguments.iter().take(2).cloned().collect();
    call.session.shared.hooks.tell(Event { name: event, arguments });
    call.reply(&Reply::OK)
}

/// `NSSET namespace property value`.
pub(super) fn set(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let [name, property, value] = call.arguments else { return Err(ZdbError::Count) };
    if value.len() > PASSWORD_BYTES_MAX {
        return Err(ZdbError::Argument { want: "a value of at most 63 bytes" });
    }
    // as 0-db reads it: what does not begin with 1 is 0
    let yes = value.first() == Some(&b'1');
    let change = match &property.to_ascii_lowercase()[..] {
        b"maxsize" => Change::SizeMax(
            parse_u64(value).ok_or(ZdbError::Argument { want: "a whole number of bytes" })?,
        ),
        b"password" if value[..] == *b"*" => Change::Password(None),
        b"password" if value.is_empty() => {
            return Err(ZdbError::Argument { want: "a password, or * for none" });
        }
        b"password" => Change::Password(Some(Zeroizing::new(value.to_vec()))),
        b"public" => Change::Public(yes),
        b"worm" => Change::Worm(yes),
        b"lock" => Change::Lock(yes),
        b"freeze" => Change::Freeze(yes),
        b"mode" => Change::Mode(match &value[..] {
            b"user" => Mode::User,
            b"seq" => Mode::Sequence,
            _ => return Err(ZdbError::Argument { want: "user or seq" }),
        }),
        _ => {
            return Err(ZdbError::Argument {
                want: "maxsize, password, public, worm, mode, lock or freeze",
            });
        }
    };
    call.session.shared.store.change(name, &change)?;
    told(call, "namespace-updated")
}

/// `NSJUMP`: the next record begins a new log.
pub(super) fn jump(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.namespace.write().begin_log()?;
    call.reply(&Reply::OK)
}

/// `RELOAD namespace`: reads it anew from the disk.
pub(super) fn reload(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    let namespace = call.session.shared.store.get(&call.arguments[0])?;
    let mut report = crate::OpenReport::default();
    namespace.load(&mut report).map_err(ZdbError::disk("read data"))?;
    told(call, "namespace-reloaded")
}

/// `FLUSH`: removes all keys of a private namespace.
pub(super) fn flush(call: &mut Call<'_>) -> Result<Next, ZdbError> {
    call.session.writable()?;
    let namespace = Arc::clone(&call.session.namespace);
    let flushable = {
        let settings = namespace.settings();
        settings.password.is_some() && !settings.public
    };
    if !flushable {
        return Err(ZdbError::NotFlushable);
    }
    namespace.flush().map_err(ZdbError::disk("remove data"))?;
    call.reply(&Reply::OK)
}

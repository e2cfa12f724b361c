//! Figures for Prometheus, and whether the node is well: `GET /metrics`, `GET /healthz` over HTTP/1.1.
//!
//! One small request per connection, few at once; nothing else of HTTP is understood. The names are listed in
//! `docs/format/node-protocol.md`.

use crate::server::{Shared, stop};
use std::{fmt::Write, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};

const REQUEST_BYTES_MAX: usize = 8 << 10;
const AT_ONCE_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers until the node stops.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop(&mut stopped) => return,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // one too many is closed without a word
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // who asks too slowly, or goes, gets nothing
            _ = timeout(PATIENCE, answer(socket, &shared)).await;
            drop(place);
        });
    }
}

async fn answer(mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut more = [0; 1024];
        let count = socket.read(&mut more).await?;
        if count == 0 || request.len() + count > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(&more[..count]);
    }
    let line = request.split(|&b| b == b'\r').next().unwrap_or_default();
    let (status, text) = match line.split(|&b| b == b' ').collect::<Vec<_>>()[..] {
        [b"GET", b"/metrics", _] => ("200 OK", metrics(shared).await),
        [b"GET", b"/healthz", _] => match health(shared).await {
            Ok(()) => ("200 OK", "ok\n".to_owned()),
            Err(why) => ("503 Service Unavailable", format!("{why}\n")),
        },
        [b"GET", ..] => ("404 Not Found", "there are /metrics and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}

/// Whether the disk answers, and has room.
async fn health(shared: &Shared) -> Result<(), String> {
    let node = shared.node.clone();
    let space = shared.disk(move || node.space()).await;
    match space {
        Ok(Ok(space)) if space.used_bytes < space.capacity_bytes => Ok(()),
        Ok(Ok(_)) => Err("full".to_owned()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("stopping".to_owned()),
    }
}

async fn metrics(shared: &Shared) -> String {
    let node = shared.node.clone();
    let space = shared.disk(move || node.space()).await.ok().and_then(Result::ok);
    let scrub = shared.node.scrub_status();
    let report = shared.node.report();
    let (counters, store) = (&shared.zdb.counters, &shared.zdb.store);
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        _ = writeln!(
            text,
            "# HELP prunedb_node_{name} {help}\n# TYPE prunedb_node_{name} {kind}\nprunedb_node_{name} {value}"
        );
    };
    if let Some(space) = space {
        put("capacity_bytes", "gauge", "bytes that the node may hold", space.capacity_bytes);
        put("used_bytes", "gauge", "bytes that it holds", space.used_bytes);
        put("shards", "gauge", "shards that it holds", space.shards);
    }
    let received = &shared.received;
    let of_data = "bytes of shards of data containers that came over the network";
    put("received_data_bytes_total", "counter", of_data, received.data_bytes.get());
    let of_others = "the same of manifest and index containers";
    put("received_other_bytes_total", "counter", of_others, received.other_bytes.get());
    if let Some(reserve) = &shared.node.config().reserve {
        let (shards, bytes) = reserve.made();
        let help = "shards that this machine made from its own copy of the history";
        put("own_shards_total", "counter", help, shards);
        put("own_shards_bytes_total", "counter", "their bytes", bytes);
    }
    put("values_bytes", "gauge", "bytes of value logs", store.budget.bytes());
    put("keys", "gauge", "keys of all namespaces", store.budget.keys());
    put("damage_at_start", "gauge", "damages found at the start", report.damage_count);
    put("connections_total", "counter", "connections so far", counters.clients.get());
    put("commands_total", "counter", "0-db commands so far", counters.commands.get());
    put(
        "commands_failed_total",
        "counter",
        "of these, answered with an error",
        counters.failed.get(),
    );
    put(
        "logins_denied_total",
        "counter",
        "wrong passwords, and commands that no capability allows",
        counters.unauthorized.get(),
    );
    put("disk_errors_total", "counter", "reads and writes that failed", counters.disk_errors.get());
    put("received_bytes_total", "counter", "bytes from clients", counters.network_bytes_in.get());
    put("sent_bytes_total", "counter", "bytes to clients", counters.network_bytes_out.get());
    put("scrub_rounds_total", "counter", "rounds of scrubbing completed", scrub.rounds);
    put(
        "scrub_round_ended_seconds",
        "gauge",
        "when the last one ended, since 1970",
        scrub.last_ended,
    );
    put("scrub_round_bytes", "gauge", "bytes checked in this round", scrub.bytes);
    put("scrub_damaged_total", "counter", "shards found damaged by scrubbing", scrub.damaged_count);
    text
}

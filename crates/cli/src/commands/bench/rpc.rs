//! `prunedb bench rpc`: how fast an address answers for blocks by JSON-RPC, such as that of `prunedb serve ethereum-rpc`.
//!
//! Each client has a connection that stays open and one request under way. What the clients themselves take counts, too, where they
//! share the machine's cores.

use crate::{
    io::{Exit, Io},
    text::rounded,
};
use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// An answer may take so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchRpc {
    /// Where to ask
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8555")]
    address: String,
    /// The first block
    #[arg(long, value_name = "HEIGHT", default_value = "0")]
    from: u64,
    /// The last block
    #[arg(long, value_name = "HEIGHT")]
    to: u64,
    /// Connections, each with a thread
    #[arg(long, default_value = "8")]
    clients: NonZero<usize>,
    /// How long to ask for random blocks
    #[arg(long, value_name = "SECONDS", default_value = "10", conflicts_with = "once")]
    seconds: u64,
    /// Ask for each block once, in random order, instead: what is cold stays so
    #[arg(long)]
    once: bool,
    /// With --once: only one block of so many, so that each comes from another frame
    #[arg(long, value_name = "BLOCKS", default_value = "1", requires = "once")]
    every: NonZero<usize>,
    /// Whole transactions instead of their hashes
    #[arg(long)]
    full: bool,
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    latencies_us: Vec<u64>,
    bytes: u64,
}

pub(super) fn run(args: &BenchRpc, io: &mut Io) -> anyhow::Result<Exit> {
    let blocks = args.to.checked_sub(args.from).and_then(|above| above.checked_add(1));
    let blocks = blocks.context("--to is below --from")?;
    ensure!(!args.once || blocks <= 10_000_000, "--once: at most 10,000,000 blocks");
    let order: Vec<u64> = match args.once {
        true => shuffled(args.from, blocks, args.every.get()),
        false => Vec::new(),
    };
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let pick = |number: u64| match args.once {
        true => usize::try_from(number).ok().and_then(|at| order.get(at).copied()),
        false if started.elapsed().as_secs() < args.seconds => {
            Some(args.from + mixed(number) % blocks)
        }
        false => None,
    };
    let seen = thread::scope(|scope| {
        let client = || ask(args, || pick(next.fetch_add(1, Ordering::Relaxed)));
        let clients: Vec<_> = (0..args.clients.get()).map(|_| scope.spawn(client)).collect();
        let joined = clients.into_iter().map(|client| client.join().expect("it does not panic"));
        joined.collect::<anyhow::Result<Vec<Seen>>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes: u64 = seen.iter().map(|seen| seen.bytes).sum();
    let mut all: Vec<u64> = seen.into_iter().flat_map(|seen| seen.latencies_us).collect();
    all.sort_unstable();
    let at = |percent: usize| all.get((all.len().saturating_sub(1)) * percent / 100).copied();
    let ms = |percent| rounded(Duration::from_micros(at(percent).unwrap_or(0)).as_secs_f64() * 1e3);
    let rate = rounded(f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX)) / seconds);
    let result = json!({
        "requests": all.len(),
        "per_second": rate,
        "p50_ms": ms(50),
        "p90_ms": ms(90),
        "p99_ms": ms(99),
        "max_ms": ms(100),
        "answer_bytes": bytes.checked_div(all.len() as u64),
        "seconds": rounded(seconds),
    });
    if io.json {
        io.json(&result)?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{} answers of {} bytes in {} s: {}/s; p50 {} ms, p90 {}, p99 {}, max {}",
        result["requests"],
        result["answer_bytes"],
        result["seconds"],
        result["per_second"],
        result["p50_ms"],
        result["p90_ms"],
        result["p99_ms"],
        result["max_ms"]
    ))?;
    Ok(Exit::Done)
}

/// One client's requests, until there are no more.
fn ask(args: &BenchRpc, pick: impl Fn() -> Option<u64>) -> anyhow::Result<Seen> {
    let socket = TcpStream::connect(&args.address)
        .with_context(|| format!("cannot connect to {}", args.address))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::with_capacity(64 << 10, socket.try_clone()?);
    let (mut socket, mut seen, mut body) = (socket, Seen::default(), Vec::new());
    while let Some(height) = pick() {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["{height:#x}",{}]}}"#,
            args.full
        );
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{call}",
            args.address,
            call.len()
        );
        let started = Instant::now();
        socket.write_all(request.as_bytes())?;
        read_answer(&mut answers, &mut body)?;
        let took = started.elapsed().as_micros();
        seen.latencies_us.push(u64::try_from(took).unwrap_or(u64::MAX));
        seen.bytes += body.len() as u64;
        if !body.windows(13).any(|window| window == b"\"parentHash\":".as_slice()) {
            let start = String::from_utf8_lossy(&body[..body.len().min(300)]);
            bail!("block {height} is not answered: {start}");
        }
    }
    Ok(seen)
}

/// Reads one response's body.
fn read_answer(answers: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> anyhow::Result<()> {
    let (mut line, mut length) = (String::new(), None);
    loop {
        line.clear();
        ensure!(answers.read_line(&mut line)? > 0, "the connection was closed");
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.filter(|&length| length <= ANSWER_BYTES_MAX);
    body.resize(length.context("an answer without its length, or too long")?, 0);
    answers.read_exact(body)?;
    Ok(())
}

/// Heights, each once, in an order that looks random and is the same each time.
fn shuffled(from: u64, blocks: u64, every: usize) -> Vec<u64> {
    let mut heights: Vec<u64> = (from..from + blocks).step_by(every).collect();
    heights.sort_by_key(|&height| mixed(height));
    heights
}

/// A number that looks random (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_height_once() {
        let mut heights = shuffled(7, 1000, 1);
        assert_ne!(heights[..3], [7, 8, 9]);
        heights.sort_unstable();
        assert!(heights.into_iter().eq(7..1007));
        assert_eq!(shuffled(0, 100, 40).len(), 3);
    }
}

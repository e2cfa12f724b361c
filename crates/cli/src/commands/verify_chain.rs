//! `prunedb verify CHAIN --range A..B`: what is stored of a chain, against what the chain itself promises.

use super::{bitcoin, casper, ethereum};
use crate::{
    archive::DbArchive,
    args,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::{Context, ensure};
use prunedb_chains::{
    bitcoin::BitcoinVerifier,
    contract::{ChainError, ChainVerifier, verify_range},
    ethereum::EthereumVerifier,
};
use serde_json::json;
use std::{
    ops::RangeInclusive,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Chains that can be verified.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// hash, roots of the body; from `roots` on, of receipts
    Ethereum,
    /// hashes; roots of approvals; signatures
    Casper,
    /// proof of work, Merkle root, witness commitment; from `roots` on, undo data
    Bitcoin,
}

/// `A..B`: from A to B, both included; `A..` and `..B` are open.
///
/// # Errors
/// When it is no range.
pub(crate) fn parse_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("`{text}` is no range of heights such as 100..199");
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str, or: u64| match text {
        "" => Ok(or),
        text => text.parse().map_err(|_| wrong()),
    };
    let range = number(first, 0)?..=number(last, u64::MAX)?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

pub(super) fn run(
    chain: Chain,
    args: &args::Verify,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    match chain {
        Chain::Ethereum => {
            let network = args.network.as_deref().map(str::parse).transpose()?;
            let network = ethereum::network(&session.db, network.as_ref())?;
            verify(&EthereumVerifier::new(&network), args, session, io)
        }
        Chain::Casper => {
            let verifier = casper::verifier(&session.db, args.network.as_deref())?;
            verify(&verifier, args, session, io)
        }
        Chain::Bitcoin => {
            let network = args.network.as_deref().map(str::parse).transpose()?;
            let network = bitcoin::network(&session.db, network)?;
            verify(&BitcoinVerifier::new(network), args, session, io)
        }
    }
}

fn verify<V: ChainVerifier>(
    verifier: &V,
    args: &args::Verify,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let heights = args.range.clone().unwrap_or(0..=u64::MAX);
    let name = format!("{} {}", verifier.chain(), verifier.network());
    let (started, cancelled) = (Instant::now(), Arc::clone(&io.cancelled));
    let what = format!("verify {name}");
    let verified = verify_range(
        &archive,
        verifier,
        heights.clone(),
        args.level,
        casper::threads(session),
        &mut |progress| {
            let step = Step { what: what.clone(), done: progress.bytes_done, total: 0 };
            io.sink.step(step);
            !cancelled.load(Ordering::Relaxed)
        },
    );
    let report = match verified {
        Ok(report) => report,
        Err(error @ ChainError::Stored { .. }) => {
            io.note(format!("{error}: `prunedb verify --deep` finds damaged shards, `prunedb repair` rebuilds them"));
            return Ok(Exit::No);
        }
        Err(error) => return Err(error).context(name),
    };
    ensure!(
        !io.cancelled.load(Ordering::Relaxed),
        "cancelled: go on with --range {}..{}",
        report.next,
        if *heights.end() == u64::MAX { String::new() } else { heights.end().to_string() }
    );
    let took = started.elapsed();
    if io.json {
        io.json(&json!({
            "chain": verifier.chain(),
            "network": verifier.network(),
            "level": args.level.name(),
            "blocks": report.blocks,
            "blocks_partial": report.partial,
            "transactions": report.transactions,
            "signatures": report.signatures,
            "bytes": report.bytes,
            "gaps": report.gaps,
            "gap_count": report.gap_count,
            "next": report.next,
            "seconds": took.as_secs_f64(),
            "mb_per_s": mb_per_s(report.bytes, took),
        }))?;
    } else {
        io.line(format_args!(
            "{name}: {} ({} not whole), {}, {} verified ({}), {} at {} MB/s",
            count(report.blocks, "block"),
            report.partial,
            count(report.transactions, "transaction"),
            count(report.signatures, "signature"),
            args.level,
            size(report.bytes),
            mb_per_s(report.bytes, took)
        ))?;
        for (first, last) in &report.gaps {
            io.line(format_args!("not stored: {first}-{last}"))?;
        }
    }
    Ok(Exit::of(report.gap_count == 0))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_of_heights() {
        assert_eq!(parse_range("1..20"), Ok(1..=20));
        assert_eq!(parse_range("..20"), Ok(0..=20));
        assert_eq!(parse_range("7.."), Ok(7..=u64::MAX));
        for wrong in ["", "7", "20..1", "a..b", "1-2", "1..=2"] {
            parse_range(wrong).unwrap_err();
        }
    }
}

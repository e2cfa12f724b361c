//! `prunedb prune ethereum`: `.era1` and `.ere` files that are archived, byte for byte, off the node's disk.

use super::{file::KnownFile, sha256_of};
use crate::{
    archive::DbArchive,
    commands::{history::Safety, maintain::depth},
    io::{Exit, Io},
    session::Session,
    text::{count, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which files.
#[derive(Args, Debug, Clone)]
pub(crate) struct PruneEthereum {
    /// .era1 and .ere files, or folders that have some
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Show only; nothing is deleted
    #[arg(long)]
    dry_run: bool,
    /// Read every byte of every shard and hash it, instead of asking each node what it has
    #[arg(long)]
    deep: bool,
}

/// A file, and what stands against its deletion.
struct Candidate {
    path: PathBuf,
    bytes: u64,
    heights: Option<(u64, u64)>,
    containers: Vec<serde_json::Value>,
    /// empty: it goes
    reasons: Vec<String>,
}

pub(crate) fn run(args: &PruneEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let mut files = Vec::new();
    for path in &args.paths {
        let path = io.path(path);
        let before = files.len();
        files.extend(files_of(&path)?);
        ensure!(files.len() > before, "{} has no .era1 or .ere files", path.display());
    }
    let safety = Safety::now(session, depth(args.deep, None), io)?;
    let mut candidates = Vec::new();
    for path in files {
        io.check_cancelled()?;
        candidates.push(candidate(path, session, &safety, io)?);
    }
    let mut freed = 0;
    for candidate in candidates.iter().filter(|candidate| candidate.reasons.is_empty()) {
        if !args.dry_run {
            let path = &candidate.path;
            std::fs::remove_file(path)
                .with_context(|| format!("cannot delete {}", path.display()))?;
        }
        freed += candidate.bytes;
    }
    report(args, &candidates, freed, io)?;
    Ok(Exit::of(candidates.iter().all(|candidate| candidate.reasons.is_empty())))
}

fn candidate(
    path: PathBuf,
    session: &Session,
    safety: &Safety,
    io: &mut Io,
) -> anyhow::Result<Candidate> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let (sha256, bytes) = sha256_of(&path, io)?;
    let mut candidate =
        Candidate { path, bytes, heights: None, containers: Vec::new(), reasons: Vec::new() };
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let Some((network, epoch, known)) = KnownFile::by_name(&archive, &name)? else {
        candidate.reasons.push("its name is not that of an .era1 or .ere file".into());
        return Ok(candidate);
    };
    let Some(known) = known else {
        let what = format!("epoch {epoch} of {network} is not archived from such a file");
        candidate.reasons.push(what);
        return Ok(candidate);
    };
    if known.sha256 != sha256 {
        let archived = &known.sha256;
        candidate
            .reasons
            .push(format!("its SHA-256 is {sha256}, the archived file has {archived}"));
        return Ok(candidate);
    }
    if known.original_kept {
        candidate.reasons.push(
            "its own bytes are archived beside its blocks, in containers that have no heights: whether they are safe cannot be told here".into(),
        );
    }
    let heights = known.heights;
    let tables = format!("ethereum/{network}/");
    candidate.heights = Some(heights);
    candidate.reasons.extend(safety.against(&tables, &[heights]));
    candidate.containers = safety.containers(&tables, &[heights]);
    if candidate.containers.is_empty() {
        candidate.reasons.push("no closed container has its blocks yet".into());
    }
    Ok(candidate)
}

/// The file, or those of a folder, by name.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("cannot read {}", path.display());
    if !std::fs::metadata(path).with_context(reading)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let file = entry.with_context(reading)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_one = |extension: &std::ffi::OsStr| extension == "era1" || extension == "ere";
        if !hidden && file.extension().is_some_and(is_one) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn report(
    args: &PruneEthereum,
    candidates: &[Candidate],
    freed: u64,
    io: &mut Io,
) -> anyhow::Result<()> {
    if io.json {
        let files: Vec<_> = candidates
            .iter()
            .map(|candidate| {
                json!({
                    "file": candidate.path,
                    "file_bytes": candidate.bytes,
                    "first_height": candidate.heights.map(|(first, _)| first),
                    "last_height": candidate.heights.map(|(_, last)| last),
                    "containers": candidate.containers,
                    "reasons": candidate.reasons,
                    "deleted": candidate.reasons.is_empty() && !args.dry_run,
                })
            })
            .collect();
        return io.json(&json!({"dry_run": args.dry_run, "files": files, "bytes": freed}));
    }
    for Candidate { path, reasons, containers, .. } in candidates {
        match &reasons[..] {
            [] => io.line(format_args!(
                "{}: {}; archived byte for byte, in {} whose shards are all there",
                path.display(),
                if args.dry_run { "may be deleted" } else { "deleted" },
                count(containers.len() as u64, "container")
            ))?,
            reasons => {
                io.line(format_args!("{}: stays: {}", path.display(), reasons.join("; ")))?
            }
        }
    }
    let verb = if args.dry_run { "would be freed" } else { "were freed" };
    io.note(format!("{} {verb}", size(freed)));
    if args.dry_run {
        io.note("dry run: nothing was deleted");
    }
    Ok(())
}

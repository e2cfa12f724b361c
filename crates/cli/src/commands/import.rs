//! `prunedb import ethereum`: files are verified, stored, and at the end offloaded.

use super::ethereum::explained;
use crate::{
    archive::DbArchive,
    args::ImportEthereum,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::{Context, bail, ensure};
use prunedb_chains::ethereum::{
    Hash32, ImportOptions, ImportReport, Network, Stage, history_files, import_path,
};
use serde_json::json;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How deep folders are searched: against loops of links.
const FOLDER_DEPTH_MAX: usize = 16;

pub(super) fn run(args: &ImportEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let checksums =
        args.checksums.as_ref().map(|path| read_checksums(&io.path(path))).transpose()?;
    let paths: Vec<PathBuf> = args.paths.iter().map(|path| io.path(path)).collect();
    let files = find_files(&paths)?;
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let started = Instant::now();
    let threads = session.config.threads;
    let imported =
        import_files(&mut archive, &files, args.network.as_ref(), checksums.as_ref(), threads, io)?;
    // what is stored of the chain is durable; the rest of the time is the lake's
    let stored_in = started.elapsed();
    db.flush(&mut |p| io.progress(p)).context(
        "everything was imported and is safe here, but not all of it is in the lake yet; the next `prunedb import`, \
         `evict` or `up` goes on with that",
    )?;
    write_report(&imported, stored_in, started.elapsed(), io)
}

/// What an import did, file by file.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) files: Vec<ImportReport>,
}

impl Imported {
    fn sum(&self, of: impl Fn(&ImportReport) -> u64) -> u64 {
        self.files.iter().map(of).sum()
    }
}

/// Takes files in, one after another; the first bad one ends it.
pub(crate) fn import_files(
    archive: &mut DbArchive,
    files: &[PathBuf],
    network: Option<&Network>,
    checksums: Option<&HashMap<String, Hash32>>,
    threads: usize,
    io: &mut Io,
) -> anyhow::Result<Imported> {
    let mut imported = Imported::default();
    for file in files {
        io.check_cancelled()?;
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let mut options = ImportOptions::default();
        options.network = network.cloned();
        options.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        if let Some(checksums) = checksums {
            let sum = checksums.get(&name);
            options.sha256 =
                Some(*sum.with_context(|| format!("{name} is not in the list of checksums"))?);
        }
        let started = Instant::now();
        let report = import_path(archive, file, &options, &mut |p| {
            let verb = match p.stage {
                Stage::Comparing => "compare",
                Stage::Verifying => "verify",
                _ => "store",
            };
            let what = format!("{verb} {name}");
            io.sink.step(Step { what, done: p.bytes_done, total: p.bytes_total });
        });
        let report = report.map_err(|e| {
            let before = match imported.files.len() {
                0 => String::new(),
                n => format!(" ({} before it stored)", count(n as u64, "file")),
            };
            explained(e).context(format!("import of {} stopped{before}", file.display()))
        })?;
        note(&report, started.elapsed(), io);
        imported.files.push(report);
    }
    Ok(imported)
}

fn note(report: &ImportReport, took: Duration, io: &mut Io) {
    let ImportReport { file, blocks, blocks_stored, transactions, decoded_bytes, .. } = report;
    if report.skipped {
        io.note(format!("{file}: imported before, nothing to do"));
        return;
    }
    let stored = if blocks_stored == blocks {
        String::new()
    } else {
        format!(" ({blocks_stored} of them new)")
    };
    io.note(format!(
        "{file}: {}{stored}, {}, {} verified and stored at {} MB/s",
        count(*blocks, "block"),
        count(*transactions, "transaction"),
        size(*decoded_bytes),
        mb_per_s(*decoded_bytes, took)
    ));
    if report.gaps > 0 {
        io.note(format!("{file}: {} between its blocks", count(report.gaps, "gap")));
    }
    if let Some(bytes) = report.original_bytes_kept {
        io.note(format!(
            "{file}: encoding it again gives other bytes, so its {} are kept too, for a bit-identical export",
            size(bytes)
        ));
    }
    if let Some(sha256) = report.first_file {
        io.note(format!("{file}: its epoch was imported from another file before, its blocks agree; export gives that first file ({sha256})"));
    }
}

fn write_report(
    imported: &Imported,
    stored_in: Duration,
    took: Duration,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let blocks = imported.sum(|r| r.blocks);
    let blocks_stored = imported.sum(|r| r.blocks_stored);
    let transactions = imported.sum(|r| r.transactions);
    let bytes = imported.sum(|r| if r.skipped { 0 } else { r.decoded_bytes });
    let skipped = imported.files.iter().filter(|r| r.skipped).count();
    let kept: Vec<&ImportReport> =
        imported.files.iter().filter(|r| r.original_bytes_kept.is_some()).collect();
    if io.json {
        let files: Vec<_> = imported.files.iter().map(file_json).collect();
        io.json(&json!({
            "files": files,
            "blocks": blocks,
            "blocks_stored": blocks_stored,
            "transactions": transactions,
            "decoded_bytes": bytes,
            "files_skipped": skipped,
            "files_kept_as_they_are": kept.len(),
            "bytes_kept_as_they_are": imported.sum(|r| r.original_bytes_kept.unwrap_or(0)),
            "store_seconds": stored_in.as_secs_f64(),
            "seconds": took.as_secs_f64(),
            "mb_per_s": mb_per_s(bytes, took),
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{} ({skipped} imported before): {} ({blocks_stored} new), {}, {} at {} MB/s, all of it in the lake",
        count(imported.files.len() as u64, "file"),
        count(blocks, "block"),
        count(transactions, "transaction"),
        size(bytes),
        mb_per_s(bytes, took)
    ))?;
    for report in kept {
        let bytes = size(report.original_bytes_kept.unwrap_or(0));
        io.line(format_args!("kept as it is, beside its blocks: {} ({bytes})", report.file))?;
    }
    Ok(Exit::Done)
}

fn file_json(report: &ImportReport) -> serde_json::Value {
    json!({
        "file": report.file,
        "network": report.network.name(),
        "epoch": report.epoch,
        "sha256": report.sha256.to_string().trim_start_matches("0x"),
        "file_bytes": report.file_bytes,
        "decoded_bytes": report.decoded_bytes,
        "first_height": report.heights.0,
        "last_height": report.heights.1,
        "blocks": report.blocks,
        "blocks_stored": report.blocks_stored,
        "transactions": report.transactions,
        "bytes_stored": report.bytes_stored,
        "gaps": report.gaps,
        "skipped": report.skipped,
        "original_bytes_kept": report.original_bytes_kept,
    })
}

/// The history files among these paths and in these folders, folder by folder, by name.
pub(crate) fn find_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        walk(path, 0, &mut files)?;
        ensure!(
            files.len() > before,
            "{} has no history files: *.era1, *.ere, *.rlp and *.blocks are looked for",
            path.display()
        );
    }
    Ok(files)
}

fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if depth > FOLDER_DEPTH_MAX {
        bail!(
            "{} lies more than {FOLDER_DEPTH_MAX} folders deep: name it by itself",
            path.display()
        );
    }
    files.extend(history_files(path)?);
    if !path.is_dir() {
        return Ok(());
    }
    let reading = || format!("cannot read {}", path.display());
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    folders.iter().try_for_each(|folder| walk(folder, depth + 1, files))
}

/// Lines of `<sha256> <file name>`.
fn read_checksums(path: &Path) -> anyhow::Result<HashMap<String, Hash32>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut checksums = HashMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let sum = words.next().and_then(|word| word.parse().ok());
        let name = words.next().map(|name| name.trim_start_matches('*').to_owned());
        let (Some(sum), Some(name), None) = (sum, name, words.next()) else {
            bail!("{} line {number}: `<sha256> <file name>` is expected", path.display());
        };
        checksums.insert(name, sum);
    }
    Ok(checksums)
}

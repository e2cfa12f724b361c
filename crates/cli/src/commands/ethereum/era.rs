//! `prunedb serve era`: `.era1` files by HTTP, as geth, reth and besu download them.
//!
//! ```text
//! /                index: a link a line, epoch by epoch     /checksums.txt   SHA-256 a line; the line's number is the epoch's
//! /<name>.era1     the file, or a range of it               /SHA256SUMS      for `sha256sum --check`
//! ```
//! A file is made when it is asked for, verified as an export is, and kept in the folder `era` of the database; the ones that were not
//! asked for the longest are removed. One is made at a time; who wants another waits.

use super::{file::sha256_text, network};
use crate::{archive::DbArchive, session::Session};
use anyhow::Context;
use clap::Args;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use prunedb_chains::ethereum::{
    Era1Name, Era1Record, EthereumError, Network, era1_epochs, export_era1,
};
use prunedb_engine::Db;
use prunedb_rpc::{Body, Handler, HttpServer, error_response, file_response, text_response};
use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::File,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};
use tokio::{runtime::Runtime, task::spawn_blocking};

/// What is served, and where.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeEra {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8556")]
    listen: SocketAddr,
    /// Files that are kept ready in the folder `era` of the database
    #[arg(long, value_name = "FILES", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,
    /// Network [default: the one that is stored]
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
}

/// The files of one network.
struct Files {
    db: Db,
    network: Network,
    folder: PathBuf,
    threads: NonZeroUsize,
    keep: usize,
    /// names of files in the folder, the last asked for at the end; held while one is made
    ready: Mutex<VecDeque<String>>,
}

struct Door(Arc<Files>);

/// Starts listening.
pub(in crate::commands) fn start(
    args: &ServeEra,
    session: &Session,
    runtime: &Runtime,
) -> anyhow::Result<HttpServer> {
    let network = network(&session.db, args.network.as_ref())?;
    let folder = session.dir.join("era");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let files = Files {
        db: session.db.clone(),
        network,
        threads: NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN),
        keep: args.keep.into(),
        ready: Mutex::new(left_from_before(&folder)?),
        folder,
    };
    runtime
        .block_on(HttpServer::start(args.listen, Door(Arc::new(files))))
        .with_context(|| format!("cannot listen on {}", args.listen))
}

/// Whole files of an earlier run; what is not whole has another name.
fn left_from_before(folder: &std::path::Path) -> anyhow::Result<VecDeque<String>> {
    let reading = || format!("cannot read {}", folder.display());
    let mut names = VecDeque::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        names.extend(name.to_str().filter(|name| Era1Name::parse(name).is_some()).map(Into::into));
    }
    Ok(names)
}

impl Files {
    fn archive(&self) -> DbArchive {
        DbArchive::new(self.db.clone(), Arc::new(AtomicBool::new(false)))
    }

    fn epochs(&self) -> Result<Vec<(u64, Era1Record)>, EthereumError> {
        era1_epochs(&self.archive(), &self.network)
    }

    fn index(&self) -> Result<String, EthereumError> {
        let mut page = format!("<!DOCTYPE html>\n<title>{0}</title>\n<h1>{0}</h1>\n", self.network);
        for (epoch, record) in self.epochs()? {
            let name = Era1Name::of(&self.network, epoch, &record.accumulator);
            // one name in a line, or readers that look for names find it twice
            _ = writeln!(
                page,
                "<a href=\"{name}\">epoch {epoch}</a> {} bytes<br>",
                record.file_bytes
            );
        }
        page.push_str(
            "<a href=\"checksums.txt\">checksums</a> <a href=\"SHA256SUMS\">for sha256sum</a>\n",
        );
        Ok(page)
    }

    /// The line's number is the epoch's: one that is not there has an empty line.
    fn checksums(&self) -> Result<String, EthereumError> {
        let (mut text, mut next) = (String::new(), 0);
        for (epoch, record) in self.epochs()? {
            for _ in next..epoch {
                text.push('\n');
            }
            text.push_str(&sha256_text(&record.sha256));
            text.push('\n');
            next = epoch + 1;
        }
        Ok(text)
    }

    fn manifest(&self) -> Result<String, EthereumError> {
        let line = |(epoch, record): (u64, Era1Record)| {
            let name = Era1Name::of(&self.network, epoch, &record.accumulator);
            format!("{}  {name}\n", sha256_text(&record.sha256))
        };
        Ok(self.epochs()?.into_iter().map(line).collect())
    }

    /// The file of that name, with its SHA-256; `None` if there is none.
    fn open(&self, name: &str) -> Result<Option<(File, String)>, EthereumError> {
        let Some(asked) = Era1Name::parse(name) else { return Ok(None) };
        let of_epoch = self.epochs()?.into_iter().find(|(epoch, _)| *epoch == asked.epoch);
        let Some((epoch, record)) = of_epoch else { return Ok(None) };
        if Era1Name::of(&self.network, epoch, &record.accumulator) != name {
            return Ok(None);
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(name);
        let io = |source| EthereumError::Io { path: path.clone(), source };
        let known = ready.iter().position(|kept| kept == name);
        let length = |file: &File| file.metadata().map(|metadata| metadata.len()).map_err(io);
        let opened = match known.and_then(|_| File::open(&path).ok()) {
            Some(file) if length(&file)? == record.file_bytes => Some(file),
            _ => None,
        };
        if let Some(position) = known {
            ready.remove(position);
        }
        let file = match opened {
            Some(file) => file,
            None => {
                self.make_room(&mut ready);
                let archive = self.archive();
                export_era1(
                    &archive,
                    &self.network,
                    epoch,
                    &self.folder,
                    self.threads,
                    &mut |_| (),
                )?;
                File::open(&path).map_err(io)?
            }
        };
        ready.push_back(name.into());
        Ok(Some((file, sha256_text(&record.sha256))))
    }

    /// Removes what was not asked for the longest; who reads it still reads it to its end.
    fn make_room(&self, ready: &mut VecDeque<String>) {
        while ready.len() >= self.keep {
            let Some(oldest) = ready.pop_front() else { return };
            if let Err(error) = std::fs::remove_file(self.folder.join(&oldest)) {
                tracing::warn!(%error, file = oldest, "an era file stays where it is");
            }
        }
    }
}

impl Handler for Door {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return error_response(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are answered");
        }
        let (files, path) = (Arc::clone(&self.0), request.uri().path().to_owned());
        // reads the archive: on a thread that may block
        let found = spawn_blocking(move || match path.trim_start_matches('/') {
            "" | "index.html" => {
                files.index().map(|page| Found::Text("text/html; charset=utf-8", page))
            }
            "checksums.txt" => files.checksums().map(|text| Found::Text("text/plain", text)),
            "SHA256SUMS" => files.manifest().map(|text| Found::Text("text/plain", text)),
            name => files.open(name).map(|file| file.map_or(Found::Nothing, Found::File)),
        });
        match found.await {
            Ok(Ok(Found::Text(kind, text))) => text_response(kind, text),
            Ok(Ok(Found::File((file, sha256)))) => file_response(&request, file, &sha256),
            Ok(Ok(Found::Nothing)) => error_response(
                StatusCode::NOT_FOUND,
                "there is no such file; / lists those that there are",
            ),
            Ok(Err(error)) => {
                tracing::warn!(%error, "an era file cannot be made");
                error_response(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
            }
            Err(_stopping) => error_response(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        }
    }
}

enum Found {
    Text(&'static str, String),
    File((File, String)),
    Nothing,
}

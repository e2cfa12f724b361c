//! `prunedb serve era`: `.era1` and `.ere` files by HTTP, as geth, reth and besu download them.
//!
//! ```text
//! /                index: a link a line, epoch by epoch     /checksums.txt   SHA-256 a line; the line's number is the epoch's
//! /<name>.era1     the file, or a range of it               /SHA256SUMS      for `sha256sum --check`
//! /ere/...         the same four of `.ere` files
//! ```

mod files;

use super::network;
use crate::session::Session;
use anyhow::Context;
use clap::Args;
use files::{Files, Format};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use prunedb_chains::ethereum::{EthereumError, Network};
use prunedb_rpc::{Body, Handler, HttpServer, error_response, file_response, text_response};
use std::{fs::File, net::SocketAddr, num::NonZeroUsize, sync::Arc};
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

struct Door(Arc<Files>);

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain";

/// Starts listening.
pub(in crate::commands) fn start(
    args: &ServeEra,
    session: &Session,
    runtime: &Runtime,
) -> anyhow::Result<HttpServer> {
    let network = network(&session.db, args.network.as_ref())?;
    let threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
    let folder = session.dir.join("era");
    let files = Files::open(session.db.clone(), network, folder, threads, args.keep.into())?;
    runtime
        .block_on(HttpServer::start(args.listen, Door(Arc::new(files))))
        .with_context(|| format!("cannot listen on {}", args.listen))
}

impl Handler for Door {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return error_response(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are answered");
        }
        let (files, path) = (Arc::clone(&self.0), request.uri().path().to_owned());
        // reads the archive: on a thread that may block
        let found = spawn_blocking(move || {
            let path = path.strip_prefix('/').unwrap_or(&path);
            let (format, path) = match path.strip_prefix("ere/") {
                Some(path) => (Format::Ere, path),
                None => (Format::Era1, path),
            };
            match path {
                "" | "index.html" => files.index(format).map(|page| Found::Text(HTML, page)),
                "checksums.txt" => files.checksums(format).map(|text| Found::Text(PLAIN, text)),
                "SHA256SUMS" => files.manifest(format).map(|text| Found::Text(PLAIN, text)),
                name => {
                    files.file(format, name).map(|file| file.map_or(Found::Nothing, Found::File))
                }
            }
        });
        match found.await {
            Ok(Ok(Found::Text(kind, text))) => text_response(kind, text),
            Ok(Ok(Found::File((file, sha256)))) => file_response(&request, file, &sha256),
            Ok(Ok(Found::Nothing)) => error_response(
                StatusCode::NOT_FOUND,
                "there is no such file; / and /ere/ list those that there are",
            ),
            // a block within the epoch, or its receipts
            Ok(Err(error @ EthereumError::NotStored { .. })) => {
                error_response(StatusCode::NOT_FOUND, &error.to_string())
            }
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

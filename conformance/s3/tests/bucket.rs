//! A bucket on a server in this process, and the client in another: it takes its keys from its environment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use prunedb_store::{Fencing, NodeOptions, conformance, connect};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use std::{net::SocketAddr, path::Path, process::Command};
use tokio::net::TcpListener;

const KEY: &str = "a-key";
const SECRET: &str = "its-secret";
const BUCKET: &str = "shards-of-a-lake";

/// A server whose buckets are folders.
async fn serve(dir: &Path) -> SocketAddr {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir).unwrap());
    service.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                // a client that goes away is no failure
                _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

/// Runs a test of this file as the client of a server.
async fn client(test: &'static str, server: SocketAddr, secret: &'static str) -> bool {
    let run = move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", test])
            .env("AWS_ENDPOINT", format!("http://{server}"))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .status()
            .unwrap()
            .success()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_conforms_and_a_wrong_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
    let server = serve(dir.path()).await;
    assert!(client("suite", server, SECRET).await);
    assert!(client("refused", server, "another").await);
}

#[tokio::test]
#[ignore = "the client of the test above: a server has to be there"]
async fn suite() {
    let address = format!("s3://{BUCKET}/a/prefix");
    let store = connect(&address, NodeOptions::default()).unwrap();
    assert_eq!((store.name(), store.capabilities().fencing), (&*address, Fencing::Advisory));
    conformance::run(&*store, 0).await;
    // another client finds what is there, and another prefix does not
    let again = connect(&address, NodeOptions::default()).unwrap();
    assert!(again.space().await.unwrap().shards > 0);
    conformance::run(&*again, 1).await;
    let beside = connect(&format!("s3://{BUCKET}/beside"), NodeOptions::default()).unwrap();
    assert_eq!(beside.space().await.unwrap().shards, 0);
}

#[tokio::test]
#[ignore = "the client of the test above: a server has to be there"]
async fn refused() {
    let store = connect(&format!("s3://{BUCKET}/a"), NodeOptions::default()).unwrap();
    let refused = store.space().await.unwrap_err();
    assert!(!refused.to_string().contains("another"), "it tells no secret: {refused}");
}

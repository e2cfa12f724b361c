//! Runs each case of `tests/zdb/*.case` on a server of its own, once over TCP and once over a unix socket.

use super::{
    case::{Argument, Case, Step, read},
    value::Value,
};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use prunedb_disk::RealDisk;
use prunedb_node::{Mode, NodeConfig, NodeServer};
use std::{collections::HashMap, fmt::Write, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Cases at once.
const AT_ONCE: usize = 8;

fn all_cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zdb");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        cases.extend(read(name, &std::fs::read_to_string(&path).unwrap()));
    }
    cases
}

#[test]
fn there_are_enough_cases_and_each_has_its_own_name() {
    let cases = all_cases();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let mut names: Vec<_> = cases.iter().map(|case| (&case.file, &case.name)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_over_tcp() {
    run_all(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_over_a_unix_socket() {
    run_all(true).await;
}

async fn run_all(unix: bool) {
    let only = std::env::var("ZDB_CASE").ok();
    let mut failed = String::new();
    let mut running = JoinSet::new();
    let mut collect = |done: Option<Result<Result<(), String>, _>>| {
        if let Some(Err(why)) = done.map(|done: Result<_, tokio::task::JoinError>| {
            done.unwrap_or_else(|e| Err(format!("panicked: {e}")))
        }) {
            _ = writeln!(failed, "{why}");
        }
    };
    for case in all_cases() {
        if only.as_ref().is_some_and(|only| !case.name.contains(only)) {
            continue;
        }
        if running.len() >= AT_ONCE {
            collect(running.join_next().await);
        }
        running.spawn(run(case, unix));
    }
    while !running.is_empty() {
        collect(running.join_next().await);
    }
    assert!(failed.is_empty(), "\n{failed}");
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A server, and connections to it.
struct Run {
    config: NodeConfig,
    unix: bool,
    server: Option<NodeServer>,
    sockets: HashMap<u32, (Box<dyn Socket>, Vec<u8>)>,
    kept: HashMap<String, Vec<u8>>,
}

async fn run(case: Case, unix: bool) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = NodeConfig::new(listen, dir.path().join("node"), 1 << 30);
    if unix {
        config.socket = Some(dir.path().join("socket"));
    }
    // durability has tests of its own; here it would only take time
    config.zdb.sync = false;
    for (key, value) in &case.with {
        match (&key[..], &value[..]) {
            ("admin", password) => config.zdb.admin = Some(password.to_owned().into()),
            ("mode", "user") => config.zdb.mode = Some(Mode::User),
            ("mode", "seq") => config.zdb.mode = Some(Mode::Sequence),
            ("stop", "yes") => config.zdb.may_stop = true,
            ("hook", program) => config.zdb.hook = Some(program.into()),
            ("keys", max) => config.zdb.keys_max = max.parse().unwrap(),
            ("capacity", bytes) => config.capacity_bytes = bytes.parse().unwrap(),
            ("connections", max) => config.connections_max = max.parse().unwrap(),
            ("log", bytes) => config.segment_bytes = bytes.parse().unwrap(),
            ("sync", "yes") => config.zdb.sync = true,
            ("stall", ms) => {
                config.stall_timeout = Duration::from_millis(ms.parse().unwrap());
            }
            other => panic!("{}: no setting {other:?}", case.file),
        }
    }
    let mut run = Run { config, unix, server: None, sockets: HashMap::new(), kept: HashMap::new() };
    run.start().await;
    for (line, step) in case.steps {
        let done = timeout(PATIENCE, run.step(step)).await.unwrap_or(Err("no answer".to_owned()));
        done.map_err(|why| format!("{}:{line}: {}: {why}", case.file, case.name))?;
    }
    run.sockets.clear();
    if let Some(server) = run.server {
        server.shutdown().await;
    }
    Ok(())
}

impl Run {
    async fn start(&mut self) {
        let server = NodeServer::start(self.config.clone(), Arc::new(RealDisk)).await;
        self.server = Some(server.unwrap());
    }

    async fn socket(&mut self, on: u32) -> &mut (Box<dyn Socket>, Vec<u8>) {
        if !self.sockets.contains_key(&on) {
            let socket: Box<dyn Socket> = if self.unix {
                let path = self.config.socket.as_ref().unwrap();
                Box::new(UnixStream::connect(path).await.unwrap())
            } else {
                let address = self.server.as_ref().unwrap().local_addr();
                Box::new(TcpStream::connect(address).await.unwrap())
            };
            self.sockets.insert(on, (socket, Vec::new()));
        }
        self.sockets.get_mut(&on).unwrap()
    }

    async fn send(&mut self, on: u32, bytes: &[u8]) {
        // a server that refuses a long request may close before it has read all of it
        _ = self.socket(on).await.0.write_all(bytes).await;
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Send(on, arguments) => self.request(on, &arguments).await,
            Step::Until(on, arguments, expected) => loop {
                self.request(on, &arguments).await;
                if expected.matches(&self.receive(on).await?, &mut self.kept) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
            Step::Raw(on, bytes) => self.send(on, &bytes).await,
            Step::Slowly(on, bytes) => {
                for byte in bytes {
                    self.send(on, &[byte]).await;
                    tokio::task::yield_now().await;
                }
            }
            Step::Expect(on, expected) => {
                let found = self.receive(on).await?;
                if !expected.matches(&found, &mut self.kept) {
                    return Err(format!("expected {expected:?}, found {}", shown(&found)));
                }
            }
            Step::Closed(on) => {
                let (socket, input) = self.socket(on).await;
                // a reset is an end, too
                let read = socket.read_to_end(input).await;
                if read.is_ok() && !input.is_empty() {
                    return Err(format!("more before the end: {:?}", input.escape_ascii()));
                }
                self.sockets.remove(&on);
            }
            Step::HalfClose(on) => self.socket(on).await.0.shutdown().await.unwrap(),
            Step::Restart => {
                self.sockets.clear();
                self.server.take().unwrap().shutdown().await;
                self.start().await;
            }
            Step::Stopped => self.server.as_ref().unwrap().stop_asked().await,
        }
        Ok(())
    }

    async fn request(&mut self, on: u32, arguments: &[Argument]) {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = self.argument(argument);
            bytes.extend(format!("${}\r\n", argument.len()).bytes());
            bytes.extend(argument);
            bytes.extend(b"\r\n");
        }
        self.send(on, &bytes).await;
    }

    fn argument(&self, argument: &Argument) -> Vec<u8> {
        match argument {
            Argument::Is(bytes) => bytes.clone(),
            Argument::Kept(name) => self.kept[name].clone(),
            Argument::Proof(nonce, password) => {
                let mut asked = self.kept[nonce].clone();
                asked.extend(format!(":{password}").bytes());
                let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &asked);
                let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
                hex.collect::<String>().into_bytes()
            }
        }
    }

    async fn receive(&mut self, on: u32) -> Result<Value, String> {
        let (socket, input) = self.socket(on).await;
        loop {
            if let Some((value, used)) = Value::parse(input) {
                input.drain(..used);
                return Ok(value);
            }
            let mut more = vec![0; 1 << 20];
            match socket.read(&mut more).await {
                Ok(0) => return Err(format!("closed, behind {:?}", input.escape_ascii())),
                Ok(count) => input.extend_from_slice(&more[..count]),
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}

fn shown(value: &Value) -> String {
    let mut text = format!("{value:?}");
    if let Value::Simple(bytes) | Value::Error(bytes) | Value::Bulk(bytes) = value {
        text = format!("{:?}", String::from_utf8_lossy(bytes));
    }
    text.chars().take(300).collect()
}

//! A folder to run commands in, and made-up history to run them on.

use prunedb_chains::ethereum::{Network, synthetic::SyntheticChain};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_prunedb");

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.text(), self.stderr);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}{}", self.text(), self.stderr))
    }

    /// Checks that it is an error of one line that says each of these.
    #[track_caller]
    pub(crate) fn fails(self, says: &[&str]) -> Self {
        let errors: Vec<&str> = self.stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!((self.code, errors.len()), (2, 1), "{}{}", self.text(), self.stderr);
        for part in says {
            assert!(errors[0].contains(part), "`{part}` is missing in: {}", errors[0]);
        }
        self
    }
}

/// A folder with a database, or for one.
pub(crate) struct Folder {
    root: TempDir,
}

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    /// A database over local nodes.
    pub(crate) fn with_local_nodes(policy: &str, count: u16) -> Self {
        let folder = Self::new();
        folder.run(&["init", "--policy", policy, "--local", &count.to_string()]).exits(0);
        folder
    }

    /// The database's folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("db")
    }

    /// A path beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file beside it.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().into()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = clean_command();
        command.current_dir(self.root.path()).arg("--dir").arg(self.dir()).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        output(&mut self.command(args))
    }

    pub(crate) fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // a command that refuses early closes its end
        _ = child.stdin.take().unwrap().write_all(stdin);
        done(child.wait_with_output().unwrap())
    }

    /// A command's JSON; it must end well.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.run(&args).exits(0).json()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Starts `prunedb up`.
    pub(crate) fn up(&self) -> Running {
        self.up_with(&[])
    }

    pub(crate) fn up_with(&self, args: &[&str]) -> Running {
        Running::start(self.command(&[&["up"], args].concat()), "ready")
    }
}

/// The binary without anything of the tests' own environment.
pub(crate) fn clean_command() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PRUNEDB_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn output(command: &mut Command) -> Output {
    done(command.output().unwrap())
}

fn done(output: std::process::Output) -> Output {
    Output {
        // a signal: no code of ours
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process that serves; killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// what it said until it was ready
    pub(crate) said: String,
}

impl Running {
    /// Starts it and waits for a line of stdout with `ready`.
    #[track_caller]
    pub(crate) fn start(mut command: Command, ready: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut said, mut lines) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        while !said.contains(ready) {
            if lines.read_line(&mut said).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("it ended: {said}{stderr}");
            }
        }
        Self { child, said }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C; gives the exit code.
    pub(crate) fn interrupt(&mut self) -> i32 {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(started.elapsed() < Duration::from_secs(60), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// An `.era1` file of a network that nothing is known of: its name and bytes.
pub(crate) fn era1(epoch: u64, blocks: usize, seed: u64) -> (String, Vec<u8>) {
    let network: Network = NETWORK.parse().unwrap();
    SyntheticChain::new(&network, epoch * 8192, 20, seed).era1(&network, blocks)
}

/// The network of [`era1`].
pub(crate) const NETWORK: &str = "testnet";

/// SHA-256 as hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    prunedb_chains::ethereum::sha256(bytes).to_string().trim_start_matches("0x").into()
}

/// The corpus of real history; `None`, and a line that says so, where it is not there.
pub(crate) fn corpus(test: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("PRUNEDB_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    corpus
}

/// Flips bytes all over a local node's segments, beyond their headers.
pub(crate) fn flip_node(dir: &Path, node: u16) {
    let segments = dir.join(format!("nodes/{node:02}/segments"));
    for entry in fs::read_dir(segments).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        for at in (5000..bytes.len()).step_by(4096) {
            bytes[at] ^= 0xff;
        }
        fs::write(&path, bytes).unwrap();
    }
}

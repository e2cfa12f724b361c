//! The `prunedb` command: parses, opens the folder or talks to the `up` that holds it, maps results to exit codes.
//!
//! ```text
//! argv -> Args -> the `up` that holds the folder: argv goes there (control), the answer is shown here
//!              -> nobody holds it: Session::open -> commands::run
//! ```
//! A command is a function over a [`session::Session`] and an [`io::Io`]; it never knows which of the two it runs in.

mod archive;
mod args;
mod bitcoin_p2p;
mod commands;
mod config;
mod control;
mod demo;
mod io;
mod registry;
mod secret;
mod session;
mod temporary;
mod terminal;
mod text;

use anyhow::Context;
use args::{Args, Command};
use clap::Parser;
use io::{ERROR_CODE, Exit, Io};
use registry::RegistryFolder;
use session::Session;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};
use terminal::Terminal;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(&args.command);
    raise_file_limit();
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) if reader_has_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", text::error_line(&error));
            ExitCode::from(ERROR_CODE)
        }
    }
}

/// The folder of the database.
fn folder(args: &Args) -> PathBuf {
    let from_environment =
        || std::env::var_os("PRUNEDB_DIR").filter(|d| !d.is_empty()).map(PathBuf::from);
    args.dir.clone().or_else(from_environment).unwrap_or_else(|| PathBuf::from("prunedb-data"))
}

fn run(args: Args) -> anyhow::Result<u8> {
    let cwd = std::env::current_dir().context("the working folder is gone")?;
    let dir = cwd.join(folder(&args));
    let mut io = Io {
        sink: Box::new(Terminal::new()),
        json: args.json,
        cwd,
        stdin: Vec::new(),
        cancelled: Arc::new(AtomicBool::new(false)),
    };
    let exit = match &args.command {
        Command::Init(init) => commands::init::run(init, &dir, &args.set, &mut io),
        Command::Config => commands::config::run(&dir, &args.set, &mut io),
        Command::Check(check) => commands::casper::check::run(check, &mut io),
        Command::Plan(plan) => commands::plan::run(plan, &mut io),
        Command::Bench(bench) => commands::bench::run(bench, &mut io),
        Command::Prove(prove) => {
            let dir = args.dir.as_ref().map(|dir| io.path(dir));
            commands::prove::run(prove, dir.as_deref(), &runtime()?, &mut io)
        }
        Command::Node(args::Node::Run(node)) => {
            let dir = args.dir.as_ref().context("a node needs its folder: --dir DIR")?;
            commands::node::run(node, &io.path(dir), &runtime()?, &mut io)
        }
        Command::Access(access) => commands::access::run(access, &dir, &args.set, &mut io),
        Command::Node(args::Node::Status(ask)) => {
            commands::node_status::run(ask, &dir, &args.set, &runtime()?, &mut io)
        }
        Command::Node(args::Node::Audit(audit)) => {
            commands::node_audit::run(audit, &dir, &args.set, &runtime()?, &mut io)
        }
        Command::Registry(asked) => {
            commands::registry::run(asked, &dir, &args.set, &runtime()?, &mut io)
        }
        Command::Batch(asked) => commands::registry::batch(asked, &dir, &runtime()?, &mut io),
        Command::Election(asked) => commands::registry::election(asked, &dir, &runtime()?, &mut io),
        Command::Proofs(asked) => commands::registry::proofs(asked, &dir, &runtime()?, &mut io),
        Command::Account(asked) => commands::registry::account(asked, &dir, &runtime()?, &mut io),
        Command::Heavy(asked) => commands::market::heavy(asked, &dir, &runtime()?, &mut io),
        Command::Light(asked) => commands::market::light(asked, &dir, &runtime()?, &mut io),
        Command::Node(args::Node::Leave(leave)) if RegistryFolder::find(&dir).is_some() => {
            commands::registry::leave(&leave.address, &dir, &runtime()?, &mut io)
        }
        Command::Up(up) => {
            let doors = commands::doors::Doors {
                resp: up.resp,
                registry: Some(up.registry_listen),
                ..Default::default()
            };
            commands::up::run(&doors, &dir, &args.set, &runtime()?, &mut io)
        }
        Command::Serve(serve) => commands::serve::run(serve, &dir, &args.set, &runtime()?, &mut io),
        Command::Recover(recover) => {
            commands::recover::run(recover, &dir, &args.set, &runtime()?, &mut io)
        }
        Command::Demo(demo) => {
            let dir = args.dir.as_ref().map(|dir| io.path(dir));
            demo::run(demo, dir, &runtime()?, &mut io)
        }
        _ => return over_session(&args, &dir, io),
    };
    let exit = exit?;
    io.sink.finish()?;
    Ok(exit.code())
}

/// Runs a command in the `up` that holds the folder, or here.
fn over_session(args: &Args, dir: &std::path::Path, mut io: Io) -> anyhow::Result<u8> {
    let stdin = commands::reads_stdin(&args.command).then(commands::read_stdin).transpose()?;
    if let Some(up) = control::connect(dir)? {
        anyhow::ensure!(
            args.set.is_empty(),
            "--set: a running `prunedb up` holds the folder, its settings hold"
        );
        let arguments: Option<Vec<String>> =
            std::env::args_os().map(|a| a.into_string().ok()).collect();
        let arguments = arguments
            .context("the arguments are not UTF-8: a running `prunedb up` cannot take them")?;
        let code = up.run(arguments, io.cwd.clone(), stdin.as_deref(), &mut *io.sink)?;
        io.sink.finish()?;
        return Ok(code);
    }
    io.stdin = stdin.unwrap_or_default();
    let config = config::Config::new(&session::layers(dir, &args.set)?, dir)?;
    let runtime = runtime()?;
    let session = Session::open(dir, config, runtime.handle(), false)?;
    let ran = commands::run(&args.command, &session, &mut io);
    io.sink.finish()?;
    let closed = session.close();
    let exit: Exit = ran?;
    closed?;
    Ok(exit.code())
}

/// The runtime of the network and of the local nodes; commands run beside it, on threads of their own.
fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("cannot start threads")
}

/// Whether the failure is that nobody reads our stdout any more.
fn reader_has_gone(error: &anyhow::Error) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|e| e.is::<terminal::ReaderGone>())
}

fn log_to_stderr(command: &Command) {
    let level = match command {
        // it stops and damages nodes on purpose
        Command::Demo(_) | Command::Prove(_) => "error",
        Command::Up(_) | Command::Serve(_) | Command::Node(_) => "warn,prunedb_engine=info",
        Command::Registry(commands::registry::Registry::Run(_)) => {
            "warn,prunedb_engine=info,prunedb_duties=info"
        }
        _ => "warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| level.into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// Local nodes and their clients take some hundred descriptors: uses what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

//! `prunedb serve`: `up` with a door for others, of a writer or of a reader.

use crate::{
    args::Serve,
    commands::{doors::Doors, init::make_dir, join::Found, up},
    io::{Exit, Io},
    session::{self, start_nodes},
};
use anyhow::ensure;
use prunedb_engine::Db;
use std::path::Path;
use tokio::runtime::Runtime;

pub(crate) fn run(
    args: &Serve,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    if args.reader {
        join(args, dir, flags, runtime, io)?;
    } else {
        let given = args.lake.secret.is_some() || !args.lake.nodes.is_empty();
        ensure!(!given, "--secret and --nodes are for a new reader: --reader");
    }
    let doors = match &args.door {
        None => Doors { resp: Some(args.resp), ..Doors::default() },
        chain => Doors { chain: chain.clone(), ..Doors::default() },
    };
    up::run(&doors, dir, flags, runtime, io)
}

/// Makes a folder that has no configuration yet one of a reader.
fn join(
    args: &Serve,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<()> {
    let found = Found::new(&args.lake, dir, flags, io)?;
    if found.configured {
        ensure!(
            found.config.reader,
            "{} is a writer's: a reader needs a folder of its own (--dir)",
            dir.display()
        );
        return Ok(());
    }
    let found = found.into_reader(dir)?;
    make_dir(dir)?;
    let lock = session::lock(dir)?;
    let credentials = session::credentials(&found.secret, &found.config)?;
    let (_, connect) = start_nodes(dir, &found.config, credentials, false, runtime.handle())?;
    let (seeds, secret) = (found.config.nodes.addresses(), found.secret.clone());
    let (disk, options, handle) =
        (session::disk(), found.config.options(), runtime.handle().clone());
    let mut report = |p| io.progress(p);
    let db = Db::open_reader(disk, options, secret, &seeds, connect, handle, &mut report)?;
    let status = db.status()?;
    db.close()?;
    found.keep(dir, &status)?;
    drop(lock);
    Ok(())
}

//! The thin end: sends the command, shows what comes back.

use super::{
    frame::{BODY_BYTES_MAX, Frame, Request},
    with_socket_path,
};
use crate::io::Sink;
use anyhow::{Context, bail};
use std::{
    io::{BufReader, ErrorKind},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

/// A running `up` that listens.
pub(crate) struct Connection {
    stream: UnixStream,
    dir: PathBuf,
}

/// Connects to the `up` that holds the folder, if there is one. A socket that nobody listens on is no error: it was left
/// behind by a process that was killed.
///
/// # Errors
/// Where the socket is there and cannot be used, such as another user's.
pub(crate) fn connect(dir: &Path) -> anyhow::Result<Option<Connection>> {
    match with_socket_path(dir, |path| UnixStream::connect(path)) {
        Ok(stream) => Ok(Some(Connection { stream, dir: dir.to_owned() })),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            bail!("{} is not a folder: name the database's with --dir", dir.display())
        }
        Err(e) => Err(e).with_context(|| {
            format!(
                "cannot talk to the `prunedb up` that holds {}: is it another user's?",
                dir.display()
            )
        }),
    }
}

impl Connection {
    /// Has the command run there; gives its exit code.
    ///
    /// # Errors
    /// Where the connection breaks. What the command says is no error here.
    pub(crate) fn run(
        mut self,
        args: Vec<String>,
        cwd: PathBuf,
        stdin: Option<&[u8]>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<u8> {
        let broke = || {
            let dir = self.dir.display();
            format!(
                "the `prunedb up` that holds {dir} broke off: look at what it says, start it again"
            )
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let request = Request { version, args, cwd, stdin: stdin.is_some() };
        Frame::Request(request).write(&mut self.stream).with_context(broke)?;
        if let Some(stdin) = stdin {
            for part in stdin.chunks(BODY_BYTES_MAX).chain([&[][..]]) {
                Frame::Stdin(part.to_vec()).write(&mut self.stream).with_context(broke)?;
            }
        }
        let mut answers = BufReader::new(&self.stream);
        loop {
            match Frame::read(&mut answers).with_context(broke)? {
                Frame::Data(bytes) => sink.data(&bytes)?,
                Frame::Note(line) => sink.note(&line),
                Frame::Step(step) => sink.step(step),
                Frame::End(code) => return Ok(code),
                Frame::Request(_) | Frame::Stdin(_) => anyhow::bail!(broke()),
            }
        }
    }
}

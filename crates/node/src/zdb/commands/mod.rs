//! The commands: their names, who may use them, and what they answer.

mod data;
mod namespaces;
mod scan;
mod system;
mod writes;

use super::{error::ZdbError, session::Session};
use bytes::{Bytes, BytesMut};
use prunedb_wire::Reply;

pub(crate) use data::put_value;
pub(crate) use writes::Write;

/// A command's answer is in the output, or the connection has something to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// answered
    Done,
    /// it needs so much memory: ask for it, and run it again
    Room(usize),
    /// answer when another connection runs the command, or `-Timeout`
    Wait { command: Option<&'static str>, timeout_ms: u64 },
    /// nothing but the feed follows
    Mirror,
    /// the connection ends
    Close,
    /// the node ends
    Stop,
}

/// What one command works on.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) session: &'a mut Session,
    /// behind the name
    pub(crate) arguments: &'a [Bytes],
    pub(crate) out: &'a mut BytesMut,
    /// memory for values that the connection has
    pub(crate) room_bytes: usize,
    /// since 1970
    pub(crate) now: std::time::Duration,
}

type Handler = fn(&mut Call<'_>) -> Result<Next, ZdbError>;

/// A command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// only for the administrator
    admin: bool,
    /// fewest and most arguments
    count: (usize, usize),
    /// `None`: it writes, and runs with its neighbours
    handler: Option<Handler>,
}

const fn any(name: &'static str, count: (usize, usize), handler: Handler) -> Command {
    Command { name, admin: false, count, handler: Some(handler) }
}

const fn admin(name: &'static str, count: (usize, usize), handler: Handler) -> Command {
    Command { name, admin: true, count, handler: Some(handler) }
}

const fn write(name: &'static str) -> Command {
    Command { name, admin: false, count: (1, 3), handler: None }
}

/// Most arguments, where there may be any number.
const MANY: usize = prunedb_wire::ARGUMENTS_MAX;

#[rustfmt::skip]
const COMMANDS: [Command; 36] = [
    write("SET"), write("SETX"), write("DEL"),
    any("GET", (1, 1), data::get),
    any("MGET", (1, MANY), data::get_many),
    any("EXISTS", (1, 1), data::exists),
    any("LENGTH", (1, 1), data::length),
    any("KEYTIME", (1, 1), data::key_time),
    any("CHECK", (1, 1), data::check),
    any("HISTORY", (1, 2), data::history),
    any("SCAN", (0, 1), scan::forward),
    any("SCANX", (0, 1), scan::forward),
    any("RSCAN", (0, 1), scan::backward),
    any("KSCAN", (1, 1), scan::keys),
    any("KEYCUR", (1, 1), scan::cursor_of),
    any("SELECT", (1, 3), namespaces::select),
    any("NSLIST", (0, 0), namespaces::list),
    any("NSINFO", (1, 1), namespaces::info),
    any("DBSIZE", (0, 0), namespaces::entries),
    any("FLUSH", (0, 0), namespaces::flush),
    admin("NSNEW", (1, 1), namespaces::create),
    admin("NSDEL", (1, 1), namespaces::delete),
    admin("NSSET", (3, 3), namespaces::set),
    admin("NSJUMP", (0, 0), namespaces::jump),
    admin("RELOAD", (1, 1), namespaces::reload),
    any("PING", (0, 0), system::ping),
    any("TIME", (0, 0), system::time),
    any("INFO", (0, 0), system::info),
    any("AUTH", (1, 2), system::auth),
    any("WAIT", (1, 2), system::wait),
    any("STOP", (0, 0), system::stop),
    admin("HOOKS", (0, 0), system::hooks),
    admin("INDEX", (1, 2), system::index),
    admin("DATA", (3, 3), system::data),
    admin("MIRROR", (0, 0), system::mirror),
    admin("MASTER", (0, 0), system::master),

];

impl Command {
    /// The command of this name, in any letter case.
    pub(crate) fn find(name: &[u8]) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    pub(crate) fn is_write(&self) -> bool {
        self.handler.is_none()
    }

    /// Whether the session may run it, with so many arguments.
    pub(crate) fn check(&self, session: &Session, count: usize) -> Result<(), ZdbError> {
        if self.admin && !session.admin {
            return Err(ZdbError::NotAdmin);
        }
        if (self.count.0..=self.count.1).contains(&count) { Ok(()) } else { Err(ZdbError::Count) }
    }

    /// Runs a command that does not write.
    pub(crate) fn run(&self, call: &mut Call<'_>) -> Result<Next, ZdbError> {
        self.check(call.session, call.arguments.len())?;
        let handler = self.handler.expect("commands that write run elsewhere");
        handler(call)
    }
}

impl Call<'_> {
    /// Answers, and is done.
    #[expect(clippy::unnecessary_wraps, reason = "it ends handlers, which may fail")]
    fn reply(&mut self, reply: &Reply) -> Result<Next, ZdbError> {
        reply.encode(self.out);
        Ok(Next::Done)
    }

    /// A key, as reading takes it.
    fn key(&self) -> Result<&Bytes, ZdbError> {
        let key = &self.arguments[0];
        if key.is_empty() || key.len() > super::layout::KEY_BYTES_MAX {
            return Err(ZdbError::Argument { want: "a key of 1 to 255 bytes" });
        }
        Ok(key)
    }
}

fn bulk(bytes: impl Into<Bytes>) -> Reply {
    Reply::Bulk(bytes.into())
}

fn integer(n: impl TryInto<i64>) -> Reply {
    Reply::Integer(n.try_into().unwrap_or(i64::MAX))
}

fn simple(text: &'static str) -> Reply {
    Reply::Simple(Bytes::from_static(text.as_bytes()))
}

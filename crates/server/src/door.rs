//! Commands over the database: synchronous, for blocking threads.
//!
//! Puts of one batch are appended first and waited for once, at its end or before a read that must see them: that is
//! the group commit of a pipeline. Connections that wait at the same time share the sync, too.

use crate::{
    answer::Answers,
    client::{Client, Selected},
    command::{Checked, Command},
    config::ServerConfig,
    glob, info,
    stats::Stats,
};
use bytes::Bytes;
use prunedb_core::TableId;
use prunedb_engine::{Cursor, Db, Error, Position, Table, TableKind};
use prunedb_wire::{Reply, parse_u64};
use std::{
    collections::{HashSet, VecDeque},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

/// A request: a command, or what is wrong with it.
pub(crate) type Request = Result<Command, String>;

/// A batch pauses when its answers have so many bytes, so that they can be sent.
const ANSWER_BYTES: usize = 1 << 20;
/// Longest error text: it may list every node.
const ERROR_BYTES: usize = 1000;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) db: Db,
    pub(crate) config: ServerConfig,
    pub(crate) stats: Stats,
    pub(crate) started: Instant,
    pub(crate) port: u16,
    /// held by puts until they are durable: together by plain ones, alone by those that look first
    puts: RwLock<()>,
}

impl Door {
    pub(crate) fn new(db: Db, config: ServerConfig, port: u16) -> Self {
        let (stats, started) = (Stats::default(), Instant::now());
        Self { db, config, stats, started, port, puts: RwLock::new(()) }
    }

    /// Runs requests from the front until none is left, the client leaves, or there is a lot to send.
    pub(crate) fn run(
        &self,
        client: &mut Client,
        requests: &mut VecDeque<Request>,
        answers: &mut Answers,
    ) {
        let mut batch = Batch { door: self, client, items: Vec::new(), bytes: 0, pending: None };
        while let Some(request) = requests.pop_front() {
            match request {
                // element by element, so that a long list of long values need not fit in memory
                Ok(Command::GetMany(keys)) => {
                    batch.items.push(Item::Array(keys.len()));
                    keys.into_iter()
                        .rev()
                        .for_each(|key| requests.push_front(Ok(Command::Get(key))));
                    continue;
                }
                Ok(command) => batch.run(command),
                Err(reason) => batch.push(Reply::Error(reason.into())),
            }
            if batch.client.leaves || batch.bytes >= ANSWER_BYTES {
                break;
            }
        }
        batch.settle();
        for item in batch.items {
            match item {
                Item::Reply(reply) => answers.push(reply),
                Item::Array(count) => answers.push_array(count),
            }
        }
    }
}

/// One run over some requests.
struct Batch<'a> {
    door: &'a Door,
    client: &'a mut Client,
    items: Vec<Item>,
    /// of values among the items
    bytes: usize,
    pending: Option<Pending<'a>>,
}

enum Item {
    Reply(Reply),
    Array(usize),
}

/// Puts that are not durable yet.
struct Pending<'a> {
    /// behind the last of them
    position: Option<Position>,
    /// what a read must wait for
    keys: HashSet<(TableId, Bytes)>,
    /// their answers, that only count once they are durable
    answers: Vec<usize>,
    guard: Guard<'a>,
}

#[expect(dead_code, reason = "they are held")]
enum Guard<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl<'a> Batch<'a> {
    fn push(&mut self, reply: Reply) {
        if let Reply::Bulk(value) = &reply {
            self.bytes += value.len();
        }
        self.items.push(Item::Reply(reply));
    }

    fn run(&mut self, command: Command) {
        let reply = match command {
            Command::Set { key, value, checked: None } => self.put(&[(key, value)]),
            Command::SetMany(pairs) => self.put(&pairs),
            Command::Set { key, value, checked: Some(checked) } => {
                self.put_checked(key, value, checked)
            }
            other => self.answer(other),
        };
        match reply {
            Ok(reply) => self.push(reply),
            Err(error) => self.push(error_reply(&error)),
        }
    }

    /// The answer of a command that puts nothing.
    fn answer(&mut self, command: Command) -> Result<Reply, Error> {
        Ok(match command {
            Command::Ping(None) => Reply::Simple(Bytes::from_static(b"PONG")),
            Command::Ping(Some(text)) | Command::Echo(text) => Reply::Bulk(text),
            Command::Quit => {
                self.client.leaves = true;
                Reply::OK
            }
            Command::Hello { protocol, name } => self.hello(protocol.as_deref(), name),
            Command::Select(table) => self.select(&table),
            Command::Table { name, kind } => {
                self.settle();
                let name = String::from_utf8_lossy(&name);
                let table = self.door.db.ensure_table(&name, kind)?;
                self.client.selected = Selected::Table(table);
                Reply::OK
            }
            Command::Get(key) => match self.value(&key)? {
                Some(value) => Reply::Bulk(value.into()),
                None => Reply::Nil,
            },
            Command::Exists(keys) => {
                let mut found = 0;
                for key in keys {
                    found += i64::from(self.value(&key)?.is_some());
                }
                Reply::Integer(found)
            }
            Command::Type(key) => {
                let there = self.value(&key)?.is_some();
                Reply::Simple(Bytes::from_static(if there { b"string" } else { b"none" }))
            }
            Command::Length(key) => {
                integer(self.value(&key)?.map_or(0, |value| value.len() as u64))
            }
            Command::TimeToLive(key) => {
                Reply::Integer(if self.value(&key)?.is_some() { -1 } else { -2 })
            }
            Command::Scan { cursor, count, pattern, strings } => {
                self.scan(cursor, count, pattern.filter(|_| strings), strings)?
            }
            Command::Count => {
                self.settle();
                let selected = self.table().map(|table| table.id());
                let tables = self.door.db.table_records()?;
                let of = |name: &str| self.door.db.table(name).map(|table| table.id()).ok();
                let count = tables.iter().find(|t| selected.is_some() && of(&t.name) == selected);
                integer(count.map_or(0, |table| table.records))
            }
            Command::Info(sections) => {
                self.settle();
                Reply::Bulk(info::text(self.door, &sections)?.into())
            }
            Command::Commands { count: false } => Reply::Array(Vec::new()),
            Command::Commands { count: true } => Reply::Integer(0),
            Command::ConfigGet(patterns) => config_get(&patterns),
            Command::ClientId => integer(self.client.id),
            Command::ClientName => match self.client.name.clone() {
                name if name.is_empty() => Reply::Nil,
                name => Reply::Bulk(name),
            },
            Command::ClientSetName(name) => self.set_name(name),
            Command::Ignored => Reply::OK,
            Command::Set { .. } | Command::SetMany(_) | Command::GetMany(_) => {
                unreachable!("puts and lists have their own ways")
            }
        })
    }

    fn hello(&mut self, protocol: Option<&[u8]>, name: Option<Bytes>) -> Reply {
        if protocol.is_some_and(|version| version != b"2") {
            return Reply::Error(Bytes::from_static(b"NOPROTO this server speaks RESP2"));
        }
        if let Some(name) = name
            && let error @ Reply::Error(_) = self.set_name(name)
        {
            return error;
        }
        let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
        let role = if self.door.db.is_reader() { "replica" } else { "master" };
        Reply::Array(vec![
            text("server"),
            text("prunedb"),
            text("version"),
            text(env!("CARGO_PKG_VERSION")),
            text("proto"),
            Reply::Integer(2),
            text("id"),
            integer(self.client.id),
            text("mode"),
            text("standalone"),
            text("role"),
            text(role),
            text("modules"),
            Reply::Array(Vec::new()),
        ])
    }

    fn set_name(&mut self, name: Bytes) -> Reply {
        const NAME_BYTES_MAX: usize = 256;
        if name.len() > NAME_BYTES_MAX || !name.iter().all(u8::is_ascii_graphic) {
            let why = b"ERR a client's name has no blanks and at most 256 bytes";
            return Reply::Error(Bytes::from_static(why));
        }
        self.client.name = name;
        Reply::OK
    }

    /// A number is a table's own, 0 the default table; anything else is a name. A name that is not there yet becomes
    /// a keyed table with the first put.
    fn select(&mut self, table: &[u8]) -> Reply {
        self.client.selected = match parse_u64(table) {
            Some(0) => Selected::Name(self.door.config.table.clone()),
            Some(number) => {
                let id = u32::try_from(number).ok().map(TableId);
                match id.and_then(|id| self.door.db.table_by_id(id)) {
                    Some(table) => Selected::Table(table),
                    None => {
                        let why = b"ERR DB index is out of range: no table has this number; select it by its name";
                        return Reply::Error(Bytes::from_static(why));
                    }
                }
            }
            None => Selected::Name(String::from_utf8_lossy(table).into_owned()),
        };
        Reply::OK
    }

    /// The selected table, where it is there.
    fn table(&mut self) -> Option<Table> {
        if let Selected::Name(name) = &self.client.selected
            && let Ok(table) = self.door.db.table(name)
        {
            self.client.selected = Selected::Table(table);
        }
        match &self.client.selected {
            Selected::Table(table) => Some(table.clone()),
            Selected::Name(_) => None,
        }
    }

    /// The selected table; created where it is not there.
    fn table_for_puts(&mut self) -> Result<Table, Error> {
        if let Selected::Name(name) = &self.client.selected {
            let table = self.door.db.table(name);
            let table = table.or_else(|_| self.door.db.ensure_table(name, TableKind::Keyed))?;
            self.client.selected = Selected::Table(table);
        }
        match &self.client.selected {
            Selected::Table(table) => Ok(table.clone()),
            Selected::Name(name) => Err(Error::UnknownTable { name: name.clone() }),
        }
    }

    fn value(&mut self, key: &Bytes) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table() else { return Ok(None) };
        let of_table = (table.id(), key.clone());
        if self.pending.as_ref().is_some_and(|pending| pending.keys.contains(&of_table)) {
            self.settle();
        }
        let value = match stored_key(&table, key) {
            Some(key) => self.door.db.get(&table, &key)?,
            None => return Err(not_a_position(&table)),
        };
        let stats = &self.door.stats;
        if value.is_some() {
            stats.hits.add(1)
        } else {
            stats.misses.add(1)
        }
        Ok(value)
    }

    fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        pattern: Option<Bytes>,
        strings: bool,
    ) -> Result<Reply, Error> {
        self.settle();
        let (mut keys, mut next) = (Vec::new(), None);
        if let Some(table) = self.table().filter(|_| strings) {
            let from = (cursor != 0).then(|| Cursor::from(cursor));
            (keys, next) = self.door.db.scan_keys(&table, from, count)?;
            keys.iter_mut().for_each(|key| show_key(&table, key));
        }
        if let Some(pattern) = pattern {
            keys.retain(|key| glob::matches(&pattern, key));
        }
        let next = next.map_or(0, u64::from).to_string();
        let keys = keys.into_iter().map(|key| Reply::Bulk(key.into())).collect();
        Ok(Reply::Array(vec![Reply::Bulk(next.into()), Reply::Array(keys)]))
    }

    /// Appends the records as one put; they are durable after [`Self::settle`].
    fn put(&mut self, pairs: &[(Bytes, Bytes)]) -> Result<Reply, Error> {
        let table = self.table_for_puts()?;
        self.hold(false);
        self.append(&table, pairs)?;
        Ok(Reply::OK)
    }

    /// Puts where the key is not there. Nobody else of this server puts between the look and the put.
    fn put_checked(&mut self, key: Bytes, value: Bytes, how: Checked) -> Result<Reply, Error> {
        let table = self.table_for_puts()?;
        self.hold(true);
        // may settle, and so let go
        let old = self.value(&key)?;
        self.hold(true);
        let old = if old.is_none() { self.value(&key)? } else { old };
        let (done, refused) = match how {
            Checked::Set => (Reply::OK, Reply::Nil),
            Checked::SetNx => (Reply::Integer(1), Reply::Integer(0)),
        };
        match old {
            None => self.append(&table, &[(key, value)]).map(|()| done),
            Some(old) if old == value => Ok(refused),
            Some(old) => Err(Error::contradiction(&table, &old, &value)),
        }
    }

    /// Begins or goes on with puts; `alone` keeps those of all other connections out.
    fn hold(&mut self, alone: bool) {
        match &self.pending {
            Some(Pending { guard: Guard::Alone(_), .. }) => return,
            Some(Pending { guard: Guard::Shared(_), .. }) if !alone => return,
            Some(_) => self.settle(),
            None => {}
        }
        let door = self.door;
        let guard = if alone {
            Guard::Alone(door.puts.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Guard::Shared(door.puts.read().unwrap_or_else(PoisonError::into_inner))
        };
        let (keys, answers) = (HashSet::new(), Vec::new());
        self.pending = Some(Pending { position: None, keys, answers, guard });
    }

    /// Appends while [`Self::hold`] holds; the next answer is that of this put.
    fn append(&mut self, table: &Table, pairs: &[(Bytes, Bytes)]) -> Result<(), Error> {
        let mut keys = Vec::with_capacity(pairs.len());
        for (key, _) in pairs {
            keys.push(stored_key(table, key).ok_or_else(|| not_a_position(table))?);
        }
        let records: Vec<(&Table, &[u8], &[u8])> =
            keys.iter().zip(pairs).map(|(key, (_, value))| (table, &key[..], &value[..])).collect();
        let position = self.door.db.append(&records)?;
        let pending = self.pending.as_mut().expect("puts are held");
        pending.position = Some(position);
        pending.answers.push(self.items.len());
        pending.keys.extend(pairs.iter().map(|(key, _)| (table.id(), key.clone())));
        Ok(())
    }

    /// Waits until all puts so far are durable; where they are not, their answers say so.
    fn settle(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let Some(position) = pending.position else { return };
        if let Err(error) = self.door.db.wait(position) {
            for at in pending.answers {
                if let Some(item) = self.items.get_mut(at) {
                    *item = Item::Reply(error_reply(&error));
                }
            }
        }
    }
}

/// The key as the table stores it; `None` where a sequence's is no number.
fn stored_key(table: &Table, key: &Bytes) -> Option<Bytes> {
    match table.kind() {
        TableKind::Keyed => Some(key.clone()),
        TableKind::Sequence => {
            parse_u64(key).map(|position| Bytes::copy_from_slice(&position.to_be_bytes()))
        }
    }
}

/// The key as clients see it.
fn show_key(table: &Table, key: &mut Vec<u8>) {
    if table.kind() == TableKind::Sequence
        && let Ok(position) = key.as_slice().try_into()
    {
        *key = u64::from_be_bytes(position).to_string().into_bytes();
    }
}

fn not_a_position(table: &Table) -> Error {
    Error::TableKind {
        name: table.name().into(),
        found: "a sequence: its keys are whole numbers",
        wanted: "keyed",
    }
}

fn integer(n: u64) -> Reply {
    Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn error_reply(error: &Error) -> Reply {
    let code = if matches!(error, Error::ReadOnly) { "READONLY" } else { "ERR" };
    let mut text = format!("{code} {error}");
    if text.len() > ERROR_BYTES {
        let end = (0..=ERROR_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    Reply::Error(text.into())
}

/// What clients and benchmarks ask for when they connect.
fn config_get(patterns: &[Bytes]) -> Reply {
    const SETTINGS: [(&str, &str); 5] = [
        ("appendfsync", "always"),
        ("appendonly", "yes"),
        ("databases", "1"),
        ("maxmemory", "0"),
        ("save", ""),
    ];
    let wanted = |name: &&(&str, &str)| {
        patterns.iter().any(|p| glob::matches(&p.to_ascii_lowercase(), name.0.as_bytes()))
    };
    let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let found = SETTINGS.iter().filter(wanted);
    Reply::Array(found.flat_map(|(name, value)| [text(name), text(value)]).collect())
}

//! What a request means. No I/O.

use bytes::Bytes;
use prunedb_engine::TableKind;
use prunedb_wire::parse_u64;

/// A request that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Ping(Option<Bytes>),
    Echo(Bytes),
    Quit,
    Hello {
        protocol: Option<Bytes>,
        name: Option<Bytes>,
    },
    Select(Bytes),
    /// `PDB.TABLE`: selects a table by its name, created where there is none
    Table {
        name: Bytes,
        kind: TableKind,
    },
    Set {
        key: Bytes,
        value: Bytes,
        checked: Option<Checked>,
    },
    SetMany(Vec<(Bytes, Bytes)>),
    Get(Bytes),
    GetMany(Vec<Bytes>),
    Exists(Vec<Bytes>),
    Type(Bytes),
    Length(Bytes),
    /// `TTL`, `PTTL`
    TimeToLive(Bytes),
    Scan {
        cursor: u64,
        count: usize,
        pattern: Option<Bytes>,
        strings: bool,
    },
    Count,
    Info(Vec<Bytes>),
    /// `COMMAND`: an empty list, nobody needs ours; or its length
    Commands {
        count: bool,
    },
    ConfigGet(Vec<Bytes>),
    ClientId,
    ClientName,
    ClientSetName(Bytes),
    /// accepted without effect
    Ignored,
}

/// How a `SET` that looks first answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// `SET ... NX`: OK or nil
    Set,
    /// `SETNX`: 1 or 0
    SetNx,
}

impl Command {
    /// Whether it needs the database, and so a blocking thread.
    pub(crate) fn is_blocking(&self) -> bool {
        !matches!(
            self,
            Self::Ping(_)
                | Self::Echo(_)
                | Self::Quit
                | Self::Hello { .. }
                | Self::Commands { .. }
                | Self::ConfigGet(_)
                | Self::ClientId
                | Self::ClientName
                | Self::ClientSetName(_)
                | Self::Ignored
        )
    }

    /// Whether it may write.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Set { .. } | Self::SetMany(_) | Self::Table { .. })
    }
}

/// Keys of one `SCAN` at most, whatever its `COUNT` says.
pub(crate) const SCAN_COUNT_MAX: u64 = 1000;
const SCAN_COUNT_DEFAULT: u64 = 10;

/// Commands that change or delete what is stored.
const IMMUTABLE: [&str; 42] = [
    "APPEND",
    "BITFIELD",
    "BITOP",
    "COPY",
    "DECR",
    "DECRBY",
    "DEL",
    "EXPIRE",
    "EXPIREAT",
    "FLUSHALL",
    "FLUSHDB",
    "GETDEL",
    "GETEX",
    "GETSET",
    "HSET",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LPOP",
    "LPUSH",
    "MIGRATE",
    "MOVE",
    "MSETNX",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PFADD",
    "PSETEX",
    "RENAME",
    "RENAMENX",
    "RESTORE",
    "RPOP",
    "RPUSH",
    "SADD",
    "SETBIT",
    "SETEX",
    "SETRANGE",
    "SORT",
    "SREM",
    "SWAPDB",
    "UNLINK",
    "ZADD",
];

/// Understands a request; what is wrong with it, for the client.
pub(crate) fn parse(arguments: Vec<Bytes>) -> Result<Command, String> {
    let mut arguments = Arguments::new(arguments)?;
    let name = arguments.name.clone();
    let command = match name.as_str() {
        "PING" => Command::Ping(arguments.next()),
        "ECHO" => Command::Echo(arguments.take()?),
        "QUIT" => Command::Quit,
        "HELLO" => hello(&mut arguments)?,
        "AUTH" => return Err("ERR this server has no password: leave AUTH out".into()),
        "SELECT" => Command::Select(arguments.take()?),
        "PDB.TABLE" => Command::Table { name: arguments.take()?, kind: kind(&arguments.take()?)? },
        "SET" => set(&mut arguments)?,
        "SETNX" => Command::Set {
            key: arguments.take()?,
            value: arguments.take()?,
            checked: Some(Checked::SetNx),
        },
        "MSET" => {
            let mut pairs = vec![(arguments.take()?, arguments.take()?)];
            while let Some(key) = arguments.next() {
                pairs.push((key, arguments.take()?));
            }
            Command::SetMany(pairs)
        }
        "GET" => Command::Get(arguments.take()?),
        "MGET" => Command::GetMany(arguments.all()?),
        "EXISTS" => Command::Exists(arguments.all()?),
        "TYPE" => Command::Type(arguments.take()?),
        "STRLEN" => Command::Length(arguments.take()?),
        "TTL" | "PTTL" => Command::TimeToLive(arguments.take()?),
        "SCAN" => scan(&mut arguments)?,
        "KEYS" => return Err("ERR KEYS would read the whole table: use SCAN".into()),
        "DBSIZE" => Command::Count,
        "INFO" => Command::Info(arguments.rest()),
        "COMMAND" => match arguments.word().as_deref() {
            Some("COUNT") => Command::Commands { count: true },
            _ => {
                arguments.rest();
                Command::Commands { count: false }
            }
        },
        "CONFIG" => match arguments.word().as_deref() {
            Some("GET") => Command::ConfigGet(arguments.all()?),
            _ => return Err("ERR only CONFIG GET is answered: settings are in prunedb.toml".into()),
        },
        "CLIENT" => client(&mut arguments)?,
        _ if IMMUTABLE.binary_search(&name.as_str()).is_ok() => {
            return Err(format!(
                "ERR history is immutable: records are written once, {name} is refused"
            ));
        }
        _ => return Err(format!("ERR unknown command '{name}'")),
    };
    arguments.end()?;
    Ok(command)
}

fn hello(arguments: &mut Arguments) -> Result<Command, String> {
    let protocol = arguments.next();
    let mut name = None;
    while let Some(option) = arguments.word() {
        match option.as_str() {
            "SETNAME" => name = Some(arguments.take()?),
            "AUTH" => return Err("ERR this server has no password: leave AUTH out".into()),
            _ => return Err(syntax()),
        }
    }
    Ok(Command::Hello { protocol, name })
}

fn set(arguments: &mut Arguments) -> Result<Command, String> {
    let (key, value) = (arguments.take()?, arguments.take()?);
    let mut checked = None;
    while let Some(option) = arguments.word() {
        match option.as_str() {
            "NX" => checked = Some(Checked::Set),
            "XX" | "GET" | "KEEPTTL" | "EX" | "PX" | "EXAT" | "PXAT" => {
                return Err(format!(
                    "ERR history is immutable: records are written once and for ever, SET ... {option} is refused"
                ));
            }
            _ => return Err(syntax()),
        }
    }
    Ok(Command::Set { key, value, checked })
}

fn scan(arguments: &mut Arguments) -> Result<Command, String> {
    let cursor = parse_u64(&arguments.take()?).ok_or("ERR invalid cursor")?;
    let (mut count, mut pattern, mut strings) = (SCAN_COUNT_DEFAULT, None, true);
    while let Some(option) = arguments.word() {
        let value = arguments.take()?;
        match option.as_str() {
            "COUNT" => {
                count = parse_u64(&value)
                    .filter(|&n| n > 0)
                    .ok_or("ERR value is not an integer or out of range")?;
            }
            "MATCH" => pattern = Some(value),
            "TYPE" => strings = value.eq_ignore_ascii_case(b"string"),
            _ => return Err(syntax()),
        }
    }
    let count = usize::try_from(count.min(SCAN_COUNT_MAX)).expect("at most 1,000");
    Ok(Command::Scan { cursor, count, pattern, strings })
}

fn client(arguments: &mut Arguments) -> Result<Command, String> {
    match arguments.word().as_deref() {
        Some("ID") => Ok(Command::ClientId),
        Some("GETNAME") => Ok(Command::ClientName),
        Some("SETNAME") => Ok(Command::ClientSetName(arguments.take()?)),
        Some("SETINFO") => {
            arguments.take()?;
            arguments.take()?;
            Ok(Command::Ignored)
        }
        Some("NO-EVICT" | "NO-TOUCH") => {
            arguments.take()?;
            Ok(Command::Ignored)
        }
        _ => {
            Err("ERR of CLIENT there are ID, GETNAME, SETNAME, SETINFO, NO-EVICT, NO-TOUCH".into())
        }
    }
}

fn kind(word: &[u8]) -> Result<TableKind, String> {
    match word.to_ascii_uppercase().as_slice() {
        b"KEYED" => Ok(TableKind::Keyed),
        b"SEQUENCE" => Ok(TableKind::Sequence),
        _ => Err("ERR a table is KEYED or SEQUENCE".into()),
    }
}

fn syntax() -> String {
    "ERR syntax error".into()
}

/// What is left of a request.
struct Arguments {
    name: String,
    rest: std::vec::IntoIter<Bytes>,
}

impl Arguments {
    fn new(arguments: Vec<Bytes>) -> Result<Self, String> {
        let mut rest = arguments.into_iter();
        let name = rest.next().unwrap_or_default();
        Ok(Self { name: upper(&name), rest })
    }

    fn next(&mut self) -> Option<Bytes> {
        self.rest.next()
    }

    fn take(&mut self) -> Result<Bytes, String> {
        self.rest.next().ok_or_else(|| self.count())
    }

    /// The next one, a keyword.
    fn word(&mut self) -> Option<String> {
        self.rest.next().map(|word| upper(&word))
    }

    /// All that are left, at least one.
    fn all(&mut self) -> Result<Vec<Bytes>, String> {
        let all = self.rest();
        if all.is_empty() { Err(self.count()) } else { Ok(all) }
    }

    fn rest(&mut self) -> Vec<Bytes> {
        self.rest.by_ref().collect()
    }

    fn end(mut self) -> Result<(), String> {
        if self.rest.next().is_some() { Err(self.count()) } else { Ok(()) }
    }

    fn count(&self) -> String {
        format!("ERR wrong number of arguments for '{}' command", self.name.to_ascii_lowercase())
    }
}

/// A keyword in capitals, cut where no keyword is that long.
fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(64)]).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split(' ').map(|w| Bytes::copy_from_slice(w.as_bytes())).collect())
    }

    #[test]
    fn the_list_of_refused_commands_can_be_searched() {
        assert!(IMMUTABLE.is_sorted());
        for name in IMMUTABLE {
            assert!(parsed(name).unwrap_err().contains("immutable"), "{name}");
        }
    }

    #[test]
    fn options_and_counts_are_checked() {
        let set = |line: &str| match parsed(line) {
            Ok(Command::Set { checked, .. }) => Ok(checked),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(set("set k v"), Ok(None));
        assert_eq!(set("SET k v nx"), Ok(Some(Checked::Set)));
        assert_eq!(set("SETNX k v"), Ok(Some(Checked::SetNx)));
        assert!(set("SET k v EX 10").unwrap_err().contains("immutable"));
        assert!(set("SET k v XX").unwrap_err().contains("immutable"));
        assert!(set("SET k v ZZ").unwrap_err().contains("syntax"));
        for line in ["SET k", "GET", "GET a b", "MGET", "MSET a", "MSET a b c", "SELECT", "SCAN"] {
            assert!(parsed(line).unwrap_err().contains("wrong number"), "{line}");
        }
        assert_eq!(
            parsed("scan 77 match a* count 9999"),
            Ok(Command::Scan {
                cursor: 77,
                count: 1000,
                pattern: Some("a*".into()),
                strings: true
            })
        );
        assert!(parsed("scan 1 count 0").is_err() && parsed("scan x").is_err());
        assert!(parsed("frob x").unwrap_err().contains("unknown command 'FROB'"));
    }

    proptest! {
        #[test]
        fn any_arguments_are_a_command_or_an_error(
            arguments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..6),
            name in proptest::option::of(proptest::sample::select(
                &["SET", "GET", "MSET", "SCAN", "HELLO", "CLIENT", "CONFIG", "COMMAND", "PDB.TABLE"][..],
            )),
        ) {
            let name = name.map(|n| Bytes::from_static(n.as_bytes()));
            let arguments = name.into_iter().chain(arguments.into_iter().map(Bytes::from));
            if let Err(error) = parse(arguments.collect()) {
                prop_assert!(error.starts_with("ERR "), "{}", error);
            }
        }
    }
}

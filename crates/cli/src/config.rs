//! Configuration: defaults < `prunedb.toml` < `PRUNEDB_*` < flags, as one typed struct.
//!
//! Every source goes through one table of keys, so an unknown key is refused wherever it stands, and every effective
//! value knows where it comes from. `PRUNEDB_DIR`, `PRUNEDB_CORPUS` and `PRUNEDB_KERNEL` are not configuration keys.

use anyhow::{Context, bail, ensure};
use prunedb_core::{
    LakeId, Policy,
    units::{ByteSize, CONTAINER_BYTES_MAX},
};
use prunedb_engine::{NodeDomains, Options};
use prunedb_local::local_address;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// One configuration key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// `None`: it has none
    pub(crate) default: Option<&'static str>,
    pub(crate) help: &'static str,
    /// settled by `init`, part of the lake itself
    pub(crate) fixed: bool,
}

const fn fixed(name: &'static str, help: &'static str) -> Key {
    Key { name, default: None, help, fixed: true }
}

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default: Some(default), help, fixed: false }
}

/// All keys, in the order in which they are shown.
pub(crate) const KEYS: [Key; 20] = [
    fixed("lake", "the lake's name, derived from its secret"),
    fixed("policy", "p+q: any p of p+q shards give a container back"),
    fixed("nodes", "the lake's storage nodes: HOST:PORT, zdb://..., file:///... or s3://..."),
    fixed("local_nodes", "storage nodes in this folder and process, instead of `nodes`"),
    fixed("reader", "true: this folder follows a lake that another one writes"),
    key("local_capacity", "1TB", "bytes that each local node may take up"),
    key(
        "container_bytes",
        "100MB",
        "a container is sealed before it grows past this, 1MB to 100MB",
    ),
    key("seal_age_s", "600", "seconds after which a container of 1 MB and more is sealed"),
    key("group_bytes", "4MiB", "puts are made durable together, up to this size at once"),
    key("group_ms", "10", "milliseconds after which a put is durable though nobody waits for it"),
    key("cache_bytes", "10GB", "local bytes of offloaded containers that are kept"),
    key("spool_memory_bytes", "128MiB", "coded streams up to this size are spooled in memory"),
    key("follow_ms", "1000", "milliseconds after which a reader looks at its lake again"),
    key("repair_rate", "0B", "bytes that repair may read in a second; 0B: as many as it can"),
    key(
        "node_lost_after_s",
        "3600",
        "seconds out of reach after which `prunedb up` takes a node for lost",
    ),
    key(
        "node_domains",
        "",
        "what fails together: ADDRESS=OPERATOR/NETWORK/PLACE for each node where it is known",
    ),
    key("data_dir", "data", "folder of containers and caches"),
    key("metadata_dir", "metadata", "folder of manifest and index"),
    key("secret_file", "lake.secret", "file with the lake secret"),
    key("threads", "0", "threads that compress and verify; 0: one for each core"),
];

/// Variables of the environment that are none of the configuration's.
const NOT_KEYS: [&str; 3] = ["PRUNEDB_DIR", "PRUNEDB_CORPUS", "PRUNEDB_KERNEL"];

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "prunedb.toml",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// Values as text, each with its source; the highest source has won.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Layers {
    /// The defaults, with the text of a `prunedb.toml` on top.
    pub(crate) fn from_file(text: &str) -> anyhow::Result<Self> {
        let mut layers = Self::default();
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(0, |s| text[..s.start].matches('\n').count() + 1);
            anyhow::anyhow!("line {line}: {}", e.message())
        })?;
        for (name, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                toml::Value::Array(items) => {
                    let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                    items
                        .with_context(|| format!("`{name}`: a list of strings is expected"))?
                        .join(",")
                }
                other => bail!("`{name}`: a {} cannot be its value", other.type_str()),
            };
            layers.set(&name, value, Source::File)?;
        }
        Ok(layers)
    }

    /// Puts `PRUNEDB_<KEY>` and the flags on top.
    pub(crate) fn overlay(
        &mut self,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> anyhow::Result<()> {
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix("PRUNEDB_") else { continue };
            if !NOT_KEYS.contains(&variable.as_str()) {
                self.set(&name.to_ascii_lowercase(), value, Source::Environment)
                    .with_context(|| format!("environment variable {variable}"))?;
            }
        }
        for flag in flags {
            let (name, value) = flag
                .split_once('=')
                .with_context(|| format!("--set {flag}: write --set KEY=VALUE"))?;
            self.set(name, value.into(), Source::Flag).context("--set")?;
        }
        Ok(())
    }

    pub(crate) fn set(&mut self, name: &str, value: String, source: Source) -> anyhow::Result<()> {
        let Some(key) = KEYS.iter().find(|k| k.name == name) else {
            let known: Vec<&str> = KEYS.iter().map(|k| k.name).collect();
            bail!("`{name}` is not a configuration key: {} are", known.join(", "));
        };
        self.values.insert(key.name, (value, source));
        Ok(())
    }

    /// Whether something else than the default is in effect.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A key's effective value and its source.
    pub(crate) fn get(&self, key: &Key) -> Option<(&str, Source)> {
        match self.values.get(key.name) {
            Some((value, source)) => Some((value, *source)),
            None => key.default.map(|value| (value, Source::Default)),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        let key = KEYS.iter().find(|k| k.name == name).expect("asked for by its name in the table");
        self.get(key).map(|(value, _)| value)
    }

    /// A key's value, if it has one.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &str,
    ) -> anyhow::Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(e) => bail!("{name} ({}): {e}", self.source(name)),
        }
    }

    fn required<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> anyhow::Result<T> {
        self.parsed(name)?.with_context(|| format!("`{name}` is missing: `prunedb init` writes it"))
    }

    fn source(&self, name: &str) -> Source {
        self.values.get(name).map_or(Source::Default, |(_, source)| *source)
    }

    /// Refuses values of fixed keys that do not come from the file.
    pub(crate) fn check_fixed(&self) -> anyhow::Result<()> {
        for key in KEYS.iter().filter(|k| k.fixed) {
            let source = self.source(key.name);
            ensure!(
                matches!(source, Source::Default | Source::File),
                "`{}` ({source}) was settled when the database was created: it cannot be changed",
                key.name
            );
        }
        Ok(())
    }
}

/// Where the shards go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// storage nodes on the network
    Remote(Vec<String>),
    /// so many nodes in the folder
    Local(u16),
}

impl Nodes {
    /// The addresses, as they are stored in the lake's head.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Remote(addresses) => addresses.clone(),
            Self::Local(count) => (0..*count).map(local_address).collect(),
        }
    }
}

/// The effective configuration, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// unknown until `init` has made the secret
    pub(crate) lake: Option<LakeId>,
    pub(crate) policy: Policy,
    pub(crate) nodes: Nodes,
    /// another one writes the lake
    pub(crate) reader: bool,
    pub(crate) local_capacity_bytes: u64,
    pub(crate) container_bytes: u64,
    pub(crate) seal_age: Duration,
    pub(crate) group_bytes: usize,
    pub(crate) group_age: Duration,
    pub(crate) cache_bytes: u64,
    pub(crate) spool_memory_bytes: u64,
    pub(crate) follow_interval: Duration,
    pub(crate) repair_bytes_per_s: u64,
    pub(crate) node_lost_after: Duration,
    pub(crate) node_domains: BTreeMap<String, NodeDomains>,
    pub(crate) data_dir: PathBuf,
    pub(crate) metadata_dir: PathBuf,
    pub(crate) secret_file: PathBuf,
    pub(crate) threads: usize,
}

/// Smallest container that may be configured, and largest.
const CONTAINER_BYTES: std::ops::RangeInclusive<u64> = 1_000_000..=100_000_000;
/// Smallest group that may be configured, and largest.
const GROUP_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;
const _: () = assert!(*CONTAINER_BYTES.end() < CONTAINER_BYTES_MAX as u64);

impl Config {
    /// Parses and validates; relative folders are those of `dir`.
    pub(crate) fn new(layers: &Layers, dir: &Path) -> anyhow::Result<Self> {
        let size = |name| layers.required::<ByteSize>(name).map(|size| size.0);
        let path = |name| layers.required::<String>(name).map(|path| dir.join(path));
        let container_bytes = size("container_bytes")?;
        ensure!(
            CONTAINER_BYTES.contains(&container_bytes),
            "container_bytes ({}): {} is not between 1 MB and 100 MB",
            layers.source("container_bytes"),
            ByteSize(container_bytes)
        );
        let seal_age_s: u64 = layers.required("seal_age_s")?;
        let group_ms: u64 = layers.required("group_ms")?;
        let group_bytes = size("group_bytes")?;
        ensure!(
            GROUP_BYTES.contains(&group_bytes),
            "group_bytes ({}): {} is not between 4 KiB and 64 MiB",
            layers.source("group_bytes"),
            ByteSize(group_bytes)
        );
        let follow_ms: u64 = layers.required("follow_ms")?;
        ensure!(
            (10..=3_600_000).contains(&follow_ms),
            "follow_ms ({}): {follow_ms} is not between 10 and 3,600,000",
            layers.source("follow_ms")
        );
        let threads: u16 = layers.required("threads")?;
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            lake: layers.parsed("lake")?,
            policy: layers.required("policy")?,
            nodes: nodes(layers)?,
            reader: layers.parsed("reader")?.unwrap_or(false),
            local_capacity_bytes: size("local_capacity")?,
            container_bytes,
            seal_age: Duration::from_secs(seal_age_s),
            group_bytes: usize::try_from(group_bytes).expect("checked above"),
            group_age: Duration::from_millis(group_ms),
            cache_bytes: size("cache_bytes")?,
            spool_memory_bytes: size("spool_memory_bytes")?,
            follow_interval: Duration::from_millis(follow_ms),
            repair_bytes_per_s: size("repair_rate")?,
            node_lost_after: Duration::from_secs(layers.required("node_lost_after_s")?),
            node_domains: domains_of(&layers.required::<String>("node_domains")?)
                .with_context(|| format!("node_domains ({})", layers.source("node_domains")))?,
            data_dir: path("data_dir")?,
            metadata_dir: path("metadata_dir")?,
            secret_file: path("secret_file")?,
            threads: if threads == 0 { available } else { threads.into() },
        })
    }

    /// What the engine is opened with.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(PathBuf::new(), self.policy);
        options.data_dir.clone_from(&self.data_dir);
        options.metadata_dir.clone_from(&self.metadata_dir);
        options.container_bytes = self.container_bytes;
        options.seal_age = self.seal_age;
        options.group_bytes = self.group_bytes;
        options.group_age = self.group_age;
        options.cache_bytes = self.cache_bytes;
        options.spool_memory_bytes = self.spool_memory_bytes;
        options.follow_interval = self.follow_interval;
        options.repair_bytes_per_s = self.repair_bytes_per_s;
        options.node_lost_after = self.node_lost_after;
        options.domains.clone_from(&self.node_domains);
        options.threads = self.threads;
        options
    }
}

fn nodes(layers: &Layers) -> anyhow::Result<Nodes> {
    let local: Option<u16> = layers.parsed("local_nodes")?;
    match (layers.text("nodes"), local) {
        (Some(_), Some(_)) => bail!("both `nodes` and `local_nodes` are set: remove one of them"),
        (None, None) => {
            bail!("neither `nodes` nor `local_nodes` is set: `prunedb init` writes one of them")
        }
        (None, Some(count)) => Ok(Nodes::Local(count)),
        (Some(list), None) => {
            let addresses: Vec<String> = list.split(',').map(|a| a.trim().to_owned()).collect();
            for (position, address) in addresses.iter().enumerate() {
                prunedb_store::check_address(address)?;
                ensure!(!addresses[..position].contains(address), "node {address} is there twice");
            }
            Ok(Nodes::Remote(addresses))
        }
    }
}

/// Reads `ADDRESS=OPERATOR/NETWORK/PLACE,...`; parts that are not known are empty, or left out at the end.
fn domains_of(text: &str) -> anyhow::Result<BTreeMap<String, NodeDomains>> {
    let mut out = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let expected = || format!("`{entry}` is not ADDRESS=OPERATOR/NETWORK/PLACE");
        let (address, domains) = entry.rsplit_once('=').with_context(expected)?;
        let mut parts = domains.split('/').map(|part| part.trim().to_owned());
        let mut next = || parts.next().unwrap_or_default();
        let domains = NodeDomains { operator: next(), network: next(), place: next() };
        ensure!(parts.next().is_none() && !address.is_empty(), expected());
        ensure!(out.insert(address.to_owned(), domains).is_none(), "node {address} is there twice");
    }
    Ok(out)
}

/// Domains as [`Config::new`] reads them.
pub(crate) fn domains_text(domains: &BTreeMap<String, NodeDomains>) -> String {
    let entry = |(address, domains): (&String, &NodeDomains)| {
        let NodeDomains { operator, network, place } = domains;
        format!("{address}={operator}/{network}/{place}")
    };
    domains.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// The text of a new `prunedb.toml`: what `init` settled and what was set by flag, every other key as a comment.
pub(crate) fn file_text(layers: &Layers) -> String {
    let mut out = String::from(
        "# Configuration of a Prune DB. PRUNEDB_<KEY> in the environment and --set KEY=VALUE go before it;\n\
         # `prunedb config` shows what is in effect. The first part was settled by `prunedb init`.\n\n",
    );
    for key in &KEYS {
        let set =
            layers.values.get(key.name).filter(|(_, s)| key.fixed || *s != Source::Environment);
        match (set, key.default) {
            (Some((value, _)), _) => {
                out.push_str(&format!(
                    "# {}\n{} = {}\n",
                    key.help,
                    key.name,
                    toml_value(key.name, value)
                ));
            }
            (None, Some(default)) => {
                let value = toml_value(key.name, default);
                out.push_str(&format!("# {}\n# {} = {value}\n", key.help, key.name));
            }
            (None, None) => {}
        }
    }
    out
}

fn toml_value(name: &str, value: &str) -> String {
    // a basic string: what JSON escapes, TOML escapes in the same way
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match name {
        "nodes" | "node_domains" => format!(
            "[{}]",
            value
                .split(',')
                .filter(|a| !a.trim().is_empty())
                .map(|a| quoted(a.trim()))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        _ if value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<i64>().is_ok() => {
            value.into()
        }
        "reader" => value.into(),
        _ => quoted(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "policy = \"4+2\"\nlocal_nodes = 6\ncache_bytes = \"5GB\"\nseal_age_s = 30\n";

    fn environment(variables: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        let owned: Vec<_> = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        owned.into_iter()
    }

    #[test]
    fn flags_go_before_the_environment_before_the_file_before_defaults() {
        let mut layers = Layers::from_file(FILE).unwrap();
        let variables = environment(&[
            ("PRUNEDB_CACHE_BYTES", "6GB"),
            ("PRUNEDB_SEAL_AGE_S", "40"),
            ("PRUNEDB_DIR", "/x"),
            ("HOME", "/root"),
        ]);
        layers.overlay(variables, &["cache_bytes=7GB".into()]).unwrap();
        let config = Config::new(&layers, Path::new("/db")).unwrap();
        assert_eq!(config.cache_bytes, 7_000_000_000);
        assert_eq!(config.seal_age, Duration::from_secs(40));
        assert_eq!((config.nodes.clone(), config.container_bytes), (Nodes::Local(6), 100_000_000));
        assert_eq!(config.metadata_dir, Path::new("/db/metadata"));
        let again = Layers::from_file(&file_text(&layers)).unwrap();
        let again = Config::new(&again, Path::new("/db")).unwrap();
        // the environment is not written down
        assert_eq!(again, Config { seal_age: Duration::from_secs(600), ..config });
    }

    #[test]
    fn domains_of_nodes_are_written_as_they_are_read() {
        let text = format!(
            "{FILE}node_domains = [\"s3://b/p?x=y=alice/net/zurich\", \"a:1=bob//\", \"b:1=/net\"]"
        );
        let layers = Layers::from_file(&text).unwrap();
        let config = Config::new(&layers, Path::new("/db")).unwrap();
        let of = |address: &str| config.node_domains[address].clone();
        assert_eq!(of("s3://b/p?x=y").place, "zurich");
        assert_eq!(
            (of("a:1").operator, of("a:1").network, of("b:1").network),
            ("bob".into(), String::new(), "net".into())
        );
        assert_eq!(domains_of(&domains_text(&config.node_domains)).unwrap(), config.node_domains);
        let again = Layers::from_file(&file_text(&layers)).unwrap();
        assert_eq!(Config::new(&again, Path::new("/db")).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused_by_name() {
        let error = |text: &str| {
            let config = Layers::from_file(text).and_then(|l| Config::new(&l, Path::new("/db")));
            format!("{:#}", config.unwrap_err())
        };
        assert!(error("polcy = \"4+2\"").starts_with("`polcy` is not a configuration key"));
        assert!(error("policy = \"4+2\"\nlocal_nodes = 6\nnodes = [\"a:1\"]").contains("both"));
        assert!(
            error("policy = \"42\"\nlocal_nodes = 6").starts_with("policy (prunedb.toml): `42`")
        );
        assert!(error("policy = 4+2").starts_with("line 1: "));
        assert!(error("policy = [1]").contains("a list of strings"));
        assert!(error("policy = \"2+1\"\nnodes = [\"a:1\", \"b\"]").contains("`b` is not a node"));
        assert!(error("policy = \"2+1\"\nnodes = [\"a:1\", \"a:1\"]").contains("twice"));
        let domains = |text: &str| error(&format!("{FILE}node_domains = [{text}]"));
        assert!(domains("\"a:1\"").contains("`a:1` is not ADDRESS=OPERATOR/NETWORK/PLACE"));
        assert!(domains("\"a:1=x/y/z/z\"").contains("is not ADDRESS="));
        assert!(domains("\"a:1=x\", \"a:1=y\"").contains("twice"));
        let big = format!("{FILE}container_bytes = \"200MB\"");
        assert!(error(&big).contains("not between 1 MB and 100 MB"));
        let mut layers = Layers::from_file(FILE).unwrap();
        assert!(layers.overlay(environment(&[("PRUNEDB_POLCY", "1")]), &[]).is_err());
        assert!(layers.overlay(environment(&[]), &["policy".into()]).is_err());
        layers.overlay(environment(&[("PRUNEDB_POLICY", "3+1")]), &[]).unwrap();
        assert!(layers.check_fixed().is_err());
    }
}

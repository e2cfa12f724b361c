//! What a node's own files say about pruning it.

use toml::{Table, Value};

/// What must hold for a pruned node to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PruneLimits {
    /// The network's name.
    pub network: String,
    /// How long a transaction may wait: a validator needs all blocks of that time.
    pub max_ttl_ms: u64,
    /// How large the node lets its file grow.
    pub map_bytes: u64,
}

/// Why a node's files do not allow to prune it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// Not TOML.
    #[error("{file}: {error}")]
    Toml {
        /// which of the two
        file: &'static str,
        /// what the parser says
        error: String,
    },
    /// A key that is missing, or not of its kind.
    #[error("{file}: {key} is missing, or not {kind}")]
    Key {
        /// which of the two
        file: &'static str,
        /// the key
        key: &'static str,
        /// what it must be
        kind: &'static str,
    },
    /// A node that fetches again what is pruned, or never validates.
    #[error(
        "node configuration: node.sync_handling is {found:?}: only a node with \"ttl\" can be pruned \
         (\"genesis\" fetches all of it again, \"nosync\" never validates)"
    )]
    SyncHandling {
        /// what it is
        found: String,
    },
}

const CHAINSPEC: &str = "chainspec";
const CONFIG: &str = "node configuration";

impl PruneLimits {
    /// Reads the texts of `chainspec.toml` and of the node's `config.toml`.
    ///
    /// # Errors
    /// When they are not those of a node, or the node must not be pruned.
    pub fn read(chainspec: &str, config: &str) -> Result<Self, LimitsError> {
        let parse = |file, text: &str| {
            text.parse::<Table>().map_err(|error| {
                let error = error.message().to_owned();
                LimitsError::Toml { file, error }
            })
        };
        let (chainspec, config) = (parse(CHAINSPEC, chainspec)?, parse(CONFIG, config)?);
        let missing = |file, key, kind| LimitsError::Key { file, key, kind };
        let name = find(&chainspec, "network", "name").and_then(Value::as_str);
        let network = name.ok_or_else(|| missing(CHAINSPEC, "network.name", "a text"))?.into();
        // 1.x has it under deploys
        let ttl = find(&chainspec, "transactions", "max_ttl")
            .or_else(|| find(&chainspec, "deploys", "max_ttl"));
        let max_ttl_ms = ttl.and_then(Value::as_str).and_then(duration_ms).ok_or_else(|| {
            missing(CHAINSPEC, "transactions.max_ttl", "a time such as '2 hours'")
        })?;
        let sync = find(&config, "node", "sync_handling").and_then(Value::as_str);
        match sync.ok_or_else(|| missing(CONFIG, "node.sync_handling", "a text"))? {
            "ttl" => {}
            found => return Err(LimitsError::SyncHandling { found: found.into() }),
        }
        let mut map_bytes = 0u64;
        for key in
            ["max_block_store_size", "max_deploy_store_size", "max_deploy_metadata_store_size"]
        {
            let size = find(&config, "storage", key).and_then(Value::as_integer);
            let size = size.and_then(|size| u64::try_from(size).ok());
            let sum = size.and_then(|size| map_bytes.checked_add(size));
            map_bytes = sum.ok_or_else(|| {
                missing(
                    CONFIG,
                    "storage.max_{block,deploy,deploy_metadata}_store_size",
                    "a size in bytes",
                )
            })?;
        }
        Ok(Self { network, max_ttl_ms, map_bytes })
    }
}

fn find<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    table.get(section)?.get(key)
}

/// A time as the node's files have it: `2 hours`, `1day 12h`.
fn duration_ms(text: &str) -> Option<u64> {
    let (mut rest, mut sum) = (text.trim(), None);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 7 * 86_400_000,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        sum = Some(number.checked_mul(unit_ms)?.checked_add(sum.unwrap_or(0))?);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAINSPEC: &str = "[network]\nname = 'casper-a'\n[transactions]\nmax_ttl = '2 hours'";
    const CONFIG: &str = "[node]\nsync_handling = 'ttl'\n[storage]\nmax_block_store_size = 1_000\n\
        max_deploy_store_size = 20\nmax_deploy_metadata_store_size = 3";

    #[test]
    fn times_as_the_node_writes_them() {
        for (text, ms) in [
            ("30 seconds", Some(30_000)),
            ("2hours", Some(7_200_000)),
            ("1day 12h", Some(129_600_000)),
            ("1000 ms", Some(1000)),
            ("", None),
            ("12", None),
            ("two hours", None),
            ("99999999999999999 weeks", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn what_the_node_s_files_say() {
        let limits = PruneLimits::read(CHAINSPEC, CONFIG).unwrap();
        assert_eq!(limits.network, "casper-a");
        assert_eq!((limits.max_ttl_ms, limits.map_bytes), (7_200_000, 1023));
        let old = CHAINSPEC.replace("transactions", "deploys");
        assert_eq!(PruneLimits::read(&old, CONFIG).unwrap(), limits);
    }

    #[test]
    fn what_they_must_say() {
        let fails = |chainspec: &str, config: &str, says: &str| {
            let error = PruneLimits::read(chainspec, config).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        for mode in ["genesis", "nosync", "completeblock"] {
            fails(CHAINSPEC, &CONFIG.replace("'ttl'", &format!("'{mode}'")), mode);
        }
        fails(&CHAINSPEC.replace("name", "nam"), CONFIG, "network.name");
        fails(&CHAINSPEC.replace("2 hours", "soon"), CONFIG, "max_ttl");
        fails(CHAINSPEC, &CONFIG.replace("= 20", "= -20"), "store_size");
        fails("[network", CONFIG, "chainspec: ");
    }
}

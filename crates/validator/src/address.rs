//! Where a validator answers, and the key that it shows there.

use prunedb_core::Digest;
use prunedb_registry::Key;
use std::{fmt, str::FromStr};

/// A validator's door. As text: `tls://HOST:PORT/KEY`, the key being the validator's own, in 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorAddress {
    /// `host:port`
    pub server: String,
    /// who answers there, and nobody else
    pub key: Key,
}

/// A text that is no door's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no validator's door ({reason}): write tls://HOST:PORT/KEY, as `prunedb registry status` and `prunedb registry run` show it"
)]
pub struct DoorAddressError {
    /// what was given
    pub text: String,
    /// what is wrong with it
    pub reason: String,
}

impl fmt::Display for DoorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls://{}/{}", self.server, self.key)
    }
}

impl FromStr for DoorAddress {
    type Err = DoorAddressError;

    fn from_str(text: &str) -> Result<Self, DoorAddressError> {
        let wrong = |reason: &str| DoorAddressError { text: text.into(), reason: reason.into() };
        let rest = text.strip_prefix("tls://").ok_or_else(|| wrong("it names no key"))?;
        let (server, key) = rest.split_once('/').ok_or_else(|| wrong("it names no key"))?;
        let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(wrong("its server is not HOST:PORT"));
        }
        let key: Digest = key.parse().map_err(|e| wrong(&format!("its key: {e}")))?;
        Ok(Self { server: server.into(), key: Key(key.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_server_and_a_key() {
        let key = "ab".repeat(32);
        for server in ["10.0.0.1:7700", "validator.example:7700", "[::1]:7700"] {
            let text = format!("tls://{server}/{key}");
            let address: DoorAddress = text.parse().unwrap();
            assert_eq!((&*address.server, address.key), (server, Key([0xab; 32])));
            assert_eq!(address.to_string(), text);
        }
        for (text, reason) in [
            ("10.0.0.1:7700", "names no key"),
            ("tls://10.0.0.1:7700", "names no key"),
            ("tls://10.0.0.1/abcd", "not HOST:PORT"),
            ("tls://:7700/abcd", "not HOST:PORT"),
            ("tls://10.0.0.1:7700/abcd", "its key"),
            ("", "names no key"),
        ] {
            let error = text.parse::<DoorAddress>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("tls://HOST:PORT/KEY"), "{error}");
        }
    }
}

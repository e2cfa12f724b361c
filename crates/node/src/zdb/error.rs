//! What a namespace says "no" with. The texts are what clients of 0-db know where it has one for the case.

use super::log::Damaged;
use std::io;

/// A refused or failed command; the connection goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ZdbError {
    #[error("Command not supported")]
    Unknown,
    #[error("Unexpected arguments")]
    Count,
    #[error("Invalid argument: {want}")]
    Argument { want: &'static str },
    #[error("Permission denied")]
    NotAdmin,
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Authentication disabled")]
    NoAdmin,
    #[error("Access denied")]
    WrongPassword,
    #[error("No challenge was asked for on this connection")]
    NoChallenge,
    #[error(
        "The password is known by its hash only since the last start: select it once in clear, or set it again"
    )]
    NoClearPassword,
    #[error("Namespace not found")]
    NoNamespace,
    #[error("This namespace is not available: it exists")]
    NamespaceExists,
    #[error("Namespace protected and private")]
    Private,
    #[error("The default namespace always stays, and changes only its mode, lock and freeze")]
    Default,
    #[error("This namespace is in use by this connection")]
    InUse,
    #[error("Your namespace is not available anymore: it was deleted")]
    Gone,
    #[error("This server runs all namespaces in one mode")]
    OneMode,
    #[error("The mode of a namespace that has been used cannot change")]
    NotFresh,
    #[error("Flushing is for private namespaces with a password only")]
    NotFlushable,
    #[error("Namespace is in read-only mode")]
    ReadOnly,
    #[error("Namespace is temporarily locked (read-only)")]
    Locked,
    #[error("Namespace is temporarily frozen (read-write disabled)")]
    Frozen,
    #[error("Namespace is protected by worm mode")]
    Worm,
    #[error("Cannot delete a key when namespace is in worm mode")]
    WormDelete,
    #[error("No space left on this namespace")]
    NamespaceFull,
    #[error("No space left on this node: {free_bytes} bytes are free")]
    NodeFull { free_bytes: u64 },
    #[error("No space left on this node: it holds {keys_max} keys, as many as it may")]
    TooManyKeys { keys_max: u64 },
    #[error("Too many {what}: {max} at most")]
    Limit { what: &'static str, max: usize },
    #[error("Key not found")]
    NoKey,
    #[error("Invalid key, only an update of an existing one is authorized")]
    NoSequenceKey,
    #[error("Key too large")]
    KeyTooLong,
    #[error("Invalid key format")]
    BadCursor,
    #[error("No more data")]
    NoMoreData,
    #[error("No keys match")]
    NoKeysMatch,
    #[error("More than {bytes_max} bytes of keys match: use a longer prefix, or SCAN")]
    TooManyMatches { bytes_max: usize },
    #[error("Index running mode doesn't support this feature")]
    NotInSequence,
    #[error("Data damaged: {0}")]
    Damaged(#[from] Damaged),
    #[error("Cannot {doing} right now: {source}")]
    Disk {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl ZdbError {
    /// The disk's error: a full disk says so.
    pub(crate) fn disk(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NodeFull { free_bytes: 0 }
            }
            _ => Self::Disk { doing, source },
        }
    }
}

//! Why bytes are not what they should be.

/// Bytes that are no valid value of their format; `what` names the format and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the value does.
    #[error("{what}: ends after {found} bytes, needs {needed}")]
    Truncated {
        /// format and field
        what: &'static str,
        /// bytes needed
        needed: u64,
        /// bytes there
        found: u64,
    },
    /// Another kind of file, or none of ours.
    #[error("{what}: not this format (magic {found:02x?})")]
    Magic {
        /// format
        what: &'static str,
        /// the bytes found
        found: [u8; 8],
    },
    /// Written by a newer PruneDB.
    #[error(
        "{what}: version {found} is unknown here, this program reads {known}: use a newer prunedb"
    )]
    Version {
        /// format
        what: &'static str,
        /// version found
        found: u32,
        /// version known
        known: u32,
    },
    /// A checksum differs.
    #[error("{what}: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// format and field
        what: &'static str,
        /// as stored
        expected: u32,
        /// as computed
        found: u32,
    },
    /// Bytes follow where the value ends.
    #[error("{what}: {bytes} bytes too many")]
    Excess {
        /// format
        what: &'static str,
        /// how many
        bytes: u64,
    },
    /// A field holds a value that it never can.
    #[error("{what}: {found} is impossible")]
    Value {
        /// format and field
        what: &'static str,
        /// the value
        found: u64,
    },
}

/// A field that holds a value that it never can.
pub(crate) fn impossible(what: &'static str, found: impl Into<u64>) -> FormatError {
    FormatError::Value { what, found: found.into() }
}

//! Errors of native commands: `-CODE [number] text`.
//!
//! The code is the first word; codes that carry a fact have it as the second word. The rest is for people.

use crate::{Reply, number::parse_u64};
use prunedb_core::Term;

/// A node's typed "no".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `FENCED seen`: a newer writer exists.
    #[error("FENCED {seen} is the highest term seen for this lake")]
    Fenced {
        /// the highest term seen
        seen: Term,
    },
    /// `ABSENT`: no such shard.
    #[error("ABSENT no such shard")]
    Absent,
    /// `DAMAGED offset`: the stored bytes fail their checksum.
    #[error("DAMAGED {offset} is the first byte of a block that fails its checksum")]
    Damaged {
        /// first byte of the block
        offset: u64,
    },
    /// `CONFLICT`: another shard is stored under this id.
    #[error("CONFLICT another shard is stored under this id")]
    Conflict,
    /// `FULL free`: no room.
    #[error("FULL {free_bytes} bytes are free")]
    Full {
        /// bytes that are free
        free_bytes: u64,
    },
    /// `RANGE bytes`: past the end of the shard, or of what was announced.
    #[error("RANGE {shard_bytes} bytes is the shard's length")]
    Range {
        /// the shard's length
        shard_bytes: u64,
    },
    /// `MISMATCH`: length or name differ from what was sent.
    #[error("MISMATCH {reason}")]
    Mismatch {
        /// which, and what was found
        reason: String,
    },
    /// `LIMIT`: too many at once; later it may work.
    #[error("LIMIT {reason}")]
    Limit {
        /// of what
        reason: String,
    },
    /// `IO`: the disk failed.
    #[error("IO {reason}")]
    Io {
        /// in the disk's words
        reason: String,
    },
    /// `DENIED why`: the client may not do this here.
    #[error("DENIED {reason}")]
    Denied {
        /// a word, and more for people
        reason: String,
    },
    /// `ERR`: an unknown command, or arguments that make no sense.
    #[error("ERR {reason}")]
    Bad {
        /// what is wrong
        reason: String,
    },
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        Self::Error(refusal.to_string().into())
    }
}

impl Refusal {
    /// Reads the text of an error reply. Never fails: unknown codes are [`Refusal::Bad`].
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut words = text.splitn(2, ' ');
        let code = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default();
        let number = rest.split(' ').next().and_then(|word| parse_u64(word.as_bytes()));
        let reason = || rest.to_owned();
        match (code, number) {
            ("FENCED", Some(seen)) => Self::Fenced { seen: Term(seen) },
            ("ABSENT", _) => Self::Absent,
            ("DAMAGED", Some(offset)) => Self::Damaged { offset },
            ("CONFLICT", _) => Self::Conflict,
            ("FULL", Some(free_bytes)) => Self::Full { free_bytes },
            ("RANGE", Some(shard_bytes)) => Self::Range { shard_bytes },
            ("MISMATCH", _) => Self::Mismatch { reason: reason() },
            ("LIMIT", _) => Self::Limit { reason: reason() },
            ("IO", _) => Self::Io { reason: reason() },
            ("DENIED", _) => Self::Denied { reason: reason() },
            ("ERR", _) => Self::Bad { reason: reason() },
            _ => Self::Bad { reason: text.into_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_refusal_round_trips() {
        let reason = || "too bad".to_owned();
        for refusal in [
            Refusal::Fenced { seen: Term(u64::MAX) },
            Refusal::Absent,
            Refusal::Damaged { offset: 16_384 },
            Refusal::Conflict,
            Refusal::Full { free_bytes: 0 },
            Refusal::Range { shard_bytes: 5 },
            Refusal::Mismatch { reason: reason() },
            Refusal::Limit { reason: reason() },
            Refusal::Io { reason: reason() },
            Refusal::Denied { reason: reason() },
            Refusal::Bad { reason: reason() },
        ] {
            assert_eq!(Refusal::parse(refusal.to_string().as_bytes()), refusal);
        }
        assert!(matches!(Refusal::parse(b"FENCED off"), Refusal::Bad { .. }));
        assert!(matches!(Refusal::parse(b""), Refusal::Bad { .. }));
    }

    proptest! {
        #[test]
        fn any_text_is_some_refusal(text: Vec<u8>) {
            Refusal::parse(&text);
        }
    }
}

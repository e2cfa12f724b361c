//! What a chain brings to be answered for.

use crate::message::{Call, ErrorObject};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// What becomes of a call.
#[derive(Debug)]
pub enum Answer {
    /// Its result.
    Result(Box<RawValue>),
    /// What is wrong with it, or why it cannot be answered, although it is the archive's.
    Error(ErrorObject),
    /// It is not the archive's: the node is asked.
    PassOn,
}

impl Answer {
    /// A result, as JSON.
    pub fn result(value: &impl Serialize) -> Self {
        match to_raw_value(value) {
            Ok(value) => Self::Result(value),
            // only maps with keys that are not strings, and such
            Err(error) => Self::Error(ErrorObject::new(ErrorObject::INTERNAL, error.to_string())),
        }
    }
}

/// Answers calls from an archive.
pub trait Chain: Send + Sync + 'static {
    /// Answers a call, or passes it on. Runs on a thread that may block.
    fn answer(&self, call: &Call) -> Answer;
}

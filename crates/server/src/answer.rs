//! Answers on their way out: small ones gathered in one buffer, long values beside it, uncopied.

use bytes::{Bytes, BytesMut};
use prunedb_wire::{CRLF, Reply, put_array_head};

/// Bulk strings up to this are copied beside other answers.
const COPY_BYTES: usize = 16 << 10;

/// Answers in order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    parts: Vec<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Answers {
    /// Appends an answer.
    pub(crate) fn push(&mut self, reply: Reply) {
        let before = self.tail.len();
        let long = reply.encode_head(COPY_BYTES, &mut self.tail);
        self.bytes += self.tail.len() - before;
        if let Some(long) = long {
            self.bytes += long.len() + CRLF.len();
            self.parts.push(self.tail.split().freeze());
            self.parts.push(long);
            self.tail.extend_from_slice(CRLF);
        }
    }

    /// Appends the beginning of an array: so many answers must follow.
    pub(crate) fn push_array(&mut self, count: usize) {
        let before = self.tail.len();
        put_array_head(count, &mut self.tail);
        self.bytes += self.tail.len() - before;
    }

    /// Bytes of all answers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all of it, in pieces.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        let mut parts = std::mem::take(&mut self.parts);
        if !self.tail.is_empty() {
            parts.push(self.tail.split().freeze());
        }
        parts
    }
}

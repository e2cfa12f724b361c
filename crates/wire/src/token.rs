//! The pieces that requests and replies are made of: header lines and bulk strings.

use crate::{
    ARGUMENTS_MAX, BULK_BYTES_MAX, CRLF, FrameError, REQUEST_BYTES_MAX, number::parse_i64,
};
use bytes::{Buf, Bytes, BytesMut};

/// What one message may take up at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// arguments of a request, elements of one array of a reply
    pub count_max: usize,
    /// bytes of one bulk string
    pub bulk_bytes_max: usize,
    /// bytes of all bulk strings and lines of a message
    pub message_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            count_max: ARGUMENTS_MAX,
            bulk_bytes_max: BULK_BYTES_MAX,
            message_bytes_max: REQUEST_BYTES_MAX,
        }
    }
}

/// Longest line that holds a number.
const NUMBER_LINE_MAX: usize = 32;
/// Longest line that holds text.
const TEXT_LINE_MAX: usize = 4096;

/// One piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// `*n`: that many elements follow; `None` for `*-1`
    Array(Option<usize>),
    /// `$n` and its bytes; `None` for `$-1`
    Bulk(Option<Bytes>),
    Simple(Bytes),
    Error(Bytes),
    Integer(i64),
}

/// Takes tokens from the front of a buffer; keeps its place where one is not complete.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    limits: Limits,
    /// a bulk string's header was taken, its bytes were not yet
    bulk: Option<usize>,
    /// bytes of the unfinished line that were searched for its end
    searched: usize,
    /// bytes of the current message so far
    message_bytes: usize,
}

impl Tokenizer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, bulk: None, searched: 0, message_bytes: 0 }
    }

    /// A message is complete: its bytes no longer count.
    pub(crate) fn end_message(&mut self) {
        self.message_bytes = 0;
    }

    /// Bytes of the current message so far, those of an announced bulk string counted.
    pub(crate) fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Whether the bytes at the front of the buffer belong to a bulk string.
    pub(crate) fn in_bulk(&self) -> bool {
        self.bulk.is_some()
    }

    /// Bytes that must arrive before the next token can be complete, at least 1.
    pub(crate) fn missing(&self, buffered: usize) -> usize {
        self.bulk.map_or(1, |bytes| (bytes + CRLF.len()).saturating_sub(buffered).max(1))
    }

    pub(crate) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Token>, FrameError> {
        if let Some(bytes) = self.bulk {
            return self.bulk_bytes(bytes, buf);
        }
        let Some(&kind) = buf.first() else { return Ok(None) };
        let bytes_max = match kind {
            b'+' | b'-' => TEXT_LINE_MAX,
            b'$' | b'*' | b':' => NUMBER_LINE_MAX,
            found => return Err(FrameError::UnknownType { found }),
        };
        let Some(line) = self.line(bytes_max, buf)? else { return Ok(None) };
        let number = || parse_i64(&line).ok_or(FrameError::Number);
        match kind {
            b'+' => Ok(Some(Token::Simple(line))),
            b'-' => Ok(Some(Token::Error(line))),
            b':' => Ok(Some(Token::Integer(number()?))),
            b'*' => match number()? {
                -1 => Ok(Some(Token::Array(None))),
                found => match usize::try_from(found) {
                    Ok(count) if count <= self.limits.count_max => {
                        Ok(Some(Token::Array(Some(count))))
                    }
                    _ => Err(FrameError::Count { found, count_max: self.limits.count_max }),
                },
            },
            _ => match number()? {
                -1 => Ok(Some(Token::Bulk(None))),
                found => match usize::try_from(found) {
                    Ok(bytes) if bytes <= self.limits.bulk_bytes_max => {
                        self.count(bytes)?;
                        self.bulk = Some(bytes);
                        self.bulk_bytes(bytes, buf)
                    }
                    _ => {
                        Err(FrameError::BulkLength { found, bytes_max: self.limits.bulk_bytes_max })
                    }
                },
            },
        }
    }

    fn bulk_bytes(
        &mut self,
        bytes: usize,
        buf: &mut BytesMut,
    ) -> Result<Option<Token>, FrameError> {
        if buf.len() < bytes + CRLF.len() {
            return Ok(None);
        }
        if buf[bytes..].starts_with(CRLF) {
            self.bulk = None;
            let bulk = buf.split_to(bytes).freeze();
            buf.advance(CRLF.len());
            Ok(Some(Token::Bulk(Some(bulk))))
        } else {
            Err(FrameError::LineEnd)
        }
    }

    /// The text of the line at the front, without type byte and line end.
    fn line(&mut self, bytes_max: usize, buf: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let end = buf[self.searched..].iter().take(bytes_max).position(|&b| b == b'\n');
        let Some(end) = end.map(|at| at + self.searched) else {
            self.searched = buf.len();
            return match buf.len() {
                bytes if bytes > bytes_max => Err(FrameError::LineLength { bytes_max }),
                _ => Ok(None),
            };
        };
        self.searched = 0;
        if end > bytes_max {
            return Err(FrameError::LineLength { bytes_max });
        }
        if end < 2 || buf[end - 1] != b'\r' {
            return Err(FrameError::LineEnd);
        }
        self.count(end)?;
        let mut line = buf.split_to(end + 1).freeze();
        line.truncate(end - 1);
        line.advance(1);
        Ok(Some(line))
    }

    fn count(&mut self, bytes: usize) -> Result<(), FrameError> {
        self.message_bytes += bytes;
        match self.limits.message_bytes_max {
            bytes_max if self.message_bytes > bytes_max => Err(FrameError::TooLong { bytes_max }),
            _ => Ok(()),
        }
    }
}

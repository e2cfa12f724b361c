//! Replies: what a server says.

use crate::{
    CRLF, FrameError, Limits,
    request::{put_array_head, put_bulk, put_bulk_head},
    token::{Token, Tokenizer},
};
use bytes::{BufMut, Bytes, BytesMut};

/// One reply. Text of `Simple` and `Error` is cleaned of line ends when it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// `+text`
    Simple(Bytes),
    /// `-text`
    Error(Bytes),
    /// `:n`
    Integer(i64),
    /// `$n` and bytes
    Bulk(Bytes),
    /// `$-1`, no value
    Nil,
    /// `*n` and elements
    Array(Vec<Reply>),
}

impl Reply {
    /// `+OK`
    pub const OK: Self = Self::Simple(Bytes::from_static(b"OK"));

    /// Appends the reply's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Simple(text) => put_line(b'+', text, out),
            Self::Error(text) => put_line(b'-', text, out),
            Self::Integer(n) => put_line(b':', n.to_string().as_bytes(), out),
            Self::Bulk(bytes) => put_bulk(bytes, out),
            Self::Nil => out.put_slice(b"$-1\r\n"),
            Self::Array(elements) => {
                put_array_head(elements.len(), out);
                elements.iter().for_each(|element| element.encode(out));
            }
        }
    }

    /// Appends all but the bytes of a `Bulk` that is longer than `copy_max`, and returns these: the caller sends them
    /// as they are, then [`CRLF`].
    pub fn encode_head(self, copy_max: usize, out: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Bulk(bytes) if bytes.len() > copy_max => {
                put_bulk_head(bytes.len(), out);
                Some(bytes)
            }
            other => {
                other.encode(out);
                None
            }
        }
    }
}

fn put_line(kind: u8, text: &[u8], out: &mut BytesMut) {
    out.put_u8(kind);
    out.extend(text.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
    out.put_slice(CRLF);
}

/// Takes replies from the front of a buffer. Arrays hold no arrays: no command needs them.
#[derive(Debug)]
pub struct ReplyDecoder {
    tokens: Tokenizer,
    /// the array that is not complete yet, and its length
    array: Option<(Vec<Reply>, usize)>,
}

impl ReplyDecoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { tokens: Tokenizer::new(limits), array: None }
    }

    /// The next reply; `None` until more bytes came.
    ///
    /// # Errors
    /// [`FrameError`]: the connection cannot go on.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, FrameError> {
        loop {
            let Some(token) = self.tokens.next(buf)? else { return Ok(None) };
            let reply = match token {
                Token::Simple(text) => Reply::Simple(text),
                Token::Error(text) => Reply::Error(text),
                Token::Integer(n) => Reply::Integer(n),
                Token::Bulk(Some(bytes)) => Reply::Bulk(bytes),
                Token::Bulk(None) | Token::Array(None) => Reply::Nil,
                Token::Array(Some(_)) if self.array.is_some() => return Err(FrameError::Nesting),
                Token::Array(Some(0)) => Reply::Array(Vec::new()),
                Token::Array(Some(count)) => {
                    self.array = Some((Vec::new(), count));
                    continue;
                }
            };
            let done = match &mut self.array {
                None => reply,
                Some((elements, count)) => {
                    elements.push(reply);
                    if elements.len() < *count {
                        continue;
                    }
                    Reply::Array(std::mem::take(elements))
                }
            };
            self.array = None;
            self.tokens.end_message();
            return Ok(Some(done));
        }
    }

    /// Bytes that must arrive before the next item can be complete, at least 1: what to reserve.
    pub fn missing(&self, buffered: usize) -> usize {
        self.tokens.missing(buffered)
    }
}

//! Requests: an array of bulk strings.

use crate::{CRLF, FrameError, Limits, number::Digits, token::Token, token::Tokenizer};
use bytes::{BufMut, Bytes, BytesMut};

/// Takes requests from the front of a buffer.
///
/// ```
/// use bytes::BytesMut;
/// let mut decoder = prunedb_wire::RequestDecoder::default();
/// let mut buf = BytesMut::from(&b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nPI"[..]);
/// assert_eq!(decoder.decode(&mut buf).unwrap().unwrap(), ["ECHO", "hi"]);
/// assert_eq!(decoder.decode(&mut buf).unwrap(), None);
/// buf.extend_from_slice(b"NG\r\n");
/// assert_eq!(decoder.decode(&mut buf).unwrap().unwrap(), ["PING"]);
/// ```
#[derive(Debug)]
pub struct RequestDecoder {
    tokens: Tokenizer,
    /// arguments of the request that is not complete yet
    arguments: Vec<Bytes>,
    /// arguments that it still lacks; 0 between requests
    lacking: usize,
}

impl Default for RequestDecoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl RequestDecoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { tokens: Tokenizer::new(limits), arguments: Vec::new(), lacking: 0 }
    }

    /// The next request, with at least one argument; `None` until more bytes came.
    ///
    /// # Errors
    /// [`FrameError`]: the connection cannot go on.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Vec<Bytes>>, FrameError> {
        loop {
            match (buf.first(), self.lacking) {
                (None, _) => return Ok(None),
                (Some(b'*'), 0) => {}
                (Some(&found), 0) => return Err(FrameError::NotAnArray { found }),
                (Some(_), _) => {}
            }
            if self.lacking > 0 && !self.tokens.in_bulk() && buf[0] != b'$' {
                return Err(FrameError::NotABulk { found: buf[0] });
            }
            match self.tokens.next(buf)? {
                None => return Ok(None),
                Some(Token::Array(Some(count))) if count > 0 => self.lacking = count,
                Some(Token::Bulk(Some(bulk))) => {
                    self.arguments.push(bulk);
                    self.lacking -= 1;
                    if self.lacking == 0 {
                        self.tokens.end_message();
                        return Ok(Some(std::mem::take(&mut self.arguments)));
                    }
                }
                Some(Token::Bulk(None)) => {
                    return Err(FrameError::BulkLength { found: -1, bytes_max: 0 });
                }
                Some(_) => return Err(FrameError::NoArguments),
            }
        }
    }

    /// Bytes that must arrive before the next argument can be complete, at least 1: what to reserve.
    pub fn missing(&self, buffered: usize) -> usize {
        self.tokens.missing(buffered)
    }

    /// Bytes of the request that is not complete yet, with the argument that its last header announces: what it takes
    /// up in memory once they came.
    pub fn request_bytes(&self) -> usize {
        self.tokens.message_bytes()
    }

    /// Whether part of a request was taken.
    pub fn in_request(&self) -> bool {
        self.lacking > 0
    }
}

/// Appends `*count`: so many elements must follow.
pub fn put_array_head(count: usize, out: &mut BytesMut) {
    put_number_line(b'*', count as u64, out);
}

/// Appends `$bytes`: the bytes and [`CRLF`] must follow.
pub fn put_bulk_head(bytes: usize, out: &mut BytesMut) {
    put_number_line(b'$', bytes as u64, out);
}

/// Appends a whole bulk string.
pub fn put_bulk(bytes: &[u8], out: &mut BytesMut) {
    put_bulk_head(bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(CRLF);
}

/// Writes a number as a bulk string.
pub(crate) fn put_number(n: u64, out: &mut BytesMut) {
    put_bulk(Digits::new(n).as_bytes(), out);
}

fn put_number_line(kind: u8, n: u64, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_slice(Digits::new(n).as_bytes());
    out.put_slice(CRLF);
}

//! Files by HTTP: whole or a range, streamed; `HEAD`, `If-Range` and `Range` as RFC 9110 has them.
//!
//! A file's name stands for its bytes: it never changes, so its tag is that of the content. Of several ranges in one request none is
//! answered (the whole file is). Memory: a few chunks for each client.

use crate::http::{Body, full, plain};
use bytes::Bytes;
use http_body_util::{BodyExt as _, channel::Channel};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
        HeaderValue, IF_RANGE, RANGE,
    },
};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::RangeInclusive,
};
use tokio::{runtime::Handle, task::spawn_blocking};

/// Bytes read and sent at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for a client.
const CHUNKS: usize = 4;

/// Answers with a file, or the range of it that is asked for. `tag` names its content, such as its SHA-256.
pub fn file_response(request: &Request<Incoming>, file: File, tag: &str) -> Response<Body> {
    let length = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let tag = format!("\"{tag}\"");
    let (status, range) = match wanted(request.headers(), length, &tag) {
        Wanted::All => (StatusCode::OK, 0..=length.saturating_sub(1)),
        Wanted::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Beyond => {
            let message = format!("the file has {length} bytes");
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, &message);
            response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{length}")));
            return response;
        }
    };
    let bytes = if length == 0 { 0 } else { range.end() - range.start() + 1 };
    let mut response = Response::new(match *request.method() == Method::HEAD {
        true => full(Bytes::new()),
        false => stream(file, *range.start(), bytes),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    headers.insert(CONTENT_LENGTH, bytes.into());
    headers.insert(ETAG, header(&tag));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", range.start(), range.end());
        headers.insert(CONTENT_RANGE, header(&range));
    }
    response
}

/// Answers with a text of some type.
pub fn text_response(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Answers that something is wrong, in plain words.
pub fn error_response(status: StatusCode, message: &str) -> Response<Body> {
    plain(status, message)
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[derive(Debug, PartialEq)]
enum Wanted {
    All,
    Range(RangeInclusive<u64>),
    /// behind the end
    Beyond,
}

fn wanted(headers: &HeaderMap, length: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_RANGE).is_some_and(|known| known != tag) {
        return Wanted::All; // what the client has is of another file
    }
    let Some(range) = text(RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = range.split_once('-') else { return Wanted::All };
    let end = length.saturating_sub(1);
    match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() && first < length => Wanted::Range(first..=end),
        (Some(first), Some(last)) if first <= last && first < length => {
            Wanted::Range(first..=last.min(end))
        }
        (Some(first), Some(last)) if first > last => Wanted::All,
        (Some(_), None) if !last.is_empty() => Wanted::All,
        (Some(_), _) => Wanted::Beyond,
        (None, Some(0)) if first.is_empty() => Wanted::Beyond,
        (None, Some(count)) if first.is_empty() && length > 0 => {
            Wanted::Range(length.saturating_sub(count)..=end)
        }
        _ => Wanted::All,
    }
}

/// Digits and nothing else.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // more than a u64 holds is behind every end
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Reads on a thread that may block; ends when the client has gone.
fn stream(mut file: File, start: u64, bytes: u64) -> Body {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(CHUNKS);
    let runtime = Handle::current();
    spawn_blocking(move || {
        let mut left = bytes;
        let mut read = move || -> io::Result<Option<Bytes>> {
            if left == bytes {
                file.seek(SeekFrom::Start(start))?;
            }
            let size = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let mut chunk = vec![0; size];
            file.read_exact(&mut chunk)?;
            left -= size as u64;
            Ok((size > 0).then(|| chunk.into()))
        };
        loop {
            match read() {
                Ok(Some(chunk)) => {
                    if runtime.block_on(sender.send_data(chunk)).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a file that is sent cannot be read");
                    return sender.abort(error);
                }
            }
        }
    });
    body.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |range: &str, length| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            wanted(&headers, length, "\"t\"")
        };
        for (range, expected) in [
            ("bytes=0-0", Wanted::Range(0..=0)),
            ("bytes=2-", Wanted::Range(2..=9)),
            ("bytes=2-100", Wanted::Range(2..=9)),
            ("bytes=2-99999999999999999999999", Wanted::Range(2..=9)),
            ("bytes=-3", Wanted::Range(7..=9)),
            ("bytes=-30", Wanted::Range(0..=9)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=10-12", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=3-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(of(range, 10), expected, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Beyond);
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=0-0".parse().unwrap());
        headers.insert(IF_RANGE, "\"other\"".parse().unwrap());
        assert_eq!(wanted(&headers, 10, "\"t\""), Wanted::All);
        assert_eq!(wanted(&headers, 10, "\"other\""), Wanted::Range(0..=0));
    }
}

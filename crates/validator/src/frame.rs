//! Frames: a length (u32, little-endian) and a message.

use crate::message::{Answer, Request};
use prunedb_registry::{TX_BYTES_MAX, canonical::Canonical};
use std::io::{self, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest request: a transaction, or a sequential challenge.
pub(crate) const REQUEST_BYTES_MAX: usize = TX_BYTES_MAX + 1024;
/// Longest answer: all nodes and groups of a large registry.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The next message of at most `most` bytes; `None`: the other side has gone.
///
/// # Errors
/// Those of the network; [`ErrorKind::InvalidData`] for a longer one.
pub async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => _ = read?,
    }
    let length = u32::from_le_bytes(length);
    if length as usize > most {
        let text = format!("a message of {length} bytes: {most} at most");
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    // as it arrives: a length alone takes no memory
    let mut bytes = Vec::new();
    let found = from.take(length.into()).read_to_end(&mut bytes).await?;
    if found < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

/// Sends a message.
///
/// # Errors
/// Those of the network; [`ErrorKind::InvalidData`] for 4 GiB and more.
pub async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Canonical,
) -> io::Result<()> {
    let mut frame = vec![0; 4];
    message.put(&mut frame);
    let length = u32::try_from(frame.len() - 4)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "the message is too long"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&frame).await?;
    to.flush().await
}

/// The next request; `None`: the client has gone. Bytes that are none are an answer to be given.
pub(crate) async fn read_request(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Result<Request, Answer>>> {
    let Some(bytes) = read_frame(from, REQUEST_BYTES_MAX).await? else { return Ok(None) };
    let request = Request::from_bytes("request", &bytes);
    Ok(Some(request.map_err(|e| Answer::Refused { reason: e.to_string() })))
}

pub(crate) async fn write_answer(
    to: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
) -> io::Result<()> {
    write_frame(to, answer).await
}

pub(crate) async fn write_request(
    to: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> io::Result<()> {
    write_frame(to, request).await
}

pub(crate) async fn read_answer(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let bytes = read_frame(from, ANSWER_BYTES_MAX).await?.ok_or(ErrorKind::UnexpectedEof)?;
    Answer::from_bytes("answer", &bytes)
        .map_err(|e| io::Error::new(ErrorKind::InvalidData, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn a_length_that_is_too_much_is_refused_before_anything_is_read() {
        let mut bytes = &u32::MAX.to_le_bytes()[..];
        let error = read_request(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut cut = &[8, 0, 0, 0, 1][..];
        assert_eq!(read_request(&mut cut).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let mut none = &[][..];
        assert!(read_request(&mut none).await.unwrap().is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for kind in 0..=u8::try_from(Request::KIND_COUNT + 1).unwrap() {
                let mut bytes = bytes.clone();
                bytes.insert(0, kind);
                if let Ok(request) = Request::from_bytes("request", &bytes) {
                    prop_assert_eq!(request.to_bytes(), &bytes[..]);
                }
                if let Ok(answer) = Answer::from_bytes("answer", &bytes) {
                    prop_assert_eq!(answer.to_bytes(), &bytes[..]);
                }
            }
        }
    }
}

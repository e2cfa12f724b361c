//! The frames, as bytes.
//!
//! ```text
//! offset  size  field
//!      0     1  kind
//!      1     4  length of the body, u32, little-endian; at most 1 MiB
//!      5        body
//! ```

use crate::io::Step;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

/// Longest body.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// What a client asks for. Its body is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// version of the client's binary
    pub(super) version: String,
    /// its arguments, program name included
    pub(super) args: Vec<String>,
    /// its working folder
    pub(super) cwd: PathBuf,
    /// whether stdin follows, as `Stdin` frames, an empty one last
    pub(super) stdin: bool,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// client: what to run
    Request(Request),
    /// client: a part of its stdin; an empty one ends it
    Stdin(Vec<u8>),
    /// server: bytes for stdout
    Data(Vec<u8>),
    /// server: a line for stderr
    Note(String),
    /// server: how far a job is
    Step(Step),
    /// server: the command ended with this exit code
    End(u8),
}

const REQUEST: u8 = 1;
const STDIN: u8 = 2;
const DATA: u8 = 16;
const NOTE: u8 = 17;
const STEP: u8 = 18;
const END: u8 = 19;

impl Frame {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (kind, body) = match self {
            Self::Request(request) => (REQUEST, serde_json::to_vec(request)?),
            Self::Stdin(bytes) => (STDIN, bytes.clone()),
            Self::Data(bytes) => (DATA, bytes.clone()),
            Self::Note(line) => (NOTE, line.clone().into_bytes()),
            Self::Step(step) => {
                let mut body = step.done.to_le_bytes().to_vec();
                body.extend(step.total.to_le_bytes());
                body.extend(step.what.as_bytes());
                (STEP, body)
            }
            Self::End(code) => (END, vec![*code]),
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is too long"));
        }
        let length = u32::try_from(body.len()).expect("at most 1 MiB");
        let mut bytes = Vec::with_capacity(5 + body.len());
        bytes.push(kind);
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        out.write_all(&bytes)
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let bad = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let mut head = [0; 5];
        input.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > BODY_BYTES_MAX {
            return Err(bad("a frame is over its limit"));
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let text = |body: Vec<u8>| String::from_utf8(body).map_err(|_| bad("a frame is not UTF-8"));
        Ok(match head[0] {
            REQUEST => Self::Request(serde_json::from_slice(&body)?),
            STDIN => Self::Stdin(body),
            DATA => Self::Data(body),
            NOTE => Self::Note(text(body)?),
            STEP if length >= 16 => {
                let what = text(body.split_off(16))?;
                let (done, total) = body.split_at(8);
                Self::Step(Step {
                    what,
                    done: u64::from_le_bytes(done.try_into().expect("8 bytes")),
                    total: u64::from_le_bytes(total.try_into().expect("8 bytes")),
                })
            }
            END if length == 1 => Self::End(body[0]),
            _ => return Err(bad("a frame of an unknown kind")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_nonsense_is_refused() {
        let request = Request {
            version: "1".into(),
            args: vec!["prunedb".into(), "status".into()],
            cwd: "/".into(),
            stdin: true,
        };
        let frames = [
            Frame::Request(request),
            Frame::Stdin(vec![1, 2]),
            Frame::Stdin(Vec::new()),
            Frame::Data(vec![0; BODY_BYTES_MAX]),
            Frame::Note("ö".into()),
            Frame::Step(Step { what: "offload d1".into(), done: 1, total: u64::MAX }),
            Frame::End(2),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut input = &bytes[..];
        for frame in &frames {
            assert_eq!(&Frame::read(&mut input).unwrap(), frame);
        }
        assert!(Frame::Data(vec![0; BODY_BYTES_MAX + 1]).write(&mut Vec::new()).is_err());
        for bad in [
            &[99, 0, 0, 0, 0][..],
            &[16, 255, 255, 255, 255],
            &[19, 0, 0, 0, 0],
            &[18, 1, 0, 0, 0, 0],
            &[16, 1],
        ] {
            assert!(Frame::read(&mut &bad[..]).is_err(), "{bad:?}");
        }
    }
}

//! The node's side of Bitcoin's peer protocol, as far as it takes to give archived blocks back: a pruned node gets them by
//! `getblockfrompeer`, a new one syncs from here.
//!
//! ```text
//! message  magic (4), command (12, padded with zeros), length u32, first 4 bytes of SHA-256 twice over the payload; payload
//! ```
//! Pure: [`Peer::receive`] takes what came and gives what is to be sent; the driver has the socket, the time limits and the
//! number of connections. Only blocks of the chain are served, no transactions and no addresses, and nothing is relayed.
//! Memory: one message in, at most [`MESSAGE_BYTES_MAX`], and one block out: blocks are sent one at a time.
//!
//! Source: the developer reference of bitcoin.org, and BIPs 130, 144 and 159.

use super::{
    block::BLOCK_BYTES_MAX,
    error::{BitcoinError, Fault},
    hash::{Hash, sha256d},
    network::Network,
    query::{BlockId, History},
    wire::Reader,
};
use crate::archive::Archive;
use std::collections::VecDeque;

/// Bytes before a payload.
pub const HEAD_BYTES: usize = 24;
/// Longest message that is taken: what Core sends at most.
pub const MESSAGE_BYTES_MAX: usize = 4_000_000;
/// Headers in one answer, as the protocol has it.
const HEADERS_MAX: usize = 2000;
/// Things that may be asked for at once, as the protocol has it.
const ASKED_MAX: usize = 50_000;
/// Hashes that a locator may have, as for Core.
const LOCATOR_MAX: usize = 101;
/// What we speak: with `sendheaders`, before messages that are of no use here.
const PROTOCOL_VERSION: u32 = 70_016;
/// All blocks (1), and those with witnesses (8).
const SERVICES: u64 = 9;
/// `MSG_BLOCK`, and with it a flag for witnesses.
const BLOCK: u32 = 2;
const WITNESS: u32 = 1 << 30;

/// Why a peer is cut off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It speaks something else: another network, or the encrypted transport, after which Core tries again without.
    #[error("the first bytes are {found:02x?}, not those of {network}")]
    Magic {
        /// the network served
        network: Network,
        /// what came
        found: [u8; 4],
    },
    /// A message is too long.
    #[error("{command}: a message of {bytes} bytes")]
    TooLong {
        /// which
        command: String,
        /// its length
        bytes: u64,
    },
    /// A payload is not what its head says.
    #[error("{command}: wrong checksum")]
    Checksum {
        /// which
        command: String,
    },
    /// A message is not of its form.
    #[error("{command}: {fault}")]
    Form {
        /// which
        command: String,
        /// what is wrong
        fault: Box<Fault>,
    },
    /// Something comes before `version`.
    #[error("{command} before version")]
    Early {
        /// which
        command: String,
    },
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] BitcoinError),
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    command: [u8; 12],
    /// bytes that follow
    pub payload_bytes: usize,
    checksum: [u8; 4],
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// [`PeerError::Magic`], [`PeerError::TooLong`].
    pub fn read(bytes: &[u8; HEAD_BYTES], network: Network) -> Result<Self, PeerError> {
        let part = |at: usize| -> [u8; 4] { bytes[at..at + 4].try_into().expect("4 bytes") };
        if part(0) != network.magic() {
            return Err(PeerError::Magic { network, found: part(0) });
        }
        let command = bytes[4..16].try_into().expect("12 bytes");
        let length = u32::from_le_bytes(part(16));
        let head = Self { command, payload_bytes: length as usize, checksum: part(20) };
        if head.payload_bytes > MESSAGE_BYTES_MAX {
            return Err(PeerError::TooLong { command: head.name(), bytes: length.into() });
        }
        Ok(head)
    }

    fn name(&self) -> String {
        let length = self.command.iter().position(|&byte| byte == 0).unwrap_or(12);
        self.command[..length].escape_ascii().to_string()
    }
}

/// One connection that a node has opened.
#[derive(Debug)]
pub struct Peer<'a, A: ?Sized> {
    history: History<'a, A>,
    network: Network,
    nonce: u64,
    greeted: bool,
    /// blocks that are still to be sent
    asked: VecDeque<Asked>,
}

#[derive(Debug)]
struct Asked {
    kind: u32,
    hash: Hash,
}

impl<'a, A: Archive + ?Sized> Peer<'a, A> {
    /// A peer that has not said anything yet; `nonce` is a random number.
    pub fn new(archive: &'a A, network: Network, nonce: u64) -> Self {
        let history = History::new(archive, network);
        Self { history, network, nonce, greeted: false, asked: VecDeque::new() }
    }

    /// Takes a message, and appends what is to be answered at once. `seconds` is the time since 1970.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn receive(
        &mut self,
        head: &Head,
        payload: &[u8],
        seconds: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), PeerError> {
        let command = head.name();
        if sha256d(&[payload]).0[..4] != head.checksum {
            return Err(PeerError::Checksum { command });
        }
        if !self.greeted && command != "version" {
            return Err(PeerError::Early { command });
        }
        let form = |fault| PeerError::Form { command: command.clone(), fault: Box::new(fault) };
        match command.as_str() {
            "version" if !self.greeted => {
                self.greeted = true;
                let version = self.version(seconds)?;
                self.send("version", &version, out);
                self.send("verack", &[], out);
            }
            "ping" => self.send("pong", payload, out),
            "getheaders" => {
                let (locator, stop) = read_locator(payload).map_err(form)?;
                let headers = self.headers(&locator, stop)?;
                self.send("headers", &headers, out);
            }
            "getdata" => {
                let asked = read_inventory(payload).map_err(form)?;
                let room = ASKED_MAX.saturating_sub(self.asked.len());
                self.asked.extend(asked.into_iter().take(room));
            }
            // what others tell each other
            _ => {}
        }
        Ok(())
    }

    /// Appends the next block that was asked for, or that it is not there; `false` where nothing is left.
    ///
    /// # Errors
    /// Those of the archive.
    pub fn send_next(&mut self, out: &mut Vec<u8>) -> Result<bool, PeerError> {
        let Some(Asked { kind, hash }) = self.asked.pop_front() else { return Ok(false) };
        let block = match kind {
            // without witnesses nobody has asked for years, and it would be another serialization
            _ if kind != BLOCK | WITNESS => None,
            _ => self.history.block(BlockId::Hash(hash))?,
        };
        match block {
            Some(block) => self.send("block", &block.bytes, out),
            None => {
                let mut missing = vec![1];
                missing.extend(kind.to_le_bytes());
                missing.extend(hash.0);
                self.send("notfound", &missing, out);
            }
        }
        Ok(true)
    }

    fn version(&self, seconds: u64) -> Result<Vec<u8>, PeerError> {
        let mut out = PROTOCOL_VERSION.to_le_bytes().to_vec();
        out.extend(SERVICES.to_le_bytes());
        out.extend(seconds.to_le_bytes());
        // services, IPv6 address and port of both sides: nobody reads them
        out.extend([0; 26 + 26]);
        out.extend(self.nonce.to_le_bytes());
        let agent = concat!("/prunedb:", env!("CARGO_PKG_VERSION"), "/");
        out.push(u8::try_from(agent.len()).expect("short"));
        out.extend(agent.as_bytes());
        let tip = self.history.tip()?.unwrap_or(0);
        out.extend(u32::try_from(tip).unwrap_or(u32::MAX).to_le_bytes());
        // no transactions, please
        out.push(0);
        Ok(out)
    }

    /// The headers after the first hash that both know, up to `stop`.
    fn headers(&self, locator: &[Hash], stop: Hash) -> Result<Vec<u8>, PeerError> {
        let mut from = None;
        for &hash in locator {
            from = self.history.height(hash)?;
            if from.is_some() {
                break;
            }
        }
        // an empty locator asks for the one header `stop`; one of unknown hashes has the genesis in common with us
        let (from, limit) = match (from, locator) {
            (Some(height), _) => (height + 1, HEADERS_MAX),
            (None, []) => match self.history.height(stop)? {
                Some(height) => (height, 1),
                None => (0, 0),
            },
            (None, _) => (1, HEADERS_MAX),
        };
        let headers = self.history.headers(from, limit)?;
        let end = headers.iter().position(|header| sha256d(&[header]) == stop);
        let headers = &headers[..end.map_or(headers.len(), |at| at + 1)];
        let mut out = Vec::with_capacity(3 + headers.len() * 81);
        out.push(0xfd);
        out.extend(u16::try_from(headers.len()).expect("at most 2,000").to_le_bytes());
        if headers.len() < 0xfd {
            out = vec![u8::try_from(headers.len()).expect("below 253")];
        }
        for header in headers {
            out.extend(header);
            out.push(0);
        }
        Ok(out)
    }

    fn send(&self, command: &str, payload: &[u8], out: &mut Vec<u8>) {
        write_message(self.network, command, payload, out);
    }
}

/// Appends a message.
pub fn write_message(network: Network, command: &str, payload: &[u8], out: &mut Vec<u8>) {
    let mut name = [0; 12];
    name[..command.len()].copy_from_slice(command.as_bytes());
    out.extend(network.magic());
    out.extend(name);
    out.extend(u32::try_from(payload.len()).expect("a message").to_le_bytes());
    out.extend(&sha256d(&[payload]).0[..4]);
    out.extend(payload);
}

const _: () = assert!(BLOCK_BYTES_MAX <= MESSAGE_BYTES_MAX);

fn read_locator(payload: &[u8]) -> Result<(Vec<Hash>, Hash), Fault> {
    let mut reader = Reader::new(payload);
    reader.take(4, "protocol version")?;
    let count = reader.count(32, "locator")?;
    if count > LOCATOR_MAX {
        return Err(Fault::Count { what: "locator", value: count as u64 });
    }
    let hashes = (0..count).map(|_| reader.array("locator").map(Hash)).collect::<Result<_, _>>()?;
    let stop = Hash(reader.array("stop")?);
    reader.end("getheaders")?;
    Ok((hashes, stop))
}

fn read_inventory(payload: &[u8]) -> Result<Vec<Asked>, Fault> {
    let mut reader = Reader::new(payload);
    let count = reader.count(36, "inventory")?;
    if count > ASKED_MAX {
        return Err(Fault::Count { what: "inventory", value: count as u64 });
    }
    let asked = (0..count)
        .map(|_| {
            let kind = u32::from_le_bytes(reader.array("kind")?);
            Ok(Asked { kind, hash: Hash(reader.array("hash")?) })
        })
        .collect::<Result<_, _>>()?;
    reader.end("getdata")?;
    Ok(asked)
}

//! What a node keeps per lake: the fence, and the newest head.
//!
//! Each is a small file that is replaced whole, so the old or the new one is there after a crash. A fence is durable
//! before it is answered. Commits hold the fence lock for reading until they are durable, so when a new fence is
//! answered, no older commit can appear afterwards. format: node-segment.

use crate::{Damage, NodeError, OpenReport, layout::crc32c, state::lock};
use bytes::Bytes;
use prunedb_core::{LakeId, Term};
use prunedb_disk::{Disk, read_all, write_atomic};
use prunedb_wire::HEAD_BYTES_MAX;
use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

const FENCE_MAGIC: &[u8; 8] = b"PDBFENC\x01";
const FENCE_BYTES: usize = 48;
const HEAD_MAGIC: &[u8; 8] = b"PDBHELD\x01";
const HEAD_PREFIX_BYTES: usize = 48;

/// The newest head of a lake; sealed bytes, opaque to the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// term of its writer
    pub term: Term,
    /// its number
    pub number: u64,
    /// the sealed head, at most [`HEAD_BYTES_MAX`]
    pub bytes: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct HeadPlace {
    term: Term,
    number: u64,
    bytes: u64,
}

/// What is known of a lake's fence.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Fence {
    /// the highest term seen
    seen: Term,
    /// the file is damaged: a higher term may have been seen
    damaged: bool,
}

impl Fence {
    fn admit(self, lake: LakeId, term: Term) -> Result<(), NodeError> {
        match self {
            Self { seen, .. } if seen > term => Err(NodeError::Fenced { term, seen }),
            Self { damaged: true, .. } => Err(NodeError::FenceDamaged { lake }),
            _ => Ok(()),
        }
    }
}

/// Fences and heads of all lakes.
#[derive(Debug)]
pub(crate) struct Lakes {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lakes_max: usize,
    fences: RwLock<HashMap<LakeId, Fence>>,
    heads: Mutex<HashMap<LakeId, HeadPlace>>,
}

/// While it is held, the fence that was checked does not move.
pub(crate) type FenceGuard<'a> = RwLockReadGuard<'a, HashMap<LakeId, Fence>>;

impl Lakes {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        lakes_max: usize,
        report: &mut OpenReport,
    ) -> io::Result<Self> {
        let mut fences = HashMap::new();
        let mut heads = HashMap::new();
        for file in disk.list(&dir)? {
            if let Some(lake) = file.strip_prefix("fence-").and_then(|hex| hex.parse().ok()) {
                let bytes = read_all(&*disk, &dir.join(&file), FENCE_BYTES);
                let seen = bytes.ok().and_then(|bytes| decode_fence(lake, &bytes));
                let fence = Fence { seen: seen.unwrap_or_default(), damaged: seen.is_none() };
                fences.insert(lake, fence);
                if fence.damaged {
                    report.damaged(Damage::Fence { lake });
                }
            } else if let Some(lake) = file.strip_prefix("head-").and_then(|hex| hex.parse().ok()) {
                let bytes = read_all(&*disk, &dir.join(&file), HEAD_PREFIX_BYTES + HEAD_BYTES_MAX);
                match bytes.ok().and_then(|bytes| decode_head(lake, bytes.into())) {
                    Some(Head { term, number, bytes }) => {
                        let bytes = bytes.len() as u64;
                        heads.insert(lake, HeadPlace { term, number, bytes });
                    }
                    None => report.damaged(Damage::Head { lake }),
                }
            }
        }
        let (fences, heads) = (RwLock::new(fences), Mutex::new(heads));
        Ok(Self { disk, dir, lakes_max, fences, heads })
    }

    /// Refuses a term that is fenced off, and every term where the fence is damaged.
    pub(crate) fn check(&self, lake: LakeId, term: Term) -> Result<(), NodeError> {
        let fences = self.fences.read().unwrap_or_else(PoisonError::into_inner);
        fences.get(&lake).copied().unwrap_or_default().admit(lake, term)
    }

    /// The same, fences the terms below it, and keeps the fence where it is.
    pub(crate) fn enter(&self, lake: LakeId, term: Term) -> Result<FenceGuard<'_>, NodeError> {
        loop {
            let fences = self.fences.read().unwrap_or_else(PoisonError::into_inner);
            let fence = fences.get(&lake).copied().unwrap_or_default();
            fence.admit(lake, term)?;
            if fence.seen == term {
                return Ok(fences);
            }
            drop(fences);
            self.fence(lake, term)?;
        }
    }

    /// Lakes of which the fence is damaged.
    pub(crate) fn damaged(&self) -> Vec<LakeId> {
        let fences = self.fences.read().unwrap_or_else(PoisonError::into_inner);
        fences.iter().filter(|(_, fence)| fence.damaged).map(|(lake, _)| *lake).collect()
    }

    /// Shards of these terms are there: the fence was not below them.
    pub(crate) fn note(&self, lake: LakeId, terms: impl Iterator<Item = Term>) {
        let mut fences = self.fences.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(fence) = fences.get_mut(&lake) {
            fence.seen = terms.fold(fence.seen, Term::max);
        }
    }

    /// Refuses terms below this one from now on, durably. A damaged fence is whole again.
    pub(crate) fn fence(&self, lake: LakeId, term: Term) -> Result<(), NodeError> {
        let mut fences = self.fences.write().unwrap_or_else(PoisonError::into_inner);
        let found = fences.get(&lake).copied();
        if let Some(Fence { seen, damaged }) = found {
            if seen > term {
                return Err(NodeError::Fenced { term, seen });
            }
            if seen == term && !damaged {
                return Ok(());
            }
        } else if fences.len() >= self.lakes_max {
            return Err(NodeError::Limit { what: "lakes", max: self.lakes_max });
        }
        write_atomic(
            &*self.disk,
            &self.dir.join(format!("fence-{lake}")),
            &encode_fence(lake, term),
        )
        .map_err(|e| NodeError::disk("write a fence", e))?;
        fences.insert(lake, Fence { seen: term, damaged: false });
        Ok(())
    }

    /// Stores a head; an equal or newer one stays.
    pub(crate) fn put_head(&self, lake: LakeId, head: &Head) -> Result<(), NodeError> {
        let _fence = self.enter(lake, head.term)?;
        let mut heads = lock(&self.heads);
        let stored = heads.get(&lake);
        if stored.is_some_and(|s| (s.term, s.number) >= (head.term, head.number)) {
            return Ok(());
        }
        if stored.is_none() && heads.len() >= self.lakes_max {
            return Err(NodeError::Limit { what: "lakes", max: self.lakes_max });
        }
        write_atomic(&*self.disk, &self.dir.join(format!("head-{lake}")), &encode_head(lake, head))
            .map_err(|e| NodeError::disk("write a head", e))?;
        let bytes = head.bytes.len() as u64;
        heads.insert(lake, HeadPlace { term: head.term, number: head.number, bytes });
        Ok(())
    }

    /// The newest head, if there is one that can be read.
    pub(crate) fn head(&self, lake: LakeId) -> Result<Option<Head>, NodeError> {
        // under the lock, so that the file is not replaced meanwhile
        let heads = lock(&self.heads);
        if !heads.contains_key(&lake) {
            return Ok(None);
        }
        let path = self.dir.join(format!("head-{lake}"));
        let bytes = read_all(&*self.disk, &path, HEAD_PREFIX_BYTES + HEAD_BYTES_MAX)
            .map_err(|e| NodeError::disk("read a head", e))?;
        match decode_head(lake, bytes.into()) {
            Some(head) => Ok(Some(head)),
            None => {
                let source = io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong");
                Err(NodeError::disk("read a head", source))
            }
        }
    }

    /// Bytes of all heads.
    pub(crate) fn head_bytes(&self) -> u64 {
        lock(&self.heads).values().map(|head| head.bytes).sum()
    }
}

/// ```text
/// offset  size  field
///      0     8  magic "PDBFENC\x01"
///      8    16  lake
///     24     8  term, u64
///     32    12  zero
///     44     4  CRC-32C of bytes 0..44
/// ```
fn encode_fence(lake: LakeId, term: Term) -> [u8; FENCE_BYTES] {
    let mut out = [0; FENCE_BYTES];
    out[..8].copy_from_slice(FENCE_MAGIC);
    out[8..24].copy_from_slice(&lake.0);
    out[24..32].copy_from_slice(&term.0.to_le_bytes());
    let crc = crc32c(&out[..44]);
    out[44..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_fence(lake: LakeId, bytes: &[u8]) -> Option<Term> {
    let bytes: &[u8; FENCE_BYTES] = bytes.try_into().ok()?;
    let term = Term(u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes")));
    (*bytes == encode_fence(lake, term)).then_some(term)
}

/// ```text
/// offset  size  field
///      0     8  magic "PDBHELD\x01"
///      8    16  lake
///     24     8  term, u64
///     32     8  number, u64
///     40     4  bytes of the head, u32
///     44     4  CRC-32C of bytes 0..44 and of the head
///     48        the head
/// ```
fn encode_head(lake: LakeId, head: &Head) -> Vec<u8> {
    let bytes = u32::try_from(head.bytes.len()).expect("heads are at most 1 MiB");
    let mut out = Vec::with_capacity(HEAD_PREFIX_BYTES + head.bytes.len());
    out.extend_from_slice(HEAD_MAGIC);
    out.extend_from_slice(&lake.0);
    out.extend_from_slice(&head.term.0.to_le_bytes());
    out.extend_from_slice(&head.number.to_le_bytes());
    out.extend_from_slice(&bytes.to_le_bytes());
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    crc.update(&out);
    crc.update(&head.bytes);
    let crc = u32::try_from(crc.finalize()).expect("a 32-bit checksum");
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&head.bytes);
    out
}

fn decode_head(lake: LakeId, file: Bytes) -> Option<Head> {
    if file.len() < HEAD_PREFIX_BYTES {
        return None;
    }
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let bytes = file.slice(HEAD_PREFIX_BYTES..);
    let head = Head { term: Term(u64_at(24)), number: u64_at(32), bytes };
    (head.bytes.len() <= HEAD_BYTES_MAX && encode_head(lake, &head) == file).then_some(head)
}

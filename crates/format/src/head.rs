//! The head: where a lake begins for somebody who has only its secret. Replicated to all nodes.
//!
//! ```text
//! offset  size  field
//!      0     8  magic         "PDBHEAD\x01"
//!      8     4  version       u32
//!     12     4  sealed_bytes  u32
//!     16    16  lake
//!     32     8  term          u64
//!     40     8  number        u64, rises with each head, across terms too
//!     48    32  salt          of the key that seals the body
//!     80    32  public key    ed25519, derived from the lake secret
//!    112     n  sealed body, with its 16-byte tag
//!  112+n    64  signature     ed25519, of all before
//! ```
//! The body is sealed with AES-256-GCM under a key of its own (the salt is random), nonce zero, and the 112 bytes in
//! front of it as associated data. Nodes see lake, term and number; who holds the secret sees the rest. Sealing and
//! signing are the engine's: this module lays out the bytes.

use crate::{
    FormatError,
    bytes::{Reader, count_u32, put_policy, put_short},
    error::impossible,
    manifest::StreamEntry,
};
use prunedb_core::{ContainerKind, LakeId, Policy, Term, units::TAG_BYTES};

/// Size of what precedes the sealed body.
pub const PREFIX_BYTES: usize = 112;
/// Size of the signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Longest sealed body.
pub const SEALED_BYTES_MAX: usize = (1 << 20) - PREFIX_BYTES - SIGNATURE_BYTES;
const MAGIC: [u8; 8] = *b"PDBHEAD\x01";
const VERSION: u32 = 1;
const WHAT: &str = "head";

/// The open part of a head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadPrefix {
    /// its lake
    pub lake: LakeId,
    /// term of its writer
    pub term: Term,
    /// its number
    pub number: u64,
    /// salt of the sealing key
    pub salt: [u8; 32],
    /// the lake's public key
    pub public_key: [u8; 32],
}

/// A head's parts, not yet verified: the signature covers `signed`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadParts<'a> {
    /// the open part
    pub prefix: HeadPrefix,
    /// its bytes: the associated data of the seal
    pub prefix_bytes: &'a [u8],
    /// the sealed body with its tag
    pub sealed: &'a [u8],
    /// everything that the signature covers
    pub signed: &'a [u8],
    /// the signature
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

impl HeadPrefix {
    /// The open part's bytes, for a sealed body of that length.
    ///
    /// # Panics
    /// Where that is shorter than a tag or longer than [`SEALED_BYTES_MAX`].
    pub fn encode(&self, sealed_bytes: usize) -> [u8; PREFIX_BYTES] {
        assert!(is_sealed_length(sealed_bytes), "the head is kept below its limit");
        let mut out = [0; PREFIX_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&count_u32(sealed_bytes));
        out[16..32].copy_from_slice(&self.lake.0);
        out[32..40].copy_from_slice(&self.term.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.number.to_le_bytes());
        out[48..80].copy_from_slice(&self.salt);
        out[80..].copy_from_slice(&self.public_key);
        out
    }
}

impl<'a> HeadParts<'a> {
    /// Takes a head apart.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(FormatError::Magic { what: WHAT, found: magic });
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, known: VERSION });
        }
        let sealed_bytes = reader.u32()? as usize;
        if !is_sealed_length(sealed_bytes) {
            return Err(impossible("length of a sealed head", sealed_bytes as u64));
        }
        let prefix = HeadPrefix {
            lake: LakeId(reader.array()?),
            term: Term(reader.u64()?),
            number: reader.u64()?,
            salt: reader.array()?,
            public_key: reader.array()?,
        };
        let sealed = reader.take(sealed_bytes)?;
        let signature = reader.take(SIGNATURE_BYTES)?;
        reader.end()?;
        let signed = &bytes[..PREFIX_BYTES + sealed_bytes];
        Ok(Self {
            prefix,
            prefix_bytes: &bytes[..PREFIX_BYTES],
            sealed,
            signed,
            signature: signature.try_into().expect("64 bytes were taken"),
        })
    }
}

const fn is_sealed_length(bytes: usize) -> bool {
    bytes >= TAG_BYTES && bytes <= SEALED_BYTES_MAX
}

/// What is inside of a head.
///
/// ```text
/// next data number u32 · next manifest number u32 · edits u64 (number of the next edit)
/// policy: p u8, q u8 · zero u16
/// nodes:  count u32, each: address (u16 + bytes)
/// groups: count u32, each: p u8, q u8, then p+q slots, each the node's position in the list above, u32
/// manifest containers, in the order of their edits: count u32, each: first edit u64, edits u64, stream entry
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadBody {
    /// the next data container's number
    pub next_data: u32,
    /// the next manifest container's number
    pub next_manifest: u32,
    /// the next edit's number: edits below it are in the manifest containers
    pub next_edit: u64,
    /// the policy of new containers
    pub policy: Policy,
    /// addresses of the nodes
    pub nodes: Vec<String>,
    /// who holds which slot
    pub groups: Vec<Group>,
    /// where the edits are
    pub manifests: Vec<ManifestRef>,
}

/// A placement group: `slots[i]` is the position of the node that holds shard `i`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// the policy of its containers
    pub policy: Policy,
    /// one node a shard
    pub slots: Vec<u32>,
}

/// A manifest container and the edits in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManifestRef {
    /// number of its first edit
    pub first_edit: u64,
    /// how many follow from there
    pub edits: u64,
    /// how to read it
    pub stream: StreamEntry,
}

impl HeadBody {
    /// The body's bytes.
    ///
    /// # Panics
    /// Where a group has another number of slots than its policy has shards: a bug of the caller.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.next_data.to_le_bytes());
        out.extend_from_slice(&self.next_manifest.to_le_bytes());
        out.extend_from_slice(&self.next_edit.to_le_bytes());
        put_policy(&mut out, self.policy);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&count_u32(self.nodes.len()));
        for node in &self.nodes {
            put_short(&mut out, node.as_bytes());
        }
        out.extend_from_slice(&count_u32(self.groups.len()));
        for group in &self.groups {
            assert_eq!(group.slots.len(), group.policy.total_shards(), "one slot a shard");
            put_policy(&mut out, group.policy);
            for slot in &group.slots {
                out.extend_from_slice(&slot.to_le_bytes());
            }
        }
        out.extend_from_slice(&count_u32(self.manifests.len()));
        for manifest in &self.manifests {
            out.extend_from_slice(&manifest.first_edit.to_le_bytes());
            out.extend_from_slice(&manifest.edits.to_le_bytes());
            manifest.stream.encode(&mut out);
        }
        out
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none, a slot names a node that is not listed, or the manifest containers do
    /// not hold all edits below the next one, in order.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new("head body", bytes);
        let next_data = reader.u32()?;
        let next_manifest = reader.u32()?;
        let next_edit = reader.u64()?;
        let policy = reader.policy()?;
        reader.zeros(2)?;
        let mut nodes = Vec::new();
        for _ in 0..reader.u32()? {
            nodes.push(reader.short_str()?.to_owned());
        }
        let mut groups = Vec::new();
        for _ in 0..reader.u32()? {
            let policy = reader.policy()?;
            let mut slots = Vec::with_capacity(policy.total_shards());
            for _ in 0..policy.total_shards() {
                let slot = reader.u32()?;
                if slot as usize >= nodes.len() {
                    return Err(impossible("node of a slot", slot));
                }
                slots.push(slot);
            }
            groups.push(Group { policy, slots });
        }
        let mut manifests = Vec::new();
        let mut edits_end = 0;
        for _ in 0..reader.u32()? {
            let first_edit = reader.u64()?;
            let edits = reader.u64()?;
            let stream = StreamEntry::decode(&mut reader)?;
            // gapless and in order, so that a replay needs no sorting and misses nothing
            if first_edit != edits_end {
                return Err(impossible("first edit of a manifest container", first_edit));
            }
            edits_end = first_edit
                .checked_add(edits)
                .ok_or(impossible("edits of a manifest container", edits))?;
            // the next number is unused: a number is never given twice
            if stream.id.kind != ContainerKind::Manifest || stream.id.number >= next_manifest {
                return Err(impossible("number of a manifest container", stream.id.number));
            }
            manifests.push(ManifestRef { first_edit, edits, stream });
        }
        if edits_end != next_edit {
            return Err(impossible("number of the next edit", next_edit));
        }
        reader.end()?;
        Ok(Self { next_data, next_manifest, next_edit, policy, nodes, groups, manifests })
    }
}

#[cfg(test)]
mod tests;

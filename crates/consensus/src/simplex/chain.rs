//! What the validators vote on: a block's bytes behind the digest of the one before.

use crate::block::{BLOCK_BYTES_MAX, Finalized, tx_cost};
use bytes::{Buf as _, BufMut};
use commonware_codec::{Buf, EncodeSize, Error, Read, Write};
use commonware_consensus::{Block as ConsensusBlock, BoundedBlock, Heightable, types::Height};
use commonware_cryptography::{Digestible, blake3::Digest};
use prunedb_format::bytes::Reader;

/// Parent, length of the rest, height, checkpoint, count.
const FIXED_BYTES: usize = 32 + 4 + 8 + 41 + 4;

/// A block of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    parent: Digest,
    body: Finalized,
}

impl Block {
    /// The block that nobody made: its parent is the registry's name.
    pub(crate) fn genesis(registry: &prunedb_core::Digest) -> Self {
        Self { parent: Digest(registry.0), body: Finalized::default() }
    }

    pub(crate) const fn new(parent: Digest, body: Finalized) -> Self {
        Self { parent, body }
    }

    pub(crate) const fn body(&self) -> &Finalized {
        &self.body
    }

    fn body_bytes(&self) -> usize {
        let checkpoint = if self.body.checkpoint.is_some() { 40 } else { 0 };
        8 + 1 + checkpoint + 4 + self.body.txs.iter().map(|tx| tx_cost(tx)).sum::<usize>()
    }
}

impl Write for Block {
    fn write(&self, out: &mut impl BufMut) {
        let mut body = Vec::with_capacity(self.body_bytes());
        self.body.put(&mut body);
        self.parent.write(out);
        out.put_slice(&prunedb_format::bytes::count_u32(body.len()));
        out.put_slice(&body);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        32 + 4 + self.body_bytes()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let parent = Digest::read_cfg(from, &())?;
        if from.remaining() < 4 {
            return Err(Error::EndOfBuffer);
        }
        let bytes = from.get_u32_le() as usize;
        if bytes > BLOCK_BYTES_MAX + FIXED_BYTES {
            return Err(Error::InvalidLength(bytes));
        }
        if from.remaining() < bytes {
            return Err(Error::EndOfBuffer);
        }
        let body = from.copy_to_bytes(bytes);
        let mut reader = Reader::new("block", &body);
        let body = Finalized::get(&mut reader)
            .and_then(|body| reader.end().map(|()| body))
            .map_err(|error| Error::Wrapped("block", Box::new(error)))?;
        Ok(Self { parent, body })
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.encode_size());
        self.write(&mut bytes);
        Digest(blake3::derive_key("prunedb v1 registry block", &bytes))
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.body.height)
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> Digest {
        self.parent
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        BLOCK_BYTES_MAX + FIXED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Checkpoint;
    use commonware_codec::{DecodeExt, Encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_encoding_and_no_panic(
            height in 17u64..1000,
            has_checkpoint: bool,
            txs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            at: proptest::sample::Index,
            flip in 1u8..,
        ) {
            let root = prunedb_core::Digest([3; 32]);
            let checkpoint = has_checkpoint.then_some(Checkpoint { height: 16, root });
            let block = Block::new(Digest([7; 32]), Finalized { height, checkpoint, txs });
            let bytes = block.encode();
            prop_assert_eq!(bytes.len(), block.encode_size());
            prop_assert!(bytes.len() <= Block::max_encode_size(&()));
            prop_assert_eq!(&Block::decode(bytes.clone()).unwrap(), &block);
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = Block::decode(bytes::Bytes::from(bytes.clone())) {
                prop_assert_ne!(other.digest(), block.digest());
                prop_assert_eq!(other.encode().to_vec(), bytes);
            }
        }
    }
}

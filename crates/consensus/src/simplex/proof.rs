//! What makes a block final, as bytes that travel and are kept beside it.
//!
//! ```text
//! offset  size  field
//!      0    32  parent       digest of the block before
//!     32     .  certificate  of the validators that voted for it; none: a later block's certificate is this one's too
//! ```
//! With the parent the block's digest can be computed, which is what the certificate signs.

use super::{Certificate, Digest, Scheme, chain::Block};
use crate::block::Finalized;
use commonware_codec::{Copying, Decode, Encode, Error};
use commonware_cryptography::{Digestible, certificate::Verifier};

#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) parent: Digest,
    pub(crate) certificate: Option<Certificate>,
}

impl Proof {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.parent.0.to_vec();
        if let Some(certificate) = &self.certificate {
            bytes.extend_from_slice(&certificate.encode());
        }
        bytes
    }

    /// Reads a proof; its signatures are not looked at.
    ///
    /// # Errors
    /// [`Error`] for bytes that [`Self::to_bytes`] would not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (parent, certificate) = bytes.split_first_chunk().ok_or(Error::EndOfBuffer)?;
        let config = Scheme::certificate_codec_config_unbounded();
        let certificate = if certificate.is_empty() {
            None
        } else {
            Some(Certificate::decode_cfg(Copying(certificate), &config)?)
        };
        Ok(Self { parent: commonware_cryptography::blake3::Digest(*parent), certificate })
    }

    /// The digest of the block that this is the proof of.
    pub(crate) fn digest(&self, block: &Finalized) -> Digest {
        Block::new(self.parent, block.clone()).digest()
    }
}

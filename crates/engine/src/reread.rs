//! A batch as the lake's holders give it back: what somebody says of it who has none of its records himself.
//!
//! ```text
//! random p shards ──> coded stream ──> container ──> its digest, its count of records
//!                          └──> coded anew ──> names of all p+q shards, root
//! ```
//! Whoever can read the lake comes to the same batch, or to an error that says what is not so. Cost: a read and a coding of the
//! whole container, and its bytes twice in memory.

use crate::{
    batch::BatchFacts,
    db::{Db, Inner},
    error::Error,
    local::read_footer,
};
use prunedb_codec::{
    CodecVersion, CodedStream, FrameDecoder, MemorySpool, Spool as _, StreamParams,
};
use prunedb_core::Digest;
use prunedb_format::container::TRAILER_BYTES;

impl Db {
    /// The batch that a random set of `p` shards gives back: read, decoded, counted, hashed and coded anew. `None` where this
    /// database does not know the batch (yet).
    ///
    /// # Errors
    /// [`Error::Lost`] where too few holders answer; [`Error::Codec`] where what they have is not what the manifest says, or is
    /// coded to another root.
    pub fn reread_batch(&self, number: u32) -> Result<Option<BatchFacts>, Error> {
        self.inner.reread_batch(number)
    }
}

impl Inner {
    fn reread_batch(&self, number: u32) -> Result<Option<BatchFacts>, Error> {
        let Some(batch) = self.batch(number)? else { return Ok(None) };
        let container = self.offloaded(number)?;
        let (id, stream) = (container.id(), &container.entry.stream);
        let wrong = |reason: String| Error::Codec { container: id, reason };
        let coded = self.read_all(stream)?;

        let at = |offset: u64| usize::try_from(offset).expect("a container fits in memory");
        let (mut decoder, mut bytes) = (FrameDecoder::new(), Vec::new());
        for frame in container.frames.frames() {
            let part = &coded[at(frame.coded.start)..at(frame.coded.end)];
            decoder.decode(id, &frame, part, &mut bytes).map_err(|e| wrong(e.to_string()))?;
        }
        let (found, told) = (bytes.len() as u64, stream.container_bytes);
        if found != told || bytes.len() < TRAILER_BYTES {
            return Err(wrong(format!("its holders give {found} bytes, the manifest says {told}")));
        }
        let found = Digest(*blake3::hash(&bytes[..bytes.len() - TRAILER_BYTES]).as_bytes());
        let footer = read_footer(id, stream.container_bytes, |buffer, offset| {
            buffer.copy_from_slice(&bytes[at(offset)..][..buffer.len()]);
            Ok(())
        })?;
        for told in [container.entry.digest, footer.trailer().digest] {
            if found != told {
                return Err(wrong(format!("its digest is {found}, {told} is told")));
            }
        }
        let (found, told) = (footer.trailer().record_count, container.entry.record_count);
        if found != told {
            return Err(wrong(format!("it has {found} records, the manifest says {told}")));
        }
        drop(bytes);

        let codec = CodecVersion::new(stream.codec).map_err(|e| wrong(e.to_string()))?;
        let mut spool = MemorySpool::with_capacity(coded.len());
        spool.append(&coded).map_err(|e| wrong(e.to_string()))?;
        drop(coded);
        let params = StreamParams {
            lake: self.lake.id,
            container: id,
            policy: stream.policy,
            codec,
            generation: stream.generation,
        };
        let coded = CodedStream {
            container_bytes: stream.container_bytes,
            coded_bytes: stream.coded_bytes,
            digest: stream.stream_digest,
        };
        let (encoded, _) = self.code(&self.lake.secret, params, coded, &spool, None)?;
        if (encoded.root, &encoded.names) != (batch.root, &batch.names) {
            return Err(wrong(format!(
                "what its holders have is coded to root {}, the manifest says {}",
                encoded.root, batch.root
            )));
        }
        Ok(Some(batch))
    }
}

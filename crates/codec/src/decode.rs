//! A whole container back from the sealed shards that are left.

use crate::{FrameDecoder, FrameError, FrameTable, OpenError, Opener, RebuildError, Rebuilder};
use prunedb_core::{ContainerId, Digest, ShardIndex};
use prunedb_erasure::ReedSolomon;

/// Why a container does not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A shard is in the list twice, or is none of this container.
    #[error("container {container}: {source}")]
    Shards {
        /// which container
        container: ContainerId,
        /// what is wrong
        source: RebuildError,
    },
    /// Fewer than `p` shards are whole.
    #[error(
        "container {container}: {whole} whole shards, {needed} are needed; damaged: {}",
        list(damaged)
    )]
    TooFew {
        /// which container
        container: ContainerId,
        /// p
        needed: usize,
        /// shards that could be opened
        whole: usize,
        /// why the others could not
        damaged: Vec<OpenError>,
    },
    /// The table is of another container.
    #[error(
        "container {container}: its frame table is for {found} coded bytes, expected {expected}"
    )]
    Table {
        /// which container
        container: ContainerId,
        /// bytes of the coded stream
        expected: u64,
        /// as in the table
        found: u64,
    },
    /// Every seal was good, but the stream is another one: the manifest, or the holder of a key, is wrong.
    #[error("container {container}: the coded stream hashes to {found}, expected {expected}")]
    Stream {
        /// which container
        container: ContainerId,
        /// as in the manifest
        expected: Digest,
        /// as computed
        found: Digest,
    },
    /// A frame does not decompress to what the table says.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

fn list(errors: &[OpenError]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".into() } else { texts.join("; ") }
}

/// The bytes of a container, from at least `p` whole sealed shards in any order; damaged ones are set aside while others
/// suffice. Every seal, the stream's digest and every frame's checksum are verified.
///
/// Memory: the container, its coded stream, and the rebuilt slices.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_container(
    opener: &Opener,
    code: &ReedSolomon,
    table: &FrameTable,
    shards: &[(ShardIndex, &[u8])],
) -> Result<Vec<u8>, DecodeError> {
    let container = opener.params().container;
    let (expected, found) = (opener.stream().coded_bytes, table.coded_bytes());
    if expected != found {
        return Err(DecodeError::Table { container, expected, found });
    }
    let stream = decode_stream(opener, code, shards)?;
    let found = Digest(*blake3::hash(&stream).as_bytes());
    let expected = opener.stream().digest;
    if expected != found {
        return Err(DecodeError::Stream { container, expected, found });
    }
    let place = |n: u64| usize::try_from(n).expect("bounded by the largest container");
    let mut out = Vec::with_capacity(place(table.container_bytes()));
    let mut decoder = FrameDecoder::new();
    for frame in table.frames() {
        let coded = &stream[place(frame.coded.start)..place(frame.coded.end)];
        decoder.decode(container, &frame, coded, &mut out)?;
    }
    Ok(out)
}

/// The coded stream, from any `p` whole shards; its digest is not checked.
fn decode_stream(
    opener: &Opener,
    code: &ReedSolomon,
    shards: &[(ShardIndex, &[u8])],
) -> Result<Vec<u8>, DecodeError> {
    let (container, layout) = (opener.params().container, opener.layout());
    let needed = layout.policy().data_shards();
    // data shards first: each of them spares the rebuilding of one
    let mut order: Vec<_> = shards.to_vec();
    order.sort_by_key(|&(shard, _)| shard);
    let (mut opened, mut damaged) = (Vec::new(), Vec::new());
    for (shard, sealed) in order {
        if opened.len() == needed {
            break;
        }
        let mut payloads = Vec::new();
        let result = if sealed.len() as u64 == layout.shard_bytes() {
            opener.open_leaves(shard, 0, sealed, &mut payloads)
        } else {
            let unit = layout.leaf_bytes();
            Err(OpenError::Length { container, shard, unit, found: sealed.len() })
        };
        match result {
            Ok(()) => opened.push((shard, payloads)),
            Err(error) => damaged.push(error),
        }
    }
    if opened.len() < needed {
        return Err(DecodeError::TooFew { container, needed, whole: opened.len(), damaged });
    }
    let have: Vec<_> = opened.iter().map(|(shard, _)| *shard).collect();
    let missing: Vec<_> =
        layout.policy().shards().take(needed).filter(|shard| !have.contains(shard)).collect();
    let ranges: Vec<_> = opened.iter().map(|(_, payloads)| payloads.as_slice()).collect();
    let refuse = |source| DecodeError::Shards { container, source };
    let rebuilt =
        Rebuilder::new(code, &have, &missing).map_err(refuse)?.rebuild(&ranges).map_err(refuse)?;
    opened.extend(missing.into_iter().zip(rebuilt));
    opened.retain(|(shard, _)| shard.as_usize() < needed);
    opened.sort_by_key(|(shard, _)| *shard);
    let mut stream: Vec<u8> = opened.into_iter().flat_map(|(_, slice)| slice).collect();
    stream
        .truncate(usize::try_from(layout.coded_bytes()).expect("bounded by the largest container"));
    Ok(stream)
}

//! A whole container back from the sealed shards that are left.
//!
//! Row by row: of each row any `p` leaves whose seals are good will do, so a container comes back even where every shard
//! has a damaged leaf, as long as no row has more than `q` of them. Leaves arrive in any order and in any portions.
//!
//! Memory: the coded stream with its padding, one row of parity; then the container.

use crate::{FrameDecoder, FrameError, FrameTable, OpenError, Opener, RebuildError, Rebuilder};
use prunedb_core::{ContainerId, Digest, ShardIndex};
use prunedb_erasure::ReedSolomon;
use std::collections::BTreeSet;

/// Why a container does not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The leaves given are none of this container.
    #[error(transparent)]
    Leaves(#[from] OpenError),
    /// A shard is in the list twice.
    #[error("container {container}: {source}")]
    Shards {
        /// which container
        container: ContainerId,
        /// what is wrong
        source: RebuildError,
    },
    /// Fewer than `p` leaves of a row are whole.
    #[error(
        "container {container}, leaf {leaf}: {whole} shards have it whole, {needed} are needed; damaged in shards {damaged:?}"
    )]
    TooFew {
        /// which container
        container: ContainerId,
        /// which leaf of every shard
        leaf: u64,
        /// p
        needed: usize,
        /// leaves that could be opened
        whole: usize,
        /// shards whose leaf could not
        damaged: Vec<ShardIndex>,
    },
    /// Rows are missing.
    #[error("container {container}: {found} of {expected} rows")]
    Rows {
        /// which container
        container: ContainerId,
        /// rows that it has
        expected: u64,
        /// rows that were given
        found: u64,
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

/// A leaf whose seal is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DamagedLeaf {
    /// which shard
    pub shard: ShardIndex,
    /// which leaf, from 0
    pub leaf: u64,
}

/// A container that came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodedContainer {
    /// its bytes
    pub bytes: Vec<u8>,
    /// damage that was met on the way; leaves that were not needed were not looked at
    pub damaged: BTreeSet<DamagedLeaf>,
}

impl std::fmt::Debug for StreamDecoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamDecoder({:?}, {} rows)", self.opener, self.rows.len())
    }
}

/// Puts a coded stream together from sealed leaves, a few rows at a time.
pub struct StreamDecoder<'a> {
    opener: &'a Opener,
    code: &'a ReedSolomon,
    /// all slices, padding included
    stream: Vec<u8>,
    /// opened leaves of parity shards, of one row
    parity: Vec<u8>,
    /// rows that are complete
    rows: Vec<bool>,
    damaged: BTreeSet<DamagedLeaf>,
    last: Option<(Vec<ShardIndex>, Rebuilder)>,
}

impl<'a> StreamDecoder<'a> {
    /// A decoder for the opener's container; `code` is that of its policy.
    pub fn new(opener: &'a Opener, code: &'a ReedSolomon) -> Self {
        let layout = opener.layout();
        let data_shards = layout.policy().data_shards();
        let place = |n: u64| usize::try_from(n).expect("bounded by the largest container");
        Self {
            opener,
            code,
            stream: vec![0; data_shards * place(layout.slice_bytes())],
            parity: vec![0; data_shards * layout.payload_bytes()],
            rows: vec![false; place(layout.leaves_per_shard())],
            damaged: BTreeSet::new(),
            last: None,
        }
    }

    /// Takes the leaves of some shards from `first_leaf` on, in any order of shards; a shard may have fewer leaves than the
    /// others, or bytes of a torn one behind them. Rows may be given again.
    ///
    /// # Errors
    /// [`DecodeError::TooFew`] names a row that needs more shards: the rows before it are complete, and it can be given
    /// again with others. [`DecodeError::Leaves`], [`DecodeError::Shards`]: the container has no such leaves, or a shard is
    /// given twice.
    pub fn rows(
        &mut self,
        first_leaf: u64,
        shards: &[(ShardIndex, &[u8])],
    ) -> Result<(), DecodeError> {
        let leaf_bytes = self.opener.layout().leaf_bytes();
        // data shards first: each of them spares the rebuilding of one
        let mut shards: Vec<_> = shards
            .iter()
            .map(|&(shard, sealed)| (shard, sealed.chunks_exact(leaf_bytes)))
            .collect();
        shards.sort_by_key(|&(shard, _)| shard);
        if let Some(pair) = shards.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let container = self.opener.params().container;
            let source = RebuildError::Duplicate { shard: pair[0].0 };
            return Err(DecodeError::Shards { container, source });
        }
        for (shard, leaves) in &shards {
            self.opener.check_range(*shard, first_leaf, leaves.len() as u64)?;
        }
        let count = shards.iter().map(|(_, leaves)| leaves.len()).max().unwrap_or(0);
        for leaf in (first_leaf..).take(count) {
            let row: Vec<_> = shards
                .iter_mut()
                .filter_map(|(shard, leaves)| Some((*shard, leaves.next()?)))
                .collect();
            self.row(leaf, &row)?;
        }
        Ok(())
    }

    /// Damage met so far.
    pub fn damaged(&self) -> &BTreeSet<DamagedLeaf> {
        &self.damaged
    }

    /// The container, once every row was given. The stream's digest and every frame are verified.
    ///
    /// # Errors
    /// [`DecodeError::Rows`], [`DecodeError::Table`], [`DecodeError::Stream`], [`DecodeError::Frame`].
    pub fn finish(self, table: &FrameTable) -> Result<DecodedContainer, DecodeError> {
        let Self { opener, mut stream, rows, damaged, .. } = self;
        let (container, expected) = (opener.params().container, rows.len() as u64);
        let found = rows.iter().filter(|&&complete| complete).count() as u64;
        if expected != found {
            return Err(DecodeError::Rows { container, expected, found });
        }
        let (expected, found) = (opener.stream().coded_bytes, table.coded_bytes());
        if expected != found {
            return Err(DecodeError::Table { container, expected, found });
        }
        let place = |n: u64| usize::try_from(n).expect("bounded by the largest container");
        stream.truncate(place(expected));
        let (expected, found) = (opener.stream().digest, Digest(*blake3::hash(&stream).as_bytes()));
        if expected != found {
            return Err(DecodeError::Stream { container, expected, found });
        }
        let mut bytes = Vec::with_capacity(place(table.container_bytes()));
        let mut decoder = FrameDecoder::new();
        for frame in table.frames() {
            let coded = &stream[place(frame.coded.start)..place(frame.coded.end)];
            decoder.decode(container, &frame, coded, &mut bytes)?;
        }
        Ok(DecodedContainer { bytes, damaged })
    }

    /// Opens a row's leaves until there are enough, and rebuilds the data payloads that are missing.
    fn row(&mut self, leaf: u64, leaves: &[(ShardIndex, &[u8])]) -> Result<(), DecodeError> {
        let layout = self.opener.layout();
        let place = |n: u64| usize::try_from(n).expect("bounded by the largest container");
        let (needed, payload_bytes) = (layout.policy().data_shards(), layout.payload_bytes());
        let (slice_bytes, start) = (place(layout.slice_bytes()), place(leaf) * payload_bytes);
        let (mut have, mut damaged, mut parity_count) = (Vec::new(), Vec::new(), 0);
        for &(shard, sealed) in leaves {
            if have.len() == needed {
                break;
            }
            let is_parity = shard.as_usize() >= needed;
            let payload = if is_parity {
                &mut self.parity[parity_count * payload_bytes..][..payload_bytes]
            } else {
                &mut self.stream[shard.as_usize() * slice_bytes + start..][..payload_bytes]
            };
            match self.opener.open_leaf(shard, leaf, sealed, payload) {
                Ok(()) => {
                    have.push(shard);
                    parity_count += usize::from(is_parity);
                }
                Err(_) => damaged.push(shard),
            }
        }
        self.damaged.extend(damaged.iter().map(|&shard| DamagedLeaf { shard, leaf }));
        let container = self.opener.params().container;
        if have.len() < needed {
            return Err(DecodeError::TooFew {
                container,
                leaf,
                needed,
                whole: have.len(),
                damaged,
            });
        }
        if parity_count > 0 {
            let refuse = |source| DecodeError::Shards { container, source };
            let (mut inputs, mut outputs) = (Vec::with_capacity(needed), Vec::new());
            for (shard, slice) in
                (0..).map(ShardIndex).zip(self.stream.chunks_exact_mut(slice_bytes))
            {
                let payload = &mut slice[start..][..payload_bytes];
                if have.contains(&shard) { inputs.push(&*payload) } else { outputs.push(payload) }
            }
            inputs.extend(self.parity.chunks_exact(payload_bytes).take(parity_count));
            let rebuilder = match self.last.take().filter(|(before, _)| *before == have) {
                Some((_, rebuilder)) => rebuilder,
                None => {
                    let data = layout.policy().shards().take(needed);
                    let missing: Vec<_> = data.filter(|shard| !have.contains(shard)).collect();
                    Rebuilder::new(self.code, &have, &missing).map_err(refuse)?
                }
            };
            rebuilder.rebuild_into(&inputs, &mut outputs).map_err(refuse)?;
            self.last = Some((have, rebuilder));
        }
        self.rows[place(leaf)] = true;
        Ok(())
    }
}

/// The bytes of a container from its sealed shards, in any order; damaged leaves are set aside while others suffice.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_container(
    opener: &Opener,
    code: &ReedSolomon,
    table: &FrameTable,
    shards: &[(ShardIndex, &[u8])],
) -> Result<DecodedContainer, DecodeError> {
    let mut decoder = StreamDecoder::new(opener, code);
    decoder.rows(0, shards)?;
    decoder.finish(table)
}

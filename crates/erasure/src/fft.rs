//! Encoding by additive FFT: the same bytes as the generator matrix, in O(log) products per shard instead of `q`.
//!
//! The shorter side of the code fits a subspace of `block` points (a power of two), the longer one follows it in
//! *chunks* of `block` points. Parity first: the sum of the inverse transforms of all chunks of data, transformed at
//! the points of the parity. Data first: the inverse transform of the data, transformed at the points of each chunk of
//! parity. Chunk 0 is the subspace itself.
//!
//! A column of the code is one vector of every shard. A block that fits the registers is transformed there, in one
//! piece; a larger one as `pieces` of up to 16 neighbouring points, joined by one more stage across them, over a
//! scratch of at most 8 KiB that stays in the first-level cache.
//! format: erasure-code §5

use crate::{
    butterfly,
    columns::Columns,
    generator::{Generator, Layout},
    lanes::{Job, Lanes},
};

/// Most points of a transform: p+q <= 255 leaves no room for two blocks of 256.
const BLOCK_MAX: usize = 128;

/// An encoder of one code on one kind of vectors.
pub(crate) struct Fft<L: Lanes> {
    lanes: L,
    data_shards: usize,
    parity_shards: usize,
    parity_first: bool,
    block: usize,
    /// Points of a piece; `block / radix` pieces are a block.
    radix: usize,
    /// `block - 1` of each chunk, from chunk 0 on: of each piece, then of the stage across them.
    twiddles: Vec<L::Stored>,
}

impl<L: Lanes> Fft<L> {
    /// `None` where the layout has no block of a power of two.
    pub(crate) fn new(lanes: L, generator: &Generator) -> Option<Self> {
        let (data_shards, parity_shards) = (generator.data_shards(), generator.parity_shards());
        let (parity_first, block) = match generator.layout() {
            Layout::ParityFirst { block } => (true, block),
            Layout::DataFirst { block } => (false, block),
        };
        if !block.is_power_of_two() || !(2..=BLOCK_MAX).contains(&block) {
            return None;
        }
        let radix = match block {
            BLOCK_MAX => 16,
            _ => L::RADIX_MAX.min(block),
        };
        let chunks = data_shards.max(parity_shards).div_ceil(block);
        let mut twiddles = Vec::with_capacity((chunks + 1) * (block - 1));
        for first in (0..=chunks * block).step_by(block) {
            for piece in (first..first + block).step_by(radix) {
                twiddles.extend(butterfly::twiddles(piece, 1, radix).map(L::store_form));
            }
            twiddles.extend(butterfly::twiddles(first, radix, block / radix).map(L::store_form));
        }
        Some(Self { lanes, data_shards, parity_shards, parity_first, block, radix, twiddles })
    }

    /// Whether this computes the parity faster than the matrix does.
    pub(crate) fn is_faster(&self) -> bool {
        self.parity_shards >= 12
    }

    /// Computes all parity shards; they have at least a vector's bytes.
    pub(crate) fn apply(&self, columns: &mut Columns<'_, '_>) {
        assert!(columns.len() >= L::BYTES);
        assert_eq!(columns.inputs().len(), self.data_shards);
        assert_eq!(columns.outputs().len(), self.parity_shards);
        macro_rules! by_shape {
            ($($radix:literal * $pieces:literal)*) => {
                match (self.radix, self.block / self.radix) {
                    $(($radix, $pieces) if $radix <= L::RADIX_MAX || $radix * $pieces == BLOCK_MAX => {
                        self.lanes.enter(AllColumns::<L, $radix, $pieces> { fft: self, columns });
                    })*
                    _ => unreachable!("a block is split into pieces by its size"),
                }
            };
        }
        by_shape!(2*1 4*1 8*1 16*1 4*2 4*4 8*2 8*4 8*8 16*2 16*4 16*8);
    }
}

/// All columns, compiled for `G` pieces of `R` points.
struct AllColumns<'f, 'c, 'a, 'b, L: Lanes, const R: usize, const G: usize> {
    fft: &'f Fft<L>,
    columns: &'c mut Columns<'a, 'b>,
}

impl<L: Lanes, const R: usize, const G: usize> Job<L> for AllColumns<'_, '_, '_, '_, L, R, G> {
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { fft, columns } = self;
        let len = columns.len();
        let mut offset = 0;
        while offset < len {
            // the last bytes again, with what is new: parity depends on data alone
            let column = Column { offset: offset.min(len - L::BYTES), streamed: columns.streamed() && offset + L::BYTES <= len };
            if fft.parity_first {
                column.parity_first::<L, R, G>(lanes, fft, columns);
            } else {
                column.data_first::<L, R, G>(lanes, fft, columns);
            }
            offset += L::BYTES;
        }
        lanes.finish_streams();
    }
}

/// The state of a transform of `G` pieces.
type Points<L, const R: usize, const G: usize> = [[<L as Lanes>::V; R]; G];

/// A vector of every shard.
#[derive(Clone, Copy)]
struct Column {
    /// `offset + L::BYTES` is at most the length of the shards.
    offset: usize,
    streamed: bool,
}

impl Column {
    #[inline(always)]
    fn parity_first<L: Lanes, const R: usize, const G: usize>(
        self,
        lanes: L,
        fft: &Fft<L>,
        columns: &mut Columns<'_, '_>,
    ) {
        let (q, block) = (fft.parity_shards, R * G);
        let mut chunks = fft.twiddles.chunks_exact(block - 1);
        let zero_chunk = chunks.next().expect("chunk 0");
        let first_chunk = chunks.next().expect("chunk 1");
        let mut sum = self.inverse::<L, R, G, false>(lanes, first_chunk, columns, 0);
        for (chunk, twiddles) in (1..).zip(chunks) {
            let x = self.inverse::<L, R, G, false>(lanes, twiddles, columns, chunk * block);
            for (sum, x) in sum.iter_mut().flatten().zip(x.iter().flatten()) {
                *sum = lanes.xor(*sum, *x);
            }
        }
        self.forward::<L, R, G, true>(lanes, zero_chunk, &sum, columns, 0, q);
    }

    #[inline(always)]
    fn data_first<L: Lanes, const R: usize, const G: usize>(
        self,
        lanes: L,
        fft: &Fft<L>,
        columns: &mut Columns<'_, '_>,
    ) {
        let (q, block) = (fft.parity_shards, R * G);
        let mut chunks = fft.twiddles.chunks_exact(block - 1);
        let zero_chunk = chunks.next().expect("chunk 0");
        let x = self.inverse::<L, R, G, true>(lanes, zero_chunk, columns, 0);
        for (chunk, twiddles) in chunks.enumerate() {
            self.forward::<L, R, G, false>(lanes, twiddles, &x, columns, chunk * block, q);
        }
    }

    /// The coefficients of the data shards from `first` on.
    #[inline(always)]
    fn inverse<L: Lanes, const R: usize, const G: usize, const ZERO: bool>(
        self,
        lanes: L,
        twiddles: &[L::Stored],
        columns: &Columns<'_, '_>,
        first: usize,
    ) -> Points<L, R, G> {
        let (inner, outer) = twiddles.split_at(G * (R - 1));
        let mut points = [[lanes.zero(); R]; G];
        for piece in 0..G {
            let twiddles = &inner[piece * (R - 1)..][..R - 1];
            let first = first + piece * R;
            let count = columns.inputs().len().saturating_sub(first);
            let mut x = [lanes.zero(); R];
            if count >= R {
                for r in 0..R {
                    x[r] = unsafe { columns.load(lanes, first + r, self.offset) };
                }
                if ZERO && piece == 0 {
                    butterfly::inverse::<L, R, R, true>(lanes, &mut x, twiddles);
                } else {
                    butterfly::inverse::<L, R, R, false>(lanes, &mut x, twiddles);
                }
            } else if R == 16 && count <= 4 {
                for r in 0..4.min(R) {
                    if r < count {
                        x[r] = unsafe { columns.load(lanes, first + r, self.offset) };
                    }
                }
                butterfly::inverse::<L, R, 4, false>(lanes, &mut x, twiddles);
            } else {
                for r in 0..R {
                    if r < count {
                        x[r] = unsafe { columns.load(lanes, first + r, self.offset) };
                    }
                }
                butterfly::inverse::<L, R, R, false>(lanes, &mut x, twiddles);
            }
            points[piece] = x;
        }
        if G > 1 {
            for r in 0..R {
                let mut x: [L::V; G] = std::array::from_fn(|piece| points[piece][r]);
                butterfly::inverse::<L, G, G, ZERO>(lanes, &mut x, outer);
                for piece in 0..G {
                    points[piece][r] = x[piece];
                }
            }
        }
        points
    }

    /// The parity shards from `first` on, of `q`.
    #[inline(always)]
    fn forward<L: Lanes, const R: usize, const G: usize, const ZERO: bool>(
        self,
        lanes: L,
        twiddles: &[L::Stored],
        points: &Points<L, R, G>,
        columns: &mut Columns<'_, '_>,
        first: usize,
        q: usize,
    ) {
        let (inner, outer) = twiddles.split_at(G * (R - 1));
        if G == 2 {
            let mut lo = points[0];
            let mut hi = points[1];
            for r in 0..R {
                let mut x = [lo[r], hi[r]];
                butterfly::forward::<L, 2, 2, ZERO>(lanes, &mut x, outer);
                (lo[r], hi[r]) = (x[0], x[1]);
            }
            self.store_piece::<L, R, ZERO>(lanes, &inner[..R - 1], lo, columns, first, q - first);
            if first + R < q {
                self.store_piece::<L, R, false>(lanes, &inner[R - 1..], hi, columns, first + R, q - first - R);
            }
            return;
        }
        let mut scratch = *points;
        if G > 1 {
            for r in 0..R {
                let mut x: [L::V; G] = std::array::from_fn(|piece| points[piece][r]);
                butterfly::forward::<L, G, G, ZERO>(lanes, &mut x, outer);
                for piece in 0..G {
                    scratch[piece][r] = x[piece];
                }
            }
        }
        for (piece, twiddles) in inner.chunks_exact(R - 1).enumerate() {
            let first = first + piece * R;
            let count = q.saturating_sub(first);
            if count == 0 {
                break;
            }
            if ZERO && piece == 0 {
                self.store_piece::<L, R, true>(lanes, twiddles, scratch[piece], columns, first, count);
            } else {
                self.store_piece::<L, R, false>(lanes, twiddles, scratch[piece], columns, first, count);
            }
        }
    }
    #[inline(always)]
    fn store_piece<L: Lanes, const R: usize, const ZERO: bool>(
        self,
        lanes: L,
        twiddles: &[L::Stored],
        mut x: [L::V; R],
        columns: &mut Columns<'_, '_>,
        first: usize,
        count: usize,
    ) {
            let twiddles = &twiddles[..R - 1];
            butterfly::forward::<L, R, R, ZERO>(lanes, &mut x, twiddles);
            if count >= R {
                if self.streamed {
                    for r in 0..R {
                        unsafe { columns.stream(lanes, first + r, self.offset, x[r]) };
                    }
                } else {
                    for r in 0..R {
                        unsafe { columns.store(lanes, first + r, self.offset, x[r]) };
                    }
                }
            } else {
                for (r, x) in x.into_iter().take(count).enumerate() {
                    if self.streamed {
                        unsafe { columns.stream(lanes, first + r, self.offset, x) };
                    } else {
                        unsafe { columns.store(lanes, first + r, self.offset, x) };
                    }
                }
            }
    }
}

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

#![expect(
    clippy::needless_range_loop,
    reason = "constant indices into several arrays of registers: plainer, and faster to compile"
)]

use crate::{
    butterfly,
    columns::Columns,
    generator::{Generator, Layout},
    lanes::{Job, Lanes},
};

/// Most points of a transform: p+q <= 255 leaves no room for two blocks of 256.
const BLOCK_MAX: usize = 128;

/// For fewer, the matrix is as good.
const BLOCK_MIN: usize = 4;

/// Points of a piece of a block: as many as registers hold, but never more than 8 pieces.
const fn radix<L: Lanes>(block: usize) -> usize {
    if block <= L::RADIX_MAX {
        block
    } else if block <= 8 * L::RADIX_MAX {
        L::RADIX_MAX
    } else {
        block / 8
    }
}

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
        if !block.is_power_of_two() || !(BLOCK_MIN..=BLOCK_MAX).contains(&block) {
            return None;
        }
        let radix = radix::<L>(block);
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
        let chunks = self.data_shards.max(self.parity_shards).div_ceil(self.block);
        let butterflies = (chunks + 1) * self.block / 2 * self.block.ilog2() as usize;
        10 * self.data_shards * self.parity_shards >= L::BUTTERFLY_TENTHS * butterflies
    }

    /// Computes all parity shards; they have at least a vector's bytes.
    pub(crate) fn apply(&self, columns: &mut Columns<'_, '_>) {
        assert!(columns.len() >= L::BYTES);
        assert_eq!(columns.inputs().len(), self.data_shards);
        assert_eq!(columns.outputs().len(), self.parity_shards);
        macro_rules! by_shape {
            ($($radix:literal * $pieces:literal)*) => {
                match (self.radix, self.block / self.radix) {
                    $(($radix, $pieces) if const { radix::<L>($radix * $pieces) == $radix } => {
                        self.lanes.enter(AllColumns::<L, $radix, $pieces> { fft: self, columns });
                    })*
                    _ => unreachable!("every block from 4 to 128 points is split in one way"),
                }
            };
        }
        by_shape!(4*1 8*1 16*1 8*2 8*4 8*8 16*2 16*4 16*8);
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
        // a shorter vector would stream half cache lines to many shards at once
        let stream = columns.streamed() && L::BYTES == 64;
        let mut work = Work::<L::V, R, G>::zero(lanes);
        let mut offset = 0;
        while offset < len {
            // the last bytes again, with what is new: parity depends on data alone
            let whole = offset + L::BYTES <= len;
            let start = if whole { offset } else { len - L::BYTES };
            let mut column = Column { lanes, columns, offset: start, stream: stream && whole };
            if const { G <= 2 } {
                // its own, so that it may stay in registers
                column.encode(fft, &mut Work::<L::V, R, G>::zero(lanes));
            } else {
                column.encode(fft, &mut work);
            }
            offset += L::BYTES;
        }
        if stream {
            lanes.finish_streams();
        }
    }
}

/// A vector at each point of a block of `G` pieces.
type Points<V, const R: usize, const G: usize> = [[V; R]; G];

/// The state of a column.
struct Work<V, const R: usize, const G: usize> {
    /// Coefficients of the data, or of the sum of its chunks.
    sum: Points<V, R, G>,
    /// Between the stages of a block.
    scratch: Points<V, R, G>,
}

impl<V: Copy, const R: usize, const G: usize> Work<V, R, G> {
    #[inline(always)]
    fn zero<L: Lanes<V = V>>(lanes: L) -> Self {
        Self { sum: [[lanes.zero(); R]; G], scratch: [[lanes.zero(); R]; G] }
    }
}

/// A vector of every shard.
///
/// Invariants: `offset + L::BYTES` is at most the length of the shards; with `stream`, `columns` are streamed and
/// `offset` is a multiple of `L::BYTES`.
struct Column<'c, 'a, 'b, L: Lanes> {
    lanes: L,
    columns: &'c mut Columns<'a, 'b>,
    offset: usize,
    stream: bool,
}

impl<L: Lanes> Column<'_, '_, '_, L> {
    #[inline(always)]
    fn encode<const R: usize, const G: usize>(
        &mut self,
        fft: &Fft<L>,
        work: &mut Work<L::V, R, G>,
    ) {
        if fft.parity_first {
            self.parity_first(fft, work);
        } else {
            self.data_first(fft, work);
        }
    }

    #[inline(always)]
    fn parity_first<const R: usize, const G: usize>(
        &mut self,
        fft: &Fft<L>,
        work: &mut Work<L::V, R, G>,
    ) {
        let block = R * G;
        let (zero_chunk, chunks) = fft.twiddles.split_at(block - 1);
        let mut first = 0;
        for twiddles in chunks.chunks_exact(block - 1) {
            self.inverse::<R, G, false>(twiddles, first, work);
            first += block;
        }
        self.forward::<R, G, true>(zero_chunk, 0, work);
    }

    #[inline(always)]
    fn data_first<const R: usize, const G: usize>(
        &mut self,
        fft: &Fft<L>,
        work: &mut Work<L::V, R, G>,
    ) {
        let block = R * G;
        let (zero_chunk, chunks) = fft.twiddles.split_at(block - 1);
        self.inverse::<R, G, true>(zero_chunk, 0, work);
        let mut first = 0;
        for twiddles in chunks.chunks_exact(block - 1) {
            self.forward::<R, G, false>(twiddles, first, work);
            first += block;
        }
    }

    /// Coefficients of the chunk of data shards from `first` on: if it is the first, these are the sum, else they are
    /// added to it. `ZERO`: at the points of chunk 0.
    #[inline(always)]
    fn inverse<const R: usize, const G: usize, const ZERO: bool>(
        &self,
        twiddles: &[L::Stored],
        first: usize,
        work: &mut Work<L::V, R, G>,
    ) {
        let lanes = self.lanes;
        let Work { sum, scratch } = work;
        let (inner, across) = twiddles.split_at(G * (R - 1));
        if G == 1 {
            let x = self.inverse_piece::<R, ZERO>(inner, first);
            for r in 0..R {
                sum[0][r] = if first > 0 { lanes.xor(sum[0][r], x[r]) } else { x[r] };
            }
            return;
        }
        scratch[0] = self.inverse_piece::<R, ZERO>(&inner[..R - 1], first);
        for piece in 1..G {
            let twiddles = &inner[piece * (R - 1)..][..R - 1];
            scratch[piece] = self.inverse_piece::<R, false>(twiddles, first + piece * R);
        }
        for r in 0..R {
            let mut x = [lanes.zero(); G];
            for piece in 0..G {
                x[piece] = scratch[piece][r];
            }
            butterfly::inverse::<L, G, G, ZERO>(lanes, &mut x, across);
            for piece in 0..G {
                sum[piece][r] =
                    if first > 0 { lanes.xor(sum[piece][r], x[piece]) } else { x[piece] };
            }
        }
    }

    /// Coefficients of the data shards from `first` on, as many as there are; the rest are zeros.
    #[inline(always)]
    fn inverse_piece<const R: usize, const ZERO: bool>(
        &self,
        twiddles: &[L::Stored],
        first: usize,
    ) -> [L::V; R] {
        let lanes = self.lanes;
        let inputs = self.columns.inputs().len();
        let mut x = [lanes.zero(); R];
        if first + R <= inputs {
            for r in 0..R {
                // SAFETY: the shard exists; by the invariant it has a vector at `offset`
                [x[r]] = unsafe { self.columns.load(lanes, first + r, self.offset) };
            }
            butterfly::inverse::<L, R, R, ZERO>(lanes, &mut x, twiddles);
        } else if first + 4 >= inputs {
            for r in 0..R.min(4) {
                if first + r < inputs {
                    // SAFETY: as above
                    [x[r]] = unsafe { self.columns.load(lanes, first + r, self.offset) };
                }
            }
            butterfly::inverse::<L, R, 4, false>(lanes, &mut x, twiddles);
        } else {
            for r in 0..R {
                if first + r < inputs {
                    // SAFETY: as above
                    [x[r]] = unsafe { self.columns.load(lanes, first + r, self.offset) };
                }
            }
            butterfly::inverse::<L, R, R, false>(lanes, &mut x, twiddles);
        }
        x
    }

    /// The chunk of parity shards from `first` on, from the sum. `ZERO`: at the points of chunk 0.
    #[inline(always)]
    fn forward<const R: usize, const G: usize, const ZERO: bool>(
        &mut self,
        twiddles: &[L::Stored],
        first: usize,
        work: &mut Work<L::V, R, G>,
    ) {
        let lanes = self.lanes;
        let Work { sum, scratch } = work;
        let (inner, across) = twiddles.split_at(G * (R - 1));
        if G == 2 {
            let (mut x, mut y) = (sum[0], sum[1]);
            for r in 0..R {
                let mut pair = [x[r], y[r]];
                butterfly::forward::<L, 2, 2, ZERO>(lanes, &mut pair, across);
                [x[r], y[r]] = pair;
            }
            self.forward_piece::<R, ZERO>(&inner[..R - 1], x, first);
            self.forward_piece::<R, false>(&inner[R - 1..], y, first + R);
            return;
        }
        // the first piece stays in registers
        let mut x = sum[0];
        for r in 0..R {
            let mut y = [x[r]; G];
            for piece in 1..G {
                y[piece] = sum[piece][r];
            }
            butterfly::forward::<L, G, G, ZERO>(lanes, &mut y, across);
            x[r] = y[0];
            for piece in 1..G {
                scratch[piece][r] = y[piece];
            }
        }
        self.forward_piece::<R, ZERO>(&inner[..R - 1], x, first);
        for piece in 1..G {
            let twiddles = &inner[piece * (R - 1)..][..R - 1];
            self.forward_piece::<R, false>(twiddles, scratch[piece], first + piece * R);
        }
    }

    /// The parity shards from `first` on, as many as there are.
    #[inline(always)]
    fn forward_piece<const R: usize, const ZERO: bool>(
        &mut self,
        twiddles: &[L::Stored],
        mut x: [L::V; R],
        first: usize,
    ) {
        if first < self.columns.outputs().len() {
            butterfly::forward::<L, R, R, ZERO>(self.lanes, &mut x, twiddles);
            self.store(x, first);
        }
    }

    /// `x` to the parity shards from `first` on, as many as there are.
    #[inline(always)]
    fn store<const R: usize>(&mut self, x: [L::V; R], first: usize) {
        let count = self.columns.outputs().len() - first;
        let Self { lanes, columns, offset, stream } = self;
        // SAFETY: the shards exist; by the invariants they have a vector at `offset`, and are aligned there if streamed
        unsafe {
            if count < R {
                for (r, x) in x.into_iter().take(count).enumerate() {
                    if *stream {
                        columns.stream(*lanes, first + r, *offset, [x]);
                    } else {
                        columns.store(*lanes, first + r, *offset, [x]);
                    }
                }
            } else if *stream {
                for r in 0..R {
                    columns.stream(*lanes, first + r, *offset, [x[r]]);
                }
            } else {
                for r in 0..R {
                    columns.store(*lanes, first + r, *offset, [x[r]]);
                }
            }
        }
    }
}

//! Encoding by additive FFT: the same bytes as the generator matrix, in O(log) products per shard instead of `q`.
//!
//! The shorter side of the code fits a subspace of `block` points (a power of two), the longer one follows it in
//! *chunks* of `block` points. Parity first: the sum of the inverse transforms of all chunks of data, transformed at
//! the points of the parity. Data first: the inverse transform of the data, transformed at the points of each chunk of
//! parity. Chunk 0 is the subspace itself.
//!
//! A transform larger than registers hold runs in stages of 2 to 16 points over a scratch of 8 KiB, for a tile of 64
//! bytes of every shard: each shard's cache line is touched once.
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
    /// From neighbouring points outwards.
    stages: Vec<Stage>,
    /// `block - 1` of each chunk, from chunk 0 on.
    twiddles: Vec<L::Stored>,
}

/// Butterflies over `radix` points that lie `stride` apart.
#[derive(Clone, Copy)]
struct Stage {
    radix: usize,
    stride: usize,
    /// Among the twiddles of a chunk.
    first_twiddle: usize,
}

impl<L: Lanes> Fft<L> {
    /// `None` where the layout leaves no room for a power of two.
    pub(crate) fn new(lanes: L, generator: &Generator) -> Option<Self> {
        let (data_shards, parity_shards) = (generator.data_shards(), generator.parity_shards());
        let (parity_first, block) = match generator.layout() {
            Layout::ParityFirst { block } => (true, block),
            Layout::DataFirst { block } => (false, block),
        };
        if !block.is_power_of_two() || !(2..=BLOCK_MAX).contains(&block) {
            return None;
        }
        let mut stages = Vec::new();
        let (mut stride, mut first_twiddle) = (1, 0);
        while stride < block {
            let radix = L::RADIX_MAX.min(block / stride);
            stages.push(Stage { radix, stride, first_twiddle });
            stride *= radix;
            first_twiddle += block / stride * (radix - 1);
        }
        let chunks = data_shards.max(parity_shards).div_ceil(block);
        let mut twiddles = Vec::with_capacity((chunks + 1) * (block - 1));
        for chunk in 0..=chunks {
            for stage in &stages {
                for piece in (0..block).step_by(stage.radix * stage.stride) {
                    let points =
                        butterfly::twiddles(chunk * block + piece, stage.stride, stage.radix);
                    twiddles.extend(points.map(L::store_form));
                }
            }
        }
        Some(Self { lanes, data_shards, parity_shards, parity_first, block, stages, twiddles })
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
        self.lanes.enter(Apply { fft: self, columns });
    }

    #[inline(always)]
    fn twiddles(&self, chunk: usize, stage: &Stage) -> &[L::Stored] {
        let first = chunk * (self.block - 1) + stage.first_twiddle;
        &self.twiddles[first..][..self.block / (stage.radix * stage.stride) * (stage.radix - 1)]
    }
}

struct Apply<'f, 'c, 'a, 'b, L: Lanes> {
    fft: &'f Fft<L>,
    columns: &'c mut Columns<'a, 'b>,
}

impl<L: Lanes> Job<L> for Apply<'_, '_, '_, '_, L> {
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { fft, columns } = self;
        match 64 / L::BYTES {
            1 => tiles::<L, 1>(lanes, fft, columns),
            2 => tiles::<L, 2>(lanes, fft, columns),
            4 => tiles::<L, 4>(lanes, fft, columns),
            _ => tiles::<L, 8>(lanes, fft, columns),
        }
    }
}

#[inline(always)]
fn tiles<L: Lanes, const W: usize>(lanes: L, fft: &Fft<L>, columns: &mut Columns<'_, '_>) {
    let len = columns.len();
    let mut offset = 0;
    let mut work = Tile::<L, W>::zero(lanes);
    while offset + W * L::BYTES <= len {
        tile(lanes, fft, columns, offset, &mut work);
        offset += W * L::BYTES;
    }
    if W > 1 {
        let mut work = Tile::<L, 1>::zero(lanes);
        while offset + L::BYTES <= len {
            tile(lanes, fft, columns, offset, &mut work);
            offset += L::BYTES;
        }
        if offset < len {
            tile(lanes, fft, columns, len - L::BYTES, &mut work);
        }
    } else if offset < len {
        // the last bytes again, with what is new: parity depends on data alone
        tile(lanes, fft, columns, len - L::BYTES, &mut work);
    }
}

/// The state of a transform: `W` vectors at each point.
type Points<L, const W: usize> = [[<L as Lanes>::V; W]; BLOCK_MAX];

struct Tile<L: Lanes, const W: usize> {
    /// Coefficients: of the sum of all data chunks, or of the data.
    sum: Points<L, W>,
    /// Those of the chunk in work.
    chunk: Points<L, W>,
}

impl<L: Lanes, const W: usize> Tile<L, W> {
    #[inline(always)]
    fn zero(lanes: L) -> Self {
        Self { sum: [[lanes.zero(); W]; BLOCK_MAX], chunk: [[lanes.zero(); W]; BLOCK_MAX] }
    }
}

macro_rules! with_radix {
    ($radix:expr, $function:ident::<$lanes:ty, $width:ident, R>($($argument:expr),*)) => {
        match $radix {
            2 => $function::<$lanes, $width, 2>($($argument),*),
            4 => $function::<$lanes, $width, 4>($($argument),*),
            8 if L::RADIX_MAX >= 8 => $function::<$lanes, $width, 8>($($argument),*),
            16 if L::RADIX_MAX >= 16 => $function::<$lanes, $width, 16>($($argument),*),
            _ => unreachable!("a stage has 2 to RADIX_MAX points"),
        }
    };
}

/// `W` vectors of every shard.
#[inline(always)]
fn tile<L: Lanes, const W: usize>(
    lanes: L,
    fft: &Fft<L>,
    columns: &mut Columns<'_, '_>,
    offset: usize,
    work: &mut Tile<L, W>,
) {
    let (block, p, q) = (fft.block, fft.data_shards, fft.parity_shards);
    let Tile { sum, chunk } = work;
    if fft.parity_first {
        sum[..block].fill([lanes.zero(); W]);
        for c in 0..p.div_ceil(block) {
            inverse(lanes, fft, c + 1, columns, offset, c * block, chunk);
            for (sum, chunk) in sum[..block].iter_mut().zip(&chunk[..block]) {
                for w in 0..W {
                    sum[w] = lanes.xor(sum[w], chunk[w]);
                }
            }
        }
        forward(lanes, fft, 0, sum, chunk, columns, offset, 0);
    } else {
        inverse(lanes, fft, 0, columns, offset, 0, sum);
        for c in 0..q.div_ceil(block) {
            forward(lanes, fft, c + 1, sum, chunk, columns, offset, c * block);
        }
    }
}

/// Coefficients of the data shards from `first` on, as the values at the points of `chunk`.
#[inline(always)]
fn inverse<L: Lanes, const W: usize>(
    lanes: L,
    fft: &Fft<L>,
    chunk: usize,
    columns: &Columns<'_, '_>,
    offset: usize,
    first: usize,
    into: &mut Points<L, W>,
) {
    let (inner, outer) = fft.stages.split_first().expect("a block has at least 2 points");
    let twiddles = fft.twiddles(chunk, inner);
    with_radix!(
        inner.radix,
        inverse_load::<L, W, R>(lanes, fft, twiddles, columns, offset, first, into)
    );
    for stage in outer {
        let twiddles = fft.twiddles(chunk, stage);
        with_radix!(
            stage.radix,
            inverse_stage::<L, W, R>(lanes, fft.block, stage.stride, twiddles, into)
        );
    }
}

#[inline(always)]
fn inverse_load<L: Lanes, const W: usize, const R: usize>(
    lanes: L,
    fft: &Fft<L>,
    twiddles: &[L::Stored],
    columns: &Columns<'_, '_>,
    offset: usize,
    first: usize,
    into: &mut Points<L, W>,
) {
    for (piece, twiddles) in twiddles.chunks_exact(R - 1).enumerate() {
        for w in 0..W {
            let mut x = [lanes.zero(); R];
            for r in 0..R {
                let shard = first + piece * R + r;
                if shard < fft.data_shards {
                    x[r] = unsafe { columns.load(lanes, shard, offset + w * L::BYTES) };
                }
            }
            butterfly::inverse::<L, R, false>(lanes, &mut x, twiddles);
            for r in 0..R {
                into[piece * R + r][w] = x[r];
            }
        }
    }
}

#[inline(always)]
fn inverse_stage<L: Lanes, const W: usize, const R: usize>(
    lanes: L,
    block: usize,
    stride: usize,
    twiddles: &[L::Stored],
    points: &mut Points<L, W>,
) {
    for (piece, twiddles) in (0..block).step_by(R * stride).zip(twiddles.chunks_exact(R - 1)) {
        for i in piece..piece + stride {
            for w in 0..W {
                let mut x = std::array::from_fn(|r| points[i + r * stride][w]);
                butterfly::inverse::<L, R, false>(lanes, &mut x, twiddles);
                for r in 0..R {
                    points[i + r * stride][w] = x[r];
                }
            }
        }
    }
}

/// Parity shards from `first` on: the values at the points of `chunk`.
#[inline(always)]
fn forward<L: Lanes, const W: usize>(
    lanes: L,
    fft: &Fft<L>,
    chunk: usize,
    from: &Points<L, W>,
    scratch: &mut Points<L, W>,
    columns: &mut Columns<'_, '_>,
    offset: usize,
    first: usize,
) {
    let (inner, outer) = fft.stages.split_first().expect("a block has at least 2 points");
    scratch[..fft.block].copy_from_slice(&from[..fft.block]);
    for stage in outer.iter().rev() {
        let twiddles = fft.twiddles(chunk, stage);
        with_radix!(
            stage.radix,
            forward_stage::<L, W, R>(lanes, fft.block, stage.stride, twiddles, scratch)
        );
    }
    let twiddles = fft.twiddles(chunk, inner);
    with_radix!(
        inner.radix,
        forward_store::<L, W, R>(lanes, fft, twiddles, columns, offset, first, scratch)
    );
}

#[inline(always)]
fn forward_stage<L: Lanes, const W: usize, const R: usize>(
    lanes: L,
    block: usize,
    stride: usize,
    twiddles: &[L::Stored],
    points: &mut Points<L, W>,
) {
    for (piece, twiddles) in (0..block).step_by(R * stride).zip(twiddles.chunks_exact(R - 1)) {
        for i in piece..piece + stride {
            for w in 0..W {
                let mut x = std::array::from_fn(|r| points[i + r * stride][w]);
                butterfly::forward::<L, R, false>(lanes, &mut x, twiddles);
                for r in 0..R {
                    points[i + r * stride][w] = x[r];
                }
            }
        }
    }
}

#[inline(always)]
fn forward_store<L: Lanes, const W: usize, const R: usize>(
    lanes: L,
    fft: &Fft<L>,
    twiddles: &[L::Stored],
    columns: &mut Columns<'_, '_>,
    offset: usize,
    first: usize,
    points: &Points<L, W>,
) {
    for (piece, twiddles) in twiddles.chunks_exact(R - 1).enumerate() {
        if first + piece * R >= fft.parity_shards {
            break;
        }
        for w in 0..W {
            let mut x = std::array::from_fn(|r| points[piece * R + r][w]);
            butterfly::forward::<L, R, false>(lanes, &mut x, twiddles);
            for r in 0..R {
                let shard = first + piece * R + r;
                if shard < fft.parity_shards {
                    unsafe { columns.store(lanes, shard, offset + w * L::BYTES, x[r]) };
                }
            }
        }
    }
}

//! The shards of one call: the border between safe slices and the kernels.

use crate::lanes::Lanes;

/// From so many bytes of output on, they bypass the caches: about twice the second-level cache of a core.
const STREAM_BYTES_MIN: usize = 4 << 20;
/// The alignment of streamed outputs: a cache line, and the longest vector.
const STREAM_ALIGN: usize = 64;
/// How far ahead inputs are asked for. From memory it is worth a half (16+4, 64 MB, AVX-512: decoding goes from 1.05 to
/// 1.5 times memcpy), in the cache it costs nothing.
const PREFETCH_BYTES: usize = 512;

/// Input and output shards, all of one length.
///
/// Invariants: every slice of `inputs` and `outputs` has exactly `len` bytes; if `streamed`, every output begins at a
/// multiple of [`STREAM_ALIGN`].
pub(crate) struct Columns<'a, 'b> {
    inputs: &'a [&'a [u8]],
    outputs: &'a mut [&'b mut [u8]],
    len: usize,
    streamed: bool,
}

impl<'a, 'b> Columns<'a, 'b> {
    /// # Panics
    /// Unless all have one length: callers have checked it.
    pub(crate) fn new(inputs: &'a [&'a [u8]], outputs: &'a mut [&'b mut [u8]]) -> Self {
        let len = inputs.first().map_or(0, |shard| shard.len());
        assert!(inputs.iter().all(|shard| shard.len() == len), "inputs of one length");
        assert!(outputs.iter().all(|shard| shard.len() == len), "outputs of the inputs' length");
        let streamed = outputs.len() * len >= STREAM_BYTES_MIN
            && outputs.iter().all(|shard| shard.as_ptr().addr().is_multiple_of(STREAM_ALIGN));
        Self { inputs, outputs, len, streamed }
    }

    /// Bytes of each shard.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn inputs(&self) -> &[&[u8]] {
        self.inputs
    }

    #[inline(always)]
    pub(crate) fn outputs(&mut self) -> &mut [&'b mut [u8]] {
        self.outputs
    }

    /// Whether the outputs are too many bytes for the caches, and aligned: then [`Self::stream`] is faster than
    /// [`Self::store`].
    #[inline(always)]
    pub(crate) fn streamed(&self) -> bool {
        self.streamed
    }

    /// `U` vectors of input shard `shard`, from byte `offset` on.
    ///
    /// # Safety
    /// `shard` is below the number of inputs, and `offset + U * L::BYTES` at most [`Self::len`].
    #[inline(always)]
    pub(crate) unsafe fn load<L: Lanes, const U: usize>(
        &self,
        lanes: L,
        shard: usize,
        offset: usize,
    ) -> [L::V; U] {
        debug_assert!(shard < self.inputs.len() && offset + U * L::BYTES <= self.len);
        let mut v = [lanes.zero(); U];
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes of U vectors behind it lie in it
        unsafe {
            let mut from = self.inputs.get_unchecked(shard).as_ptr().add(offset);
            for v in &mut v {
                lanes.prefetch(from.wrapping_add(PREFETCH_BYTES));
                *v = lanes.load(from);
                from = from.add(L::BYTES);
            }
        }
        v
    }

    /// Writes `U` vectors to output shard `shard`, from byte `offset` on.
    ///
    /// # Safety
    /// `shard` is below the number of outputs, and `offset + U * L::BYTES` at most [`Self::len`].
    #[inline(always)]
    pub(crate) unsafe fn store<L: Lanes, const U: usize>(
        &mut self,
        lanes: L,
        shard: usize,
        offset: usize,
        v: [L::V; U],
    ) {
        debug_assert!(shard < self.outputs.len() && offset + U * L::BYTES <= self.len);
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes of U vectors behind it lie in it
        unsafe {
            let mut to = self.outputs.get_unchecked_mut(shard).as_mut_ptr().add(offset);
            for v in v {
                lanes.store(to, v);
                to = to.add(L::BYTES);
            }
        }
    }

    /// As [`Self::store`], past the caches.
    ///
    /// # Safety
    /// As for [`Self::store`]; also, [`Self::streamed`] is true, and `offset` a multiple of `L::BYTES`.
    #[inline(always)]
    pub(crate) unsafe fn stream<L: Lanes, const U: usize>(
        &mut self,
        lanes: L,
        shard: usize,
        offset: usize,
        v: [L::V; U],
    ) {
        debug_assert!(shard < self.outputs.len() && offset + U * L::BYTES <= self.len);
        debug_assert!(self.streamed && offset.is_multiple_of(L::BYTES));
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes of U vectors behind it lie in it; it is
        // aligned to 64, a multiple of every vector, and so is what lies a multiple of the vector behind its beginning
        unsafe {
            let mut to = self.outputs.get_unchecked_mut(shard).as_mut_ptr().add(offset);
            for v in v {
                lanes.stream(to, v);
                to = to.add(L::BYTES);
            }
        }
    }
}

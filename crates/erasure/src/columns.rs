//! The shards of one call: the border between safe slices and the kernels.

use crate::lanes::Lanes;

/// Input and output shards, all of one length.
///
/// Invariant: every slice of `inputs` and `outputs` has exactly `len` bytes.
pub(crate) struct Columns<'a, 'b> {
    inputs: &'a [&'a [u8]],
    outputs: &'a mut [&'b mut [u8]],
    len: usize,
    /// Whether the outputs are too many bytes for the caches, and all aligned to 64.
    streamed: bool,
}

/// From so many bytes of output on, they bypass the caches: about the second-level cache of a core.
const STREAM_BYTES_MIN: usize = 4 << 20;
/// The alignment of streamed outputs: a cache line, and the longest vector.
const STREAM_ALIGN: usize = 64;

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

    /// Whether to use [`Self::stream`] at offsets that are multiples of the vector.
    #[inline(always)]
    pub(crate) fn streamed(&self) -> bool {
        self.streamed
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

    /// A vector of input shard `shard`, from byte `offset` on.
    ///
    /// # Safety
    /// `shard` is below the number of inputs, and `offset + L::BYTES` at most [`Self::len`].
    #[inline(always)]
    pub(crate) unsafe fn load<L: Lanes>(&self, lanes: L, shard: usize, offset: usize) -> L::V {
        debug_assert!(shard < self.inputs.len() && offset + L::BYTES <= self.len);
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes behind it lie in it
        unsafe { lanes.load(self.inputs.get_unchecked(shard).as_ptr().add(offset)) }
    }

    /// Writes a vector to output shard `shard`, from byte `offset` on.
    ///
    /// # Safety
    /// `shard` is below the number of outputs, and `offset + L::BYTES` at most [`Self::len`].
    #[inline(always)]
    pub(crate) unsafe fn store<L: Lanes>(
        &mut self,
        lanes: L,
        shard: usize,
        offset: usize,
        v: L::V,
    ) {
        debug_assert!(shard < self.outputs.len() && offset + L::BYTES <= self.len);
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes behind it lie in it
        unsafe { lanes.store(self.outputs.get_unchecked_mut(shard).as_mut_ptr().add(offset), v) }
    }

    /// As [`Self::store`], past the caches.
    ///
    /// # Safety
    /// As for [`Self::store`]; also, [`Self::streamed`] is true, and `offset` a multiple of `L::BYTES`.
    #[inline(always)]
    pub(crate) unsafe fn stream<L: Lanes>(
        &mut self,
        lanes: L,
        shard: usize,
        offset: usize,
        v: L::V,
    ) {
        debug_assert!(shard < self.outputs.len() && offset + L::BYTES <= self.len);
        debug_assert!(self.streamed && offset.is_multiple_of(L::BYTES));
        // SAFETY: the shard exists and has `len` bytes, so `offset` and the bytes behind it lie in it; it is aligned to
        // 64, a multiple of every vector, and so is what lies a multiple of the vector behind
        unsafe { lanes.stream(self.outputs.get_unchecked_mut(shard).as_mut_ptr().add(offset), v) }
    }
}

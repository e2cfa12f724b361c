//! Which cached frame goes next: S3-FIFO.
//!
//! A new frame enters a small queue. Was it read again by the time it is at the end, it moves to the main queue, else it
//! goes, and is remembered for a while: who comes back soon enters the main queue. There a frame that was read again gets
//! another round. So a scan, whose frames are read once, flows through the small queue and leaves the main one alone.
//! Memory: about 60 bytes for each frame of 128 KiB that is cached, half of it for each that is remembered.

use prunedb_core::units::FRAME_BYTES;
use std::collections::{HashMap, HashSet, VecDeque};

/// Container and frame.
type Frame = (u32, u64);

/// Reads that are counted at most.
const READS_MAX: u8 = 3;
/// The small queue has one part of so many.
const SMALL_SHARE: usize = 10;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct FrameOrder {
    small: VecDeque<Frame>,
    main: VecDeque<Frame>,
    /// of every cached frame, how often it was read since
    reads: HashMap<Frame, u8>,
    /// those that left the small queue last, in order
    gone: VecDeque<Frame>,
    gone_set: HashSet<Frame>,
}

impl FrameOrder {
    /// Bytes of all cached frames.
    pub(crate) fn bytes(&self) -> u64 {
        self.reads.len() as u64 * FRAME_BYTES as u64
    }

    /// A cached frame was read.
    pub(crate) fn touch(&mut self, frame: Frame) {
        if let Some(reads) = self.reads.get_mut(&frame) {
            *reads = (*reads + 1).min(READS_MAX);
        }
    }

    /// A frame was cached.
    pub(crate) fn push(&mut self, frame: Frame) {
        if self.reads.insert(frame, 0).is_some() {
            return; // two readers fetched it at the same time
        }
        if self.gone_set.remove(&frame) {
            self.main.push_back(frame);
        } else {
            self.small.push_back(frame);
        }
    }

    /// The frame to evict next.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        loop {
            let small_is_full = self.small.len() * SMALL_SHARE >= self.reads.len();
            if small_is_full || self.main.is_empty() {
                let frame = self.small.pop_front()?;
                if self.reads.get(&frame).is_some_and(|&reads| reads > 0) {
                    self.reads.insert(frame, 0);
                    self.main.push_back(frame);
                    continue;
                }
                self.reads.remove(&frame);
                self.remember(frame);
                return Some(frame);
            }
            let frame = self.main.pop_front()?;
            match self.reads.get_mut(&frame) {
                Some(reads) if *reads > 0 => {
                    *reads -= 1;
                    self.main.push_back(frame);
                }
                _ => {
                    self.reads.remove(&frame);
                    return Some(frame);
                }
            }
        }
    }

    /// Remembers as many frames as are cached.
    fn remember(&mut self, frame: Frame) {
        self.gone.push_back(frame);
        self.gone_set.insert(frame);
        while self.gone.len() > self.reads.len().max(1) {
            if let Some(oldest) = self.gone.pop_front() {
                self.gone_set.remove(&oldest);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cache of so many frames that reads these; how many were there.
    fn hits(order: &mut FrameOrder, frames: usize, reads: impl Iterator<Item = u64>) -> usize {
        let mut hits = 0;
        for frame in reads.map(|number| (0, number)) {
            if order.reads.contains_key(&frame) {
                order.touch(frame);
                hits += 1;
                continue;
            }
            while order.bytes() >= (frames * FRAME_BYTES) as u64 {
                order.pop().unwrap();
            }
            order.push(frame);
        }
        hits
    }

    #[test]
    fn a_scan_does_not_drive_out_what_is_read_again_and_again() {
        let mut order = FrameOrder::default();
        let hot = || (0..50u64).chain(0..50);
        hits(&mut order, 100, hot());
        // a long scan with the hot ones in between
        let mixed =
            (0..100u64).flat_map(|round| (1000 + round * 50..1050 + round * 50).chain(0..50));
        let found = hits(&mut order, 100, mixed);
        assert!(found >= 100 * 50 * 9 / 10, "{found}");
    }

    #[test]
    fn a_frame_that_comes_back_soon_stays_longer() {
        let mut order = FrameOrder::default();
        hits(&mut order, 20, 0..40);
        assert!(!order.reads.contains_key(&(0, 15)));
        hits(&mut order, 20, std::iter::once(15));
        hits(&mut order, 20, 100..130);
        assert!(order.reads.contains_key(&(0, 15)));
    }

    proptest! {
        #[test]
        fn every_frame_comes_out_once(steps in proptest::collection::vec((0u8..4, 0u64..30), 0..400)) {
            let mut order = FrameOrder::default();
            let mut cached = std::collections::BTreeSet::new();
            for (what, number) in steps {
                let frame = (1, number);
                match what {
                    0 | 1 => { order.push(frame); cached.insert(frame); }
                    2 => order.touch(frame),
                    _ => {
                        let popped = order.pop();
                        prop_assert_eq!(popped.is_some(), !cached.is_empty());
                        if let Some(frame) = popped { prop_assert!(cached.remove(&frame)); }
                    }
                }
                prop_assert_eq!(order.bytes(), (cached.len() * FRAME_BYTES) as u64);
                prop_assert!(order.gone.len() <= order.reads.len() + 30);
                prop_assert_eq!(order.small.len() + order.main.len(), cached.len());
            }
            while let Some(frame) = order.pop() { prop_assert!(cached.remove(&frame)); }
            prop_assert!(cached.is_empty());
        }
    }
}

//! Merging runs into one, a little at a time.
//!
//! Keyed runs are merged by ranges of the hash: the entries of a range from all sources are sorted together, which for
//! hashes is faster than comparing the heads of sources, and appended. Sequence runs are merged by the smallest
//! next key. A merge that is dropped leaves its sources as they are and removes its file.
//!
//! A merge into a base may take minutes, so it leaves checkpoints: what is written so far is durable, and where to go
//! on is in the manifest. Smaller merges begin again after a restart.

use crate::{
    entry::{Entry, Location},
    error::Error,
    keyed_run::{KeyedCursor, KeyedRun, KeyedRunWriter, Progress},
    policy::SOURCES_MAX,
    run_file::RunWriter,
    sequence_run::{SequenceCursor, SequenceRun, SequenceRunWriter},
    sort::Sorter,
};
use std::sync::Arc;

/// Entries that a step of a keyed merge takes at once, about.
const BATCH_ENTRIES: u64 = 32 * 1024;

/// Two records that may have the same key, older first.
pub type Suspect = (Location, Location);

/// A keyed merge under way.
#[derive(Debug)]
pub(crate) struct KeyedMerge {
    cursors: Vec<KeyedCursor>,
    writer: KeyedRunWriter,
    /// prefixes below this one are written
    done: u64,
    /// entries below this one were written before a restart
    resumed_at: u128,
    step: u64,
    /// pages that were closed at the last checkpoint; none are left without this
    checkpoint: Option<u32>,
    /// entries with the number of their source
    batch: Vec<u128>,
    sorter: Sorter,
    /// the source with most entries, a base mostly: its entries need no sorting
    largest: usize,
    ascending: Vec<u128>,
}

impl KeyedMerge {
    pub(crate) fn new(
        sources: Vec<Arc<KeyedRun>>,
        writer: RunWriter,
        filter_bits: Option<u32>,
    ) -> Result<Self, Error> {
        Self::with(sources, writer, filter_bits, Ok)
    }

    /// Goes on with a merge into a base, with a writer that was resumed.
    pub(crate) fn resume(
        sources: Vec<Arc<KeyedRun>>,
        writer: RunWriter,
        progress: &Progress,
    ) -> Result<Self, Error> {
        Self::with(sources, writer, None, |writer| writer.resume(progress))
    }

    fn with(
        sources: Vec<Arc<KeyedRun>>,
        writer: RunWriter,
        filter_bits: Option<u32>,
        prepare: impl FnOnce(KeyedRunWriter) -> Result<KeyedRunWriter, Error>,
    ) -> Result<Self, Error> {
        assert!(sources.len() <= SOURCES_MAX);
        let headers = || sources.iter().map(|run| run.file().header());
        let entries = headers().map(|header| header.entries).sum();
        let largest = (0..sources.len()).max_by_key(|&i| sources[i].file().header().entries);
        let source_bits = sources.iter().map(|run| run.prefix_bits()).min().expect("sources");
        let oldest = headers().map(|header| header.container_min).min().expect("sources");
        let newest = headers().map(|header| header.container_max).max().expect("sources");
        let writer = prepare(KeyedRunWriter::new(
            writer,
            entries,
            oldest..=newest,
            source_bits,
            filter_bits,
        ))?;
        let bits = writer.prefix_bits();
        let step =
            (1u128 << bits) * u128::from(BATCH_ENTRIES) / u128::from(entries.max(BATCH_ENTRIES));
        let progress = writer.progress();
        let done = Entry(progress.next_entry).prefix();
        let cursor = |run: Arc<KeyedRun>| {
            let begin = done << (run.prefix_bits() - bits);
            KeyedCursor::at(run, begin)
        };
        let cursors = sources.into_iter().map(cursor).collect::<Result<_, _>>()?;
        let largest = largest.expect("sources");
        Ok(Self {
            cursors,
            writer,
            done,
            resumed_at: progress.next_entry,
            step: u64::try_from(step).expect("at most 48 bits").max(1),
            checkpoint: filter_bits.is_none().then_some(progress.pages),
            batch: Vec::new(),
            sorter: Sorter::default(),
            largest,
            ascending: Vec::new(),
        })
    }

    /// Number of the run that is written.
    pub(crate) fn number(&self) -> u64 {
        self.writer.number()
    }

    /// Makes what is written durable, if this merge leaves checkpoints and `pages` more are written than at the last.
    pub(crate) fn checkpoint(&mut self, pages: u32) -> Result<Option<Progress>, Error> {
        let progress = self.writer.progress();
        match self.checkpoint {
            Some(last) if progress.pages - last >= pages => {
                self.writer.checkpoint()?;
                self.checkpoint = Some(progress.pages);
                Ok(Some(progress))
            }
            _ => Ok(None),
        }
    }

    /// Gives the merge up: its file goes.
    pub(crate) fn abandon(&mut self) {
        self.writer.abandon();
    }

    /// Merges the next range; the entries taken, or `None` at the end.
    pub(crate) fn advance(&mut self, suspects: &mut Vec<Suspect>) -> Result<Option<u64>, Error> {
        let bits = self.writer.prefix_bits();
        if self.done == 1 << bits {
            return Ok(None);
        }
        let end = (self.done + self.step).min(1 << bits);
        self.batch.clear();
        self.ascending.clear();
        for (source, cursor) in (0..=u8::MAX).zip(&mut self.cursors) {
            let drop_bits = cursor.run().prefix_bits() - bits;
            // prefixes that become equal lose the order of their locations
            let in_order = usize::from(source) == self.largest && drop_bits == 0;
            let out = if in_order { &mut self.ascending } else { &mut self.batch };
            cursor.take_below(end << drop_bits, out, |entry| {
                if drop_bits == 0 { entry } else { entry.narrowed(drop_bits) }.tagged(source)
            })?;
        }
        let mut last = (Entry(u128::MAX), 0);
        let resumed_at = self.resumed_at << 8;
        let sorted = self.sorter.sort(&self.batch, self.done, end);
        merge_two(&self.ascending, sorted, |tagged| {
            if tagged < resumed_at {
                return Ok(());
            }
            let (entry, source) = Entry::untag(tagged);
            if last.0.prefix() == entry.prefix() && last.1 != source && last.0 != entry {
                suspects.push((last.0.location(), entry.location()));
            }
            last = (entry, source);
            self.writer.push(entry)
        })?;
        self.done = end;
        Ok(Some((self.batch.len() + self.ascending.len()) as u64))
    }

    pub(crate) fn finish(self) -> Result<(KeyedRun, u32), Error> {
        self.writer.finish()
    }
}

/// Hands out the numbers of two ascending lists in order.
fn merge_two(
    a: &[u128],
    b: &[u128],
    mut take: impl FnMut(u128) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = a;
    for &number in b {
        while let Some((&first, others)) = rest.split_first()
            && first < number
        {
            take(first)?;
            rest = others;
        }
        take(number)?;
    }
    rest.iter().try_for_each(|&number| take(number))
}

/// A sequence merge under way.
#[derive(Debug)]
pub(crate) struct SequenceMerge {
    cursors: Vec<SequenceCursor>,
    writer: SequenceRunWriter,
}

impl SequenceMerge {
    pub(crate) fn new(sources: Vec<Arc<SequenceRun>>, writer: RunWriter) -> Self {
        Self {
            cursors: sources.into_iter().map(SequenceCursor::new).collect(),
            writer: SequenceRunWriter::new(writer),
        }
    }

    /// Merges the next entries; how many, or `None` at the end.
    pub(crate) fn advance(&mut self, suspects: &mut Vec<Suspect>) -> Result<Option<u64>, Error> {
        for done in 0..BATCH_ENTRIES {
            let mut smallest = None;
            for cursor in &mut self.cursors {
                if let Some(next) = cursor.peek()? {
                    smallest = Some(smallest.map_or(next, |s| next.min(s)));
                }
            }
            let Some((key, oldest)) = smallest else {
                return Ok((done > 0).then_some(done));
            };
            for cursor in &mut self.cursors {
                if let Some((other, at)) = cursor.peek()?
                    && other == key
                {
                    if at != oldest {
                        suspects.push((oldest, at));
                    }
                    cursor.advance();
                }
            }
            self.writer.push(key, oldest)?;
        }
        Ok(Some(BATCH_ENTRIES))
    }

    pub(crate) fn finish(self) -> Result<(SequenceRun, u32), Error> {
        self.writer.finish()
    }
}

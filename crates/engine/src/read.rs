//! Where a record's bytes come from: the local file, the cache of frames, or the lake.

use crate::{
    db::Inner,
    error::{At, Error},
    lake::{Shards, Trace},
    local::{Kind, file_offset, read_footer},
    manifest::Container,
    record::{Parts, Record, read_record},
};
use prunedb_codec::FrameDecoder;
use prunedb_core::{ContainerId, TableId, units::FRAME_BYTES};
use prunedb_disk::File;
use prunedb_format::{
    FormatError,
    container::{Footer, RecordView},
    crc32c,
};
use prunedb_index::Location;
use std::{
    ops::Range,
    sync::{Arc, PoisonError},
};

/// Frames that one request to the lake fetches at most.
const FRAMES_PER_FETCH: u32 = 16;

/// Reads records at rising places, those that lie beside each other by few large reads.
pub(crate) struct Walk<'a> {
    inner: &'a Inner,
    table: TableId,
    container: u32,
    /// the container's file, where it is here as a whole
    file: Option<Arc<dyn File>>,
    window: Vec<u8>,
    /// where in the container the window starts
    start: u64,
    /// what the next window takes
    window_bytes: usize,
    /// up to where in the container the system was told to read ahead
    ahead: u64,
    /// a record that came by itself
    single: Option<Record>,
}

const WINDOW_BYTES_MAX: usize = 1 << 20;
/// What is asked of the disk ahead of the longest windows, once less than half of it is left.
const AHEAD_BYTES: u64 = 8 << 20;

impl<'a> Walk<'a> {
    pub(crate) fn new(inner: &'a Inner, table: TableId) -> Self {
        Self {
            inner,
            table,
            container: u32::MAX,
            file: None,
            window: Vec::new(),
            start: 0,
            window_bytes: 0,
            ahead: 0,
            single: None,
        }
    }

    /// The record at a place.
    pub(crate) fn record(
        &mut self,
        at: Location,
        trace: &mut Trace,
    ) -> Result<RecordView<'_>, Error> {
        if at.container != self.container {
            self.container = at.container;
            self.file = self.inner.files.whole(at.container)?;
            self.window.clear();
            self.ahead = 0;
        }
        if let Some((from, parts)) = self.windowed(at.offset.into()) {
            return Ok(parts.view(&self.window[from..]));
        }
        // not here, or damaged here
        let record = self.inner.record(self.table, at, trace)?;
        Ok(self.single.insert(record).view())
    }

    /// Where in the window the record is; another window is read where it has to be.
    fn windowed(&mut self, offset: u64) -> Option<(usize, Parts)> {
        let file = Arc::clone(self.file.as_ref()?);
        let guess = self.inner.read_sizes.guess(self.table);
        let mut needed = 0;
        for _ in 0..4 {
            let from = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
            if let Some(from) = from.filter(|&from| from < self.window.len()) {
                match Parts::verify(&self.window[from..]) {
                    Ok(parts) => return Some((from, parts)),
                    Err(FormatError::Truncated { needed: all, .. }) => {
                        needed = usize::try_from(all).ok()?;
                    }
                    Err(_) => return None,
                }
            }
            // who goes on where the last window ended goes on for longer
            let end = self.start + self.window.len() as u64;
            let goes_on = !self.window.is_empty() && (self.start..=end).contains(&offset);
            self.window_bytes =
                if goes_on { (self.window_bytes * 4).min(WINDOW_BYTES_MAX) } else { guess };
            self.read_window(&*file, offset, self.window_bytes.max(needed))?;
        }
        None
    }

    /// Reads a window into the memory of the one before; `None` where that fails.
    fn read_window(&mut self, file: &dyn File, offset: u64, bytes: usize) -> Option<()> {
        self.start = offset;
        self.window.resize(bytes, 0);
        let read = file.read_at(&mut self.window, file_offset(offset)).unwrap_or(0);
        self.window.truncate(read);
        let end = offset + read as u64;
        if self.window_bytes == WINDOW_BYTES_MAX && self.ahead < end + AHEAD_BYTES / 2 {
            let from = self.ahead.max(end);
            file.read_ahead(file_offset(from), AHEAD_BYTES);
            self.ahead = from + AHEAD_BYTES;
        }
        (read > 0).then_some(())
    }
}

impl Inner {
    /// The record at a place, of that table or another one.
    pub(crate) fn record(
        &self,
        table: TableId,
        at: Location,
        trace: &mut Trace,
    ) -> Result<Record, Error> {
        let record = self.record_at(at, self.read_sizes.guess(table), trace)?;
        self.read_sizes.learn(table, record.view().record_bytes());
        Ok(record)
    }

    /// The record at a place, `guess` bytes at first.
    pub(crate) fn record_at(
        &self,
        at: Location,
        guess: usize,
        trace: &mut Trace,
    ) -> Result<Record, Error> {
        let id = ContainerId::data(at.container);
        match self.local_record(at, guess) {
            Ok(Some(record)) => return Ok(record),
            Ok(None) => {}
            // the file stays: it may be the last good copy of its other records, until it was read back
            Err(error) if self.manifest.is_offloaded(at.container)? => {
                tracing::warn!(container = %id, %error, "the local copy is damaged: read from the lake");
                if self.is_safe_in_lake(at.container).is_ok() {
                    self.files.remove(at.container)?;
                }
            }
            Err(error) => return Err(error),
        }
        let container = self.offloaded(at.container)?;
        read_record(id, at.offset.into(), guess, |offset, bytes| {
            let end = (offset + bytes as u64).min(container.entry.stream.container_bytes);
            self.lake_bytes(&container, offset..end.max(offset), trace)
        })
    }

    /// The record from the local file, where the container is here as a whole.
    fn local_record(&self, at: Location, guess: usize) -> Result<Option<Record>, Error> {
        let Some(file) = self.files.whole(at.container)? else { return Ok(None) };
        let id = ContainerId::data(at.container);
        read_record(id, at.offset.into(), guess, |offset, bytes| {
            self.local_bytes(&*file, at.container, offset, bytes)
        })
        .map(Some)
    }

    /// Bytes of a container's local file, fewer only at its end.
    fn local_bytes(
        &self,
        file: &dyn File,
        container: u32,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; bytes];
        match file.read_at(&mut buffer, file_offset(offset)) {
            Ok(read) => buffer.truncate(read),
            error => _ = error.at(&self.files.path(container, Kind::Sealed))?,
        }
        Ok(buffer)
    }

    /// The manifest's entry of a container that is not here.
    pub(crate) fn offloaded(&self, number: u32) -> Result<Arc<Container>, Error> {
        let id = ContainerId::data(number);
        self.manifest.container(id)?.ok_or_else(|| Error::Damaged {
            container: id,
            offset: 0,
            reason: "its local file is gone and it is not in the lake".into(),
        })
    }

    /// The footer of a sealed container, wherever it is.
    pub(crate) fn footer(&self, number: u32) -> Result<Footer, Error> {
        if let Some(sealed) = self.files.sealed(number)? {
            match self.files.footer(&sealed) {
                Err(error) if self.manifest.is_offloaded(number)? => {
                    tracing::warn!(%error, "the local copy is damaged: read from the lake");
                }
                footer => return footer,
            }
        }
        self.lake_footer(&self.offloaded(number)?)
    }

    /// The footer of a container in the lake.
    pub(crate) fn lake_footer(&self, container: &Arc<Container>) -> Result<Footer, Error> {
        let mut trace = Trace::default();
        read_footer(container.id(), container.entry.stream.container_bytes, |buffer, offset| {
            let end = offset + buffer.len() as u64;
            let bytes = self.lake_bytes(container, offset..end, &mut trace)?;
            buffer.copy_from_slice(&bytes);
            Ok(())
        })
    }

    /// Bytes of a container in the lake, through the cache of frames.
    pub(crate) fn lake_bytes(
        &self,
        container: &Arc<Container>,
        range: Range<u64>,
        trace: &mut Trace,
    ) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
        if range.is_empty() {
            return Ok(out);
        }
        let frame_of =
            |offset: u64| u32::try_from(offset / FRAME_BYTES as u64).expect("at most 2,048 frames");
        let (mut frame, last) = (frame_of(range.start), frame_of(range.end - 1));
        while frame <= last {
            let run = frame..(last + 1).min(frame + FRAMES_PER_FETCH);
            for (index, bytes) in run.clone().zip(self.frames(container, run.clone(), trace)?) {
                let start = u64::from(index) * FRAME_BYTES as u64;
                let within = |offset: u64| usize::try_from(offset - start).expect("within a frame");
                let from = within(range.start.max(start));
                let to = within(range.end.min(start + bytes.len() as u64));
                out.extend_from_slice(&bytes[from..to]);
            }
            frame = run.end;
        }
        Ok(out)
    }

    /// Some consecutive frames: those that are cached from the cache, each run of the others by one read of the lake.
    fn frames(
        &self,
        container: &Arc<Container>,
        run: Range<u32>,
        trace: &mut Trace,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut out: Vec<Option<Vec<u8>>> = Vec::with_capacity(run.len());
        for index in run.clone() {
            // a cache that cannot be read is no reason not to answer
            out.push(self.cached_frame(container, index).unwrap_or_else(|error| {
                tracing::warn!(%error, "a cached frame was not read: fetched again");
                None
            }));
        }
        let mut at = 0;
        while at < out.len() {
            if out[at].is_some() {
                at += 1;
                continue;
            }
            let missing = out[at..].iter().take_while(|f| f.is_none()).count();
            let first = run.start + u32::try_from(at).expect("a few frames");
            let until = first + u32::try_from(missing).expect("a few frames");
            let fetched = self.fetch_frames(container, first..until, trace)?;
            for bytes in fetched {
                out[at] = Some(bytes);
                at += 1;
            }
        }
        Ok(out.into_iter().map(|f| f.expect("every frame was found or fetched")).collect())
    }

    fn cached_frame(&self, container: &Container, index: u32) -> Result<Option<Vec<u8>>, Error> {
        let number = container.id().number;
        let stream = &container.entry.stream;
        let Some(cache) = self.files.cache(number, stream.container_bytes, false)? else {
            return Ok(None);
        };
        if !cache.has(index.into()) {
            return Ok(None);
        }
        let frame = container.frames.frame(index).expect("within the container");
        let bytes = cache.read(index.into())?;
        if crc32c(&bytes) != frame.crc {
            tracing::warn!(container = %container.id(), frame = index, "a cached frame is damaged: fetched again");
            cache.evict(index.into())?;
            return Ok(None);
        }
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).touch((number, index.into()));
        Ok(Some(bytes))
    }

    fn fetch_frames(
        &self,
        container: &Arc<Container>,
        run: Range<u32>,
        trace: &mut Trace,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let shards = Shards::new(&self.lake, &container.entry.stream)?;
        let result = self.fetch_through(&shards, container, run);
        let (bad, fetched) = (shards.bad(), shards.take_trace());
        trace.absorb(fetched);
        if !bad.is_empty() {
            self.manifest.set_damage(bad.into_iter().map(|shard| (container.id(), shard)), true)?;
            self.wanted.repair();
        }
        let frames = result?;
        trace.frames_fetched += frames.len() as u64;
        Ok(frames)
    }

    fn fetch_through(
        &self,
        shards: &Shards,
        container: &Arc<Container>,
        run: Range<u32>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let table = &container.frames;
        let frame = |index: u32| table.frame(index).expect("within the container");
        let coded = frame(run.start).coded.start..frame(run.end - 1).coded.end;
        let bytes = shards.read_coded(coded.clone())?;
        let mut frames = Vec::with_capacity(run.len());
        let mut decoder = FrameDecoder::new();
        for index in run {
            let frame = frame(index);
            let at = |offset: u64| usize::try_from(offset - coded.start).expect("within the range");
            let part = &bytes[at(frame.coded.start)..at(frame.coded.end)];
            let mut opened = Vec::with_capacity(frame.frame_bytes());
            decoder
                .decode(container.id(), &frame, part, &mut opened)
                .map_err(|e| Error::Codec { container: container.id(), reason: e.to_string() })?;
            self.cache_frame(container, index, &opened);
            frames.push(opened);
        }
        Ok(frames)
    }

    /// Keeps a fetched frame. A cache that cannot be written is no reason not to answer.
    fn cache_frame(&self, container: &Container, index: u32, bytes: &[u8]) {
        if self.options.cache_bytes == 0 {
            return;
        }
        let number = container.id().number;
        let kept = self
            .make_room()
            .and_then(|()| self.files.cache(number, container.entry.stream.container_bytes, true))
            .and_then(|cache| {
                cache.map_or(Ok(false), |c| c.write(index.into(), bytes).map(|()| true))
            });
        match kept {
            Ok(true) => self
                .cached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, index.into())),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a frame was not cached"),
        }
    }

    /// Evicts frames until another one fits.
    fn make_room(&self) -> Result<(), Error> {
        loop {
            let evicted = {
                let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
                if cached.bytes() + FRAME_BYTES as u64 <= self.options.cache_bytes {
                    return Ok(());
                }
                cached.pop()
            };
            let Some((number, frame)) = evicted else { return Ok(()) };
            if let Some(container) = self.manifest.container(ContainerId::data(number))?
                && let Some(cache) =
                    self.files.cache(number, container.entry.stream.container_bytes, false)?
            {
                cache.evict(frame)?;
            }
        }
    }

    /// Learns at open which frames earlier runs cached.
    pub(crate) fn note_cached_frames(&self) -> Result<(), Error> {
        for number in self.files.numbers(Kind::Cache) {
            let Some(container) = self.manifest.container(ContainerId::data(number))? else {
                self.files.remove(number)?;
                continue;
            };
            let bytes = container.entry.stream.container_bytes;
            if let Some(cache) = self.files.cache(number, bytes, false)? {
                let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
                cache.frames().into_iter().for_each(|frame| cached.push((number, frame)));
            }
        }
        Ok(())
    }
}

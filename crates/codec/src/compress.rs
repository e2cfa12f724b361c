//! Container bytes to coded stream: frames compressed on all cores, appended in order.
//!
//! Each worker takes the next frame, reads, checks and compresses it; whoever completes the frame whose turn it is appends
//! it and those that wait behind it. The bytes do not depend on the number of threads. Memory: six frames a thread
//! (768 KiB), whatever the container's size, and the compressor's own 1 MB.
//!
//! Cost: zstd level 1 runs at about 0.4 GB/s per core on blocks. Appending and hashing the stream is serial, some 15 times
//! faster than one core's compressing.

use crate::{
    CodecVersion, CodedStream, FrameTable,
    frame_table::frame_count,
    spool::{ReadAt, Spool},
};
use prunedb_core::units::{CONTAINER_BYTES_MAX, FRAME_BYTES};
use prunedb_core::{ContainerKind, Digest};
use prunedb_format::crc32c;
use std::{
    collections::BTreeMap,
    io,
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// The zstd release and level of codec version 1: another one may make other bytes.
const ZSTD_RELEASE: u32 = 10_507;
const ZSTD_LEVEL: i32 = 1;
/// Frames that may wait for their turn, per thread.
const WINDOW_PER_THREAD: usize = 4;

/// Why a container was not compressed. What the spool holds then is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The container is longer than any can be.
    #[error("a container of {container_bytes} bytes: the largest has {CONTAINER_BYTES_MAX}")]
    TooLong {
        /// its length
        container_bytes: u64,
    },
    /// The container's bytes could not be read.
    #[error("reading the container at byte {offset}: {source}")]
    Read {
        /// where
        offset: u64,
        /// why
        source: io::Error,
    },
    /// The coded stream could not be written.
    #[error("spooling the coded stream at byte {offset}: {source}")]
    Spool {
        /// where
        offset: u64,
        /// why
        source: io::Error,
    },
    /// The compressor gave up: out of memory.
    #[error("compressing frame {frame}: {source}")]
    Zstd {
        /// which frame
        frame: u32,
        /// why
        source: io::Error,
    },
    /// This program was built with another zstd, whose bytes may differ.
    #[error(
        "built with zstd {found}, codec version 1 is zstd {expected}: new containers would not be canonical"
    )]
    ZstdRelease {
        /// as the codec version fixes it
        expected: u32,
        /// as linked
        found: u32,
    },
}

/// Compresses a container of `container_bytes` bytes into `spool`, on `threads` threads: the caller's and others.
///
/// # Errors
/// [`CompressError`]: the container cannot be read, the spool cannot be written, or the container is too long.
pub fn compress(
    source: &dyn ReadAt,
    container_bytes: u64,
    kind: ContainerKind,
    codec: CodecVersion,
    threads: NonZero<usize>,
    spool: &mut dyn Spool,
) -> Result<(FrameTable, CodedStream), CompressError> {
    assert_eq!(codec, CodecVersion::CURRENT, "the only version there is");
    if container_bytes > CONTAINER_BYTES_MAX as u64 {
        return Err(CompressError::TooLong { container_bytes });
    }
    let found = zstd::zstd_safe::version_number();
    if found != ZSTD_RELEASE {
        return Err(CompressError::ZstdRelease { expected: ZSTD_RELEASE, found });
    }
    let frames = frame_count(container_bytes);
    let threads = threads.get().min(frames.max(1));
    let job = Job {
        source,
        container_bytes,
        kind,
        window: threads * WINDOW_PER_THREAD,
        line: Mutex::new(Line {
            spool,
            table: FrameTable::builder(container_bytes),
            hasher: blake3::Hasher::new(),
            frames,
            taken: 0,
            appended: 0,
            waiting: BTreeMap::new(),
            spare: Vec::new(),
            stopped: false,
            failed: None,
        }),
        moved: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| job.work());
        }
        job.work();
    });
    let line = job.line.into_inner().expect("a worker's panic would have come through the scope");
    if let Some(error) = line.failed {
        return Err(error);
    }
    assert_eq!(line.appended, frames, "every frame was appended");
    let digest = Digest(*line.hasher.finalize().as_bytes());
    let coded_bytes = line.table.coded_bytes();
    Ok((line.table, CodedStream { container_bytes, coded_bytes, digest }))
}

/// One container being compressed.
struct Job<'a> {
    source: &'a dyn ReadAt,
    container_bytes: u64,
    kind: ContainerKind,
    window: usize,
    line: Mutex<Line<'a>>,
    moved: Condvar,
}

/// The frames in their order: `appended <= taken <= appended + window`.
struct Line<'a> {
    spool: &'a mut dyn Spool,
    table: FrameTable,
    hasher: blake3::Hasher,
    frames: usize,
    taken: usize,
    appended: usize,
    waiting: BTreeMap<usize, CodedFrame>,
    spare: Vec<Vec<u8>>,
    stopped: bool,
    failed: Option<CompressError>,
}

struct CodedFrame {
    bytes: Vec<u8>,
    crc: u32,
}

impl<'a> Job<'a> {
    fn work(&self) {
        // a worker that panics must not leave the others waiting for its frame
        let _wake = WakeOnPanic(self);
        if let Err(error) = self.work_until_done() {
            self.line().failed.get_or_insert(error);
            self.stop();
        }
    }

    /// Nobody takes another frame.
    fn stop(&self) {
        self.line().stopped = true;
        self.moved.notify_all();
    }

    fn work_until_done(&self) -> Result<(), CompressError> {
        let mut compressor = match self.kind {
            ContainerKind::Data => Some(
                zstd::bulk::Compressor::new(ZSTD_LEVEL)
                    .map_err(|source| CompressError::Zstd { frame: 0, source })?,
            ),
            ContainerKind::Manifest | ContainerKind::Index => None,
        };
        let mut raw = Vec::new();
        while let Some((index, mut coded)) = self.take() {
            let offset = (index * FRAME_BYTES) as u64;
            let length = (self.container_bytes - offset).min(FRAME_BYTES as u64);
            raw.resize(usize::try_from(length).expect("at most a frame"), 0);
            self.source
                .read_exact_at(&mut raw, offset)
                .map_err(|source| CompressError::Read { offset, source })?;
            let crc = crc32c(&raw);
            let shrunk = match &mut compressor {
                Some(compressor) => compress_frame(compressor, &raw, &mut coded)
                    .map_err(|source| CompressError::Zstd { frame: as_u32(index), source })?,
                None => false,
            };
            if !shrunk {
                std::mem::swap(&mut raw, &mut coded);
            }
            self.put(index, CodedFrame { bytes: coded, crc })?;
        }
        Ok(())
    }

    /// The next frame to compress, with a buffer for it; `None` where there is none, or somebody failed.
    fn take(&self) -> Option<(usize, Vec<u8>)> {
        let mut line = self.line();
        loop {
            if line.stopped || line.taken == line.frames {
                return None;
            }
            if line.taken < line.appended + self.window {
                let index = line.taken;
                line.taken += 1;
                return Some((index, line.spare.pop().unwrap_or_default()));
            }
            line = self.moved.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Appends a frame, and those that waited for it.
    fn put(&self, index: usize, frame: CodedFrame) -> Result<(), CompressError> {
        let mut line = self.line();
        line.waiting.insert(index, frame);
        let line = &mut *line;
        while let Some(frame) = line.waiting.remove(&line.appended) {
            let offset = line.table.coded_bytes();
            line.spool
                .append(&frame.bytes)
                .map_err(|source| CompressError::Spool { offset, source })?;
            line.hasher.update(&frame.bytes);
            line.table.push(frame.bytes.len(), frame.crc);
            line.appended += 1;
            line.spare.push(frame.bytes);
        }
        self.moved.notify_all();
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Line<'a>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WakeOnPanic<'a, 'b>(&'a Job<'b>);

impl Drop for WakeOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Compresses one frame; `false` where that does not make it smaller.
fn compress_frame(
    compressor: &mut zstd::bulk::Compressor<'_>,
    raw: &[u8],
    coded: &mut Vec<u8>,
) -> io::Result<bool> {
    // always room for the worst case: what the compressor writes must not depend on the room it has
    coded.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
    let length = compressor.compress_to_buffer(raw, coded.as_mut_slice())?;
    coded.truncate(length);
    Ok(length < raw.len())
}

fn as_u32(frame: usize) -> u32 {
    u32::try_from(frame).expect("bounded by the largest container")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemorySpool, testing::sample_bytes};
    use proptest::prelude::*;

    fn run(
        bytes: &[u8],
        kind: ContainerKind,
        threads: usize,
    ) -> (Vec<u8>, FrameTable, CodedStream) {
        let mut spool = MemorySpool::default();
        let (table, stream) = compress(
            &bytes.to_vec(),
            bytes.len() as u64,
            kind,
            CodecVersion::CURRENT,
            NonZero::new(threads).unwrap(),
            &mut spool,
        )
        .unwrap();
        assert_eq!(stream.digest.0, *blake3::hash(spool.as_slice()).as_bytes());
        assert_eq!(stream.coded_bytes, spool.as_slice().len() as u64);
        (spool.as_slice().to_vec(), table, stream)
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_threads() {
        let bytes = sample_bytes(1, 5_000_000);
        let one = run(&bytes, ContainerKind::Data, 1);
        assert!(one.0.len() < bytes.len());
        for threads in [2, 4, 7] {
            assert!(run(&bytes, ContainerKind::Data, threads) == one, "{threads} threads");
        }
    }

    #[test]
    fn metadata_is_not_compressed() {
        let bytes = sample_bytes(2, 300_000);
        let (coded, table, _) = run(&bytes, ContainerKind::Index, 2);
        assert!(coded == bytes);
        assert!(table.frames().all(|frame| frame.is_raw()));
    }

    #[test]
    fn nothing_is_an_empty_stream() {
        let (coded, table, stream) = run(&[], ContainerKind::Data, 4);
        assert_eq!((coded.len(), table.frame_count(), stream.coded_bytes), (0, 0, 0));
    }

    /// Fails or panics at one place, for any number of threads.
    struct Broken(u64, bool);
    impl ReadAt for Broken {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            assert!(!self.1 || offset != self.0, "a broken source");
            buffer.fill(1);
            if offset == self.0 { Err(io::Error::other("broken")) } else { Ok(()) }
        }
    }
    impl Spool for Broken {
        fn append(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("full"))
        }
    }

    fn run_broken(source: &Broken, threads: usize, spool: &mut dyn Spool) -> CompressError {
        let threads = NonZero::new(threads).unwrap();
        let length = 100 * FRAME_BYTES as u64;
        compress(source, length, ContainerKind::Data, CodecVersion::CURRENT, threads, spool)
            .unwrap_err()
    }

    #[test]
    fn failures_end_the_job_and_say_where() {
        for threads in [1, 4] {
            let at = 40 * FRAME_BYTES as u64;
            let error = run_broken(&Broken(at, false), threads, &mut MemorySpool::default());
            assert!(matches!(error, CompressError::Read { offset, .. } if offset == at));
            let error = run_broken(&Broken(u64::MAX, false), threads, &mut Broken(0, false));
            assert!(matches!(error, CompressError::Spool { offset: 0, .. }));
            let panicked = std::panic::catch_unwind(|| {
                run_broken(&Broken(at, true), threads, &mut MemorySpool::default())
            });
            assert!(panicked.is_err(), "the panic comes through, nobody waits for ever");
        }
        let one = NonZero::new(1).unwrap();
        let mut spool = MemorySpool::default();
        let long = compress(
            &Vec::new(),
            1 << 40,
            ContainerKind::Data,
            CodecVersion::CURRENT,
            one,
            &mut spool,
        );
        assert!(matches!(long, Err(CompressError::TooLong { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_used_compressor_makes_the_same_bytes(seeds in prop::collection::vec((any::<u64>(), 1usize..=FRAME_BYTES), 1..6)) {
            let mut used = zstd::bulk::Compressor::new(ZSTD_LEVEL).unwrap();
            for (seed, length) in seeds {
                let frame = sample_bytes(seed, length);
                let (mut one, mut other) = (Vec::new(), vec![7; 300_000]);
                compress_frame(&mut used, &frame, &mut one).unwrap();
                let mut fresh = zstd::bulk::Compressor::new(ZSTD_LEVEL).unwrap();
                compress_frame(&mut fresh, &frame, &mut other).unwrap();
                prop_assert!(one == other);
            }
        }
    }
}

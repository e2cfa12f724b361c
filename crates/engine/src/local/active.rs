//! The container that is being written.

use super::{Kind, LocalFiles, file_offset};
use crate::error::{At, Error};
use prunedb_core::{ContainerId, Digest, LakeId, TableId};
use prunedb_disk::{File, Open};
use prunedb_format::{
    FormatError,
    container::{
        ContainerHeader, FooterBuilder, HEADER_BYTES, RECORD_HEADER_BYTES, RecordView, TableName,
    },
    local::{LOCAL_HEADER_BYTES, LocalSlot},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The records of an active container, for its footer; read by others while the writer goes on.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<FooterBuilder>);

impl Directory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, FooterBuilder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An active container: what is in its file, and what its footer will say.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: ContainerId,
    pub(crate) file: Arc<dyn File>,
    path: PathBuf,
    lake: LakeId,
    /// the records in the file, and those of the group that is being written
    pub(crate) directory: Arc<Directory>,
    /// container bytes in the file
    written: u64,
    /// container bytes that a sync covers
    pub(crate) durable: u64,
    slot_sequence: u64,
}

/// What opening an active container found.
#[derive(Debug)]
pub(crate) struct ActiveScan {
    pub(crate) active: Active,
    /// bytes of a torn tail that were cut
    pub(crate) cut_bytes: u64,
}

impl Active {
    /// A new container file with its header; durable with the first group.
    pub(crate) fn create(files: &LocalFiles, lake: LakeId, number: u32) -> Result<Self, Error> {
        let id = ContainerId::data(number);
        let path = files.path(number, Kind::Active);
        let file = files.disk().open(&path, Open::CreateNew).at(&path)?;
        let header = ContainerHeader { lake, id }.encode();
        let mut active = Self {
            id,
            file,
            path,
            lake,
            directory: Arc::default(),
            written: 0,
            durable: 0,
            slot_sequence: 0,
        };
        if let Err(error) = active.begin(files, &header) {
            // nothing was acknowledged: without the file the next put may try again
            if let Err(error) = files.disk().remove(&active.path) {
                tracing::warn!(path = %active.path.display(), %error, "a failed file was not removed");
            }
            return Err(error);
        }
        files.add(number, Kind::Active, Arc::clone(&active.file));
        Ok(active)
    }

    /// Writes what precedes the first record, and makes file and name durable.
    fn begin(&mut self, files: &LocalFiles, header: &[u8]) -> Result<(), Error> {
        self.write(header)?;
        self.sync()?;
        files.disk().sync_dir(files.dir()).at(files.dir())
    }

    /// Opens the container that a stop or a crash left: cuts a torn tail, refuses corruption below the watermark. Its bytes
    /// are not hashed, which takes as long as all the rest: see [`Self::hash`].
    ///
    /// # Errors
    /// [`Error::Damaged`] where a record below the durable watermark is bad.
    pub(crate) fn open(files: &LocalFiles, lake: LakeId, number: u32) -> Result<ActiveScan, Error> {
        let path = files.path(number, Kind::Active);
        let file = files.disk().open(&path, Open::ReadWrite).at(&path)?;
        let id = ContainerId::data(number);
        let length = file.len().at(&path)?;
        let mut header = [0; LOCAL_HEADER_BYTES];
        let slot = match length {
            ..LOCAL_HEADER => None,
            _ => {
                file.read_exact_at(&mut header, 0).at(&path)?;
                let mut slot = Some(LocalSlot::newest(&header));
                // no record was ever written: a create that a crash cut short, in any order
                if length <= file_offset(HEADER_BYTES as u64) {
                    let mut found = [0; HEADER_BYTES];
                    file.read_at(&mut found, LOCAL_HEADER).at(&path)?;
                    let torn = matches!(
                        ContainerHeader::decode(&found),
                        Err(FormatError::Magic { .. } | FormatError::Checksum { .. })
                    );
                    slot = slot.filter(|slot| slot.is_ok() && !torn);
                }
                slot.transpose().at(&path)?
            }
        };
        // the file was created, but its first sync never returned: nothing in it was acknowledged
        let Some(slot) = slot else {
            files.disk().remove(&path).at(&path)?;
            let active = Self::create(files, lake, number)?;
            return Ok(ActiveScan { active, cut_bytes: length });
        };
        if slot.lake != lake || slot.id != id {
            return Err(Error::Damaged {
                container: id,
                offset: 0,
                reason: format!("its local header is of {} in lake {}", slot.id, slot.lake),
            });
        }
        let mut scan = Scan {
            file: &*file,
            path: &path,
            id,
            end: length - LOCAL_HEADER_BYTES as u64,
            hasher: None,
            footer: FooterBuilder::default(),
        };
        let put_end = scan.run(lake, slot.durable_bytes)?;
        let Scan { footer, end, .. } = scan;
        let cut_bytes = end - put_end;
        if cut_bytes > 0 {
            file.set_len(file_offset(put_end)).at(&path)?;
        }
        // what counts as durable from here on has to be: an earlier process may never have synced it, or its sync failed,
        // and then memory shows bytes that no sync will write, unless they are written again
        rewrite(&*file, slot.durable_bytes, put_end).and_then(|()| file.sync_data()).at(&path)?;
        let active = Self {
            id,
            file: Arc::clone(&file),
            path,
            lake,
            directory: Arc::new(Directory(Mutex::new(footer))),
            written: put_end,
            durable: put_end,
            slot_sequence: slot.sequence,
        };
        files.add(number, Kind::Active, file);
        Ok(ActiveScan { active, cut_bytes })
    }

    /// Writes the bytes from a place on; those before it are in the file. Durable after [`Self::sync`].
    pub(crate) fn write_at(&mut self, container_offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.written = container_offset;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !bytes.is_empty() {
            self.file.write_all_at(bytes, file_offset(self.written)).at(&self.path)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Makes what was written durable, and with it the watermark of the group before.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.write_slot()?;
        self.file.sync_data().at(&self.path)?;
        self.durable = self.written;
        Ok(())
    }

    fn write_slot(&mut self) -> Result<(), Error> {
        self.slot_sequence += 1;
        let slot = LocalSlot {
            sequence: self.slot_sequence,
            durable_bytes: self.durable,
            lake: self.lake,
            id: self.id,
        };
        self.file.write_all_at(&slot.encode(), slot.file_offset()).at(&self.path)
    }

    /// What hashes the container's bytes in the file.
    pub(crate) fn hash(&self) -> Hash {
        Hash {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
            lake: self.lake,
            id: self.id,
            end: self.written,
        }
    }

    /// Writes the footer behind the last record. No slot says that it is durable: a crash before the file has its sealed
    /// name finds a torn tail and cuts it.
    pub(crate) fn write_footer(
        &mut self,
        mut hasher: blake3::Hasher,
        name_of: impl Fn(TableId) -> TableName,
    ) -> Result<(), Error> {
        let (mut bytes, trailer) = self.directory.lock().finish(self.written, name_of);
        let digest = Digest(*hasher.update(&bytes).finalize().as_bytes());
        bytes.extend_from_slice(&trailer.encode(digest));
        self.write(&bytes)
    }
}

/// The container to go on with, if there is one. A container is begun while the last records of the one before are still
/// being written, so a stop may leave both.
///
/// # Errors
/// As [`Active::open`].
pub(crate) fn resume(
    files: &LocalFiles,
    lake: LakeId,
    name_of: impl Fn(TableId) -> Option<TableName>,
) -> Result<Option<ActiveScan>, Error> {
    let mut numbers = files.numbers(Kind::Active);
    let Some(last) = numbers.pop() else { return Ok(None) };
    let mut scan = Active::open(files, lake, last)?;
    while let Some(number) = numbers.pop() {
        let mut before = Active::open(files, lake, number)?;
        if scan.active.directory.lock().record_count() == 0 {
            files.remove(scan.active.id.number)?;
            scan = before;
            continue;
        }
        // what follows it is durable, so it was whole, but for its name
        let tables: Vec<_> = before.active.directory.lock().table_records().collect();
        if let Some((table, _)) = tables.into_iter().find(|(table, _)| name_of(*table).is_none()) {
            let reason = format!("table {table} is not in the manifest");
            return Err(Error::Damaged { container: before.active.id, offset: 0, reason });
        }
        let hasher = before.active.hash().run()?;
        before.active.write_footer(hasher, |id| name_of(id).expect("looked up above"))?;
        before.active.sync()?;
        files.seal(number)?;
    }
    Ok(Some(scan))
}

/// Writes container bytes of a file once more.
fn rewrite(file: &dyn File, mut at: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while at < end {
        let bytes = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.read_exact_at(&mut buffer[..bytes], file_offset(at))?;
        file.write_all_at(&buffer[..bytes], file_offset(at))?;
        at += bytes as u64;
    }
    Ok(())
}

const LOCAL_HEADER: u64 = LOCAL_HEADER_BYTES as u64;

/// Hashes what is in an active container's file, for whoever goes on with it.
#[derive(Debug)]
pub(crate) struct Hash {
    file: Arc<dyn File>,
    path: PathBuf,
    lake: LakeId,
    id: ContainerId,
    end: u64,
}

impl Hash {
    /// A hasher that has seen all of it. Every record is checked once more, so that no rot since the container was opened
    /// becomes part of its digest.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a record is bad, and those of the disk.
    pub(crate) fn run(&self) -> Result<blake3::Hasher, Error> {
        let mut scan = Scan {
            file: &*self.file,
            path: &self.path,
            id: self.id,
            end: self.end,
            hasher: Some(blake3::Hasher::new()),
            footer: FooterBuilder::default(),
        };
        scan.run(self.lake, self.end)?;
        Ok(scan.hasher.expect("it was given"))
    }
}

/// Walks the records of an active container's file.
struct Scan<'a> {
    file: &'a dyn File,
    path: &'a std::path::Path,
    id: ContainerId,
    end: u64,
    /// over the bytes up to the end of the last whole put
    hasher: Option<blake3::Hasher>,
    footer: FooterBuilder,
}

const WINDOW_BYTES: u64 = 4 << 20;

/// Where a container byte is in a window of it.
fn within(at: u64, window_start: u64) -> usize {
    usize::try_from(at - window_start).expect("within the window")
}

impl Scan<'_> {
    /// The end of the longest valid prefix that ends a put.
    fn run(&mut self, lake: LakeId, durable: u64) -> Result<u64, Error> {
        let mut window = Vec::new();
        self.read(0, HEADER_BYTES as u64, &mut window)?;
        let header = window.first_chunk().and_then(|h| ContainerHeader::decode(h).ok());
        if header != Some(ContainerHeader { lake, id: self.id }) {
            return Err(self.damaged(0, "its header is not its own".into()));
        }
        self.hash(&window);
        let (mut window_start, mut at, mut put_end) = (0, HEADER_BYTES as u64, HEADER_BYTES as u64);
        // of the put that is being read: table, offset, length of the key
        let mut put: Vec<(TableId, u64, usize)> = Vec::new();
        loop {
            let here = within(at, window_start);
            match RecordView::decode(&window[here..]) {
                Ok(record) => {
                    put.push((record.table, at, record.key.len()));
                    at += record.record_bytes() as u64;
                    if record.end_of_put {
                        put_end = at;
                        for (table, offset, key_bytes) in put.drain(..) {
                            let key_at = within(offset, window_start) + RECORD_HEADER_BYTES;
                            self.footer.add(table, offset, &window[key_at..key_at + key_bytes]);
                        }
                    }
                }
                Err(error) => {
                    // a put is hashed when it is whole; all of a window at once, which is several times as fast
                    let hashed = if window_start == 0 { HEADER_BYTES } else { 0 };
                    self.hash(&window[hashed..within(put_end, window_start)]);
                    let needed = match error {
                        FormatError::Truncated { needed, .. } => needed,
                        _ => 0,
                    };
                    // the next window starts at the put, so that its records are in one
                    if needed > 0 && at + needed <= self.end {
                        // twice as far each time: a long put of small records is not read again for each of them
                        let span = (at - put_end) * 2 + needed + WINDOW_BYTES;
                        self.read(put_end, span.min(self.end - put_end), &mut window)?;
                        window_start = put_end;
                        continue;
                    }
                    if put_end < durable {
                        return Err(self.damaged(at, error.to_string()));
                    }
                    return Ok(put_end);
                }
            }
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    /// Reads a window into the memory of the one before.
    fn read(&self, at: u64, bytes: u64, window: &mut Vec<u8>) -> Result<(), Error> {
        window.resize(usize::try_from(bytes).expect("a window fits in memory"), 0);
        let read = self.file.read_at(window, file_offset(at)).at(self.path)?;
        window.truncate(read);
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: String) -> Error {
        Error::Damaged { container: self.id, offset, reason }
    }
}

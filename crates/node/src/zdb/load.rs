//! Opening a namespace: its logs are walked from the first record to the last, and the index follows from them.
//!
//! A checkpoint says up to where everything was durable at some time. Records behind it are in doubt: after a loss of
//! power their heads may be there without their values, and after a failed sync the system may show bytes that the
//! disk never got. They are read whole, those with a wrong value become void, and the rest is written once more.
//! What is behind the last good record of a log is a torn tail, and is cut off. Bad records in front of a good one, and
//! not in doubt, are damage: they are skipped and reported, and the log is never rewritten or removed.

use super::{
    index::Place,
    layout::{FIRST_UNIT, Kind, Position, UNIT_BYTES},
    log::Log,
    namespace::{Held, Namespace, State},
    settings::Mode,
    walk::{Seen, Walk},
    write::Writer,
};
use crate::{
    Damage, OpenReport,
    layout::{crc32c, u32_at},
    load::rewrite,
    state::lock,
};
use prunedb_disk::{Disk, Open, read_all, write_atomic};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// What was read of a namespace's logs.
#[derive(Debug, Default)]
struct Loaded {
    state: State,
    writer: Writer,
}

impl Namespace {
    /// Reads the logs anew: at the start, and on demand.
    ///
    /// # Errors
    /// Those of the disk; what was known before stays.
    pub(crate) fn load(&self, report: &mut OpenReport) -> io::Result<()> {
        let mut writer = lock(&self.writer);
        let mut loaded = Loaded::default();
        let first_log = self.settings().first_log;
        loaded.writer.next_log = first_log;
        let durable = read_checkpoint(&*self.disk, &self.dir, self.id);
        let mut numbers = Vec::new();
        for name in self.disk.list(&self.dir)? {
            match Log::parse_file_name(&name) {
                Some((namespace, number)) if namespace == self.id => numbers.push(number),
                _ => {}
            }
        }
        numbers.sort_unstable();
        for number in numbers {
            let path = Log::path(&self.dir, self.id, number);
            if number < first_log {
                self.disk.remove(&path)?;
                continue;
            }
            loaded.writer.next_log = number.saturating_add(1);
            self.load_log(number, path, durable, &mut loaded, report)?;
        }
        loaded.choose_active();
        let (bytes, keys) = (self.log_bytes(), self.state().index.len());
        *self.state_mut() = loaded.state;
        *writer = loaded.writer;
        self.budget.add_bytes(self.log_bytes());
        self.budget.sub_bytes(bytes);
        self.budget.add_keys(self.state().index.len());
        self.budget.sub_keys(keys);
        Ok(())
    }

    fn load_log(
        &self,
        number: u32,
        path: PathBuf,
        durable: Position,
        loaded: &mut Loaded,
        report: &mut OpenReport,
    ) -> io::Result<()> {
        let damage = Damage::Log { namespace: self.id, log: number };
        let file = self.disk.open(&path, Open::ReadWrite)?;
        let Ok(header) = Log::read_log_header(&*file) else {
            report.damaged(damage);
            return Ok(());
        };
        let Some(header) = header.filter(|header| header.number == number) else {
            if file.len()? <= u64::from(FIRST_UNIT) * UNIT_BYTES {
                // the trace of a crash while the log was begun
                return self.disk.remove(&path);
            }
            report.damaged(damage);
            return Ok(());
        };
        loaded.writer.next_id = loaded.writer.next_id.max(header.next_id);
        let log = Arc::new(Log::new(header, path, file));
        let file_bytes = log.file.len()?;
        let end = u32::try_from(file_bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let doubtful_from = match number.cmp(&durable.log) {
            _ if log.rewritten => u32::MAX,
            std::cmp::Ordering::Less => u32::MAX,
            std::cmp::Ordering::Equal => durable.unit,
            std::cmp::Ordering::Greater => FIRST_UNIT,
        };
        let mut held = Held {
            log: Arc::clone(&log),
            end: FIRST_UNIT,
            last: 0,
            dead_bytes: 0,
            kept_bytes: 0,
            damaged: false,
        };
        loaded.state.logs.insert(number, held.clone());
        let mut walk = Walk::new(Arc::clone(&log), FIRST_UNIT, end);
        loop {
            let at = walk.at;
            let seen = match walk.next() {
                Ok(None) => break,
                Ok(Some(seen)) if seen.unit < doubtful_from || has_value(&log, &seen) => Some(seen),
                Ok(Some(_)) if walk.at < end => None,
                // torn: what a crash left of the last records
                Ok(Some(_)) => break,
                Err(_) => match walk.skip() {
                    Ok(true) => None,
                    Ok(false) => break,
                    Err(_) => {
                        held.damaged = true;
                        break;
                    }
                },
            };
            match seen {
                Some(seen) => {
                    held.last = seen.unit;
                    self.count(&log, &seen, loaded)?;
                }
                None if at >= doubtful_from => {
                    held.last = log.void(at, walk.at, held.last)?;
                    report.uploads_dropped += 1;
                }
                None => held.damaged = true,
            }
            held.end = walk.at;
        }
        let tail = held.bytes();
        if held.damaged {
            report.damaged(damage);
        } else if file_bytes > tail {
            report.bytes_cut += file_bytes - tail;
            log.file.set_len(tail)?;
        }
        if doubtful_from < held.end && !held.damaged {
            let from = u64::from(doubtful_from) * UNIT_BYTES;
            let renewed = rewrite(&*log.file, from, tail - from).and_then(|()| log.sync());
            if let Err(e) = renewed {
                tracing::warn!(log = %log.path.display(), error = %e, "cannot make a log durable");
            }
        }
        let dead_bytes = loaded.state.logs[&number].dead_bytes;
        loaded.state.logs.insert(number, Held { dead_bytes, ..held });
        Ok(())
    }

    /// Brings the index up to date with one more record.
    fn count(&self, log: &Arc<Log>, seen: &Seen, loaded: &mut Loaded) -> io::Result<()> {
        let state = &mut loaded.state;
        if seen.header.kind == Kind::Void {
            let held = state.logs.get_mut(&log.number()).expect("the log that is read is held");
            held.dead_bytes += seen.header.extent_bytes();
            return Ok(());
        }
        let hash = self.hasher.hash(&seen.key);
        let place = Place { log: log.number(), unit: seen.unit };
        let mut old = None;
        for found in state.index.places(hash) {
            let held = state.logs.get(&found.log).expect("an indexed log is held");
            let head = held.log.head_only(found.unit).map_err(io::Error::other)?;
            if head.key() == &seen.key[..] {
                old = Some((found, head.header));
            }
        }
        if let Some((found, header)) = old {
            state.value_bytes -= u64::from(header.value_bytes);
            let held = state.logs.get_mut(&found.log).expect("an indexed log is held");
            held.dead_bytes += header.extent_bytes();
        }
        match (seen.header.kind, old) {
            (Kind::Value, Some((found, _))) => _ = state.index.replace(hash, found, place),
            (Kind::Value, None) => state.index.insert(hash, place),
            (Kind::Tombstone, Some((found, _))) => state.index.remove(hash, found),
            (Kind::Tombstone | Kind::Void, _) => {}
        }
        if seen.header.kind == Kind::Value {
            state.value_bytes += u64::from(seen.header.value_bytes);
        } else if let Some(held) = state.logs.get_mut(&log.number()) {
            held.dead_bytes += seen.header.extent_bytes();
        }
        if self.settings().mode == Mode::Sequence
            && let Ok(id) = seen.key[..].try_into()
        {
            let id = u64::from_le_bytes(id);
            loaded.writer.next_id = loaded.writer.next_id.max(id.saturating_add(1));
        }
        Ok(())
    }

    /// Notes how far everything is durable, so that the next start need not read the values behind it.
    ///
    /// # Errors
    /// Those of the disk; nothing is lost, the next start takes longer.
    pub(crate) fn checkpoint(&self) -> io::Result<()> {
        let (logs, durable) = {
            let writer = lock(&self.writer);
            let Some(active) = &writer.active else { return Ok(()) };
            let durable = Position { log: active.number(), unit: writer.tail };
            let before = read_checkpoint(&*self.disk, &self.dir, self.id);
            if before == durable {
                return Ok(());
            }
            let state = self.state();
            let logs = state.logs.range(before.log..).map(|(_, held)| Arc::clone(&held.log));
            (logs.collect::<Vec<_>>(), durable)
        };
        logs.iter().try_for_each(|log| log.sync())?;
        write_atomic(
            &*self.disk,
            &checkpoint_path(&self.dir, self.id),
            &encode_checkpoint(self.id, durable),
        )
    }

    /// Removes every record at once.
    ///
    /// # Errors
    /// Those of the disk: everything is still there then.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let _changing = lock(&self.changing);
        let mut writer = lock(&self.writer);
        let mut settings = self.settings().clone();
        settings.first_log = writer.next_log;
        settings.write(&*self.disk, &self.dir, self.id)?;
        *self.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
        let state = std::mem::take(&mut *self.state_mut());
        *writer = Writer::new(writer.next_log);
        drop(writer);
        self.forget(&state);
        Ok(())
    }

    /// Gives up everything: the settings' file is gone already.
    pub(crate) fn delete(&self) {
        self.gone.store(true, Ordering::SeqCst);
        let mut writer = lock(&self.writer);
        let state = std::mem::take(&mut *self.state_mut());
        *writer = Writer::new(writer.next_log);
        drop(writer);
        self.forget(&state);
        _ = self.disk.remove(&checkpoint_path(&self.dir, self.id));
    }

    fn forget(&self, state: &State) {
        for held in state.logs.values() {
            // what stays is found as a left-over at the next start
            if let Err(e) = self.disk.remove(&held.log.path) {
                tracing::warn!(log = %held.log.path.display(), error = %e, "cannot remove a log");
            }
            self.budget.sub_bytes(held.bytes());
        }
        self.budget.sub_keys(state.index.len());
    }

    /// A mark that nobody can know.
    pub(crate) fn mark(&self, log: u32, clean_through: Position) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.mark_seed);
        hasher.update(b"value log");
        for number in [self.id, log, clean_through.log, clean_through.unit] {
            hasher.update(&number.to_le_bytes());
        }
        *hasher.finalize().as_bytes().first_chunk().expect("a digest is longer")
    }
}

impl Loaded {
    /// The last log grows on, if it is whole.
    fn choose_active(&mut self) {
        let Some((&number, held)) = self.state.logs.last_key_value() else { return };
        if held.damaged || held.log.rewritten || number.saturating_add(1) != self.writer.next_log {
            return;
        }
        self.writer.active = Some(Arc::clone(&held.log));
        (self.writer.tail, self.writer.last) = (held.end, held.last);
    }
}

/// Whether the value of a record is as it was written.
fn has_value(log: &Log, seen: &Seen) -> bool {
    let Ok(head) = log.head(seen.unit) else { return false };
    let mut value = vec![0; head.header.value_len()];
    log.value(&head, &mut value).is_ok()
}

const CHECKPOINT_MAGIC: &[u8; 8] = b"PDBVDUR\x01";
const CHECKPOINT_BYTES: usize = 24;

fn checkpoint_path(dir: &Path, namespace: u32) -> PathBuf {
    dir.join(format!("{namespace:08}.durable"))
}

/// ```text
/// offset  size  field
///      0     8  magic "PDBVDUR\x01"
///      8     4  namespace, u32
///     12     8  everything in front of this is durable: log u32, unit u32
///     20     4  CRC-32C of bytes 0..20
/// ```
fn encode_checkpoint(namespace: u32, durable: Position) -> [u8; CHECKPOINT_BYTES] {
    let mut out = [0; CHECKPOINT_BYTES];
    out[..8].copy_from_slice(CHECKPOINT_MAGIC);
    out[8..12].copy_from_slice(&namespace.to_le_bytes());
    out[12..16].copy_from_slice(&durable.log.to_le_bytes());
    out[16..20].copy_from_slice(&durable.unit.to_le_bytes());
    let crc = crc32c(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What the last checkpoint says; nothing is lost without one.
fn read_checkpoint(disk: &dyn Disk, dir: &Path, namespace: u32) -> Position {
    let bytes = read_all(disk, &checkpoint_path(dir, namespace), CHECKPOINT_BYTES);
    let bytes = bytes.unwrap_or_default();
    if bytes.len() != CHECKPOINT_BYTES {
        return Position::default();
    }
    let durable = Position { log: u32_at(&bytes, 12), unit: u32_at(&bytes, 16) };
    if bytes == encode_checkpoint(namespace, durable) { durable } else { Position::default() }
}

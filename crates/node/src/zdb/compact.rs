//! Giving space back: a closed log of which half is dead is written anew without it, under the same number.
//!
//! Records keep their order and say where they were first written, so cursors stay what they are. The new file is
//! complete and durable before it takes the old one's name; readers of the old one keep it open until they are done.
//! What goes are older versions of keys (a history then ends earlier), deleted values, and tombstones that have
//! nothing left to hide: those for which every older log is free of what was dead when they were written.

use super::{
    index::Place,
    layout::{FIRST_UNIT, Kind, LogHeader, Position, RecordHeader, UNIT_BYTES},
    log::Log,
    namespace::{Held, Namespace},
    walk::Walk,
};
use crate::state::lock;
use std::{io, sync::Arc};

/// Bytes that gather before they are written.
const GATHER_BYTES: usize = 1 << 20;
/// A log with less dead bytes than this is left alone.
const DEAD_BYTES_MIN: u64 = 64 << 10;

/// A record that moved.
struct Moved {
    hash: u64,
    from: u32,
    to: u32,
}

impl Namespace {
    /// Rewrites the log that gives back most; the bytes that it gave back, `None` where none is worth it.
    ///
    /// # Errors
    /// Those of the disk; the log stays as it is.
    pub(crate) fn compact(&self) -> io::Result<Option<u64>> {
        self.close_dead_log();
        let Some((held, through)) = self.choose() else { return Ok(None) };
        let number = held.log.number();
        let path = Log::path(&self.dir, self.id, number);
        let beside = path.with_extension("rewrite");
        if self.disk.exists(&beside)? {
            self.disk.remove(&beside)?;
        }
        let mark = self.mark(number, through);
        let header = LogHeader { mark, clean_through: through, ..held.log.header };
        let log = Arc::new(Log::create(&*self.disk, beside.clone(), header)?);
        let (end, last, dead_bytes, moved) = match self.copy(&held, &log) {
            Ok(copied) => copied,
            Err(e) => {
                _ = self.disk.remove(&beside);
                return Err(e);
            }
        };
        log.sync()?;
        self.sync_all()?;
        // from here on nobody may begin to write, so that no place moves unseen
        let writer = lock(&self.writer);
        // what is left out must stay dead after a crash: so what took its place is durable first
        self.sync_all()?;
        let still =
            self.state().logs.get(&number).is_some_and(|now| Arc::ptr_eq(&now.log, &held.log));
        if !still || self.is_gone() {
            self.disk.remove(&beside)?;
            return Ok(None);
        }
        self.disk.rename(&beside, &path)?;
        let log = Arc::new(Log::new(header, path.clone(), Arc::clone(&log.file)));
        let new = Held { log, end, last, dead_bytes, kept_bytes: dead_bytes, damaged: false };
        let (old_bytes, new_bytes) = (held.bytes(), new.bytes());
        let mut state = self.state_mut();
        for Moved { hash, from, to } in moved {
            let place = |unit| Place { log: number, unit };
            // where this fails the key was set or deleted while it was copied
            state.index.replace(hash, place(from), place(to));
        }
        let died = state.logs[&number].dead_bytes - held.dead_bytes;
        let is_last = state.logs.last_key_value().is_some_and(|(&last, _)| last == number);
        if end == FIRST_UNIT && !is_last {
            state.logs.remove(&number);
        } else {
            state.logs.insert(number, Held { dead_bytes: dead_bytes + died, ..new });
            self.budget.add_bytes(new_bytes);
        }
        state.dirty.insert(number);
        let is_held = state.logs.contains_key(&number);
        drop(state);
        drop(writer);
        if !is_held {
            self.disk.remove(&path)?;
        }
        self.disk.sync_dir(&self.dir)?;
        self.budget.sub_bytes(old_bytes);
        tracing::info!(namespace = self.id, log = number, old_bytes, new_bytes, "compacted");
        Ok(Some(old_bytes.saturating_sub(new_bytes)))
    }

    fn sync_all(&self) -> io::Result<()> {
        let logs: Vec<_> = self.state().logs.values().map(|held| Arc::clone(&held.log)).collect();
        logs.iter().try_for_each(|log| log.sync())
    }

    /// A growing log that is mostly dead is closed, so that it can be rewritten.
    fn close_dead_log(&self) {
        let mut writer = lock(&self.writer);
        let Some(active) = &writer.active else { return };
        let state = self.state();
        let held = state.logs.get(&active.number());
        let dead = held.is_some_and(|held| {
            held.dead_bytes >= self.budget.log_bytes / 8 && self.is_worth_it(held)
        });
        if dead {
            writer.active = None;
        }
    }

    /// The closed log with the most dead bytes, and a position at which all that counts is known.
    fn choose(&self) -> Option<(Held, Position)> {
        let writer = lock(&self.writer);
        let active = writer.active.as_ref().map(|active| active.number());
        let state = self.state();
        let through =
            state.logs.last_key_value().map(|(&log, held)| Position { log, unit: held.end })?;
        let closed = state.logs.values().filter(|held| Some(held.log.number()) != active);
        let best =
            closed.filter(|held| self.is_worth_it(held)).max_by_key(|held| held.dead_bytes)?;
        Some((best.clone(), through))
    }

    /// Copies what counts; where it ends, its last record, the bytes of tombstones in it, and what moved.
    fn copy(&self, old: &Held, new: &Arc<Log>) -> io::Result<(u32, u32, u64, Vec<Moved>)> {
        let number = old.log.number();
        let clean = self.clean_before(number);
        let mut walk = Walk::new(Arc::clone(&old.log), FIRST_UNIT, old.end);
        let mut gathered = Vec::new();
        let (mut tail, mut last, mut dead_bytes, mut moved) = (FIRST_UNIT, 0, 0, Vec::new());
        let mut written = FIRST_UNIT;
        while let Some(seen) = walk.next().map_err(io::Error::other)? {
            let hash = self.hasher.hash(&seen.key);
            let origin = Position { log: number, unit: seen.header.origin };
            let keep = match seen.header.kind {
                Kind::Value => self.state().index.has(hash, Place { log: number, unit: seen.unit }),
                Kind::Tombstone => clean.is_none_or(|clean| origin >= clean),
                Kind::Void => false,
            };
            if !keep {
                continue;
            }
            let header = RecordHeader { before: last, ..seen.header };
            header.put(&new.header.mark, new.at(tail), &seen.key, &mut gathered);
            copy_value(&old.log, seen.unit, &header, &mut gathered)?;
            header.put_padding(&mut gathered);
            match header.kind {
                Kind::Value => moved.push(Moved { hash, from: seen.unit, to: tail }),
                _ => dead_bytes += header.extent_bytes(),
            }
            last = tail;
            tail += header.units();
            if gathered.len() >= GATHER_BYTES {
                new.file.write_all_at(&gathered, u64::from(written) * UNIT_BYTES)?;
                gathered.clear();
                written = tail;
            }
        }
        new.file.write_all_at(&gathered, u64::from(written) * UNIT_BYTES)?;
        Ok((tail, last, dead_bytes, moved))
    }

    fn is_worth_it(&self, held: &Held) -> bool {
        let dead_bytes = held.dead_bytes - held.kept_bytes;
        let enough = dead_bytes >= DEAD_BYTES_MIN.min(self.budget.log_bytes / 8);
        !held.damaged && enough && dead_bytes * 2 >= held.bytes()
    }

    /// Everything that was dead at this position is gone from all logs below a number; `None` where nothing is known.
    fn clean_before(&self, number: u32) -> Option<Position> {
        let state = self.state();
        let now = Position { log: u32::MAX, unit: u32::MAX };
        let below = state.logs.range(..number);
        let clean = below.map(|(_, held)| match held {
            Held { damaged: true, .. } => None,
            Held { dead_bytes: 0, .. } => Some(now),
            held => Some(held.log.header.clean_through),
        });
        clean.min().unwrap_or(Some(now))
    }
}

/// Appends a record's value, checked: a damaged one keeps the log from being rewritten.
fn copy_value(log: &Log, unit: u32, header: &RecordHeader, out: &mut Vec<u8>) -> io::Result<()> {
    let head = log.head(unit).map_err(io::Error::other)?;
    let start = out.len();
    out.resize(start + header.value_len(), 0);
    log.value(&head, &mut out[start..]).map_err(io::Error::other)
}

//! Iterating a table: a thread reads ahead while what it read is used.

use crate::{
    db::{Db, Table},
    error::Error,
    read::Walk,
    scan::{Cursor, Entry, Page},
    writer::Position,
};
use prunedb_format::container::TableKind;
use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    vec,
};

/// What is read at once.
const PAGE: Page = Page { records: 4096, bytes: 1 << 20 };
/// Pages that are read ahead.
const PAGES_AHEAD: usize = 2;

type EntryPage = Result<Vec<Entry>, Error>;

/// The records of a table that were durable when the iterator was made: a sequence by position, a keyed table in the order
/// in which it was put. After an error there are no more. See [`Db::iter`].
#[derive(Debug)]
pub struct Iter {
    page: vec::IntoIter<Entry>,
    /// `None` at the end
    pages: Option<Receiver<EntryPage>>,
}

impl Iterator for Iter {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            match self.pages.as_ref()?.recv() {
                Ok(Ok(page)) => self.page = page.into_iter(),
                Ok(Err(error)) => {
                    self.pages = None;
                    return Some(Err(error));
                }
                Err(_ended) => self.pages = None,
            }
        }
    }
}

/// Starts the thread; it ends with the iterator, and holds the database open until then.
pub(crate) fn iterate(db: &Db, table: &Table, from: u64, end: Position) -> Result<Iter, Error> {
    let (sender, pages) = sync_channel(PAGES_AHEAD);
    let (db, table) = (db.clone(), table.clone());
    std::thread::Builder::new()
        .name("prunedb-scan".into())
        .spawn(move || match table.kind() {
            TableKind::Sequence => read_sequence(&db, &table, from, end, &sender),
            TableKind::Keyed => read_keyed(&db, &table, end, &sender),
        })
        .map_err(|source| Error::Io { path: "a scan's thread".into(), source })?;
    Ok(Iter { page: Vec::new().into_iter(), pages: Some(pages) })
}

fn read_sequence(
    db: &Db,
    table: &Table,
    mut from: u64,
    end: Position,
    pages: &SyncSender<EntryPage>,
) {
    let mut walk = Walk::new(&db.inner, table.id);
    loop {
        let page = db.inner.range(&mut walk, table, from, PAGE, end);
        let next = match &page {
            Ok(page) => page.last().and_then(|(last, _)| last.checked_add(1)),
            Err(_) => None,
        };
        let entry = |(position, value): (u64, Vec<u8>)| Entry {
            key: position.to_be_bytes().to_vec(),
            value,
        };
        let sent = pages.send(page.map(|page| page.into_iter().map(entry).collect()));
        let (Ok(()), Some(next)) = (sent, next) else { return };
        from = next;
    }
}

fn read_keyed(db: &Db, table: &Table, end: Position, pages: &SyncSender<EntryPage>) {
    let mut from: Option<Cursor> = None;
    let mut walk = Walk::new(&db.inner, table.id);
    loop {
        let mut page = Vec::new();
        let next = db.inner.walk(&mut walk, table, from, PAGE, end, &mut |record| {
            page.push(Entry { key: record.key.to_vec(), value: record.value.to_vec() });
        });
        let (page, next) = match next {
            Ok(next) => (Ok(page), next),
            Err(error) => (Err(error), None),
        };
        let sent = pages.send(page);
        let (Ok(()), Some(_)) = (sent, next) else { return };
        from = next;
    }
}

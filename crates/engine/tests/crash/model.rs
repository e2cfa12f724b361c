//! What a database must hold: the puts in their order, and up to which of them it gave its word.

use crate::common::value;
use prunedb_disk::faulty::Chance;
use prunedb_engine::{Db, Error, Position, Table, TableKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Tables of the workload.
pub(crate) const TABLES: [(&str, TableKind); 3] =
    [("blocks", TableKind::Sequence), ("hashes", TableKind::Keyed), ("receipts", TableKind::Keyed)];
/// Few keys, so that some are put again.
const KEYS: u64 = 150;
const VALUE_BYTES: [u64; 7] = [0, 20, 300, 1100, 5000, 20_000, 150_000];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) table: usize,
    pub(crate) key: Vec<u8>,
    /// decides the value
    number: u64,
    bytes: usize,
}

impl Record {
    pub(crate) fn value(&self) -> Vec<u8> {
        value(self.number, self.bytes)
    }
}

pub(crate) fn key(table: usize, number: u64) -> Vec<u8> {
    match TABLES[table].1 {
        TableKind::Sequence => number.to_be_bytes().to_vec(),
        TableKind::Keyed => format!("key {number}").into_bytes(),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    /// in the order of their appends
    puts: Vec<Vec<Record>>,
    /// so many of them were acknowledged
    pub(crate) durable: usize,
    records: u64,
}

/// A table's records, first ones only, in the order of their puts.
type Shown = Vec<(Vec<u8>, Vec<u8>)>;

impl Model {
    /// A put that chance makes; it counts once [`Self::appended`] says so.
    pub(crate) fn next_put(&mut self, chance: &mut Chance) -> Vec<Record> {
        let count = if chance.one_in(3) { 1 + chance.below(4) } else { 1 };
        (0..count)
            .map(|_| {
                self.records += 1;
                let table = *chance.pick(&[0, 1, 2]);
                let bytes_max = *chance.pick(&VALUE_BYTES);
                let bytes = usize::try_from(chance.below(bytes_max + 1)).unwrap();
                Record { table, key: key(table, chance.below(KEYS)), number: self.records, bytes }
            })
            .collect()
    }

    pub(crate) fn append(&mut self, db: &Db, put: Vec<Record>) -> Result<Position, Error> {
        let tables: Vec<Table> = ensure_tables(db)?;
        let values: Vec<Vec<u8>> = put.iter().map(Record::value).collect();
        let records: Vec<_> =
            put.iter().zip(&values).map(|(r, v)| (&tables[r.table], &r.key[..], &v[..])).collect();
        let position = db.append(&records)?;
        self.puts.push(put);
        Ok(position)
    }

    /// Everything appended so far is acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        self.durable = self.puts.len();
    }

    /// The first record of a key, and whether it was acknowledged.
    fn first(&self, table: usize, key: &[u8]) -> Option<(&Record, bool)> {
        let numbered = self.puts.iter().enumerate();
        let mut all = numbered.flat_map(|(nth, put)| put.iter().map(move |r| (nth, r)));
        let (nth, record) = all.find(|(_, r)| r.table == table && r.key == key)?;
        Some((record, nth < self.durable))
    }

    /// Reads a key that chance chooses: right, or where `may_fail` an error.
    pub(crate) fn read(&self, db: &Db, chance: &mut Chance) -> Result<(), Error> {
        let table = *chance.pick(&[0, 1, 2]);
        let key = key(table, chance.below(KEYS + 5));
        let found = match db.table(TABLES[table].0) {
            Ok(handle) => db.get(&handle, &key)?,
            Err(_) => None,
        };
        match (self.first(table, &key), found) {
            (None, found) => assert!(found.is_none(), "invented: {table} {key:?}"),
            (Some((record, true)), None) => panic!("lost: {record:?}"),
            (Some((_, false)), None) => {}
            (Some((record, _)), Some(found)) => assert!(found == record.value(), "{record:?}"),
        }
        Ok(())
    }

    /// What the first `count` puts show.
    fn shown(&self, count: usize) -> [Shown; TABLES.len()] {
        let mut shown: [Shown; TABLES.len()] = Default::default();
        let mut seen = BTreeSet::new();
        for record in self.puts[..count].iter().flatten() {
            if seen.insert((record.table, &record.key)) {
                shown[record.table].push((record.key.clone(), record.value()));
            }
        }
        shown
    }

    /// Finds out what a recovery kept, which is everything from now on: all that was acknowledged, and of the rest the
    /// first puts, each whole, in their order.
    pub(crate) fn settle(&mut self, db: &Db) {
        let found = scan_all(db);
        let counts = self.durable..=self.puts.len();
        let Some(kept) = counts.rev().find(|&count| self.shown(count) == found) else {
            panic!("{}", self.complain(&found));
        };
        self.puts.truncate(kept);
        self.durable = kept;
        self.check_lookups(db, &found);
    }

    /// Everything is there; nothing is under way.
    pub(crate) fn check(&self, db: &Db) {
        assert_eq!(self.durable, self.puts.len(), "everything was acknowledged");
        let found = scan_all(db);
        assert!(self.shown(self.durable) == found, "{}", self.complain(&found));
        self.check_lookups(db, &found);
    }

    /// The index says what the scan says.
    fn check_lookups(&self, db: &Db, found: &[Shown; TABLES.len()]) {
        for (table, shown) in found.iter().enumerate() {
            let Ok(handle) = db.table(TABLES[table].0) else { continue };
            let by_key: HashMap<&[u8], &[u8]> =
                shown.iter().map(|(k, v)| (&k[..], &v[..])).collect();
            for number in 0..KEYS + 5 {
                let key = key(table, number);
                let value = db.get(&handle, &key).unwrap();
                assert!(value.as_deref() == by_key.get(&key[..]).copied(), "{table} {number}");
            }
            if TABLES[table].1 == TableKind::Sequence {
                let sorted: BTreeMap<_, _> = shown.iter().cloned().collect();
                let sorted: Vec<_> = sorted.into_iter().collect();
                let range = db.range(&handle, 0, 1000).unwrap();
                let range: Vec<_> =
                    range.into_iter().map(|(p, v)| (p.to_be_bytes().to_vec(), v)).collect();
                assert!(range == sorted, "range of {table}");
            }
        }
    }

    /// What is wrong, for people.
    fn complain(&self, found: &[Shown; TABLES.len()]) -> String {
        let mut text = format!("{} puts, {} acknowledged", self.puts.len(), self.durable);
        let (least, most) = (self.shown(self.durable), self.shown(self.puts.len()));
        for table in 0..TABLES.len() {
            let name = TABLES[table].0;
            let lost = least[table].iter().filter(|record| !found[table].contains(record)).count();
            let invented =
                found[table].iter().filter(|record| !most[table].contains(record)).count();
            text += &format!(
                "; {name}: {} acknowledged records, {} put, {} found, {lost} lost, {invented} invented",
                least[table].len(),
                most[table].len(),
                found[table].len()
            );
        }
        text
    }
}

pub(crate) fn ensure_tables(db: &Db) -> Result<Vec<Table>, Error> {
    TABLES.iter().map(|(name, kind)| db.ensure_table(name, *kind)).collect()
}

/// All tables by scans of a few records each.
fn scan_all(db: &Db) -> [Shown; TABLES.len()] {
    TABLES.map(|(name, _)| {
        let Ok(table) = db.table(name) else { return Vec::new() };
        let (mut shown, mut from) = (Vec::new(), None);
        loop {
            let scan = db.scan(&table, from, 37).unwrap();
            shown.extend(scan.entries.into_iter().map(|entry| (entry.key, entry.value)));
            from = scan.next;
            if from.is_none() {
                return shown;
            }
        }
    })
}

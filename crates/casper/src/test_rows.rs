//! The rows of `fixtures/legacy-rows`, for tests.

use crate::{
    database::{Database, Row},
    lmdb::write::NewLmdb,
    state::Completed,
};
use std::path::Path;

/// Its lines, in words.
pub(crate) fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    include_str!("../fixtures/legacy-rows/v1/rows.txt").lines().map(|l| l.split(' ').collect())
}

/// Hex.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A file of a 1.x node with eight blocks.
pub(crate) fn write_file(path: &Path) {
    let mut file = NewLmdb::create(path, 1 << 24).unwrap();
    for line in lines().filter(|line| line[0] == "row") {
        let database = Database::all().find(|database| database.name() == line[1]).unwrap();
        let (key, value) = (bytes(line[2]), bytes(line[3]));
        file.put(Row { database, key: &key, value: &value }).unwrap();
    }
    let value = Completed::default().with(0..=7).to_bytes();
    file.put(Row { database: Database::STATE, key: Completed::KEY, value: &value }).unwrap();
    file.finish().unwrap();
}

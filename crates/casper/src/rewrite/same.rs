//! Whether two files have the same rows.

use crate::{database::Database, error::CasperError, lmdb::Cursor, source::NodeFile};
use std::path::Path;

/// Where two files differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The database.
    pub database: Database,
    /// The lowest key that only one of them has, or that has another value.
    pub key: Vec<u8>,
}

/// What comparing two files found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Compared {
    /// Rows that are the same, up to the first difference.
    pub rows: u64,
    /// Where they differ first, database by database.
    pub first_difference: Option<Difference>,
}

/// Compares all rows of two stopped nodes' files, byte for byte.
///
/// # Errors
/// When one of them cannot be read.
pub fn same_rows(first: &Path, second: &Path) -> Result<Compared, CasperError> {
    let (mut first, mut second) = (NodeFile::open(first)?, NodeFile::open(second)?);
    let mut rows = 0;
    for database in Database::all() {
        let mut cursor = Cursor::new(database.name(), second.tree(database));
        let mut next = || cursor.next(&mut second.lmdb).map_err(|error| second.failed(error));
        let mut difference = None;
        first.each(database, &mut |key, value| {
            difference = match next()? {
                Some((other, same)) if other == key && same == value => None,
                Some((other, _)) => Some(key.to_vec().min(other)),
                None => Some(key.to_vec()),
            };
            rows += u64::from(difference.is_none());
            Ok(difference.is_none())
        })?;
        if difference.is_none() {
            difference = next()?.map(|(key, _)| key);
        }
        if let Some(key) = difference {
            return Ok(Compared { rows, first_difference: Some(Difference { database, key }) });
        }
    }
    Ok(Compared { rows, first_difference: None })
}

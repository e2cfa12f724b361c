//! A node's file behind the binary port: what its node would answer.
//!
//! For tests of whatever asks a node: rows, headers by height, the network's name, the highest range of complete blocks. All else is refused as unknown.

use super::{
    AVAILABLE_RANGE, At, HEADER_BY, HEADER_TYPE, NETWORK_NAME, NETWORK_NAME_TYPE,
    NO_COMPLETE_BLOCKS, RANGE_TYPE, asked, at, current, encode, record_kind, typed,
};
use crate::{
    CasperError, CasperSource,
    database::{Database, Kind, Row},
};

/// What a node says to a request that it does not know.
const UNSUPPORTED: u16 = 9;

/// A node's file, as its node shows it.
#[derive(Debug)]
pub struct FileNode {
    source: CasperSource,
    /// the highest block that it shows
    tip: u64,
}

impl FileNode {
    /// The node of this file.
    pub const fn new(source: CasperSource) -> Self {
        Self { source, tip: u64::MAX }
    }

    /// Shows blocks up to this one only: as if the others were not made yet.
    pub const fn set_tip(&mut self, tip: u64) {
        self.tip = tip;
    }

    /// The answer to a request; both without their lengths on the wire.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn answer(&mut self, request: &[u8]) -> Result<Vec<u8>, CasperError> {
        let found = match asked(request) {
            Some((0, number, key)) => match record_kind(number) {
                Some(kind) => self.row(kind, key)?,
                None => return Ok(encode(request, UNSUPPORTED, None, &[])),
            },
            Some((1, HEADER_BY, key)) => self.header(key)?,
            Some((1, NETWORK_NAME, _)) => {
                let name = self.source.network();
                let length = u32::try_from(name.len()).expect("64 characters at most");
                Some((NETWORK_NAME_TYPE, [&length.to_le_bytes()[..], name.as_bytes()].concat()))
            }
            Some((1, AVAILABLE_RANGE, _)) => {
                match self.source.completed().first().filter(|(low, _)| *low <= self.tip) {
                    Some((low, high)) => {
                        let high = self.tip.min(*high);
                        Some((RANGE_TYPE, [low.to_le_bytes(), high.to_le_bytes()].concat()))
                    }
                    None => return Ok(encode(request, NO_COMPLETE_BLOCKS, None, &[])),
                }
            }
            _ => return Ok(encode(request, UNSUPPORTED, None, &[])),
        };
        let (kind, payload) = found.map_or((None, Vec::new()), |(kind, row)| (Some(kind), row));
        Ok(encode(request, 0, kind, &payload))
    }

    fn row(&mut self, kind: Kind, key: &[u8]) -> Result<Option<(u8, Vec<u8>)>, CasperError> {
        for database in Database::of(kind) {
            if let Some(value) = self.source.file.get(database, key)? {
                return Ok(typed(&Row { database, key, value: &value }));
            }
        }
        Ok(None)
    }

    fn header(&mut self, key: &[u8]) -> Result<Option<(u8, Vec<u8>)>, CasperError> {
        let hash = match at(key) {
            Some(At::Hash(hash)) => Some(hash),
            Some(At::Height(height)) if height <= self.tip => self.source.hash_at(height),
            _ => None,
        };
        let Some(hash) = hash else { return Ok(None) };
        for database in Database::of(Kind::Header) {
            if let Some(value) = self.source.file.get(database, &hash)? {
                let row = Row { database, key: &hash, value: &value };
                return Ok(current(&row).map(|header| (HEADER_TYPE, header)));
            }
        }
        Ok(None)
    }
}

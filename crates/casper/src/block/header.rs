//! Headers of blocks.

use super::legacy;
use crate::{
    bytesrepr::{Reader, ShapeError},
    database::Row,
    hash::blake2b,
};
use prunedb_chains::contract::Hash;

/// What is needed of a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// computed
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) state_root: Hash,
    pub(crate) body_hash: Hash,
    pub(crate) is_switch: bool,
    /// milliseconds since 1970
    pub(crate) timestamp_ms: u64,
    pub(crate) era: u64,
    pub(crate) height: u64,
    pub(crate) version: [u32; 3],
    /// a block of 2.x; its body is one, too
    pub(crate) is_v2: bool,
}

impl Header {
    /// Reads a row of a header.
    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, ShapeError> {
        if row.database.is_legacy() {
            return Self::read(&legacy::header(row.value)?, false);
        }
        let mut reader = Reader::new(row.value);
        let is_v2 = reader.flag("version of a header")?;
        Self::read(&row.value[1..], is_v2)
    }

    /// Reads a header in bytesrepr, without the tag before it.
    fn read(bytes: &[u8], is_v2: bool) -> Result<Self, ShapeError> {
        let mut reader = Reader::new(bytes);
        let (parent, state_root, body_hash) = (reader.hash()?, reader.hash()?, reader.hash()?);
        reader.flag("random bit")?;
        reader.hash()?; // accumulated seed
        let is_switch = reader.flag("end of an era")?;
        if is_switch {
            if is_v2 { era_end_v2(&mut reader)? } else { era_end_v1(&mut reader)? }
        }
        let (timestamp_ms, era, height) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let version = [reader.u32()?, reader.u32()?, reader.u32()?];
        if is_v2 {
            reader.public_key()?; // proposer
            reader.u8()?; // gas price
            if reader.flag("last switch block")? {
                reader.hash()?;
            }
        }
        reader.end()?;
        Ok(Self {
            hash: blake2b(&[bytes]),
            parent,
            state_root,
            body_hash,
            is_switch,
            timestamp_ms,
            era,
            height,
            version,
            is_v2,
        })
    }
}

/// Equivocators, rewards, inactive validators; the weights of the next era's.
fn era_end_v1(reader: &mut Reader<'_>) -> Result<(), ShapeError> {
    reader.many(|reader| reader.public_key().map(|_| ()))?;
    reader.many(|reader| {
        reader.public_key()?;
        reader.u64().map(|_| ())
    })?;
    reader.many(|reader| reader.public_key().map(|_| ()))?;
    weights(reader)
}

/// Equivocators, inactive validators, the weights of the next era's, rewards, gas price.
fn era_end_v2(reader: &mut Reader<'_>) -> Result<(), ShapeError> {
    reader.many(|reader| reader.public_key().map(|_| ()))?;
    reader.many(|reader| reader.public_key().map(|_| ()))?;
    weights(reader)?;
    reader.many(|reader| {
        reader.public_key()?;
        reader.many(Reader::big_number)
    })?;
    reader.u8().map(|_| ())
}

fn weights(reader: &mut Reader<'_>) -> Result<(), ShapeError> {
    reader.many(|reader| {
        reader.public_key()?;
        reader.big_number()
    })
}

//! Bodies of blocks: which transactions they have.

use super::legacy;
use crate::{
    bytesrepr::{Reader, ShapeError},
    database::Row,
    hash::blake2b,
};
use prunedb_chains::contract::Hash;

/// A transaction as a body names it: how it is keyed, and by what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TransactionId {
    /// not a deploy
    pub(crate) is_v1: bool,
    pub(crate) hash: Hash,
}

impl TransactionId {
    /// Its key in the databases of 2.x.
    pub(crate) fn key(&self) -> [u8; 33] {
        let mut key = [u8::from(self.is_v1); 33];
        key[1..].copy_from_slice(&self.hash);
        key
    }
}

/// What is needed of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Body {
    /// computed
    pub(crate) hash: Hash,
    pub(crate) transactions: Vec<TransactionId>,
    pub(crate) is_v2: bool,
}

impl Body {
    /// Reads a row of a body.
    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, ShapeError> {
        if row.database.is_legacy() {
            return Self::read_v1(&legacy::body(row.value)?);
        }
        let mut reader = Reader::new(row.value);
        match reader.flag("version of a body")? {
            true => Self::read_v2(&row.value[1..]),
            false => Self::read_v1(&row.value[1..]),
        }
    }

    fn read_v1(bytes: &[u8]) -> Result<Self, ShapeError> {
        let (mut reader, mut transactions) = (Reader::new(bytes), Vec::new());
        reader.public_key()?; // proposer
        for _ in ["deploys", "transfers"] {
            reader.many(|reader| {
                transactions.push(TransactionId { is_v1: false, hash: reader.hash()? });
                Ok(())
            })?;
        }
        reader.end()?;
        Ok(Self { hash: blake2b(&[bytes]), transactions, is_v2: false })
    }

    fn read_v2(bytes: &[u8]) -> Result<Self, ShapeError> {
        let (mut reader, mut transactions) = (Reader::new(bytes), Vec::new());
        reader.many(|reader| {
            reader.u8()?; // lane
            reader.many(|reader| {
                let is_v1 = reader.flag("version of a transaction")?;
                transactions.push(TransactionId { is_v1, hash: reader.hash()? });
                Ok(())
            })
        })?;
        reader.many(|reader| reader.bytes().map(|_| ()))?; // rewarded signatures
        reader.end()?;
        Ok(Self { hash: blake2b(&[bytes]), transactions, is_v2: true })
    }
}

//! Deploys and transactions: what they hash to, for which network they are, and who approved them.

use super::legacy;
use crate::{
    bytesrepr::{Reader, ShapeError},
    database::Row,
    hash::blake2b,
};
use prunedb_chains::contract::Hash;
use std::borrow::Cow;

/// Types within types: what the chain allows.
const TYPE_DEPTH_MAX: usize = 50;

/// What is needed of a transaction, and what it was computed from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transaction {
    pub(crate) is_v1: bool,
    /// as it says
    pub(crate) hash: Hash,
    /// of its bytes
    pub(crate) computed: Hash,
    /// a deploy: the hash of its body as its header says, and of its bytes
    pub(crate) body: Option<(Hash, Hash)>,
    pub(crate) chain_name: Vec<u8>,
    /// in bytesrepr
    pub(crate) approvals: Vec<u8>,
}

impl Transaction {
    /// Reads a row of a transaction.
    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, ShapeError> {
        if row.database.is_legacy() {
            return read_deploy(&legacy::deploy(row.value)?);
        }
        let mut reader = Reader::new(row.value);
        match reader.flag("version of a transaction")? {
            true => read_v1(&row.value[1..]),
            false => read_deploy(&row.value[1..]),
        }
    }
}

/// Header, hash, payment, session, approvals.
fn read_deploy(bytes: &[u8]) -> Result<Transaction, ShapeError> {
    let mut reader = Reader::new(bytes);
    reader.public_key()?; // account
    reader.take(3 * 8)?; // timestamp, time to live, gas price
    let body_hash = reader.hash()?;
    reader.many(|reader| reader.hash().map(|_| ()))?; // dependencies
    let chain_name = reader.bytes()?.to_vec();
    let computed = blake2b(&[reader.since(0)]);
    let hash = reader.hash()?;
    let body = reader.offset();
    executable(&mut reader)?; // payment
    executable(&mut reader)?; // session
    let body = blake2b(&[reader.since(body)]);
    let approvals = reader.offset();
    each_approval(&mut reader, &mut |_, _| {})?;
    let approvals = reader.since(approvals).to_vec();
    reader.end()?;
    let body = Some((body_hash, body));
    Ok(Transaction { is_v1: false, hash, computed, body, chain_name, approvals })
}

/// What a deploy runs.
fn executable(reader: &mut Reader<'_>) -> Result<(), ShapeError> {
    let version = |reader: &mut Reader<'_>| {
        if reader.flag("version of a contract")? {
            reader.u32()?;
        }
        Ok::<_, ShapeError>(())
    };
    match reader.u8()? {
        0 => drop(reader.bytes()?), // module
        1 => {
            reader.hash()?; // contract
            reader.bytes()?; // entry point
        }
        2 => {
            reader.bytes()?; // name
            reader.bytes()?;
        }
        3 => {
            reader.hash()?; // package
            version(reader)?;
            reader.bytes()?;
        }
        4 => {
            reader.bytes()?; // name
            version(reader)?;
            reader.bytes()?;
        }
        5 => {}
        found => return Err(reader.tag(1, "executable item", found.into())),
    }
    reader.many(|reader| {
        reader.bytes()?; // the argument's name
        reader.bytes()?; // its value
        cl_type(reader, 0)
    })
}

/// The type of an argument.
pub(super) fn cl_type(reader: &mut Reader<'_>, depth: usize) -> Result<(), ShapeError> {
    if depth >= TYPE_DEPTH_MAX {
        return Err(ShapeError::TooDeep { offset: reader.offset(), depth_max: TYPE_DEPTH_MAX });
    }
    let inner = match reader.u8()? {
        0..=12 | 21 | 22 => 0,
        15 => {
            reader.u32()?; // length of a byte array
            0
        }
        13 | 14 | 18 => 1, // option, list, tuple of one
        16 | 17 | 19 => 2, // result, map, tuple of two
        20 => 3,
        found => return Err(reader.tag(1, "type", found.into())),
    };
    (0..inner).try_for_each(|_| cl_type(reader, depth + 1))
}

/// A table of three fields: hash, payload, approvals.
fn read_v1(bytes: &[u8]) -> Result<Transaction, ShapeError> {
    let mut reader = Reader::new(bytes);
    let [hash, payload, approvals] = fields(&mut reader)?;
    reader.end()?;
    let hash =
        hash.try_into().map_err(|_| ShapeError::Trailing { offset: 32, count: hash.len() })?;
    // initiator, timestamp, time to live, chain name, price, the rest
    let [_, _, _, chain_name, _, _] = fields(&mut Reader::new(payload))?;
    let mut name = Reader::new(chain_name);
    let chain_name = name.bytes()?.to_vec();
    name.end()?;
    let mut reader = Reader::new(approvals);
    each_approval(&mut reader, &mut |_, _| {})?;
    reader.end()?;
    let (computed, approvals) = (blake2b(&[payload]), approvals.to_vec());
    Ok(Transaction { is_v1: true, hash, computed, body: None, chain_name, approvals })
}

/// The fields of a table: their count, (index, offset) of each, the length of them all, and they themselves.
fn fields<'a, const N: usize>(reader: &mut Reader<'a>) -> Result<[&'a [u8]; N], ShapeError> {
    let count = reader.u32()?;
    if count as usize != N {
        return Err(reader.tag(4, "count of fields", count));
    }
    let mut offsets = [0; N];
    for (index, offset) in offsets.iter_mut().enumerate() {
        let found = reader.u16()?;
        if usize::from(found) != index {
            return Err(reader.tag(2, "index of a field", found.into()));
        }
        *offset = reader.length()?;
    }
    let all = reader.bytes()?;
    let mut fields = [&all[..0]; N];
    for (index, field) in fields.iter_mut().enumerate() {
        let (start, end) = (offsets[index], offsets.get(index + 1).copied().unwrap_or(all.len()));
        let whole = index > 0 || start == 0;
        *field = all.get(start..end).filter(|_| whole).ok_or_else(|| {
            reader.tag(0, "offset of a field", u32::try_from(start).unwrap_or(u32::MAX))
        })?;
    }
    Ok(fields)
}

/// Goes through approvals: the key that signed, and the signature.
pub(crate) fn each_approval<'a>(
    reader: &mut Reader<'a>,
    each: &mut dyn FnMut(&'a [u8], &'a [u8]),
) -> Result<(), ShapeError> {
    reader.many(|reader| {
        let (key, signature) = (reader.public_key()?, reader.signature()?);
        each(key, signature);
        Ok(())
    })
}

/// The approvals of a row of finalized approvals, in bytesrepr.
pub(crate) fn finalized_approvals<'a>(row: &Row<'a>) -> Result<Cow<'a, [u8]>, ShapeError> {
    if row.database.is_legacy() {
        return legacy::approvals(row.value).map(Cow::Owned);
    }
    let mut reader = Reader::new(row.value);
    each_approval(&mut reader, &mut |_, _| {})?;
    reader.end()?;
    Ok(Cow::Borrowed(row.value))
}

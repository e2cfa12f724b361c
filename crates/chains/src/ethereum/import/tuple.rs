//! One block's records: decompressed, verified, made ready for the store.

use super::{CheckedBlock, Scratch};
use crate::ethereum::{
    block::{Block, Header},
    e2store::HEADER_BYTES,
    era1::{HEADER_RLP_BYTES_MAX, PART_BYTES_MAX, Tuple, write_tuple},
    error::{Fault, Part},
    rlp::Item,
    snappy,
    tables::NewBlock,
};

/// Decompresses a block's records into the scratch.
fn decompress(bytes: &[u8], tuple: &Tuple, scratch: &mut Scratch) -> Result<(), (Part, Fault)> {
    let Scratch { header, body, receipts, .. } = scratch;
    for (part, range, bytes_max, out) in [
        (Part::Header, &tuple.header, HEADER_RLP_BYTES_MAX, header),
        (Part::Body, &tuple.body, PART_BYTES_MAX, body),
        (Part::Receipts, &tuple.receipts, PART_BYTES_MAX, receipts),
    ] {
        out.clear();
        snappy::decode(&bytes[range.clone()], bytes_max, out)
            .map_err(|error| (part, error.into()))?;
    }
    Ok(())
}

/// Reads header and body; says which of them is of the wrong shape.
fn parse<'a>(header: &'a [u8], body: &'a [u8]) -> Result<Block<'a>, (Part, Fault)> {
    Block::from_parts(header, body).map_err(|fault| {
        let header_is_sound =
            Item::exact(header).map_err(Fault::rlp("header")).and_then(Header::decode).is_ok();
        (if header_is_sound { Part::Body } else { Part::Header }, fault)
    })
}

/// Verifies a block by itself: heights, roots, chain id; and encodes it again.
pub(crate) fn verify_tuple(
    bytes: &[u8],
    tuple: &Tuple,
    chain_id: Option<u64>,
    scratch: &mut Scratch,
) -> Result<CheckedBlock, (Part, Fault)> {
    decompress(bytes, tuple, scratch)?;
    let Scratch { header, body, receipts, encoded, encoder } = scratch;
    let block = parse(header, body)?;
    let found = block.header().number;
    if found != tuple.height {
        return Err((Part::Header, Fault::Height { expected: tuple.height, found }));
    }
    let checked = CheckedBlock::verify(&block, Some(receipts), chain_id)?;
    encoded.clear();
    write_tuple(encoder, header, body, receipts, tuple.total, encoded);
    let start = tuple.header.start - HEADER_BYTES;
    let identical = bytes[start..].starts_with(encoded);
    let decoded_bytes = (header.len() + body.len() + receipts.len()) as u64;
    Ok(CheckedBlock { decoded_bytes, identical, ..checked })
}

/// The block as it goes into the store.
pub(crate) fn decode_tuple(
    bytes: &[u8],
    tuple: &Tuple,
    scratch: &mut Scratch,
) -> Result<NewBlock, (Part, Fault)> {
    decompress(bytes, tuple, scratch)?;
    let block = parse(&scratch.header, &scratch.body)?;
    NewBlock::of(&block, Some(scratch.receipts.clone()), Some(tuple.total))
        .map_err(|fault| (Part::Body, fault))
}

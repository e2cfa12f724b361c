//! One block's records: decompressed, verified, made ready for the store.

use super::{CheckedBlock, Scratch};
use crate::ethereum::{
    block::{Block, Header},
    ere::{proof, slim},
    error::{Fault, Part},
    hash::Hash32,
    rlp::Item,
    snappy,
    tables::NewBlocks,
    tuple::{HEADER_RLP_BYTES_MAX, PART_BYTES_MAX, ReceiptsPiece, Tuple},
};

/// What a block must agree with, beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) chain_id: Option<u64>,
    /// the root that proofs lead to
    pub(crate) accumulator: Option<Hash32>,
}

/// Decompresses a block's records into the scratch.
fn decompress(bytes: &[u8], tuple: &Tuple, scratch: &mut Scratch) -> Result<(), (Part, Fault)> {
    let Scratch { header, body, receipts, slim, proof, .. } = scratch;
    for part in [&mut *receipts, &mut *slim, &mut *proof] {
        part.clear();
    }
    let receipts_piece = tuple.receipts.as_ref().map(|form| match form {
        ReceiptsPiece::Full(piece) => (Part::Receipts, piece, PART_BYTES_MAX, &mut *receipts),
        ReceiptsPiece::Slim(piece) => (Part::Receipts, piece, PART_BYTES_MAX, &mut *slim),
    });
    let proof_piece =
        tuple.proof.as_ref().map(|piece| (Part::Proof, piece, proof::BYTES_MAX, proof));
    let pieces = [
        Some((Part::Header, &tuple.header, HEADER_RLP_BYTES_MAX, header)),
        Some((Part::Body, &tuple.body, PART_BYTES_MAX, body)),
        receipts_piece,
        proof_piece,
    ];
    for (part, piece, bytes_max, out) in pieces.into_iter().flatten() {
        out.clear();
        snappy::decode(&bytes[piece.data.clone()], bytes_max, out)
            .map_err(|error| (part, error.into()))?;
    }
    if let Some(ReceiptsPiece::Slim(_)) = tuple.receipts {
        slim::expand(&scratch.slim, &mut scratch.receipts)
            .map_err(|fault| (Part::Receipts, fault))?;
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

/// Verifies a block by itself: heights, roots, chain id, proof; and encodes it again.
pub(crate) fn verify_tuple(
    bytes: &[u8],
    tuple: &Tuple,
    around: Surroundings,
    scratch: &mut Scratch,
) -> Result<CheckedBlock, (Part, Fault)> {
    decompress(bytes, tuple, scratch)?;
    let identical = encodes_the_same(bytes, tuple, scratch);
    let Scratch { header, body, receipts, .. } = scratch;
    let block = parse(header, body)?;
    let found = block.header().number;
    if found != tuple.height {
        return Err((Part::Header, Fault::Height { expected: tuple.height, found }));
    }
    let receipts = tuple.receipts.is_some().then_some(&receipts[..]);
    let checked = CheckedBlock::verify(&block, receipts, around.chain_id)?;
    if tuple.proof.is_some() {
        proof::verify(&scratch.proof, &checked, tuple.total(), around.accumulator)
            .map_err(|fault| (Part::Proof, fault))?;
    }
    let decoded_bytes = (header.len() + body.len() + receipts.map_or(0, <[u8]>::len)) as u64;
    Ok(CheckedBlock { decoded_bytes, identical, ..checked })
}

/// Whether each record is what export would make of its contents.
fn encodes_the_same(bytes: &[u8], tuple: &Tuple, scratch: &mut Scratch) -> bool {
    let Scratch { header, body, receipts, slim, proof, encoded, encoder } = scratch;
    let mut same = |data: &std::ops::Range<usize>, plain: &[u8]| {
        encoded.clear();
        encoder.encode(plain, encoded);
        bytes[data.clone()] == encoded[..]
    };
    let receipts_same = match &tuple.receipts {
        None => true,
        Some(ReceiptsPiece::Full(piece)) => same(&piece.data, receipts),
        Some(ReceiptsPiece::Slim(piece)) => {
            let mut again = Vec::with_capacity(slim.len());
            let shrunk = slim::shrink(receipts, &mut again);
            shrunk.is_ok() && again == *slim && same(&piece.data, slim)
        }
    };
    receipts_same
        && same(&tuple.header.data, header)
        && same(&tuple.body.data, body)
        && tuple.proof.as_ref().is_none_or(|piece| same(&piece.data, proof))
}

/// The block as it goes into the store, among the others.
pub(crate) fn decode_tuple(
    bytes: &[u8],
    tuple: &Tuple,
    scratch: &mut Scratch,
    new: &mut NewBlocks,
) -> Result<(), (Part, Fault)> {
    decompress(bytes, tuple, scratch)?;
    let block = parse(&scratch.header, &scratch.body)?;
    let receipts = tuple.receipts.is_some().then_some(&scratch.receipts[..]);
    let proof = tuple.proof.is_some().then_some(&scratch.proof[..]);
    new.push(&block, receipts, tuple.total(), proof).map_err(|fault| (Part::Body, fault))
}

//! `.ere`: an epoch of at most 8,192 blocks, before or after the merge, its records by component instead of by block.
//!
//! ```text
//! Version                   type 0x3265, no data
//! CompressedHeader          0x03, framed snappy of RLP           all blocks' headers, lowest first
//! CompressedBody            0x04, framed snappy of RLP           all bodies
//! CompressedSlimReceipts    0x0a, framed snappy of RLP, `slim`   all receipts, or none (profile `noreceipts`)
//! Proof                     0x0b, framed snappy of RLP, `proof`  all proofs, or none (profile `noproofs`)
//! TotalDifficulty           0x06, 32 bytes little-endian         of all blocks, or none: where the first is after the merge
//! Accumulator               0x07, 32 bytes                       where there are total difficulties; over the blocks
//!                                                                before the merge
//! DynamicBlockIndex         0x3267: first height; per block the offsets of its records, header, body, receipts?,
//!                           total difficulty?, proof?; how many these are; blocks: u64 little-endian; offsets count
//!                           from the start of this record
//! ```
//! After the merge a total difficulty is the last one before it. Writers differ in the order of the sections and of the
//! offsets: any order is read, by the records' types; the one above is written.
//!
//! The name is `<network>-<epoch, 5 digits>-<first 4 bytes of the last block's hash>[-noproofs][-noreceipts].ere`.
//! The format allows records of other types; nothing would verify them: they are refused.

pub(crate) mod proof;
mod reader;
pub(crate) mod slim;

pub(crate) use reader::EreReader;

use super::{
    accumulator::EPOCH_BLOCKS,
    e2store::{kind, write_record},
    era1::{parse_stem, stem},
    hash::Hash32,
    network::Network,
};

/// What a file has beside headers and bodies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EreProfile {
    /// Receipts of every block.
    pub receipts: bool,
    /// Proofs of every header.
    pub proofs: bool,
}

/// What the name of a file says: `<network>-<epoch>-<first 4 bytes of the last block's hash>[-<profile>].ere`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EreName {
    /// Its network.
    pub network: Network,
    /// Its epoch.
    pub epoch: u64,
    /// The first bytes of its last block's hash.
    pub last_hash: [u8; 4],
    /// What it says that the file has.
    pub profile: EreProfile,
}

impl EreName {
    /// Reads a file name; `None` if it is not of this form.
    pub fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".ere")?;
        let (stem, no_receipts) = without(stem, "-noreceipts");
        let (stem, no_proofs) = without(stem, "-noproofs");
        let (network, epoch, last_hash) = parse_stem(stem)?;
        let profile = EreProfile { receipts: !no_receipts, proofs: !no_proofs };
        Some(Self { network, epoch, last_hash, profile })
    }

    /// The name of an epoch's file.
    pub fn of(network: &Network, epoch: u64, last_hash: &Hash32, profile: EreProfile) -> String {
        let stem = stem(network, epoch, last_hash);
        let proofs = if profile.proofs { "" } else { "-noproofs" };
        let receipts = if profile.receipts { "" } else { "-noreceipts" };
        format!("{stem}{proofs}{receipts}.ere")
    }
}

fn without<'a>(text: &'a str, end: &str) -> (&'a str, bool) {
    text.strip_suffix(end).map_or((text, false), |rest| (rest, true))
}

/// Where a file's records start, section by section, and what follows them.
#[derive(Default, Debug)]
pub(crate) struct Offsets {
    pub(crate) headers: Vec<u64>,
    pub(crate) bodies: Vec<u64>,
    pub(crate) receipts: Vec<u64>,
    pub(crate) proofs: Vec<u64>,
    pub(crate) totals: Vec<u64>,
}

/// The records after the sections, of which the first starts at `offset`.
///
/// `offsets` has one of each kind for each block, or none of that kind.
pub(crate) fn write_tail(
    start_height: u64,
    offsets: &Offsets,
    accumulator: Option<&Hash32>,
    offset: u64,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(root) = accumulator {
        write_record(&mut out, kind::ACCUMULATOR, |out| out.extend_from_slice(&root.0));
    }
    let index_offset = offset + out.len() as u64;
    let Offsets { headers, bodies, receipts, proofs, totals } = offsets;
    let columns: Vec<&Vec<u64>> = [headers, bodies, receipts, totals, proofs]
        .into_iter()
        .filter(|column| !column.is_empty())
        .collect();
    debug_assert!(columns.iter().all(|column| column.len() == headers.len()));
    assert!(headers.len() <= EPOCH_BLOCKS);
    write_record(&mut out, kind::DYNAMIC_BLOCK_INDEX, |out| {
        let mut number = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        number(start_height);
        for block in 0..headers.len() {
            columns.iter().for_each(|column| number(column[block].wrapping_sub(index_offset)));
        }
        number(columns.len() as u64);
        number(headers.len() as u64);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let (yes, no) = (true, false);
        for (file, receipts, proofs) in [
            ("mainnet-00000-4bb7de2e.ere", yes, yes),
            ("mainnet-00000-4bb7de2e-noproofs.ere", yes, no),
            ("mainnet-00000-4bb7de2e-noreceipts.ere", no, yes),
            ("mainnet-00000-4bb7de2e-noproofs-noreceipts.ere", no, no),
        ] {
            let name = EreName::parse(file).unwrap();
            assert_eq!((&name.network, name.epoch), (&Network::mainnet(), 0));
            assert_eq!(name.profile, EreProfile { receipts, proofs });
            let mut hash = Hash32::default();
            hash.0[..4].copy_from_slice(&name.last_hash);
            assert_eq!(EreName::of(&name.network, 0, &hash, name.profile), file);
        }
        for file in [
            "mainnet-00000-5ec1ffb8.era1",
            "mainnet-00000-4bb7de2e-noreceipts-noproofs.ere",
            "mainnet-00000-4bb7de2e-other.ere",
            "mainnet-0000-5ec1ffb8.ere",
            "00000-5ec1ffb8.ere",
            "copy.ere",
        ] {
            assert_eq!(EreName::parse(file), None, "{file}");
        }
    }
}

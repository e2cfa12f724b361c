//! A page: the unit that is read and checked.
//!
//! ```text
//! offset  size  field
//!      0     4  crc        CRC-32C of bytes 4..4092, xor CRC-32C of (run number u64, page number u32)
//!      4  4088  content
//! ```
//! The run and page number are in the checksum, so that a page in the wrong place is seen. Four pages are one leaf
//! payload (16,368 bytes) of a metadata container; in a local file each page has a slot of 4,096 bytes, so that a
//! read touches one block of the disk; the slot's last four bytes are zero and belong to nobody.

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4092;
/// Bytes that a page takes up in a local file.
pub(crate) const SLOT_BYTES: usize = 4096;
/// Bytes of a page before its content.
pub(crate) const CRC_BYTES: usize = 4;
const _: () = assert!(4 * PAGE_BYTES == 16 * 1024 - 16);

/// A page in memory.
pub(crate) type Page = [u8; PAGE_BYTES];

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a 32-bit checksum")
}

fn checksum(content: &[u8], run: u64, page: u32) -> u32 {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&run.to_le_bytes());
    place[8..].copy_from_slice(&page.to_le_bytes());
    crc32c(content) ^ crc32c(&place)
}

/// Writes the checksum of a filled page.
pub(crate) fn seal(page: &mut Page, run: u64, number: u32) {
    let crc = checksum(&page[CRC_BYTES..], run, number);
    page[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// A page whose checksum does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mismatch {
    pub(crate) expected: u32,
    pub(crate) found: u32,
}

/// Checks a page that was read.
pub(crate) fn check(page: &Page, run: u64, number: u32) -> Result<(), Mismatch> {
    let expected = u32_at(page, 0);
    let found = checksum(&page[CRC_BYTES..], run, number);
    if expected == found { Ok(()) } else { Err(Mismatch { expected, found }) }
}

/// A little-endian `u16` of a page; the caller knows that it lies inside.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

/// A little-endian `u32`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// A little-endian `u64`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_page_in_the_wrong_place_is_seen() {
        let mut page = [0x5a; PAGE_BYTES];
        seal(&mut page, 7, 3);
        assert_eq!(check(&page, 7, 3), Ok(()));
        assert!(check(&page, 7, 4).is_err());
        assert!(check(&page, 8, 3).is_err());
        for at in [0, 3, 4, 2000, PAGE_BYTES - 1] {
            page[at] ^= 4;
            assert!(check(&page, 7, 3).is_err(), "byte {at}");
            page[at] ^= 4;
        }
        assert!(check(&[0; PAGE_BYTES], 0, 0).is_err(), "zeros are no page");
    }
}

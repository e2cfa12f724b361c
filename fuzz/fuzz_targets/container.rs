//! A container's header, records and footer, and a local header, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_format::{
    container::{ContainerHeader, Footer, RecordView, TRAILER_BYTES, Trailer, encode_record},
    crc32c,
    local::LocalSlot,
};

fuzz_target!(|bytes: &[u8]| {
    if let Some(header) = bytes.first_chunk() {
        if let Ok(decoded) = ContainerHeader::decode(header) {
            assert!(decoded.encode() == *header, "a header has one form");
        }
    }
    if let Some(header) = bytes.first_chunk() {
        let _ = LocalSlot::newest(header);
    }
    check_records(bytes);
    // most damage stops at a checksum: so again with the right ones
    check_records(&with_record_checksum(bytes));
    check_footer(bytes);
    check_footer(&with_footer_checksums(bytes));
});

fn check_records(mut bytes: &[u8]) {
    while let Ok(record) = RecordView::decode(bytes) {
        let mut again = Vec::new();
        encode_record(&mut again, record.table, record.key, record.value, record.end_of_put);
        assert!(bytes.starts_with(&again), "a record has one form");
        bytes = &bytes[again.len()..];
    }
}

/// The first record's checksum covers its key and value, as its header says how long they are.
fn with_record_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(header) = bytes.first_chunk::<16>() {
        let value = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let key = usize::from(u16::from_le_bytes([header[8], header[9]]));
        if let Some(covered) = bytes.get(4..16usize.saturating_add(key).saturating_add(value)) {
            let crc = crc32c(covered);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
        }
    }
    bytes
}

fn check_footer(bytes: &[u8]) {
    let Some((_, trailer)) = bytes.split_last_chunk::<TRAILER_BYTES>() else { return };
    // whatever was before the footer, the trailer says how long it was
    let said = trailer.get(16..24).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let Ok(trailer) = Trailer::decode(trailer, said.saturating_add(bytes.len() as u64)) else {
        return;
    };
    let Ok(footer) = Footer::decode(trailer, &bytes[..bytes.len() - TRAILER_BYTES]) else { return };
    assert!(footer.entries().count() == trailer.record_count as usize);
}

/// format: container trailer: the footer's checksum at 36, its own at 12, taken as zero.
fn with_footer_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((body, trailer)) = bytes.split_last_chunk_mut::<TRAILER_BYTES>() {
        trailer[36..40].copy_from_slice(&crc32c(body).to_le_bytes());
        trailer[12..16].fill(0);
        let crc = crc32c(trailer);
        trailer[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

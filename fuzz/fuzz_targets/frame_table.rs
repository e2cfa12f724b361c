//! A frame table of any bytes, and frames of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_codec::{FrameDecoder, FrameTable};
use prunedb_core::ContainerId;
use prunedb_format::crc32c;

fuzz_target!(|input: (Vec<u8>, &[u8])| {
    let (mut table, coded) = input;
    check(&table, coded);
    // most damage stops at the checksum: so again with the right one
    let crc = crc32c(&table);
    table.extend_from_slice(&crc.to_le_bytes());
    check(&table, coded);
});

fn check(bytes: &[u8], coded: &[u8]) {
    let Ok(table) = FrameTable::decode(bytes) else { return };
    assert!(table.encode() == bytes, "a table has one form");
    let mut end = (0, 0);
    for frame in table.frames() {
        assert!((frame.container.start, frame.coded.start) == end);
        end = (frame.container.end, frame.coded.end);
        assert!(frame.coded_bytes() <= frame.frame_bytes());
        assert!(table.frame_at(frame.container.start) == Some(frame));
    }
    assert!(end == (table.container_bytes(), table.coded_bytes()));
    let Some(frame) = table.frame(0) else { return };
    let mut out = Vec::new();
    match FrameDecoder::new().decode(ContainerId::data(1), &frame, coded, &mut out) {
        Ok(()) => assert!(out.len() == frame.frame_bytes() && crc32c(&out) == frame.crc),
        Err(_) => assert!(out.is_empty()),
    }
}

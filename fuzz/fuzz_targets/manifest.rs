//! Manifest edits, and heads before and behind their seal, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_format::{
    crc32c,
    head::{HeadBody, HeadParts},
    manifest::Edit,
};

fuzz_target!(|bytes: &[u8]| {
    check_edit(bytes);
    // most damage stops at the checksum: so again with the right one
    let mut with_crc = bytes.to_vec();
    with_crc.extend_from_slice(&crc32c(bytes).to_le_bytes());
    check_edit(&with_crc);
    if let Ok(parts) = HeadParts::decode(bytes) {
        assert!(parts.prefix.encode(parts.sealed.len()) == *parts.prefix_bytes, "one form");
        assert!(parts.signed.len() + parts.signature.len() == bytes.len());
    }
    if let Ok(body) = HeadBody::decode(bytes) {
        assert!(body.encode() == bytes, "a body has one form");
    }
});

fn check_edit(bytes: &[u8]) {
    if let Ok(edit) = Edit::decode(bytes) {
        assert!(edit.encode() == bytes, "an edit has one form");
    }
}

//! Local headers: two slots, and a whole local file that a crash left.

use super::{LAKE, check, container, fixture, of_version_2};
use prunedb_format::{
    FormatError,
    local::{BITMAP_OFFSET, LOCAL_HEADER_BYTES, LocalSlot, SLOT_BYTES},
};

fn slot(sequence: u64, durable_bytes: usize) -> LocalSlot {
    LocalSlot { sequence, durable_bytes: durable_bytes as u64, lake: LAKE, id: container::ID }
}

fn put(header: &mut [u8], slot: LocalSlot) {
    let at = usize::try_from(slot.file_offset()).expect("it fits");
    header[at..at + SLOT_BYTES].copy_from_slice(&slot.encode());
}

fn header(slots: [LocalSlot; 2]) -> Vec<u8> {
    let mut out = vec![0; LOCAL_HEADER_BYTES];
    for slot in slots {
        put(&mut out, slot);
    }
    out
}

/// The newest slot, written again over what was there.
fn reencode(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let newest = LocalSlot::newest(bytes.first_chunk().expect("4 KiB"))?;
    let mut out = bytes.to_vec();
    put(&mut out, newest);
    Ok(out)
}

fn newest_is_5(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let newest = LocalSlot::newest(bytes.first_chunk().expect("4 KiB"))?;
    assert_eq!(newest.sequence, 5);
    reencode(bytes)
}

fn newest_is_6(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let newest = LocalSlot::newest(bytes.first_chunk().expect("4 KiB"))?;
    assert_eq!(newest, slot(6, container::torn().1));
    reencode(bytes)
}

#[test]
fn local_header_fixtures() {
    let (records, put_end) = container::torn();
    let good = header([slot(5, 96), slot(6, put_end)]);

    let mut active = good.clone();
    active.extend_from_slice(&records);

    let mut cache = good.clone();
    cache[BITMAP_OFFSET] = 0b0000_0101; // frames 0 and 2 are here

    let mut torn = good.clone();
    torn[24..SLOT_BYTES].fill(0xee); // slot 6 is the first one: 6 is even

    let mut both_torn = torn.clone();
    both_torn[2048 + 24] ^= 1;

    let mut newer = good.clone();
    of_version_2(&mut newer[..SLOT_BYTES]);

    check(
        "local-header",
        vec![
            fixture("torn-tail.active", active, newest_is_6),
            fixture("cached-frames.header", cache, newest_is_6),
            fixture("torn-slot.header", torn, newest_is_5),
            fixture("both-slots-torn.header", both_torn, reencode)
                .refused(r#"Checksum { what: "local header""#),
            fixture("newer-slot.header", newer, reencode)
                .refused(r#"Version { what: "local header", found: 2"#),
        ],
    );
}

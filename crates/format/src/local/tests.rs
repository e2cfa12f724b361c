use super::*;
use proptest::{collection::vec, prelude::*};

fn any_slot() -> impl Strategy<Value = LocalSlot> {
    let max = CONTAINER_BYTES_MAX as u64;
    (any::<u64>(), 0..=max, any::<[u8; 16]>(), 0u8..3, any::<u32>()).prop_map(
        |(sequence, durable_bytes, lake, kind, number)| LocalSlot {
            sequence,
            durable_bytes,
            lake: LakeId(lake),
            id: ContainerId { kind: ContainerKind::from_byte(kind).unwrap(), number },
        },
    )
}

/// A slot and the one written before it.
fn any_pair() -> impl Strategy<Value = (LocalSlot, LocalSlot)> {
    (any_slot(), any_slot()).prop_map(|(new, old)| {
        let new = LocalSlot { sequence: new.sequence.max(1), ..new };
        (LocalSlot { sequence: new.sequence - 1, durable_bytes: old.durable_bytes, ..new }, new)
    })
}

fn at(slot: &LocalSlot) -> usize {
    usize::try_from(slot.file_offset()).unwrap()
}

fn header_of(slots: &[LocalSlot]) -> [u8; LOCAL_HEADER_BYTES] {
    let mut out = [0; LOCAL_HEADER_BYTES];
    for slot in slots {
        out[at(slot)..][..SLOT_BYTES].copy_from_slice(&slot.encode());
    }
    out
}

fn sealed(slot: &LocalSlot, change: impl FnOnce(&mut [u8; SLOT_BYTES])) -> [u8; SLOT_BYTES] {
    let mut bytes = slot.encode();
    change(&mut bytes);
    bytes[12..16].fill(0);
    let crc = crate::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn newest_of_two_counts((old, new) in any_pair(), bitmap in vec(any::<u8>(), BITMAP_BYTES_MAX)) {
        prop_assert_eq!(LocalSlot::newest(&header_of(&[old])), Ok(old));
        let mut header = header_of(&[old, new]);
        header[BITMAP_OFFSET..][..BITMAP_BYTES_MAX].copy_from_slice(&bitmap);
        prop_assert_eq!(LocalSlot::newest(&header), Ok(new));
    }

    /// A write in the middle of which the power went: any part of the new bytes, in any order of sectors.
    #[test]
    fn torn_slot_leaves_the_other((old, new) in any_pair(), written in vec(any::<bool>(), SLOT_BYTES)) {
        let older = LocalSlot { sequence: new.sequence.wrapping_sub(2), durable_bytes: 0, ..new };
        prop_assume!(new.sequence >= 2);
        for before in [[0; SLOT_BYTES], older.encode()] {
            let mut header = header_of(&[old]);
            let target = &mut header[at(&new)..][..SLOT_BYTES];
            for (i, byte) in new.encode().into_iter().enumerate() {
                target[i] = if written[i] { byte } else { before[i] };
            }
            let is_whole = *target == new.encode();
            let expected = if is_whole { new } else { old };
            prop_assert_eq!(LocalSlot::newest(&header), Ok(expected));
        }
    }

    #[test]
    fn flipped_bit_leaves_the_other((old, new) in any_pair(), bit in 0..SLOT_BYTES * 8) {
        for (slot, other) in [(new, old), (old, new)] {
            let mut header = header_of(&[old, new]);
            header[at(&slot) + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(LocalSlot::newest(&header), Ok(other));
            header[at(&other)..][..SLOT_BYTES].fill(0);
            prop_assert!(LocalSlot::newest(&header).is_err());
        }
    }

    #[test]
    fn any_bytes_are_refused(first in vec(any::<u8>(), SLOT_BYTES), second in vec(any::<u8>(), SLOT_BYTES)) {
        let mut header = [0; LOCAL_HEADER_BYTES];
        header[..SLOT_BYTES].copy_from_slice(&first);
        header[2048..][..SLOT_BYTES].copy_from_slice(&second);
        prop_assert!(LocalSlot::newest(&header).is_err());
    }
}

const SLOT: LocalSlot = LocalSlot {
    sequence: 6,
    durable_bytes: 4096,
    lake: LakeId([1; 16]),
    id: ContainerId::data(12),
};

#[test]
fn slots_take_turns() {
    let offsets = [0, 1, 2, 3].map(|sequence| LocalSlot { sequence, ..SLOT }.file_offset());
    assert_eq!(offsets, [0, 2048, 0, 2048]);
}

/// An older program that passed over the newer slot would cut durable records off.
#[test]
fn whole_slot_that_is_not_understood_is_never_passed_over() {
    let newer = LocalSlot { sequence: 7, durable_bytes: 8192, ..SLOT };
    for (bytes, why) in [
        (sealed(&newer, |b| b[8] = 2), "version"),
        (sealed(&newer, |b| b[48] = 9), "kind"),
        (sealed(&newer, |b| b[63] = 1), "unused bytes"),
        (sealed(&newer, |b| b[31] = 1), "longer than a container"),
        (sealed(&newer, |b| b[16] = 8), "in the other slot's place"),
    ] {
        let mut header = header_of(&[SLOT]);
        header[2048..][..SLOT_BYTES].copy_from_slice(&bytes);
        let found = LocalSlot::newest(&header);
        assert_eq!(matches!(found, Err(FormatError::Version { .. })), why == "version");
        assert!(found.is_err(), "{why}: {found:?}");
    }
}

#[test]
fn refusal_tells_of_the_slot_that_was_written() {
    let mut header = header_of(&[LocalSlot { sequence: 1, ..SLOT }]);
    header[2048 + 30] ^= 1;
    assert!(matches!(LocalSlot::newest(&header), Err(FormatError::Checksum { .. })));
    let none = LocalSlot::newest(&[0; LOCAL_HEADER_BYTES]);
    assert!(matches!(none, Err(FormatError::Magic { .. })));
}

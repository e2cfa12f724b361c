use super::*;
use proptest::prelude::*;
use prunedb_disk::faulty::{FaultyDisk, Unsynced};

fn block(height: u64, bytes: usize) -> Finalized {
    let fill = u8::try_from(height % 251).unwrap();
    Finalized { height, checkpoint: None, txs: vec![vec![fill; bytes], vec![]] }
}

fn open(disk: &FaultyDisk) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk.clone()), Path::new("/j"))
}

#[test]
fn blocks_come_back_and_old_files_go() {
    let disk = FaultyDisk::new(1);
    let journal = open(&disk).unwrap();
    for height in 1..=60 {
        journal.append(&block(height, 1 << 20), &[7; 100]).unwrap();
    }
    assert!(matches!(
        journal.append(&block(60, 1), &[]),
        Err(JournalError::Height { last: 60, .. })
    ));
    assert!(matches!(open(&disk), Err(JournalError::InUse { .. })));
    drop(journal);
    let journal = open(&disk).unwrap();
    assert_eq!((journal.first_height(), journal.last_height()), (1, 60));
    for height in [1, 15, 16, 17, 60] {
        assert_eq!(journal.read(height).unwrap().unwrap(), (block(height, 1 << 20), vec![7; 100]));
    }
    assert!(journal.read(61).unwrap().is_none());
    journal.prune(40).unwrap();
    assert!((30..=40).contains(&journal.first_height()), "{}", journal.first_height());
    assert!(matches!(journal.read(3), Err(JournalError::Pruned { height: 3, .. })));
    journal.prune(1000).unwrap();
    drop(journal);
    let journal = open(&disk).unwrap();
    assert_eq!(journal.last_height(), 60);
    journal.append(&block(61, 5), &[]).unwrap();
    assert_eq!(journal.read(61).unwrap().unwrap().0, block(61, 5));
}

#[test]
fn a_failed_write_ends_it() {
    let disk = FaultyDisk::new(2);
    let journal = open(&disk).unwrap();
    journal.append(&block(1, 10), &[]).unwrap();
    disk.set_faults(|faults| faults.syncs = 1);
    assert!(matches!(journal.append(&block(2, 10), &[]), Err(JournalError::Io { .. })));
    assert!(matches!(journal.append(&block(2, 10), &[]), Err(JournalError::Dead)));
}

#[test]
fn damage_is_named_and_not_cut_off() {
    let disk = FaultyDisk::new(3);
    let journal = open(&disk).unwrap();
    (1..=9).for_each(|height| journal.append(&block(height, 100), &[]).unwrap());
    drop(journal);
    let path = segment_path(Path::new("/j"), 1);
    for at in [0, 5, 40, 7 * 133 + 30] {
        let damaged = disk.killed();
        damaged.flip(&path, at, 1);
        assert!(matches!(open(&damaged), Err(JournalError::Damaged { .. })), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn after_a_crash_all_that_was_appended_is_there(seed: u64, dies_after in 0u64..40) {
        let disk = FaultyDisk::new(seed);
        let journal = open(&disk).unwrap();
        disk.die_after(dies_after);
        let appended = (1..).take_while(|&height| {
            let bytes = usize::try_from((seed ^ height) % 3000).unwrap();
            journal.append(&block(height, bytes), &[1; 9]).is_ok()
        }).last().unwrap_or(0);
        drop(journal);
        let disk = disk.crashed(Unsynced::Torn(seed));
        let journal = open(&disk).unwrap();
        prop_assert!((appended..=appended + 1).contains(&journal.last_height()));
        for height in 1..=journal.last_height() {
            prop_assert_eq!(journal.read(height).unwrap().unwrap().0.height, height);
        }
        let next = journal.last_height() + 1;
        journal.append(&block(next, 10), &[]).unwrap();
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), height in 0u64..3) {
        let _ = parse(&bytes, height);
        let mut framed = vec![0; HEADER_BYTES];
        framed.extend_from_slice(&bytes);
        framed[..4].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        let crc = crc32c(&bytes).to_le_bytes();
        framed[4..8].copy_from_slice(&crc);
        if let Ok(Some(found)) = parse(&framed, height) {
            prop_assert_eq!(record(&found.block, &found.certificate), framed);
        }
    }
}

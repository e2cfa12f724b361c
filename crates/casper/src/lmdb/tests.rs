use super::{Cursor, Lmdb, LmdbError, ReadAt, write::NewLmdb};
use crate::database::{Database, Row};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::LazyLock};

type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Rows of all sizes: in leaves, on one overflow page, on many; enough for three levels.
fn made_up_rows() -> Rows {
    let mut rows = Rows::new();
    for at in 0..6000u32 {
        let key = at.wrapping_mul(0x9e37_79b9).to_be_bytes().repeat(8);
        let bytes = match at % 500 {
            7 => 50_000,
            8 => 4096 - 16,
            9 => 2040,
            _ => at as usize % 300,
        };
        let database = if at % 3 == 0 { 7 } else { 1 };
        rows.insert((database, key), vec![at.to_le_bytes()[0]; bytes]);
    }
    rows
}

/// A file with these rows, as liblmdb writes it.
fn file_of(rows: &Rows, append: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.lmdb");
    let mut file = NewLmdb::create(&path, 1 << 26).unwrap();
    for ((database, key), value) in rows {
        let row = Row { database: Database::from_number(*database).unwrap(), key, value };
        if append { file.append(row) } else { file.put(row) }.unwrap();
    }
    assert_eq!(file.finish().unwrap(), rows.len() as u64);
    std::fs::read(path).unwrap()
}

fn read_all<R: ReadAt>(file: &mut Lmdb<R>) -> Result<Rows, LmdbError> {
    let mut rows = Rows::new();
    for (name, tree) in file.databases()? {
        let database = Database::all().find(|database| database.name() == name);
        let Some(database) = database else { continue };
        let mut cursor = Cursor::new(&name, tree);
        while let Some((key, value)) = cursor.next(file)? {
            rows.insert((database.number(), key), value);
        }
    }
    Ok(rows)
}

/// Reads every row both ways; whatever the bytes are, this ends.
fn try_all(bytes: Vec<u8>, keys: &Rows) -> Result<Rows, LmdbError> {
    let mut file = Lmdb::new(bytes)?;
    let trees = file.databases()?;
    for (database, key) in keys.keys().step_by(97) {
        let name = Database::from_number(*database).unwrap().name();
        if let Some((_, tree)) = trees.iter().find(|(found, _)| found == name) {
            file.get(tree, key)?;
        }
    }
    read_all(&mut file)
}

static ROWS: LazyLock<Rows> = LazyLock::new(made_up_rows);
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| file_of(&ROWS, true));

#[test]
fn what_liblmdb_writes_is_read() {
    for append in [true, false] {
        let mut file = Lmdb::new(file_of(&ROWS, append)).unwrap();
        assert!(read_all(&mut file).unwrap() == *ROWS);
        let trees = file.databases().unwrap();
        assert_eq!(trees.len(), Database::COUNT);
        for ((database, key), value) in &*ROWS {
            let name = Database::from_number(*database).unwrap().name();
            let (_, tree) = trees.iter().find(|(found, _)| found == name).unwrap();
            assert!(file.get(tree, key).unwrap().as_ref() == Some(value));
            let mut absent = key.clone();
            absent.push(0);
            assert_eq!(file.get(tree, &absent).unwrap(), None);
        }
        assert_eq!(file.map_bytes(), 1 << 26);
    }
}

#[test]
fn every_truncation_is_refused() {
    for pages in 0..FILE.len() / 4096 {
        for cut in [pages * 4096, pages * 4096 + 1, pages * 4096 + 2048] {
            let error = Lmdb::new(FILE[..cut].to_vec()).unwrap_err().to_string();
            assert!(error.contains("truncated") && error.contains(&cut.to_string()), "{error}");
        }
    }
}

/// Both pages with the map's size say less than the file has: liblmdb would read behind its map.
#[test]
fn a_map_that_is_smaller_than_the_file_is_refused() {
    let used = FILE.len() as u64;
    for map_bytes in [0, 1, 8192, used - 4096, used - 1, used, 1 << 40, u64::MAX] {
        let mut bytes = FILE.clone();
        for page in [0, 4096] {
            bytes[page + 32..page + 40].copy_from_slice(&map_bytes.to_le_bytes());
        }
        match Lmdb::new(bytes) {
            Ok(file) => assert!(map_bytes >= used && file.map_bytes() == map_bytes),
            Err(error) => assert!(map_bytes < used, "{map_bytes}: {error}"),
        }
    }
}

/// A page that leads back to one above it, as its own child.
#[test]
fn loops_end() {
    let sound = Lmdb::new(FILE.clone()).unwrap().databases().unwrap();
    let root = sound.iter().find(|(name, _)| name == "block_header_v2").unwrap().1;
    assert!(root.depth > 1);
    let at = usize::try_from(root.root).unwrap() * 4096;
    let pointers = (usize::from(u16::from_le_bytes([FILE[at + 12], FILE[at + 13]])) - 16) / 2;
    for target in [root.root, root.root + 1, 2, u64::from(u32::MAX)] {
        let mut bytes = FILE.clone();
        for pointer in 0..pointers {
            let slot = at + 16 + 2 * pointer;
            let node = at + usize::from(u16::from_le_bytes([bytes[slot], bytes[slot + 1]]));
            bytes[node..node + 4].copy_from_slice(&u32::try_from(target).unwrap().to_le_bytes());
        }
        try_all(bytes, &ROWS).unwrap_err();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes of page headers, pointers and nodes are where damage does most.
    #[test]
    fn flipped_bits_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0usize..64, 0u8..8), 1..6)
    ) {
        let mut bytes = FILE.clone();
        let pages = bytes.len() / 4096;
        for (page, offset, bit) in flips {
            bytes[page.index(pages) * 4096 + offset] ^= 1 << bit;
        }
        _ = try_all(bytes, &ROWS);
    }

    #[test]
    fn any_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..9000), keep in 0usize..3) {
        let mut bytes = FILE.clone();
        let start = keep * 4096;
        let end = (start + noise.len()).min(bytes.len());
        bytes[start..end].copy_from_slice(&noise[..end - start]);
        _ = try_all(bytes, &ROWS);
        _ = try_all(noise, &ROWS);
    }
}

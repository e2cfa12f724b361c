//! Bytes on disk that are not what was written.

use super::*;

/// A folder with runs of both kinds, their model, and its files.
fn filled(dir: &Path) -> (Model, Vec<std::path::PathBuf>) {
    let index = open(dir);
    let mut model = Model::default();
    for container in 0..2 {
        for i in 0..400 {
            model.put(&index, some_put(5, (container * 400 + i).into()), at(container, i));
        }
        index.flush(container + 1).unwrap();
    }
    let names = RealDisk.list(dir).unwrap();
    (model, names.into_iter().map(|name| dir.join(name)).collect())
}

/// Opens and reads everything; the errors that this meets.
fn read_all(dir: &Path, model: &Model) -> Vec<Error> {
    let index = match open_on(crash::DyingDisk::after(i64::MAX), dir) {
        Ok(index) => index,
        Err(e) => return vec![e],
    };
    let mut errors = Vec::new();
    for &prefix in model.keyed.keys() {
        errors.extend(index.candidates_of(prefix).filter_map(Result::err));
    }
    for &(table, position) in model.sequences.keys() {
        errors.extend(index.lookup_sequence(table, position).err());
        errors.extend(index.range_sequence(table, position, 5).err());
    }
    errors.extend(index.merge_step(1 << 40).err());
    errors
}

#[test]
fn a_flipped_byte_is_an_error_that_names_the_place_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (model, files) = filled(dir.path());
    let files: Vec<_> = files.iter().map(|file| (file, std::fs::read(file).unwrap())).collect();
    // reading merges, which removes files
    let restore = || files.iter().for_each(|(file, good)| std::fs::write(file, good).unwrap());
    let (mut seen, mut tried) = (0, 0);
    for (file, good) in &files {
        for at in (0..good.len()).step_by(197).chain([0, 4, 8, 16, good.len() - 1]) {
            restore();
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(file, &bad).unwrap();
            let errors = read_all(dir.path(), &model);
            for error in &errors {
                assert!(
                    error.is_damage() || matches!(error, Error::NewerVersion { .. }),
                    "{error}"
                );
            }
            seen += usize::from(!errors.is_empty());
            tried += 1;
        }
    }
    // only the slots' padding does not matter
    assert!(seen * 100 > tried * 95, "{seen} of {tried}");
    restore();
    assert!(read_all(dir.path(), &model).is_empty());
}

#[test]
fn missing_cut_and_foreign_files_are_damage_and_create_begins_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("removed", |file| std::fs::remove_file(file).unwrap()),
        ("emptied", |file| std::fs::write(file, "").unwrap()),
        ("cut", |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("random", |file| {
            let bytes: Vec<u8> =
                (0..8192).map(|i| u8::try_from(random(i) & 255).unwrap()).collect();
            std::fs::write(file, bytes).unwrap();
        }),
    ];
    for (what, harm) in harms {
        for nth in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let (model, files) = filled(dir.path());
            harm(&files[nth]);
            let errors = read_all(dir.path(), &model);
            assert!(errors.len() == 1 && errors[0].is_damage(), "{what} {nth}: {errors:?}");
            let index = Index::create(Arc::new(RealDisk), dir.path(), &Seed::new([9; 32]), small())
                .unwrap();
            assert_eq!(index.covered(), 0);
            model.insert_uncovered(&index);
            model.check(&index);
        }
    }
}

#[test]
fn reset_heals_a_damaged_page_while_open() {
    let dir = tempfile::tempdir().unwrap();
    let (model, files) = filled(dir.path());
    let index = open(dir.path());
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        if bytes.len() > 4096 + 100 {
            bytes[4096 + 100] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }
    }
    let damaged = model.keyed.keys().any(|&p| index.candidates_of(p).any(|c| c.is_err()));
    assert!(damaged);
    index.reset().unwrap();
    assert_eq!((index.covered(), index.stats().keyed_runs), (0, 0));
    model.insert_uncovered(&index);
    index.flush(2).unwrap();
    model.check(&index);
    drop(index);
    model.check(&open(dir.path()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Pages that carry a right checksum but hold anything.
    #[test]
    fn sealed_nonsense_never_panics(page in 0u32..6, fill in proptest::collection::vec(any::<u8>(), 1..64), start in 0usize..40) {
        let dir = tempfile::tempdir().unwrap();
        let (model, files) = filled(dir.path());
        for (number, file) in files.iter().filter(|f| f.extension().is_some()).enumerate() {
            let mut bytes = std::fs::read(file).unwrap();
            let from = page as usize * 4096;
            if from < bytes.len() && page > 0 {
                let page_bytes: &mut [u8; 4092] = (&mut bytes[from..from + 4092]).try_into().unwrap();
                for (out, byte) in page_bytes[start..].iter_mut().zip(fill.iter().cycle()) {
                    *out = *byte;
                }
                crate::page::seal(page_bytes, number as u64, page);
                std::fs::write(file, bytes).unwrap();
            }
        }
        for error in read_all(dir.path(), &model) {
            prop_assert!(error.is_damage(), "{}", error);
        }
    }
}

use crate::common::{devnet, export, import, import_blocks, same_records};
use prunedb_chains::{
    archive::MemoryArchive,
    ethereum::{
        EthereumError, Fault,
        synthetic::{SyntheticBlock, SyntheticChain},
    },
};

/// Epoch 0 whole and a piece of epoch 1.
fn two_epochs(seed: u64) -> [(String, Vec<u8>); 2] {
    let mut chain = SyntheticChain::new(&devnet(), 0, 0, seed);
    [chain.era1(&devnet(), 8192), chain.era1(&devnet(), 20)]
}

#[test]
fn epochs_link_below_and_above() {
    let ([own0, own1], [other0, other1]) = (two_epochs(1), two_epochs(2));
    let mut up = MemoryArchive::default();
    import(&mut up, &own0.0, &own0.1).unwrap();
    let before = up.clone();
    let error = import(&mut up, &other1.0, &other1.1).unwrap_err();
    let EthereumError::Unlinked { child_height: 8192, parent_height: 8191, stored: 8191, .. } =
        error
    else {
        panic!("{error}")
    };
    let error = import(&mut up, &other0.0, &other0.1).unwrap_err();
    assert!(matches!(error, EthereumError::Contradicts { height: 0, .. }), "{error}");
    assert!(same_records(&up, &before), "nothing is half stored");
    import(&mut up, &own1.0, &own1.1).unwrap();

    // the other way round
    let mut down = MemoryArchive::default();
    import(&mut down, &own1.0, &own1.1).unwrap();
    let error = import(&mut down, &other0.0, &other0.1).unwrap_err();
    let EthereumError::Unlinked { child_height: 8192, parent_height: 8191, stored: 8192, .. } =
        error
    else {
        panic!("{error}")
    };
    import(&mut down, &own0.0, &own0.1).unwrap();
    assert!(same_records(&up, &down));
    for (epoch, file) in [(0, &own0), (1, &own1)] {
        let (name, bytes, _) = export(&up, &devnet(), epoch).unwrap();
        assert!(name == file.0 && bytes == file.1);
    }
}

#[test]
fn total_difficulties_link_too() {
    // the same headers, every total difficulty one higher: only the neighbour can tell
    let [(name0, epoch0), (name1, epoch1)] = two_epochs(3);
    let shifted = shift_totals(&epoch1);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name0, &epoch0).unwrap();
    let error = import(&mut archive, &shifted.0, &shifted.1).unwrap_err();
    assert!(matches!(error, EthereumError::UnlinkedDifficulty { height: 8192, .. }), "{error}");
    import(&mut archive, &name1, &epoch1).unwrap();
    let mut archive = MemoryArchive::default();
    import(&mut archive, &shifted.0, &shifted.1).unwrap();
    let error = import(&mut archive, &name0, &epoch0).unwrap_err();
    assert!(matches!(error, EthereumError::UnlinkedDifficulty { height: 8191, .. }), "{error}");
}

/// Adds 1 to every total difficulty, and makes the accumulator fit.
fn shift_totals(bytes: &[u8]) -> (String, Vec<u8>) {
    use prunedb_chains::ethereum::{Era1Name, Hash32};
    let mut out = bytes.to_vec();
    let (mut at, mut accumulator) = (0, 0);
    while at < out.len() {
        let len = u32::from_le_bytes(out[at + 2..at + 6].try_into().unwrap()) as usize;
        match out[at] {
            6 => {
                let low = u64::from_le_bytes(out[at + 8..at + 16].try_into().unwrap()) + 1;
                out[at + 8..at + 16].copy_from_slice(&low.to_le_bytes());
            }
            7 => accumulator = at + 8,
            _ => {}
        }
        at += 8 + len;
    }
    // the error message tells the right root
    let error =
        import(&mut MemoryArchive::default(), "devnet-00001-00000000.era1", &out).unwrap_err();
    let EthereumError::Damaged { fault, .. } = error else { panic!("{error}") };
    let Fault::Accumulator { expected, .. } = *fault else { panic!("{fault}") };
    let root: Hash32 = expected;
    out[accumulator..accumulator + 32].copy_from_slice(&root.0);
    (Era1Name::of(&devnet(), 1, &root), out)
}

fn rlp(blocks: &[&SyntheticBlock]) -> Vec<u8> {
    blocks.iter().flat_map(|block| block.rlp()).collect()
}

#[test]
fn plain_blocks_link_across_gaps_and_files() {
    let own: Vec<_> = SyntheticChain::new(&devnet(), 50, 3, 4).take(20).collect();
    let other: Vec<_> = SyntheticChain::new(&devnet(), 50, 3, 5).take(20).collect();
    let [own, other] = [&own, &other].map(|blocks| blocks.iter().collect::<Vec<_>>());
    let mut archive = MemoryArchive::default();
    let scattered = [&own[..5], &own[8..10], &own[15..16]].concat();
    let report = import_blocks(&mut archive, &rlp(&scattered)).unwrap();
    assert_eq!((report.blocks, report.gaps, report.heights), (8, 2, (50, 65)));
    let before = archive.clone();
    for (wrong, what) in [
        (rlp(&other[5..7]), "below"),
        (rlp(&other[6..8]), "above"),
        (rlp(&[own[6], other[7]]), "inside"),
        (rlp(&other[8..9]), "contradicts"),
        (rlp(&[own[5], own[5]]), "twice"),
        (rlp(&[own[6], own[5]]), "falling"),
        (rlp(&[own[5], other[14]]), "above, after a gap"),
        (rlp(&[own[5], own[6], other[10]]), "below, after a gap"),
    ] {
        let error = import_blocks(&mut archive, &wrong).expect_err(what);
        let fits = match what {
            "contradicts" => matches!(error, EthereumError::Contradicts { height: 58, .. }),
            "inside" | "twice" | "falling" => matches!(error, EthereumError::Damaged { .. }),
            _ => matches!(error, EthereumError::Unlinked { .. }),
        };
        assert!(fits, "{what}: {error}");
        assert!(same_records(&archive, &before), "{what}: nothing is half stored");
    }
    // filling the gaps, over what is there
    assert_eq!(import_blocks(&mut archive, &rlp(&own)).unwrap().blocks_stored, 12);
}

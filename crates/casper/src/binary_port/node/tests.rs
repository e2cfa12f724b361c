use super::*;
use crate::{CasperSource, CasperVerifier, binary_port::file::FileNode, test_rows::write_file};
use proptest::prelude::*;
use prunedb_chains::contract::{ChainSource as _, ChainVerifier as _, Level};
use std::path::Path;

/// A node's file, asked directly.
struct FromFile(FileNode);

impl FromFile {
    fn open(path: &Path) -> Self {
        Self(FileNode::new(CasperSource::open(path, 0..=u64::MAX, None).unwrap()))
    }
}

impl Port for FromFile {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.0.answer(request).map_err(io::Error::other)
    }
}

/// A file of the corpus; `None`, and a line that says so, where it is not there.
fn corpus(test: &str, file: &str) -> Option<std::path::PathBuf> {
    let corpus = std::env::var_os("PRUNEDB_CORPUS").map(std::path::PathBuf::from);
    if corpus.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    corpus.map(|corpus| corpus.join("casper/node-A").join(file))
}

/// The blocks of a file, and those that its node would give.
fn compare(path: &Path, network: &str, tip: u64) {
    let mut node = Node::new(FromFile::open(path));
    assert_eq!(node.network().unwrap(), network);
    assert_eq!(node.available().unwrap(), Some(0..=tip));
    let mut source = CasperSource::open(path, 0..=u64::MAX, None).unwrap();
    let mut blocks = 0;
    while let Some(block) = source.next_block().unwrap() {
        assert!(node.block(block.height).unwrap() == block, "{}", block.height);
        blocks += 1;
    }
    assert_eq!(blocks, tip + 1);
    let error = node.block(tip + 1).unwrap_err();
    assert!(matches!(error, NodeError::Missing { .. }), "{error}");
}

#[test]
fn blocks_of_1_x_come_as_they_lie_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.lmdb");
    write_file(&file);
    compare(&file, "casper-example", 7);
}

#[test]
fn blocks_of_a_real_network_come_as_they_lie_in_the_file() {
    let test = "blocks_of_a_real_network_come_as_they_lie_in_the_file";
    let Some(file) = corpus(test, "storage.lmdb") else { return };
    compare(&file, "casper-a", 209);
}

/// The file that plays the node gives the answers that the real one gave.
#[test]
fn a_file_answers_as_its_node_did() {
    let test = "a_file_answers_as_its_node_did";
    let Some(file) = corpus(test, "storage.lmdb") else { return };
    let frames = std::fs::read_to_string(file.with_file_name("binary-port-frames.txt")).unwrap();
    let lines: Vec<&str> = frames.lines().collect();
    let bytes = |line: &str| -> Vec<u8> {
        let hex = &line[2 + 8..]; // without the length on the wire
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    };
    let (mut node, mut same) = (FromFile::open(&file), 0);
    for three in lines.chunks(3) {
        let plays = ["Record/", "BlockHeader", "NetworkName"];
        if plays.iter().any(|what| three[0].contains(what))
            && !three[0].contains("unknown record tag")
        {
            let (request, mut answer) = (bytes(three[1]), bytes(three[2]));
            let mut played = node.ask(&request).unwrap();
            if three[0].contains("Transfer") {
                // the file is another node's, and each has a block's transfers in an order of its own
                answer.sort_unstable();
                played.sort_unstable();
            }
            assert!(played == answer, "{}", three[0]);
            same += 1;
        }
    }
    assert_eq!(same, 21, "rows, headers by height, the network's name");
}

/// What becomes of an answer.
type Change = Box<dyn FnMut(&mut Vec<u8>)>;

/// Changes one answer on its way.
struct Liar {
    node: FromFile,
    /// answers until then
    left: usize,
    change: Change,
}

impl Port for Liar {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = self.node.ask(request)?;
        if self.left == 0 {
            (self.change)(&mut answer);
        }
        self.left = self.left.wrapping_sub(1);
        Ok(answer)
    }
}

/// What comes of block 2 when one of its answers is changed.
fn lie(
    file: &Path,
    left: usize,
    change: impl FnMut(&mut Vec<u8>) + 'static,
) -> Result<RawBlock, NodeError> {
    Node::new(Liar { node: FromFile::open(file), left, change: Box::new(change) }).block(2)
}

#[test]
fn answers_of_other_kinds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storage.lmdb");
    write_file(&file);
    // the row of the header: to another question, with an error, of another type
    let error = lie(&file, 1, |answer| answer[8 + 3] ^= 1).unwrap_err();
    assert!(matches!(error, NodeError::Otherwise { .. }), "{error}");
    let after_echo = 4 + 4 + 12 + 32;
    let error = lie(&file, 1, move |answer| answer[after_echo + 2] = 7).unwrap_err();
    assert!(matches!(error, NodeError::Refused { code: 7, .. }), "{error}");
    let error = lie(&file, 1, move |answer| answer[after_echo + 5] = 9).unwrap_err();
    assert!(matches!(error, NodeError::Otherwise { .. }), "{error}");
    let error = lie(&file, 1, |answer| answer.push(0)).unwrap_err();
    assert!(matches!(error, NodeError::Shape { .. }), "{error}");
    assert!(is_throttled(&crate::binary_port::encode(&[7; 12], THROTTLED, None, &[])));
    let nothing = crate::binary_port::encode(&[7; 12], 0, None, &[]);
    assert!(is_nothing(&nothing) && !is_throttled(&nothing));
    assert!(!is_nothing(&crate::binary_port::encode(&[7; 12], 0, Some(1), &[])));
    assert!(!is_nothing(&crate::binary_port::cannot_answer(&[7; 12])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is changed: an error, another block, or rows that nothing promises.
    #[test]
    fn changed_answers_are_noticed(left in 0usize..10, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("storage.lmdb");
        write_file(&file);
        let sound = Node::new(FromFile::open(&file)).block(2).unwrap();
        let changed = lie(&file, left, move |answer| {
            let at = at.index(answer.len());
            answer[at] ^= 1 << bit;
        });
        let verifier = CasperVerifier::new("casper-example").unwrap();
        let verify = |block: RawBlock| verifier.verify(&[block], Level::Signatures).map(|mut all| all.pop().unwrap());
        let expected = verify(sound).unwrap();
        if let Ok(Ok(found)) = changed.map(verify) {
            let same = (found.hash, &found.transactions) == (expected.hash, &expected.transactions);
            prop_assert!(same || found.hash != expected.hash);
        }
    }

    #[test]
    fn any_answer_is_one_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        _ = read_answer(&bytes);
        _ = is_throttled(&bytes);
    }
}

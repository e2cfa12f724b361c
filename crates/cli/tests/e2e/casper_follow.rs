//! `prunedb follow casper`: a live node is played by the file of a real one, over a real socket.

use crate::common::{Folder, corpus};
use prunedb_casper::{CasperSource, binary_port::file::FileNode};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Answers for which a connection lasts: a real one lasts for 10 seconds.
const ANSWERS: usize = 50;

/// Changes an answer: the request, the answer.
type Change = Box<dyn FnMut(&[u8], &mut Vec<u8>) + Send>;

/// A node with the blocks of the corpus up to a tip that rises.
struct LiveNode {
    address: String,
    tip: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl LiveNode {
    fn start(folder: &Folder, test: &str, tip: u64, mut change: Change) -> Option<Self> {
        let file = folder.path("node.lmdb");
        fs::write(&file, fs::read(corpus(test)?.join("casper/node-A/storage.lmdb")).unwrap())
            .unwrap();
        let mut node = FileNode::new(CasperSource::open(&file, 0..=u64::MAX, None).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let live = Self {
            address,
            tip: Arc::new(AtomicU64::new(tip)),
            connections: Arc::new(AtomicU64::new(0)),
        };
        let (tip, connections) = (Arc::clone(&live.tip), Arc::clone(&live.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::Relaxed);
                let mut stream = stream.unwrap();
                for _ in 0..ANSWERS {
                    let Ok(request) = read_frame(&mut stream) else { break };
                    node.set_tip(tip.load(Ordering::Relaxed));
                    let mut answer = node.answer(&request).unwrap();
                    change(&request, &mut answer);
                    let length = u32::try_from(answer.len()).unwrap().to_le_bytes();
                    if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                        break;
                    }
                }
            }
        });
        Some(live)
    }
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn honest() -> Change {
    Box::new(|_, _| ())
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap()
}

#[test]
fn a_live_node_s_blocks_are_archived_as_by_importing_its_file() {
    let test = "a_live_node_s_blocks_are_archived_as_by_importing_its_file";
    let folder = Folder::with_local_nodes("4+2", 8);
    // every now and then it says that it is asked too often
    let mut asked = 0;
    let throttles: Change = Box::new(move |request, answer| {
        asked += 1;
        if asked % 997 == 0 {
            answer.truncate(4 + 4 + request.len());
            answer.extend([1, 0, 87, 0, 0, 0, 0, 0, 0]);
        }
    });
    let Some(node) = LiveNode::start(&folder, test, 99, throttles) else { return };
    let follow = |more: &[&str]| {
        let args = ["follow", "casper", "--binary-port", &node.address, "--json"];
        folder.run(&[&args[..], more].concat())
    };
    let first = follow(&["--once"]).exits(0).json();
    assert_eq!((&first["network"], number(&first, "first_height")), (&"casper-a".into(), 0));
    assert_eq!(
        (number(&first, "last_height"), number(&first, "blocks_stored")),
        (94, 95),
        "five behind"
    );
    assert!(node.connections.load(Ordering::Relaxed) > 20, "others were opened");
    let nothing_new = follow(&["--once"]).exits(0).json();
    assert_eq!(
        (number(&nothing_new, "blocks_stored"), number(&nothing_new, "next_height")),
        (0, 95)
    );

    // it waits for the node to go on
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| follow(&["--to", "150"]).exits(0).json());
        while !waiting.is_finished() {
            node.tip.fetch_add(10, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let followed = waiting.join().unwrap();
        assert_eq!(
            (number(&followed, "last_height"), number(&followed, "blocks_stored")),
            (150, 56)
        );
    });
    node.tip.store(u64::MAX, Ordering::Relaxed);
    let rest = follow(&["--once", "--behind", "0"]).exits(0).json();
    assert_eq!((number(&rest, "last_height"), number(&rest, "next_height")), (209, 210));

    // every row is the one in the file, and there are no others
    let again = folder.json(&["import", "casper", "node.lmdb"]);
    assert_eq!((number(&again, "blocks"), number(&again, "blocks_stored")), (210, 0));
    assert_eq!(number(&again, "blocks_kept_as_they_were"), 0);
    let verified = folder.json(&["verify", "casper"]);
    assert_eq!((number(&verified, "blocks"), number(&verified, "signatures")), (210, 1458));
}

#[test]
fn a_gap_is_filled_and_what_is_stored_is_not_fetched_again() {
    let test = "a_gap_is_filled_and_what_is_stored_is_not_fetched_again";
    let folder = Folder::with_local_nodes("2+1", 3);
    let Some(node) = LiveNode::start(&folder, test, u64::MAX, honest()) else { return };
    for (from, to) in [("0", "9"), ("20", "29")] {
        let range = ["import", "casper", "node.lmdb", "--from-height", from, "--to-height", to];
        folder.run(&range).exits(0);
    }
    let follow = |more: &[&str]| {
        let args = ["follow", "casper", "--binary-port", &node.address, "--json", "--once"];
        folder.run(&[&args[..], more].concat()).exits(0).json()
    };
    let filled = follow(&["--from", "0", "--to", "29"]);
    assert_eq!((number(&filled, "blocks_stored"), number(&filled, "next_height")), (10, 30));
    assert_eq!((number(&filled, "first_height"), number(&filled, "last_height")), (10, 19));
    let above = follow(&["--to", "39"]);
    assert_eq!((number(&above, "first_height"), number(&above, "blocks_stored")), (30, 10));
}

#[test]
fn a_node_that_lies_or_is_none() {
    let test = "a_node_that_lies_or_is_none";
    let folder = Folder::with_local_nodes("2+1", 3);
    // a byte in the middle of the signatures of a block
    let lies: Change = Box::new(|request, answer| {
        if request.get(5..8) == Some(&[0, 3, 0]) {
            let end = answer.len() - 40;
            answer[end] ^= 1;
        }
    });
    let Some(liar) = LiveNode::start(&folder, test, 20, lies) else { return };
    let follow = |address: &str, more: &[&str]| {
        let args = ["follow", "casper", "--binary-port", address, "--once", "--patience", "1"];
        folder.run(&[&args[..], more].concat())
    };
    let says = [
        &liar.address[..],
        "block 0: a validator's signature",
        "nothing of these blocks was stored",
    ];
    follow(&liar.address, &[]).fails(&says);
    assert_eq!(folder.status()["records"], 0);
    follow(&liar.address, &["--network", "casper"]).fails(&["is of casper-a, not of casper"]);

    // says that it has blocks, and gives none
    let empty: Change = Box::new(|request, answer| {
        if request.get(5..8) == Some(&[1, 0, 0]) {
            answer.truncate(4 + 4 + request.len());
            answer.extend([1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    });
    let empty = LiveNode::start(&folder, test, 20, empty).unwrap();
    follow(&empty.address, &[]).fails(&["it lacks the header of block 0", "ask another node"]);
    // nothing listens; and something else does
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    follow(&nobody, &[]).fails(&[&nobody, "no answer for 1 s", "binary port"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    follow(&address, &[]).fails(&[&address, "it is no node's binary port"]);
    assert_eq!(folder.status()["records"], 0);
}

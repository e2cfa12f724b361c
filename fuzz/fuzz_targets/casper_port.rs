//! Requests of any bytes to our binary port, and a node that answers with any bytes: never a panic, whatever comes of it is verified or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_casper::{
    CasperVerifier,
    binary_port::{
        answer,
        node::{Node, Port, is_nothing, is_throttled},
    },
};
use prunedb_chains::{
    archive::MemoryArchive,
    contract::{ChainVerifier as _, Level},
};
use std::io;

/// Gives these answers, one after another: an error's number, a type, a payload.
struct Answers<'a>(std::slice::Iter<'a, (u8, u8, Vec<u8>)>);

impl Port for Answers<'_> {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let (error, kind, payload) = self.0.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        let (framed, asked, sent) = (length(request.len() + 4), length(request.len()), length(payload.len()));
        // mostly no error
        let error = if *error > 250 { *error } else { 0 };
        let head = [1, 0, error, 0, 1, *kind];
        Ok([&framed[..], &asked, request, &head, &sent, payload].concat())
    }
}

fuzz_target!(|input: (&[u8], Vec<(u8, u8, Vec<u8>)>)| {
    let (bytes, answers) = input;
    let verifier = CasperVerifier::new("casper-a").unwrap();
    let nothing = answer(&MemoryArchive::default(), &verifier, bytes);
    assert!(matches!(nothing, Ok(None)), "an empty archive has nothing");
    _ = (is_nothing(bytes), is_throttled(bytes));
    _ = Node::new(Answers(answers.iter())).network();
    _ = Node::new(Answers(answers.iter())).available();
    if let Ok(block) = Node::new(Answers(answers.iter())).block(0) {
        _ = verifier.verify(&[block], Level::Signatures);
    }
});

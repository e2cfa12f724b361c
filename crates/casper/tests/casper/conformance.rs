use crate::common::{NODE_A, corpus};
use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::contract::conformance;

#[test]
fn casper_keeps_the_contract() {
    let Some(path) = corpus("casper_keeps_the_contract", NODE_A) else { return };
    // with transactions of both kinds, and a switch block
    let source = CasperSource::open(&path, 35..=40, None).unwrap();
    let verifier = CasperVerifier::new("casper-a").unwrap();
    conformance::check(source, &verifier, 60);
}

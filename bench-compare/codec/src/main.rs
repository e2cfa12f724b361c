//! The codec beside other crates.
fn main() {}

//! The `prunedb` command.

fn main() {}

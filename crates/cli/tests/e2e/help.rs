//! The help texts, word for word: `--cfg bless` writes them anew.

use crate::common::{clean_command, output};
use std::path::Path;

const COMMANDS: &[&str] = &[
    "",
    "bench codec",
    "demo",
    "init",
    "up",
    "serve",
    "serve bitcoin-p2p",
    "serve bitcoin-rpc",
    "serve casper",
    "serve era",
    "serve ethereum-rpc",
    "node run",
    "node status",
    "node audit",
    "access",
    "access owner",
    "access key",
    "access grant",
    "access show",
    "import ethereum",
    "import casper",
    "follow",
    "follow bitcoin",
    "follow ethereum",
    "follow casper",
    "restore casper",
    "check casper",
    "prune casper",
    "prune ethereum",
    "prune bitcoin",
    "export ethereum",
    "get ethereum",
    "get ethereum block",
    "get ethereum receipts",
    "get ethereum tx",
    "import bitcoin",
    "export bitcoin",
    "get bitcoin",
    "get bitcoin block",
    "get bitcoin undo",
    "get bitcoin tx",
    "kv",
    "kv put",
    "kv get",
    "kv scan",
    "status",
    "explain",
    "evict",
    "verify",
    "coverage",
    "repair",
    "sweep",
    "prune",
    "recover",
    "config",
    "bench",
    "bench engine",
    "bench scale",
    "bench node",
    "bench node-start",
    "bench rpc",
    "plan",
    "what-if",
    "prove",
    "prove lost-nodes",
    "registry",
    "registry init",
    "registry key",
    "registry run",
    "registry status",
    "registry join",
    "registry groups",
    "registry params",
    "registry validators",
    "registry peer",
    "registry tx",
    "batch",
    "batch list",
    "batch show",
    "election show",
    "proofs",
    "account",
    "account show",
    "account deposit",
    "account withdraw",
    "heavy",
    "heavy check",
    "heavy run",
    "heavy status",
    "light",
    "light run",
    "light key",
    "light rent",
    "light get",
    "light cells",
    "light end",
    "light leave",
];

#[test]
fn help_texts_are_those_of_the_fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/help");
    for &command in COMMANDS {
        let mut args: Vec<&str> = command.split(' ').filter(|w| !w.is_empty()).collect();
        args.push("--help");
        let help = output(clean_command().args(&args).env("COLUMNS", "110")).exits(0);
        let name = if command.is_empty() { "prunedb".into() } else { command.replace(' ', "-") };
        let path = folder.join(format!("{name}.txt"));
        if cfg!(bless) {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &help.stdout).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            help.text(),
            expected,
            "{command}: run the tests with RUSTFLAGS=\"--cfg bless\" if it is meant"
        );
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for args in [&["frobnicate"][..], &["kv", "get"], &["status", "--frob"], &[]] {
        let wrong = output(clean_command().args(args)).exits(2);
        assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty());
    }
}

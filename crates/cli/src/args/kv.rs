//! Flags of `prunedb kv`: single records of any table.

use clap::{Args, Subcommand};

const KEYS_HELP: &str = "Keys and values are text, or hex with 0x. In a sequence a key is a number.\n\
    A key is written once: putting the same value again is a no-op, another value is refused with exit 1.";

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Kv {
    /// Put a record; durable when the command ends
    #[command(after_help = KEYS_HELP)]
    Put(KvPut),
    /// Write a record's value to stdout, byte for byte
    #[command(after_help = KEYS_HELP)]
    Get(KvGet),
    /// List records: in the order in which they were put, or by number in a sequence
    Scan(KvScan),
}

#[derive(Args, Debug, Clone)]
pub(crate) struct KvPut {
    /// Table; created if it is not there
    #[arg(long)]
    pub(crate) table: String,
    /// A new table is a sequence: its keys are numbers
    #[arg(long)]
    pub(crate) sequence: bool,
    /// The key
    pub(crate) key: String,
    /// The value; `-` reads it from stdin, byte for byte
    pub(crate) value: String,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct KvGet {
    /// Table
    #[arg(long)]
    pub(crate) table: String,
    /// The key
    pub(crate) key: String,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct KvScan {
    /// Table
    #[arg(long)]
    pub(crate) table: String,
    /// Where to go on: what an earlier scan called `next`, or a number in a sequence
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Most records to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
}

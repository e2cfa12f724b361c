//! What a connection has chosen.

use bytes::Bytes;
use prunedb_engine::Table;

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) name: Bytes,
    pub(crate) selected: Selected,
    /// it said `QUIT`
    pub(crate) leaves: bool,
}

/// The table that commands go to.
#[derive(Debug, Clone)]
pub(crate) enum Selected {
    /// it was not there when it was looked for
    Name(String),
    Table(Table),
}

impl Client {
    pub(crate) fn new(id: u64, table: &str) -> Self {
        Self { id, name: Bytes::new(), selected: Selected::Name(table.into()), leaves: false }
    }
}

//! What every store can do here.

use std::path::Path;

/// A value in memory that the caller may keep: owned, or counted; never the store's own mapped or borrowed bytes.
pub(crate) type Value = Box<dyn AsRef<[u8]>>;

/// A group of records that become durable together: keys and values.
pub(crate) type Group<'a> = Vec<(Vec<u8>, &'a [u8])>;

/// Two tables: one by random keys, one by height (a number, 8 bytes big-endian).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Hashes,
    Heights,
}

/// A store under measurement. Dropping it closes it.
pub(crate) trait Store: Sync {
    /// Puts a group; it is durable when this returns.
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()>;

    /// Something that reads, one for each thread.
    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>>;

    /// Hands every value of the heights out, in their order.
    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()>;

    /// Closes as its documentation says that one should.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// Reads random keys.
pub(crate) trait Reader {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>>;
}

/// Opens a store in a folder, creating it where it is new.
pub(crate) type OpenStore = fn(&Path) -> anyhow::Result<Box<dyn Store>>;

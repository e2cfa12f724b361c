//! Doors for measuring databases that are larger than any disk: `prunedb bench scale`.

use crate::{db::Db, error::Error};
use prunedb_format::manifest::ContainerEntry;
use prunedb_index::Index;

impl Db {
    /// Notes containers that are in the lake already, without asking it. The database is to be opened again before
    /// something is put: its writer does not know their numbers.
    ///
    /// # Errors
    /// Those of the disk.
    #[doc(hidden)]
    pub fn adopt(&self, entries: Vec<ContainerEntry>) -> Result<(), Error> {
        self.inner.manifest.add_containers(entries, &[])
    }

    /// The index itself.
    #[doc(hidden)]
    pub fn index(&self) -> &Index {
        &self.inner.index
    }
}

//! The database as the chains' adapters see it.

pub(crate) use prunedb::archive::{DbArchive, known};

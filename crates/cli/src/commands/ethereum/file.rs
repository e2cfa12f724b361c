//! History files that were imported, of both formats: what is known of them.

use super::explained;
use crate::archive::DbArchive;
use prunedb_chains::ethereum::{Era1Name, EreName, Hash32, Network, era1_epochs, ere_epochs};
use prunedb_chains::ethereum::{Era1Record, EreRecord};

/// An imported file.
pub(in crate::commands) struct KnownFile {
    pub(in crate::commands) epoch: u64,
    pub(in crate::commands) name: String,
    pub(in crate::commands) sha256: String,
    pub(in crate::commands) file_bytes: u64,
    pub(in crate::commands) heights: (u64, u64),
    /// its own bytes are kept beside its blocks
    pub(in crate::commands) original_kept: bool,
}

impl KnownFile {
    pub(in crate::commands) fn era1(network: &Network, epoch: u64, record: &Era1Record) -> Self {
        Self {
            epoch,
            name: Era1Name::of(network, epoch, &record.accumulator),
            sha256: sha256_text(&record.sha256),
            file_bytes: record.file_bytes,
            heights: heights(record.start_height, record.block_count),
            original_kept: record.original_kept,
        }
    }

    pub(in crate::commands) fn ere(network: &Network, epoch: u64, record: &EreRecord) -> Self {
        Self {
            epoch,
            name: EreName::of(network, epoch, &record.last_hash, record.profile),
            sha256: sha256_text(&record.sha256),
            file_bytes: record.file_bytes,
            heights: heights(record.start_height, record.block_count),
            original_kept: record.original_kept,
        }
    }

    /// The imported file of the epoch that a name says; `None` within if there is none. `None` of what is no name of a history file.
    pub(super) fn by_name(
        archive: &DbArchive,
        name: &str,
    ) -> anyhow::Result<Option<(Network, u64, Option<Self>)>> {
        if let Some(Era1Name { network, epoch, .. }) = Era1Name::parse(name) {
            let epochs = era1_epochs(archive, &network).map_err(explained)?;
            let known = epochs.iter().find(|(stored, _)| *stored == epoch);
            let known = known.map(|(_, record)| Self::era1(&network, epoch, record));
            return Ok(Some((network, epoch, known)));
        }
        let Some(EreName { network, epoch, .. }) = EreName::parse(name) else { return Ok(None) };
        let epochs = ere_epochs(archive, &network).map_err(explained)?;
        let record = epochs.iter().find(|known| known.epoch == epoch).and_then(|e| e.record);
        let known = record.map(|record| Self::ere(&network, epoch, &record));
        Ok(Some((network, epoch, known)))
    }
}

fn heights(start: u64, count: u32) -> (u64, u64) {
    (start, start + u64::from(count) - 1)
}

/// As `sha256sum` writes it.
pub(in crate::commands) fn sha256_text(sha256: &Hash32) -> String {
    sha256.to_string().trim_start_matches("0x").to_owned()
}

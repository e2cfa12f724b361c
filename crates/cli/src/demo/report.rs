//! The demo's report.

use super::{ReadBack, Status, Verified};
use crate::{
    io::Io,
    text::{count, mb_per_s, ratio, rounded, size},
};
use prunedb_core::Policy;
use serde_json::json;
use std::{path::Path, time::Duration};

/// What happened.
pub(super) struct Report {
    pub(super) story: String,
    pub(super) policy: Policy,
    pub(super) nodes: usize,
    pub(super) records: u64,
    pub(super) value_bytes: u64,
    /// after everything was offloaded
    pub(super) status: Status,
    pub(super) stored_in: Duration,
    /// after the eviction
    pub(super) local_bytes: u64,
    pub(super) stopped: Vec<String>,
    pub(super) damaged: String,
    pub(super) flipped: u64,
    pub(super) read_back: ReadBack,
    pub(super) read_in: Duration,
    /// `.era1` files that came out bit-identical
    pub(super) files_identical: u64,
    pub(super) shards_rebuilt: u64,
    pub(super) slots_moved: u64,
    pub(super) verified: Verified,
    pub(super) healed_in: Duration,
    pub(super) took: Duration,
}

impl Report {
    /// Nothing differs, nothing is left on this disk, everything is healthy.
    pub(super) fn is_good(&self) -> bool {
        self.read_back.identical == self.records
            && self.read_back.differing_count == 0
            && self.local_bytes == 0
            && self.verified.is_healthy()
    }

    pub(super) fn write(&self, kept: Option<&Path>, io: &mut Io) -> anyhow::Result<()> {
        if io.json { self.write_json(kept, io) } else { self.write_text(kept, io) }
    }

    fn write_json(&self, kept: Option<&Path>, io: &mut Io) -> anyhow::Result<()> {
        let Self { status, read_back, verified, .. } = self;
        io.json(&json!({
            "input": self.story,
            "policy": self.policy.to_string(),
            "nodes": self.nodes,
            "records": self.records,
            "bytes_in": self.value_bytes,
            "containers": status.containers,
            "container_bytes": status.container_bytes,
            "coded_bytes": status.coded_bytes,
            "lake_bytes": status.lake_bytes,
            "overhead_on_coded": ratio(status.lake_bytes.saturating_sub(status.coded_bytes), status.coded_bytes),
            "lake_bytes_per_byte_in": ratio(status.lake_bytes, self.value_bytes),
            "store_seconds": self.stored_in.as_secs_f64(),
            "store_mb_per_s": mb_per_s(self.value_bytes, self.stored_in),
            "local_bytes_after_evict": self.local_bytes,
            "nodes_stopped": self.stopped,
            "node_damaged": self.damaged,
            "bytes_flipped": self.flipped,
            "read_seconds": self.read_in.as_secs_f64(),
            "read_mb_per_s": mb_per_s(self.value_bytes, self.read_in),
            "frames_fetched": read_back.frames_fetched,
            "ranges_rebuilt": read_back.ranges_rebuilt,
            "direct": read_back.direct.json(),
            "rebuilt": read_back.rebuilt.json(),
            "identical": read_back.identical,
            "differing": read_back.differing_count,
            "differences": read_back.differing,
            "era1_files_identical": self.files_identical,
            "shards_rebuilt": self.shards_rebuilt,
            "slots_moved": self.slots_moved,
            "heal_seconds": self.healed_in.as_secs_f64(),
            "shards_checked": verified.shards,
            "shards_bad": verified.faults.len(),
            "seconds": self.took.as_secs_f64(),
            "good": self.is_good(),
            "dir": kept,
        }))
    }

    fn write_text(&self, kept: Option<&Path>, io: &mut Io) -> anyhow::Result<()> {
        let Self { status, read_back, verified, .. } = self;
        let percent = |part, whole| rounded(ratio(part, whole) * 100.0);
        let overhead = status.lake_bytes.saturating_sub(status.coded_bytes);
        io.line(format_args!("input           {}", self.story))?;
        io.line(format_args!(
            "bytes in        {} in {}, {}",
            size(self.value_bytes),
            count(self.records, "record"),
            count(status.containers, "container")
        ))?;
        io.line(format_args!(
            "bytes in lake   {} on {} nodes at {} ({} after compression)",
            size(status.lake_bytes),
            self.nodes,
            self.policy,
            size(status.coded_bytes)
        ))?;
        io.line(format_args!(
            "overhead        {} % on the compressed bytes; the lake takes {} % of the bytes in",
            percent(overhead, status.coded_bytes),
            percent(status.lake_bytes, self.value_bytes)
        ))?;
        io.line(format_args!(
            "store           {} MB/s, until everything was in the lake ({} s)",
            mb_per_s(self.value_bytes, self.stored_in),
            rounded(self.stored_in.as_secs_f64())
        ))?;
        io.line(format_args!("evict           {} bytes left on this disk", self.local_bytes))?;
        io.line(format_args!(
            "harm            {} stopped; {} bytes flipped on the disk of {}",
            self.stopped.join(", "),
            self.flipped,
            self.damaged
        ))?;
        io.line(format_args!(
            "read back       {} MB/s with all of that ({} s)",
            mb_per_s(self.value_bytes, self.read_in),
            rounded(self.read_in.as_secs_f64())
        ))?;
        io.line(format_args!(
            "nodes per read  {} on average in {}; {} where a shard was rebuilt from others, in {}",
            read_back.direct.nodes_per_read(),
            count(read_back.direct.count, "read"),
            read_back.rebuilt.nodes_per_read(),
            count(read_back.rebuilt.count, "read")
        ))?;
        io.line(format_args!(
            "healed          {} rebuilt, {} moved to spare nodes ({} s); then {} checked to the last byte, {} bad",
            count(self.shards_rebuilt, "shard"),
            count(self.slots_moved, "slot"),
            rounded(self.healed_in.as_secs_f64()),
            verified.shards,
            verified.faults.len()
        ))?;
        if self.files_identical > 0 {
            io.line(format_args!(
                "exported        {} bit-identical",
                count(self.files_identical, ".era1 file")
            ))?;
        }
        for difference in &read_back.differing {
            io.line(format_args!("DIFFERS         {difference}"))?;
        }
        io.line(format_args!("took            {} s", rounded(self.took.as_secs_f64())))?;
        if let Some(dir) = kept {
            io.line(format_args!(
                "kept            {0}: try `prunedb status --dir {0}`",
                dir.display()
            ))?;
        }
        let Self { records, .. } = self;
        if read_back.identical == *records {
            io.line(format_args!("all {records} records identical"))?;
        } else {
            io.line(format_args!("{} of {records} records DIFFER", read_back.differing_count))?;
        }
        Ok(())
    }
}

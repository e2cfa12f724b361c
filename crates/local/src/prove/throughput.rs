//! Bytes of values that go into the lake in a second.

use super::{
    ProveError, Setting,
    lab::{Lab, read_back, scattered},
    proof::Proof,
};
use prunedb_bench::process;
use prunedb_engine::OnProgress;
use std::time::Instant;
use tokio::runtime::Handle;

/// Records that are read from the lake at the end.
const SAMPLE: usize = 500;

/// Puts and offloads the data of the setting, at `mb_per_s_min` at least; then everything is read back from the lake and
/// compared, before its local copy is dropped. Nodes, engine and the making of the records share this machine.
///
/// # Errors
/// [`ProveError`].
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn throughput(
    setting: &Setting,
    mb_per_s_min: f64,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let lab = Lab::new(setting, runtime)?;
    let (started, cpu) = (Instant::now(), process::cpu_seconds());
    let end = lab.fill(0, setting.data_bytes, report)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
    let mut proof = Proof::new("throughput", lab.describe(end));
    let status = lab.db.status()?;
    let bytes = status.container_bytes as f64;
    let rate = bytes / 1e6 / seconds.max(1e-6);
    proof.claim(
        format!("records are archived at {mb_per_s_min} MB/s or more, from the first put until the last one is in the lake"),
        format!("{rate:.0} MB/s: {:.2} GB in {seconds:.1} s", bytes / 1e9),
        rate >= mb_per_s_min,
    );
    proof.claim(
        "all of it is in the lake, on enough nodes to bear a loss",
        format!(
            "{} containers, {} waiting, {} shards missing",
            status.containers, status.waiting_offload, status.damaged_shards
        ),
        status.waiting_offload == 0,
    );
    let reading = Instant::now();
    let evicted = lab.db.evict(report)?;
    let read_seconds = reading.elapsed().as_secs_f64();
    let local = lab.db.status()?.local_data_bytes;
    proof.claim(
        "every container was read back from random shards and compared, then its local copy dropped",
        format!("{} containers; {local} local bytes are left", evicted.containers),
        evicted.kept.is_empty() && local == 0,
    );
    let numbers = scattered(end, 7).take(SAMPLE);
    let read = read_back(&lab.db, &lab.table, numbers, report);
    proof.claim("records come back from the lake", read.evidence(), read.is_perfect());
    proof.figure("archived", rate, "MB/s");
    proof.figure(
        "processor, nodes and the making of records included",
        cpu / (bytes / 1e9),
        "CPU-s/GB",
    );
    proof.figure("compressed to", 100.0 * status.coded_bytes as f64 / bytes, "%");
    proof.figure("on the nodes", status.lake_bytes as f64 / 1e6, "MB");
    proof.figure("read back and compared", bytes / 1e6 / read_seconds.max(1e-6), "MB/s");
    if let Ok(peak) = process::peak_bytes() {
        proof.figure("peak memory, nodes included", peak as f64 / 1e6, "MB");
    }
    lab.close()?;
    Ok(proof)
}

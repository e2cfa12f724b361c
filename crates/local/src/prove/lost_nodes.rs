//! Any `p` of `p+q` nodes are enough.

use super::{
    ProveError, Setting,
    lab::{Lab, disk, read_back, scattered},
    proof::Proof,
};
use prunedb_engine::{Db, OnProgress};
use tokio::runtime::Handle;

/// Records that an empty machine reads, and others that are tried beyond the limit: at most so many, and a quarter.
const SAMPLE: u64 = 200;

/// Stops `lose` nodes and reads everything back; an empty machine gets the database back from those that are left; beyond
/// `q` of them reads end in an error, never in wrong bytes.
///
/// # Errors
/// [`ProveError`].
pub fn lost_nodes(
    setting: &Setting,
    lose: u16,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let mut lab = Lab::new(setting, runtime)?;
    let end = lab.fill_and_evict(report)?;
    let mut proof = Proof::new("lost-nodes", lab.describe(end));
    let local = lab.db.status()?.local_data_bytes;
    proof.claim(
        "nothing of the records is left on the writer's disk",
        format!("{local} bytes of data"),
        local == 0,
    );
    for node in 0..lose.min(setting.nodes) {
        lab.nodes.stop(node);
    }
    let left = setting.nodes.saturating_sub(lose);
    let sampled = usize::try_from((end / 4).clamp(1, SAMPLE)).expect("few");
    let read = read_back(&lab.db, &lab.table, 0..end, report);
    proof.claim(
        format!("with {lose} of {} nodes stopped, every record is read back", setting.nodes),
        read.evidence(),
        read.is_perfect() && read.identical == end,
    );
    proof.figure("read back with nodes stopped", read.mb_per_s(), "MB/s");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    proof.figure("ranges rebuilt from other shards", read.rebuilt as f64, "");

    let (options, mut quiet) = (lab.options("recovered"), |_| {});
    let recovered = Db::recover(
        disk(),
        options,
        lab.secret.clone(),
        &lab.addresses(),
        &*lab.connect,
        runtime.clone(),
        &mut quiet,
    );
    let claim = format!("an empty machine gets the database back from the {left} that are left");
    let again = match recovered {
        Ok((again, recovered)) => {
            let numbers = scattered(end, 1).take(sampled);
            let read = read_back(&again, &lab.table, numbers, report);
            let evidence =
                format!("{} containers; of the records {}", recovered.containers, read.evidence());
            proof.claim(claim, evidence, read.is_perfect());
            Some(again)
        }
        Err(error) => {
            proof.claim(claim, error.to_string(), false);
            None
        }
    };
    // every group has lost q slots: with one node more, no group can be read
    let all_at_the_limit = usize::from(setting.nodes) == setting.policy.total_shards()
        && usize::from(lose) == setting.policy.parity_shards();
    if let Some(again) = again.filter(|_| all_at_the_limit) {
        lab.nodes.stop(lose);
        let others = scattered(end, 1).skip(sampled).take(sampled);
        let read = read_back(&again, &lab.table, others, report);
        proof.claim(
            "with one node more, a read is an error that says what is missing, never wrong bytes",
            read.evidence(),
            read.wrong == 0 && read.errors > 0,
        );
        again.close()?;
    }
    lab.close()?;
    Ok(proof)
}

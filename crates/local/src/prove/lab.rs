//! A lake to try things on: local nodes, and a writer with records in it.

use super::{ProveError, Setting};
use crate::{LocalNodes, connect, record};
use prunedb_disk::{Disk, RealDisk};
use prunedb_engine::{
    Connect, Db, Error, LakeSecret, OnProgress, Options, Progress, Table, TableKind,
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// What each local node may take up: the disk is the limit.
const CAPACITY_BYTES: u64 = 1 << 40;
/// Containers of a lab are no larger, and no smaller.
const CONTAINER_BYTES: std::ops::RangeInclusive<u64> = 1_000_000..=100_000_000;
/// The table that the records go into.
pub(super) const TABLE: &str = "proof/made-up-records";

pub(super) struct Lab {
    pub(super) nodes: LocalNodes,
    pub(super) db: Db,
    pub(super) table: Table,
    pub(super) secret: LakeSecret,
    pub(super) setting: Setting,
    pub(super) connect: Arc<Connect>,
    pub(super) runtime: Handle,
}

/// What reading records gave.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    pub(super) identical: u64,
    /// not there, or with other bytes
    pub(super) wrong: u64,
    /// refused with an error
    pub(super) errors: u64,
    pub(super) first_error: Option<Error>,
    pub(super) value_bytes: u64,
    pub(super) took: Duration,
    /// ranges that were rebuilt from other shards
    pub(super) rebuilt: u64,
}

impl ReadBack {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn mb_per_s(&self) -> f64 {
        self.value_bytes as f64 / 1e6 / self.took.as_secs_f64().max(1e-6)
    }

    /// Identical of all, and the first error.
    pub(super) fn evidence(&self) -> String {
        let all = self.identical + self.wrong + self.errors;
        let mut text = format!("{} of {all} identical", self.identical);
        if self.wrong > 0 {
            text.push_str(&format!(", {} WRONG", self.wrong));
        }
        if let Some(error) = &self.first_error {
            let mut error = error.to_string();
            if let Some((end, _)) = error.char_indices().nth(200) {
                error.truncate(end);
                error.push_str("...");
            }
            text.push_str(&format!(", {} refused, the first: {error}", self.errors));
        }
        text
    }

    pub(super) const fn is_perfect(&self) -> bool {
        self.wrong == 0 && self.errors == 0
    }
}

fn random_secret() -> Result<LakeSecret, ProveError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|e| ProveError::Io {
        what: "the system gives no randomness",
        source: std::io::Error::other(e.to_string()),
    })?;
    Ok(LakeSecret::new(bytes))
}

pub(super) fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

impl Lab {
    /// Starts the nodes, and an empty database over them.
    pub(super) fn new(setting: &Setting, runtime: &Handle) -> Result<Self, ProveError> {
        let nodes = LocalNodes::start(
            &setting.dir,
            setting.nodes,
            CAPACITY_BYTES,
            false,
            &disk(),
            runtime,
        )?;
        let ports = nodes.ports().to_vec();
        let connect: Arc<Connect> = Arc::new(move |address: &str| connect(address, &ports, None));
        let secret = random_secret()?;
        let addresses = (0..setting.nodes).map(crate::local_address).collect();
        let options = options(setting, "writer");
        Db::create(&disk(), &options, secret.lake_id(), addresses)?;
        let db = Db::open(disk(), options, secret.clone(), &*connect, runtime.clone())?;
        let table = db.ensure_table(TABLE, TableKind::Keyed)?;
        let (setting, runtime) = (setting.clone(), runtime.clone());
        Ok(Self { nodes, db, table, secret, setting, connect, runtime })
    }

    /// Another folder's settings, of a reader or of somebody who recovers.
    pub(super) fn options(&self, name: &str) -> Options {
        options(&self.setting, name)
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        (0..self.setting.nodes).map(crate::local_address).collect()
    }

    /// Puts records from `first` on until they have so many bytes, offloading meanwhile; the first number that is not
    /// there. All of them are in the lake then.
    pub(super) fn fill(
        &self,
        first: u64,
        bytes: u64,
        report: &mut OnProgress<'_>,
    ) -> Result<u64, ProveError> {
        let db = self.db.clone().with_background();
        let (mut number, mut done) = (first, 0);
        while done < bytes {
            let (key, value) = record(number);
            db.append(&[(&self.table, &key, &value)])?;
            done += value.len() as u64;
            number += 1;
            if number % 64 == 0 {
                report(Progress { what: "put", done, total: bytes, container: None });
            }
        }
        db.commit()?;
        db.flush(report)?;
        Ok(number)
    }

    /// Fills it, and drops every local copy: what is read from now on comes from the nodes.
    pub(super) fn fill_and_evict(&self, report: &mut OnProgress<'_>) -> Result<u64, ProveError> {
        let end = self.fill(0, self.setting.data_bytes, report)?;
        self.evict(report)?;
        Ok(end)
    }

    pub(super) fn evict(&self, report: &mut OnProgress<'_>) -> Result<(), ProveError> {
        let evicted = self.db.evict(report)?;
        match evicted.kept.first() {
            None => Ok(()),
            Some((container, reason)) => Err(ProveError::Kept(format!("{container}: {reason}"))),
        }
    }

    /// Nodes and policy, for people.
    pub(super) fn describe(&self, records: u64) -> String {
        let Setting { nodes, policy, data_bytes, .. } = &self.setting;
        let bytes = prunedb_core::units::ByteSize(*data_bytes);
        format!("{nodes} nodes at {policy} on real sockets and disks; {records} records, {bytes}")
    }

    /// Makes everything durable and stops the nodes.
    pub(super) fn close(mut self) -> Result<(), ProveError> {
        self.db.close()?;
        self.nodes.stop_all();
        Ok(())
    }
}

fn options(setting: &Setting, name: &str) -> Options {
    let dir: PathBuf = setting.dir.join(name);
    let mut options = Options::new(dir, setting.policy);
    options.container_bytes =
        (setting.data_bytes / 4).clamp(*CONTAINER_BYTES.start(), *CONTAINER_BYTES.end());
    options
}

/// Reads records through the front door and compares them.
pub(super) fn read_back(
    db: &Db,
    table: &Table,
    numbers: impl Iterator<Item = u64>,
    report: &mut OnProgress<'_>,
) -> ReadBack {
    let (mut out, started) = (ReadBack::default(), Instant::now());
    for (read, number) in (1..).zip(numbers) {
        let (key, value) = record(number);
        match db.get_traced(table, &key) {
            Ok((found, trace)) => {
                out.rebuilt += trace.rebuilt;
                out.value_bytes += value.len() as u64;
                if found.is_some_and(|found| found == value) {
                    out.identical += 1;
                } else {
                    out.wrong += 1;
                }
            }
            Err(error) => {
                out.errors += 1;
                out.first_error.get_or_insert(error);
            }
        }
        if read % 64 == 0 {
            let done = out.value_bytes;
            report(Progress { what: "read back", done, total: 0, container: None });
        }
    }
    out.took = started.elapsed();
    out
}

/// Every number below `end` once, in an order that neither disk nor cache foresees.
pub(super) fn scattered(end: u64, seed: u64) -> impl Iterator<Item = u64> {
    let common = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // near the golden section, and sharing no factor with the end
    let start = (end.max(2) * 618 / 1000 + seed).max(1);
    let stride = (start..).find(|&stride| common(stride, end.max(1)) == 1).unwrap_or(1);
    let (stride, end_wide) = (u128::from(stride), u128::from(end.max(1)));
    (0..end).map(move |n| {
        let at = (u128::from(n) * stride + u128::from(seed)) % end_wide;
        u64::try_from(at).expect("below the end")
    })
}

#[cfg(test)]
mod tests {
    use super::scattered;

    #[test]
    fn an_order_has_every_number_once() {
        for (end, seed) in [(0, 0), (1, 5), (2, 1), (10, 0), (997, 3), (1000, 999)] {
            let mut all: Vec<u64> = scattered(end, seed).collect();
            all.sort_unstable();
            assert_eq!(all, (0..end).collect::<Vec<_>>(), "{end} {seed}");
        }
    }
}

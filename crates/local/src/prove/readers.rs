//! Many read one lake at once, while it is written.

use super::{
    ProveError, Setting,
    lab::{Lab, ReadBack, disk, read_back, scattered},
    proof::Proof,
};
use prunedb_engine::{Db, Error, OnProgress};
use std::sync::{Arc, mpsc::channel};
use tokio::runtime::Handle;

/// Of the bytes, this share is written while the readers read.
const WRITTEN_MEANWHILE: u64 = 10;

/// Opens so many readers on folders of their own, all of which read everything at once while the writer goes on.
///
/// # Errors
/// [`ProveError`].
///
/// # Panics
/// Where a reader's thread panics.
pub fn readers(
    setting: &Setting,
    count: u16,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let lab = Lab::new(setting, runtime)?;
    let end = lab.fill_and_evict(report)?;
    let mut proof = Proof::new("readers", lab.describe(end));
    let mut opened = Vec::new();
    for number in 0..count {
        let options = lab.options(&format!("reader-{number}"));
        let (secret, connect) = (lab.secret.clone(), Arc::clone(&lab.connect));
        let seeds = lab.addresses();
        let handle = runtime.clone();
        opened.push(Db::open_reader(
            disk(),
            options,
            secret,
            &seeds,
            connect,
            handle,
            &mut |_| {},
        )?);
    }
    // (what each read, and what it then saw of what was written meanwhile)
    type Seen = (ReadBack, Result<ReadBack, Error>);
    let (new_end, seen) = std::thread::scope(|scope| {
        let (tell, waits): (Vec<_>, Vec<_>) = (0..count).map(|_| channel::<u64>()).unzip();
        let reading: Vec<_> = (0u64..)
            .zip(opened.iter().zip(waits))
            .map(|(number, (reader, is_written))| {
                let table = &lab.table;
                scope.spawn(move || -> Seen {
                    let all = scattered(end, number);
                    let read = read_back(reader, table, all, &mut |_| {});
                    // nothing is told where the writer failed: there is nothing new to see then
                    let new_end = is_written.recv().unwrap_or(end);
                    let fresh = reader
                        .refresh()
                        .map(|_| read_back(reader, table, end..new_end, &mut |_| {}));
                    (read, fresh)
                })
            })
            .collect();
        let new_end = lab.fill(end, setting.data_bytes / WRITTEN_MEANWHILE, report);
        for tell in tell {
            if let Ok(new_end) = new_end {
                // a reader that ended has panicked: the join says so
                _ = tell.send(new_end);
            }
        }
        let seen: Vec<Seen> =
            reading.into_iter().map(|r| r.join().expect("a reader does not panic")).collect();
        (new_end, seen)
    });
    let new_end = new_end?;
    let mut bytes_per_s = 0.0;
    for (number, (read, fresh)) in (1..).zip(&seen) {
        proof.claim(
            format!("reader {number} of {count} reads every record, in an order of its own, while others do and the writer writes"),
            format!("{}, {:.0} MB/s", read.evidence(), read.mb_per_s()),
            read.is_perfect() && read.identical == end,
        );
        let (evidence, holds) = match fresh {
            Ok(fresh) => (fresh.evidence(), fresh.is_perfect() && fresh.identical == new_end - end),
            Err(error) => (error.to_string(), false),
        };
        proof.claim(
            format!("reader {number} then sees what was written meanwhile"),
            evidence,
            holds,
        );
        bytes_per_s += read.mb_per_s();
    }
    let refused = opened.iter().all(|reader| {
        let put = reader.put(&lab.table, b"a reader's key", b"value");
        matches!(put, Err(Error::ReadOnly))
    });
    proof.claim("no reader can write", "a put is refused by each of them".into(), refused);
    proof.figure("all readers together", bytes_per_s, "MB/s");
    for reader in opened {
        reader.close()?;
    }
    lab.close()?;
    Ok(proof)
}

//! What the disks of nodes show somebody who takes them away.

use super::{
    ProveError, Setting,
    lab::{Lab, TABLE, read_back},
    proof::Proof,
};
use crate::{local_address, record};
use prunedb_core::LakeId;
use prunedb_engine::OnProgress;
use prunedb_store::{ShardStore, StoreError};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use tokio::runtime::Handle;

/// Length of what is looked for: chance finds none of them.
const NEEDLE_BYTES: usize = 12;
/// Records of which parts are looked for.
const SOUGHT_RECORDS: u64 = 50;
/// Blocks that are compared with each other: the smallest leaf.
const BLOCK_BYTES: usize = 4096;
/// A file is read in parts of this size.
const READ_BYTES: usize = 4 << 20;
/// Shards are read in parts of this size, and listed so many at once.
const SHARD_READ_BYTES: u32 = 1 << 20;
const LIST_COUNT: u32 = 1000;

/// Searches the disk of one node, and the disks of `p-1` together, for anything that was put and for keys.
///
/// # Errors
/// [`ProveError`].
pub fn privacy(
    setting: &Setting,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let mut lab = Lab::new(setting, runtime)?;
    let end = lab.fill_and_evict(report)?;
    let mut proof = Proof::new("privacy", lab.describe(end));
    let needles = needles(&lab, end);

    // the searcher itself is tried first, on the writer's own files before they went to the lake
    let (key, value) = record(0);
    let control: Vec<u8> = [&[7; 1000][..], &value, &key].concat();
    let mut finds = Search::new(&needles);
    finds.feed(&control);
    proof.claim(
        "the search works: it finds records in a file that is not encrypted",
        format!("{} finds in a control of {} bytes", finds.found.len(), control.len()),
        finds.found.contains("a record's value") && finds.found.contains("a record's key"),
    );

    let few = u16::try_from(setting.policy.data_shards() - 1).expect("a policy has at most 255");
    for (who, nodes) in
        [("the disk of one node".to_owned(), 1), (format!("the disks of p-1 = {few} nodes"), few)]
    {
        let mut search = Search::new(&needles);
        let mut files = 0;
        for node in 0..nodes {
            for path in files_below(&lab.nodes.node_dir(node))
                .map_err(ProveError::io("cannot read a node's disk"))?
            {
                search.file(&path).map_err(ProveError::io("cannot read a node's disk"))?;
                files += 1;
            }
            let store = (lab.connect)(&local_address(node));
            let reading = search.shards(&*store, lab.db.lake());
            lab.runtime.block_on(reading).map_err(prunedb_engine::Error::from)?;
        }
        let found: Vec<&str> = search.found.iter().copied().collect();
        proof.claim(
            format!("{who}: no part of a record, no key of a record, no table's name, no part of the lake's secret"),
            format!(
                "{} needles of {NEEDLE_BYTES} bytes looked for in {files} files, {} bytes; found: {}",
                needles.len(),
                search.bytes,
                if found.is_empty() { "none".to_owned() } else { found.join(", ") }
            ),
            found.is_empty(),
        );
        let (entropy, least) = search.entropy();
        proof.claim(
            format!("{who}: the shards look like noise"),
            format!(
                "{entropy:.5} bits a byte over {} bytes (noise of that length has {least:.5} or more)",
                search.noise_bytes
            ),
            entropy >= least,
        );
        proof.claim(
            format!(
                "{who}: what repeats itself in the records does not repeat itself on the disks"
            ),
            format!(
                "{} of {} blocks of {BLOCK_BYTES} bytes are there twice",
                search.repeated,
                search.blocks.len()
            ),
            search.repeated == 0,
        );
    }

    // all but p-1 nodes stop, and the caller has every key: still nothing comes back whole
    for node in few..setting.nodes {
        lab.nodes.stop(node);
    }
    let read = read_back(&lab.db, &lab.table, 0..end.min(SOUGHT_RECORDS), report);
    proof.claim(
        "even with the secret, p-1 nodes do not give back what lies on none of them",
        read.evidence(),
        read.wrong == 0 && read.errors > 0,
    );
    lab.close()?;
    Ok(proof)
}

/// Short runs of bytes that would give something away, and what they are.
fn needles(lab: &Lab, records: u64) -> HashMap<[u8; NEEDLE_BYTES], &'static str> {
    let mut out = HashMap::new();
    let mut add = |bytes: &[u8], what| {
        for run in bytes.windows(NEEDLE_BYTES) {
            out.insert(run.try_into().expect("a window has its length"), what);
        }
    };
    for number in 0..records.min(SOUGHT_RECORDS) {
        let (key, value) = record(number);
        add(&key, "a record's key");
        add(&value, "a record's value");
    }
    add(TABLE.as_bytes(), "a table's name");
    add(lab.secret.expose(), "the lake's secret");
    out
}

fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            out.extend(files_below(&entry.path())?);
        } else {
            out.push(entry.path());
        }
    }
    Ok(out)
}

struct Search<'a> {
    needles: &'a HashMap<[u8; NEEDLE_BYTES], &'static str>,
    /// which first four bytes a needle may have: nearly every place is passed over by it
    begins: HashSet<[u8; 4]>,
    found: HashSet<&'static str>,
    bytes: u64,
    counts: [u64; 256],
    noise_bytes: u64,
    blocks: HashSet<[u8; 16]>,
    repeated: u64,
}

impl<'a> Search<'a> {
    fn new(needles: &'a HashMap<[u8; NEEDLE_BYTES], &'static str>) -> Self {
        let begins = needles.keys().map(|n| *n.first_chunk().expect("12 bytes")).collect();
        Self {
            needles,
            begins,
            found: HashSet::new(),
            bytes: 0,
            counts: [0; 256],
            noise_bytes: 0,
            blocks: HashSet::new(),
            repeated: 0,
        }
    }

    /// Searches bytes.
    fn feed(&mut self, bytes: &[u8]) {
        for run in bytes.windows(NEEDLE_BYTES) {
            let begin: &[u8; 4] = run.first_chunk().expect("12 bytes");
            if self.begins.contains(begin)
                && let Some(what) = self.needles.get(run)
            {
                self.found.insert(what);
            }
        }
    }

    /// Searches a file, also across the parts that it is read in.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut kept: Vec<u8> = Vec::new();
        loop {
            let mut part = std::mem::take(&mut kept);
            let before = part.len();
            io::Read::by_ref(&mut file).take(READ_BYTES as u64).read_to_end(&mut part)?;
            if part.len() == before {
                return Ok(());
            }
            self.bytes += (part.len() - before) as u64;
            self.feed(&part);
            kept = part.split_off(part.len().saturating_sub(NEEDLE_BYTES - 1));
        }
    }

    /// Counts bytes and compares blocks of every shard that a node holds, as it gives them out.
    async fn shards(&mut self, store: &dyn ShardStore, lake: LakeId) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let shards = store.list(lake, after, LIST_COUNT).await?;
            let Some(last) = shards.last() else { return Ok(()) };
            after = Some(last.id);
            for shard in &shards {
                let mut at = 0;
                while at < shard.bytes {
                    let bytes = (shard.bytes - at).min(SHARD_READ_BYTES.into());
                    let bytes = u32::try_from(bytes).expect("at most a MiB");
                    let part = store.get(shard.id, at, bytes).await?;
                    part.chunks(BLOCK_BYTES).for_each(|block| self.block(block));
                    at += u64::from(bytes);
                }
            }
        }
    }

    fn block(&mut self, block: &[u8]) {
        block.iter().for_each(|&byte| self.counts[usize::from(byte)] += 1);
        self.noise_bytes += block.len() as u64;
        let digest = *blake3::hash(block).as_bytes().first_chunk().expect("32 bytes hold 16");
        self.repeated += u64::from(!self.blocks.insert(digest));
    }

    /// Bits of Shannon entropy a byte, and what noise of that length has at least (six standard deviations).
    #[expect(clippy::cast_precision_loss, reason = "statistics")]
    fn entropy(&self) -> (f64, f64) {
        let all = self.noise_bytes.max(1) as f64;
        let of = |&count: &u64| {
            let share = count as f64 / all;
            if count == 0 { 0.0 } else { -share * share.log2() }
        };
        let entropy = self.counts.iter().map(of).sum();
        // 2 n ln 2 times what is lacking is chi-squared with 255 degrees of freedom
        let lacking =
            (255.0 + 6.0 * (2.0 * 255.0_f64).sqrt()) / (2.0 * all * std::f64::consts::LN_2);
        (entropy, 8.0 - lacking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_what_lies_across_parts_and_tells_text_from_noise() {
        let needles = HashMap::from([(*b"needle in a ", "a needle")]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.seg");
        let mut noise = vec![0; READ_BYTES + 10 * BLOCK_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        std::fs::write(&path, &noise).unwrap();
        let mut search = Search::new(&needles);
        search.file(&path).unwrap();
        noise.chunks(BLOCK_BYTES).for_each(|block| search.block(block));
        assert_eq!((search.found.len(), search.repeated, search.bytes), (0, 0, noise.len() as u64));
        let (entropy, least) = search.entropy();
        assert!(entropy >= least && least > 7.999, "{entropy} {least}");

        noise[READ_BYTES - 5..READ_BYTES + 7].copy_from_slice(b"needle in a ");
        noise[..READ_BYTES / 2].iter_mut().step_by(50).for_each(|byte| *byte = b'e');
        let (first, second) = noise.split_at_mut(BLOCK_BYTES);
        second[..BLOCK_BYTES].copy_from_slice(first);
        std::fs::write(&path, &noise).unwrap();
        let mut search = Search::new(&needles);
        search.file(&path).unwrap();
        noise.chunks(BLOCK_BYTES).for_each(|block| search.block(block));
        assert_eq!((&search.found, search.repeated), (&HashSet::from(["a needle"]), 1));
        let (entropy, least) = search.entropy();
        assert!(entropy < least, "{entropy} {least}");
    }
}

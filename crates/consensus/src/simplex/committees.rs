//! Who votes in each sitting, on this machine's disk: a validator that starts again in the middle of a sitting has to know before its
//! state does.
//!
//! ```text
//! <dir>/committees
//!
//! offset  size  field
//!      0     8  magic      "PDBVOTE\x01"
//!      8     8  last       the last sitting that is known, u64
//!     16     4  count      of committees, u32
//!     20     .  committees by rising sitting: first sitting u64, count of keys u8, keys of 32 bytes; each holds until the next one
//!   last    32  BLAKE3 of everything before
//! ```
//! Numbers are little-endian. The file is replaced as a whole, before anything is agreed on by a committee that is new in it. A list of
//! keys that can be no committee changes nothing: the one before stays.

use super::{PublicKey, Scheme, SimplexError, VALIDATORS_MAX, public_key};
use crate::journal::JournalError;
use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    certificate::{Provider, Scheme as _, Scoped},
    ed25519::PrivateKey,
};
use commonware_utils::ordered;
use prunedb_disk::{Disk, read_all, write_atomic};
use prunedb_format::{FormatError, bytes::Reader};
use prunedb_registry::Key;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

const MAGIC: &[u8; 8] = b"PDBVOTE\x01";
/// Largest file that is read: some thousand changes among 255.
const BYTES_MAX: usize = 32 << 20;

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct Committees(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    registry: prunedb_core::Digest,
    secret: PrivateKey,
    known: Mutex<Known>,
    last: watch::Sender<u64>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committees")
            .field("path", &self.path)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default, Debug)]
struct Known {
    /// by the first sitting of each
    committees: BTreeMap<u64, Committee>,
    last: u64,
}

#[derive(Clone, Debug)]
struct Committee {
    keys: Vec<Key>,
    scheme: Arc<Scheme>,
}

/// The members of a committee, in the library's order.
pub(crate) fn members(keys: &[Key]) -> Result<ordered::Set<PublicKey>, &'static str> {
    if keys.is_empty() || keys.len() > VALIDATORS_MAX {
        return Err("there are 1 to 255 validators");
    }
    let keys: Option<Vec<_>> = keys.iter().map(public_key).collect();
    let keys = keys.ok_or("a validator's key is not an ed25519 key")?;
    ordered::Set::try_from(keys).map_err(|_| "a validator is listed twice")
}

/// How a committee signs and is checked; this validator signs only where it is a member.
pub(crate) fn scheme(
    registry: &prunedb_core::Digest,
    members: ordered::Set<PublicKey>,
    secret: &PrivateKey,
) -> Scheme {
    Scheme::signer(&registry.0, members.clone(), secret.clone())
        .unwrap_or_else(|| Scheme::verifier(&registry.0, members))
}

impl Known {
    fn of(&self, sitting: u64) -> Option<&Committee> {
        let committee = self.committees.range(..=sitting).next_back().map(|(_, found)| found);
        committee.filter(|_| sitting <= self.last)
    }

    fn put(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&prunedb_format::bytes::count_u32(self.committees.len()));
        for (sitting, committee) in &self.committees {
            out.extend_from_slice(&sitting.to_le_bytes());
            out.push(u8::try_from(committee.keys.len()).expect("at most 255"));
            committee.keys.iter().for_each(|key| out.extend_from_slice(&key.0));
        }
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committee(&self, keys: &[Key]) -> Result<Committee, &'static str> {
        let scheme = Arc::new(scheme(&self.registry, members(keys)?, &self.secret));
        Ok(Committee { keys: keys.to_vec(), scheme })
    }

    /// What is on the disk; nothing where the file was never written.
    fn load(&self) -> Result<Option<Known>, JournalError> {
        let failed = |e: &std::io::Error| JournalError::io("reading", &self.path, e);
        if !self.disk.exists(&self.path).map_err(|e| failed(&e))? {
            return Ok(None);
        }
        let bytes = read_all(&*self.disk, &self.path, BYTES_MAX).map_err(|e| failed(&e))?;
        let damaged =
            |problem: String| JournalError::Damaged { path: self.path.clone(), offset: 0, problem };
        let (body, digest) =
            bytes.split_last_chunk::<32>().ok_or_else(|| damaged("it is too short".into()))?;
        if blake3::hash(body).as_bytes() != digest {
            return Err(damaged("its checksum is wrong".into()));
        }
        let (lists, last) = lists(body).map_err(|error| damaged(error.to_string()))?;
        let mut known = Known { committees: BTreeMap::new(), last };
        for (sitting, keys) in lists {
            let committee = self.committee(&keys).map_err(|problem| damaged(problem.into()))?;
            known.committees.insert(sitting, committee);
        }
        Ok(Some(known))
    }

    /// Keeps what is known now, on the disk first.
    fn keep(&self, known: &mut Known, new: Known) -> Result<(), JournalError> {
        write_atomic(&*self.disk, &self.path, &new.put())
            .map_err(|e| JournalError::io("writing", &self.path, &e))?;
        self.last.send_replace(new.last);
        *known = new;
        Ok(())
    }
}

/// The committees by their first sittings, and the last sitting, of a file's bytes without the checksum.
fn lists(body: &[u8]) -> Result<(BTreeMap<u64, Vec<Key>>, u64), FormatError> {
    let mut from = Reader::new("committees", body);
    let magic = from.array::<8>()?;
    if magic != *MAGIC {
        return Err(FormatError::Value {
            what: "committees: magic",
            found: u64::from_le_bytes(magic),
        });
    }
    let last = from.u64()?;
    let mut lists = BTreeMap::new();
    for _ in 0..from.u32()? {
        let sitting = from.u64()?;
        let keys = (0..from.u8()?).map(|_| from.array().map(Key)).collect::<Result<_, _>>()?;
        let is_rising = lists.last_key_value().is_none_or(|(before, _)| *before < sitting);
        if !is_rising || sitting > last {
            return Err(FormatError::Value { what: "committees: sitting", found: sitting });
        }
        lists.insert(sitting, keys);
    }
    from.end()?;
    Ok((lists, last))
}

impl Committees {
    /// Those that the folder has, or the founders.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        registry: prunedb_core::Digest,
        secret: PrivateKey,
        founders: &[Key],
    ) -> Result<Self, SimplexError> {
        let (last, _) = watch::channel(0);
        let inner = Inner { disk, path, registry, secret, known: Mutex::default(), last };
        let known = match inner.load()? {
            Some(known) => known,
            None => {
                let founders = inner.committee(founders).map_err(SimplexError::Validators)?;
                Known { committees: BTreeMap::from([(0, founders)]), last: 0 }
            }
        };
        inner.last.send_replace(known.last);
        *inner.known() = known;
        Ok(Self(Arc::new(inner)))
    }

    /// Begins anew at a sitting: what was before is not known any more.
    pub(crate) fn begin_at(&self, sitting: u64, keys: &[Key]) -> Result<(), SimplexError> {
        let committee = self.0.committee(keys).map_err(SimplexError::Validators)?;
        let mut known = self.0.known();
        let new = Known { committees: BTreeMap::from([(sitting, committee)]), last: sitting };
        Ok(self.0.keep(&mut known, new)?)
    }

    /// Takes in who votes in a sitting, as the own state has it. A sitting that is known already is compared.
    ///
    /// # Errors
    /// Says why nobody may go on here.
    pub(crate) fn elected(&self, sitting: u64, keys: &[Key]) -> Result<(), String> {
        let mut known = self.0.known();
        let before =
            known.of(sitting.min(known.last)).ok_or("the sitting is from before the snapshot")?;
        let others = (before.keys != keys).then(|| self.0.committee(keys)).transpose();
        let others = others.unwrap_or_else(|problem| {
            tracing::error!(
                sitting,
                problem,
                "the registry's validators can be no committee: those of before go on voting"
            );
            None
        });
        if sitting <= known.last {
            let path = self.0.path.display();
            let damaged = || {
                format!("others voted in sitting {sitting} than the state says: {path} is damaged")
            };
            return others.map_or(Ok(()), |_| Err(damaged()));
        }
        let mut new = Known { last: sitting, ..known.clone() };
        new.committees.extend(others.map(|committee| (sitting, committee)));
        self.0.keep(&mut known, new).map_err(|error| error.to_string())
    }

    /// Drops what is only known of sittings before one.
    pub(crate) fn forget_before(&self, sitting: u64) -> Result<(), JournalError> {
        let mut known = self.0.known();
        let Some(first) = known.committees.range(..=sitting).next_back().map(|(first, _)| *first)
        else {
            return Ok(());
        };
        if known.committees.range(..first).next().is_none() {
            return Ok(());
        }
        let mut new = known.clone();
        new.committees = new.committees.split_off(&first);
        self.0.keep(&mut known, new)
    }

    /// The registry's name.
    pub(crate) fn registry(&self) -> &prunedb_core::Digest {
        &self.0.registry
    }

    /// The committee of a sitting, where it is known.
    pub(crate) fn of(&self, sitting: u64) -> Option<Arc<Scheme>> {
        self.0.known().of(sitting).map(|committee| Arc::clone(&committee.scheme))
    }

    /// The committee of a sitting, as soon as it is known.
    pub(crate) async fn wait(&self, sitting: u64) -> Arc<Scheme> {
        let mut last = self.0.last.subscribe();
        loop {
            if let Some(scheme) = self.of(sitting) {
                return scheme;
            }
            last.changed().await.expect("the sender is here");
        }
    }

    /// How many vote in the last sitting that is known, and whether this validator is among them.
    pub(crate) fn newest(&self) -> (usize, bool) {
        let known = self.0.known();
        known.of(known.last).map_or((0, false), |c| (c.keys.len(), c.scheme.me().is_some()))
    }
}

impl Provider for Committees {
    type Scope = Epoch;
    type Scheme = Scheme;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.of(epoch.get()).map(Scoped::scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_codec::{Copying, DecodeExt};
    use prunedb_disk::faulty::FaultyDisk;
    use prunedb_registry::Secret;

    const PATH: &str = "/validator/committees";

    fn keys(numbers: &[u8]) -> Vec<Key> {
        let mut keys: Vec<_> = numbers.iter().map(|&n| Secret::from_seed(&[n; 32]).key()).collect();
        keys.sort_unstable();
        keys
    }

    fn open(disk: &FaultyDisk) -> Result<Committees, SimplexError> {
        disk.create_dir_all("/validator".as_ref()).unwrap();
        let secret = PrivateKey::decode(Copying(&[2; 32][..])).unwrap();
        let registry = prunedb_core::Digest([3; 32]);
        Committees::open(Arc::new(disk.clone()), PATH.into(), registry, secret, &keys(&[1, 2, 3]))
    }

    #[test]
    fn who_votes_in_each_sitting_outlives_a_restart() {
        let disk = FaultyDisk::new(1);
        let committees = open(&disk).unwrap();
        assert_eq!(committees.newest(), (3, true));
        assert!(committees.of(1).is_none(), "nobody has told");
        committees.elected(1, &keys(&[1, 2, 3])).unwrap();
        committees.elected(2, &keys(&[1, 3, 4, 5])).unwrap();
        // nobody: those of before go on
        committees.elected(3, &[]).unwrap();
        let again = open(&disk).unwrap();
        for committees in [&committees, &again] {
            assert_eq!(committees.newest(), (4, false));
            let votes = |sitting| committees.of(sitting).map(|s| s.participants().len());
            assert_eq!([0, 1, 2, 3, 4].map(votes), [Some(3), Some(3), Some(4), Some(4), None]);
        }
        // told again, as a replay does; and told something else
        again.elected(2, &keys(&[1, 3, 4, 5])).unwrap();
        again.elected(3, &[]).unwrap();
        let damaged = again.elected(2, &keys(&[1, 2, 3])).unwrap_err();
        assert!(damaged.contains("others voted in sitting 2"), "{damaged}");

        again.forget_before(2).unwrap();
        assert!(again.of(1).is_none() && again.of(2).is_some());
        again.begin_at(9, &keys(&[2, 6])).unwrap();
        let begun = open(&disk).unwrap();
        assert!(begun.of(3).is_none() && begun.of(10).is_none());
        assert_eq!(begun.newest(), (2, true));
    }

    #[test]
    fn a_damaged_file_is_told() {
        let disk = FaultyDisk::new(1);
        open(&disk).unwrap().elected(1, &keys(&[1, 4])).unwrap();
        let length = disk.file(PATH).len();
        for at in 0..length {
            disk.flip(PATH, at, 1);
            let error = open(&disk).unwrap_err().to_string();
            assert!(error.contains("checksum"), "{error}");
            disk.flip(PATH, at, 1);
        }
        open(&disk).unwrap();
        for end in 0..length - 32 {
            assert!(lists(&disk.file(PATH)[..end]).is_err());
        }
    }
}

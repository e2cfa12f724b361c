//! What every [`ShardStore`] must do, as one suite. A panic says what it does not.
//!
//! It works on lakes of its own, whose ids begin with the bytes `conformance`, so it may run on a store in use; it
//! leaves fences behind, and a second run on the same store needs another `run` number. Beside it a [`SlowStore`], for
//! tests of those who have to live with slow and hanging stores.

mod slow;

pub use slow::SlowStore;

use crate::{GET_BYTES_MAX, PutMode, ShardStore, StoreError, StoredHead};
use bytes::Bytes;
use prunedb_core::{ContainerId, ContainerKind, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_proof::{AUDIT_SAMPLES_MAX, Audit};

/// Runs every case.
///
/// # Panics
/// Where the store does something else than the trait says.
pub async fn run(store: &dyn ShardStore, run: u8) {
    let case = |case: u8| Case { store, lake: lake(run, case) };
    case(0).put_and_get().await;
    case(1).puts_are_idempotent().await;
    case(2).refuses_wrong_uploads().await;
    case(3).a_dropped_upload_leaves_nothing().await;
    case(4).replaces().await;
    case(5).deletes().await;
    case(6).lists_in_order().await;
    case(7).fences().await;
    case(8).keeps_the_newest_head().await;
    case(9).uploads_interleave().await;
    case(10).uploads_of_one_shard_race().await;
    case(11).tells_its_space().await;
    case(12).shows_samples().await;
}

fn lake(run: u8, case: u8) -> LakeId {
    let mut id = *b"conformance\0\0\0\0\0";
    id[14] = run;
    id[15] = case;
    LakeId(id)
}

/// Bytes that depend on the seed, and do not repeat.
fn bytes(seed: u8, count: usize) -> Bytes {
    let mut out = vec![0; count];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out.into()
}

fn name(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

struct Case<'a> {
    store: &'a dyn ShardStore,
    lake: LakeId,
}

const TERM: Term = Term(5);

impl Case<'_> {
    fn id(&self, number: u32, index: u8) -> ShardId {
        ShardId { lake: self.lake, container: ContainerId::data(number), index: ShardIndex(index) }
    }

    async fn put(&self, id: ShardId, term: Term, mode: PutMode, shard: &Bytes) -> Outcome {
        self.put_in_pieces(id, term, mode, shard, &[shard.len()]).await
    }

    /// Puts a shard in pieces of these lengths, again and again until it is all sent.
    async fn put_in_pieces(
        &self,
        id: ShardId,
        term: Term,
        mode: PutMode,
        shard: &Bytes,
        pieces: &[usize],
    ) -> Outcome {
        let mut upload = self.store.put(id, term, shard.len() as u64, mode).await?;
        let mut rest = shard.clone();
        for &piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            upload.write(rest.split_to(piece.min(rest.len()))).await?;
        }
        upload.commit(name(shard)).await
    }

    async fn stored(&self, id: ShardId, shard: &Bytes) {
        let mut read = Vec::new();
        while read.len() < shard.len() {
            let left = shard.len() - read.len();
            let now = u32::try_from(left).unwrap_or(GET_BYTES_MAX).min(GET_BYTES_MAX);
            let range = self.store.get(id, read.len() as u64, now).await;
            read.extend_from_slice(&range.expect("a range of a shard that was put"));
        }
        assert!(read == *shard, "{id}: other bytes come back");
        let stat = self.store.stat(id).await.expect("stat").expect("the shard is there");
        assert_eq!((stat.id, stat.bytes, stat.name), (id, shard.len() as u64, name(shard)));
    }

    async fn absent(&self, id: ShardId) {
        let got = self.store.get(id, 0, 1).await;
        assert!(matches!(got, Err(StoreError::Absent { id: of, .. }) if of == id), "{got:?}");
        assert_eq!(self.store.stat(id).await.expect("stat"), None);
    }

    async fn put_and_get(&self) {
        self.absent(self.id(0, 0)).await;
        let sizes = [1, 4096, 16_383, 16_384, 16_385, 100_000, 262_144, 5_000_000];
        for (number, size) in sizes.into_iter().enumerate() {
            let number = u32::try_from(number).expect("few sizes");
            let shard = bytes(u8::try_from(number).expect("few sizes"), size);
            let id = self.id(number, 1);
            let pieces = [1, 70_000, 16_384, 3];
            let put = self.put_in_pieces(id, TERM, PutMode::IfAbsent, &shard, &pieces).await;
            put.expect("put");
            self.stored(id, &shard).await;
            let stat = self.store.stat(id).await.expect("stat").expect("the shard is there");
            assert_eq!(stat.term, TERM);
            for (offset, count) in [(0, 1), (size - 1, 1), (size / 3, size / 3), (size / 2, 1)] {
                let want = shard.slice(offset..offset + count);
                if want.is_empty() || count > GET_BYTES_MAX as usize {
                    continue;
                }
                let count = u32::try_from(count).expect("at most 4 MiB");
                let got = self.store.get(id, offset as u64, count).await.expect("a range");
                assert!(got == want, "{id}: bytes {offset}+{count} differ");
            }
            for (offset, count) in [(size as u64, 1), (0, size as u64 + 1), (u64::MAX, 1)] {
                let Ok(count) = u32::try_from(count) else { continue };
                if count > GET_BYTES_MAX {
                    continue;
                }
                let got = self.store.get(id, offset, count).await;
                assert!(matches!(got, Err(StoreError::Range { .. })), "{got:?}");
            }
        }
    }

    async fn puts_are_idempotent(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 50_000));
        for _ in 0..3 {
            self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("the same shard again");
            self.stored(id, &shard).await;
        }
        for other in [bytes(2, 50_000), bytes(2, 49_999)] {
            for mode in [PutMode::IfAbsent, PutMode::Replace] {
                let put = self.put(id, TERM, mode, &other).await;
                assert!(matches!(put, Err(StoreError::Conflict { .. })), "{mode:?}: {put:?}");
            }
        }
        self.stored(id, &shard).await;
    }

    async fn refuses_wrong_uploads(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 40_000));
        let begin = || self.store.put(id, TERM, 40_000, PutMode::IfAbsent);

        let mut upload = begin().await.expect("put");
        upload.write(shard.clone()).await.expect("write");
        let done = upload.commit(name(b"something else")).await;
        assert!(matches!(done, Err(StoreError::Rejected { .. })), "wrong name: {done:?}");

        let mut upload = begin().await.expect("put");
        upload.write(shard.slice(..39_999)).await.expect("write");
        let done = upload.commit(name(&shard[..39_999])).await;
        assert!(matches!(done, Err(StoreError::Rejected { .. })), "too short: {done:?}");

        let mut upload = begin().await.expect("put");
        upload.write(shard.clone()).await.expect("write");
        let more = upload.write(shard.slice(..1)).await;
        assert!(more.is_err(), "a byte too many was taken");
        drop(upload);

        self.absent(id).await;
        self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("the right one");
        self.stored(id, &shard).await;
    }

    async fn a_dropped_upload_leaves_nothing(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 600_000));
        let mut upload = self.store.put(id, TERM, 600_000, PutMode::IfAbsent).await.expect("put");
        upload.write(shard.slice(..500_000)).await.expect("write");
        drop(upload);
        self.absent(id).await;
        assert!(self.store.list(self.lake, None, 10).await.expect("list").is_empty());
        self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("put it whole");
        self.stored(id, &shard).await;
    }

    async fn replaces(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 70_000));
        self.put(id, TERM, PutMode::Replace, &shard).await.expect("nothing to replace");
        self.stored(id, &shard).await;
        self.put(id, Term(6), PutMode::Replace, &shard).await.expect("replace");
        self.stored(id, &shard).await;
        let stat = self.store.stat(id).await.expect("stat").expect("the shard is there");
        assert_eq!(stat.term, Term(6));
        assert_eq!(self.store.list(self.lake, None, 10).await.expect("list"), [stat]);
    }

    async fn deletes(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 70_000));
        assert!(!self.store.delete(id, TERM).await.expect("delete what is not there"));
        self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("put");
        assert!(self.store.delete(id, TERM).await.expect("delete"));
        self.absent(id).await;
        assert!(!self.store.delete(id, TERM).await.expect("delete again"));
        let other = bytes(2, 80_000);
        self.put(id, TERM, PutMode::IfAbsent, &other).await.expect("another in its place");
        self.stored(id, &other).await;
    }

    async fn lists_in_order(&self) {
        let mut ids = Vec::new();
        for number in [3, 0, 256, 65_536] {
            for (kind, index) in [(ContainerKind::Index, 0), (ContainerKind::Data, 7)] {
                let container = ContainerId { kind, number };
                ids.push(ShardId { lake: self.lake, container, index: ShardIndex(index) });
            }
        }
        let shard = bytes(1, 20);
        for id in &ids {
            self.put(*id, TERM, PutMode::IfAbsent, &shard).await.expect("put");
        }
        let beside = LakeId({
            let mut id = self.lake.0;
            id[13] = 1;
            id
        });
        let elsewhere = ShardId { lake: beside, ..self.id(1, 1) };
        self.put(elsewhere, TERM, PutMode::IfAbsent, &shard).await.expect("put");
        ids.sort();
        for page in [1, 3, 1000] {
            let mut found = Vec::new();
            loop {
                let after = found.last().copied();
                let list = self.store.list(self.lake, after, page).await.expect("list");
                assert!(list.len() as u64 <= u64::from(page));
                if list.is_empty() {
                    break;
                }
                found.extend(list.iter().map(|stat| stat.id));
            }
            assert_eq!(found, ids);
        }
    }

    async fn fences(&self) {
        let (id, shard) = (self.id(0, 0), bytes(1, 50_000));
        self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("put");
        let mut late =
            self.store.put(self.id(1, 0), TERM, 50_000, PutMode::IfAbsent).await.expect("put");
        late.write(shard.clone()).await.expect("write");

        self.store.fence(self.lake, Term(7)).await.expect("fence");
        self.store.fence(self.lake, Term(7)).await.expect("the same fence again");
        let is_fenced = |e: &StoreError, term: Term| matches!(e, StoreError::Fenced { term: of, seen: Term(7), .. } if *of == term);
        let late = late.commit(name(&shard)).await.expect_err("a commit of an older term");
        assert!(is_fenced(&late, TERM), "{late:?}");
        self.absent(self.id(1, 0)).await;

        let put = self.put(self.id(2, 0), Term(6), PutMode::IfAbsent, &shard).await;
        assert!(is_fenced(&put.expect_err("put"), Term(6)));
        let deleted = self.store.delete(id, Term(6)).await;
        assert!(is_fenced(&deleted.expect_err("delete"), Term(6)));
        let fence = self.store.fence(self.lake, Term(6)).await;
        assert!(is_fenced(&fence.expect_err("fence"), Term(6)));
        let head = StoredHead { term: Term(6), number: 1, bytes: Bytes::from_static(b"old") };
        let head = self.store.put_head(self.lake, head).await;
        assert!(is_fenced(&head.expect_err("head"), Term(6)));

        self.stored(id, &shard).await;
        self.put(self.id(2, 0), Term(7), PutMode::IfAbsent, &shard).await.expect("the new term");
        // a commit of a higher term fences as well
        self.put(self.id(3, 0), Term(9), PutMode::IfAbsent, &shard).await.expect("a newer term");
        let old = self.store.delete(id, Term(8)).await;
        assert!(matches!(old, Err(StoreError::Fenced { seen: Term(9), .. })), "{old:?}");
        // other lakes are not concerned
        let other = LakeId([0xee; 16]);
        assert_eq!(self.store.list(other, None, 1).await.expect("list").len(), 0);
    }

    async fn keeps_the_newest_head(&self) {
        assert_eq!(self.store.head(self.lake).await.expect("head"), None);
        let head = |term, number, seed| StoredHead {
            term: Term(term),
            number,
            bytes: bytes(seed, 1000 * usize::from(seed)),
        };
        let put = |it| self.store.put_head(self.lake, it);
        put(head(5, 3, 1)).await.expect("the first head");
        for old in [head(5, 3, 2), head(5, 2, 2)] {
            put(old).await.expect("an older head is no error");
            assert_eq!(self.store.head(self.lake).await.expect("head"), Some(head(5, 3, 1)));
        }
        for new in [head(5, 4, 3), head(6, 1, 4), head(6, u64::MAX, 5)] {
            put(new.clone()).await.expect("a newer head");
            assert_eq!(self.store.head(self.lake).await.expect("head"), Some(new));
        }
        let largest = StoredHead { bytes: bytes(1, crate::HEAD_BYTES_MAX), ..head(7, 0, 1) };
        put(largest.clone()).await.expect("the largest head");
        assert_eq!(self.store.head(self.lake).await.expect("head"), Some(largest));
        let too_large = StoredHead { bytes: bytes(1, crate::HEAD_BYTES_MAX + 1), ..head(8, 0, 1) };
        put(too_large).await.expect_err("too large a head");
    }

    async fn uploads_interleave(&self) {
        let shards: Vec<Bytes> = (0..4).map(|i| bytes(i, 300_000 + usize::from(i))).collect();
        let mut uploads = Vec::new();
        for (index, shard) in shards.iter().enumerate() {
            let id = self.id(0, u8::try_from(index).expect("few shards"));
            let upload = self.store.put(id, TERM, shard.len() as u64, PutMode::IfAbsent).await;
            uploads.push((id, upload.expect("put"), shard.clone(), shard));
        }
        while uploads.iter().any(|(_, _, rest, _)| !rest.is_empty()) {
            for (_, upload, rest, _) in &mut uploads {
                upload.write(rest.split_to(rest.len().min(65_536))).await.expect("write");
            }
        }
        while let Some((id, upload, _, shard)) = uploads.pop() {
            upload.commit(name(shard)).await.expect("commit");
            self.stored(id, shard).await;
        }
    }

    async fn uploads_of_one_shard_race(&self) {
        let (id, shard, other) = (self.id(0, 0), bytes(1, 30_000), bytes(2, 30_000));
        let begin = || self.store.put(id, TERM, 30_000, PutMode::IfAbsent);
        let mut same = begin().await.expect("put");
        let mut second = begin().await.expect("put");
        let mut third = begin().await.expect("put");
        for (upload, bytes) in [(&mut same, &shard), (&mut second, &shard), (&mut third, &other)] {
            upload.write(bytes.clone()).await.expect("write");
        }
        same.commit(name(&shard)).await.expect("the first");
        second.commit(name(&shard)).await.expect("the same");
        let third = third.commit(name(&other)).await;
        assert!(matches!(third, Err(StoreError::Conflict { .. })), "{third:?}");
        self.stored(id, &shard).await;
    }

    async fn shows_samples(&self) {
        for (number, size) in [(0, 2048), (1, 262_144), (2, 1_048_576 + 5 * 16_384)] {
            let (id, shard) = (self.id(number, 0), bytes(1, size));
            self.put(id, TERM, PutMode::IfAbsent, &shard).await.expect("put");
            for samples in [1, AUDIT_SAMPLES_MAX] {
                let audit = Audit { shard: id, seed: [7; 32], samples };
                let shown = self.store.prove(audit).await.expect("samples");
                audit.verify(&name(&shard), size as u64, &shown).expect("right ones");
                let other = Audit { seed: [8; 32], ..audit };
                let refused = other.verify(&name(&shard), size as u64, &shown);
                assert!(refused.is_err(), "samples of another seed pass");
            }
        }
        let uneven = self.id(3, 0);
        self.put(uneven, TERM, PutMode::IfAbsent, &bytes(1, 2049)).await.expect("put");
        let audit = |shard| self.store.prove(Audit { shard, seed: [7; 32], samples: 1 });
        let refused = audit(uneven).await;
        assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
        let absent = audit(self.id(4, 0)).await;
        assert!(matches!(absent, Err(StoreError::Absent { .. })), "{absent:?}");
    }

    async fn tells_its_space(&self) {
        let before = self.store.space().await.expect("space");
        self.put(self.id(0, 0), TERM, PutMode::IfAbsent, &bytes(1, 900_000)).await.expect("put");
        let after = self.store.space().await.expect("space");
        assert!(after.used_bytes >= before.used_bytes + 900_000, "{before:?} {after:?}");
        assert_eq!(after.shards, before.shards + 1);
        assert!(after.used_bytes <= after.capacity_bytes);
        assert!(!self.store.name().is_empty());
    }
}

type Outcome = Result<(), StoreError>;

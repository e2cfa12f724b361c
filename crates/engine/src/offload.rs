//! From a sealed container to shards in the lake.

mod spool;

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Attempt, Uploaded, upload, write_threshold},
    local::{Kind, file_offset},
    placement::group_of,
    progress::{Job, OnProgress},
    verify::shards_bytes,
};
use prunedb_codec::{CodecVersion, CodedStream, Encoder, FrameTable, ReadAt, Spool, StreamParams};
use prunedb_core::{ContainerId, Digest, Generation, Policy, ShardIndex, Term};
use prunedb_disk::File;
use prunedb_format::{
    container::{Footer, TRAILER_BYTES},
    head::Group,
    manifest::{ContainerEntry, StreamEntry},
};
use spool::AnySpool;
use std::{
    io,
    num::NonZero,
    sync::{Arc, PoisonError},
};

/// A container that went into the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offloaded {
    /// which container
    pub container: ContainerId,
    /// its length
    pub container_bytes: u64,
    /// length after compression
    pub coded_bytes: u64,
    /// sealed bytes of all its shards
    pub lake_bytes: u64,
    /// shards that their nodes did not take; repair brings them
    pub missing: Vec<ShardIndex>,
}

/// The lake key generation of new containers: rotation comes with its own command.
pub(crate) const GENERATION: Generation = Generation(0);

/// A container's bytes in its local file.
pub(crate) struct LocalContainer(pub(crate) Arc<dyn File>);

impl LocalContainer {
    /// Whether the file is what was sealed.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub(crate) fn check_digest(
        &self,
        id: ContainerId,
        container_bytes: u64,
        footer: &Footer,
    ) -> Result<(), Error> {
        check_digest(id, self, container_bytes, footer).at_container(id)
    }
}

impl ReadAt for LocalContainer {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, file_offset(offset))
    }
}

impl Db {
    /// Offloads the oldest sealed container, where there is one that is not in the lake yet.
    ///
    /// # Errors
    /// [`Error::Offload`] where too few nodes took it: it stays local. [`Error::Damaged`] where its local bytes no
    /// longer are what was sealed. [`Error::Fenced`].
    pub fn offload_next(&self) -> Result<Option<Offloaded>, Error> {
        self.inner.offload_next()
    }
}

impl Inner {
    pub(crate) fn offload_all(&self, report: &mut OnProgress<'_>) -> Result<(), Error> {
        let mut total = 0;
        for number in self.sealed_waiting()? {
            total += self.files.sealed(number)?.map_or(0, |s| s.container_bytes);
        }
        let mut job = Job::start("offload", total, report);
        while let Some(done) = self.offload_next()? {
            job.did(done.container_bytes, done.container);
        }
        Ok(())
    }

    /// Offloads the oldest container that waits. One whose local bytes are damaged does not hold up those behind it.
    pub(crate) fn offload_next(&self) -> Result<Option<Offloaded>, Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut damaged = None;
        let mut done = None;
        for number in self.sealed_waiting()? {
            match self.offload(number) {
                Err(error @ Error::Damaged { .. }) => _ = damaged.get_or_insert(error),
                other => {
                    done = Some(other);
                    break;
                }
            }
        }
        let done = done.or(damaged.map(Err)).transpose();
        let waiting = self.sealed_waiting()?.len();
        if waiting == 0 {
            self.spare_spool.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.queue.set(waiting, done.as_ref().err().map(Error::to_string));
        done
    }

    fn offload(&self, number: u32) -> Result<Offloaded, Error> {
        let id = ContainerId::data(number);
        self.require_placed()?;
        self.term()?; // who is fenced off need not compress
        let sealed = self.files.sealed(number)?.ok_or_else(|| Error::Io {
            path: self.files.path(number, Kind::Sealed),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let container_bytes = sealed.container_bytes;
        let footer = self.files.footer(&sealed)?;
        let source = LocalContainer(sealed.file);
        source.check_digest(id, container_bytes, &footer)?;
        let group = self.group_for(self.manifest.state().body.policy, number);
        let spare = self.spare_spool.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut spool = AnySpool::new(&self.options, &*self.disk, container_bytes, spare)?;
        let stored = self.store(&source, container_bytes, id, group, &mut spool)?;
        *self.spare_spool.lock().unwrap_or_else(PoisonError::into_inner) = spool.into();
        let stream = stored.stream;
        let lake_bytes = stored.lake_bytes;
        let missing = stored.uploaded.missing.clone();
        let entry = ContainerEntry {
            stream,
            record_count: footer.trailer().record_count,
            digest: footer.trailer().digest,
            tables: footer.tables().to_vec(),
            names: stored.uploaded.encoded.names,
            frame_table: stored.frames.encode(),
        };
        let damage: Vec<_> = missing.iter().map(|&shard| (id, shard)).collect();
        self.manifest.add_containers(vec![entry], &damage)?;
        if !missing.is_empty() {
            self.wanted.repair();
        }
        tracing::info!(container = %id, container_bytes, coded_bytes = stream.coded_bytes, missing = missing.len(), "offloaded");
        Ok(Offloaded {
            container: id,
            container_bytes,
            coded_bytes: stream.coded_bytes,
            lake_bytes,
            missing,
        })
    }

    /// Compresses, codes, seals and stores a container.
    pub(crate) fn store(
        &self,
        source: &dyn ReadAt,
        container_bytes: u64,
        id: ContainerId,
        group: u32,
        spool: &mut dyn Spool,
    ) -> Result<Stored, Error> {
        let codec =
            |e: &dyn std::fmt::Display| Error::Codec { container: id, reason: e.to_string() };
        let policy: Policy = self.lake.placement().groups[group as usize].policy;
        let version = CodecVersion::CURRENT;
        let threads = NonZero::new(self.options.threads).unwrap_or(NonZero::<usize>::MIN);
        let (frames, coded): (FrameTable, CodedStream) =
            prunedb_codec::compress(source, container_bytes, id.kind, version, threads, spool)
                .map_err(|e| codec(&e))?;
        let params = StreamParams {
            lake: self.lake.id,
            container: id,
            policy,
            codec: version,
            generation: GENERATION,
        };
        let (uploaded, term) = self.put_coded(params, coded, spool, group)?;
        let stream = StreamEntry {
            id,
            policy,
            codec: version.number(),
            generation: GENERATION,
            group,
            term,
            container_bytes,
            coded_bytes: coded.coded_bytes,
            stream_digest: coded.digest,
            root: uploaded.encoded.root,
        };
        let lake_bytes = shards_bytes(&stream)?;
        Ok(Stored { stream, frames, uploaded, lake_bytes })
    }

    /// The group of a new container: those whose turn it is not yet stand in for one of which too few nodes are well.
    pub(crate) fn group_for(&self, policy: Policy, number: u32) -> u32 {
        let placement = self.lake.placement();
        // a registry has each batch in the group whose turn it is
        let is_governed = self.governance().is_some();
        let takes = |group: &Group| {
            let is_well = |slot: &&u32| self.lake.takes_uploads(&placement.nodes[**slot as usize]);
            is_governed || group.slots.iter().filter(is_well).count() >= write_threshold(policy)
        };
        group_of(&placement.groups, policy, number, takes)
    }

    /// Codes a spooled stream and stores its shards; under which term. What an upload that never counted left in their place is
    /// deleted where too few shards are stored for it, and then everything is put once more.
    pub(crate) fn put_coded(
        &self,
        params: StreamParams,
        coded: CodedStream,
        spool: &dyn Spool,
        group: u32,
    ) -> Result<(Uploaded, Term), Error> {
        let key = self.lake.secret.lake_key(params.generation);
        let is_governed = self.governance().is_some();
        let attempt = || -> Result<(Attempt, Term), Error> {
            let encoder = Encoder::new(&key, params, coded, self.lake.code(params.policy));
            let encoder = encoder
                .map_err(|e| Error::Codec { container: params.container, reason: e.to_string() })?;
            let term = self.term()?;
            Ok((upload(&self.lake, params, encoder, spool, group, term, is_governed)?, term))
        };
        let (Attempt { uploaded, conflicts }, term) = attempt()?;
        match uploaded {
            Err(Error::Offload { .. }) if self.delete_strays(&conflicts)? => {
                let (again, term) = attempt()?;
                Ok((again.uploaded?, term))
            }
            uploaded => Ok((uploaded?, term)),
        }
    }
}

/// A container as it was stored.
pub(crate) struct Stored {
    pub(crate) stream: StreamEntry,
    pub(crate) frames: FrameTable,
    pub(crate) uploaded: Uploaded,
    pub(crate) lake_bytes: u64,
}

/// What leaves the machine must be what was sealed: bit rot in the local file is found here, not in the lake.
fn check_digest(
    id: ContainerId,
    source: &LocalContainer,
    container_bytes: u64,
    footer: &Footer,
) -> Result<(), io::Error> {
    const STEP: u64 = 1 << 20;
    let end = container_bytes - TRAILER_BYTES as u64;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; usize::try_from(STEP).expect("1 MiB")];
    let mut at = 0;
    while at < end {
        let step = usize::try_from(STEP.min(end - at)).expect("at most 1 MiB");
        source.read_exact_at(&mut buffer[..step], at)?;
        hasher.update(&buffer[..step]);
        at += step as u64;
    }
    let (found, expected) = (Digest(*hasher.finalize().as_bytes()), footer.trailer().digest);
    if found != expected {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{id}: the local file's digest is {found}, it was sealed as {expected}"),
        ));
    }
    Ok(())
}

/// Names the container of a read error.
trait AtContainer<T> {
    fn at_container(self, id: ContainerId) -> Result<T, Error>;
}

impl<T> AtContainer<T> for io::Result<T> {
    fn at_container(self, id: ContainerId) -> Result<T, Error> {
        self.map_err(|e| Error::Damaged { container: id, offset: 0, reason: e.to_string() })
    }
}

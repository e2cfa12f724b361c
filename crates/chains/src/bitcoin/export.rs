//! Block files out of the store, bit for bit as they were imported: names, order of the records, padding, key.

use super::{
    error::{BitcoinError, Fault},
    files::{FileKind, FileName, XorKey},
    hash::Hash,
    import::{Progress, Stage},
    network::Network,
    query::{BlockId, History},
    tables::{FileRecord, Segment, Tables, layout_key},
    undo,
};
use crate::archive::Archive;
use prunedb_core::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExportedFile {
    /// its name
    pub name: FileName,
    /// where it is
    pub path: PathBuf,
    /// its length
    pub file_bytes: u64,
    /// its hash, which is that of the imported file
    pub sha256: [u8; 32],
    /// it was there before
    pub kept: bool,
}

/// Writes the imported files of a network into a folder, with `xor.dat`; files that are there and right are kept.
///
/// # Errors
/// See [`BitcoinError`]; a file that is not complete has another name.
pub fn export_folder<A: Archive + ?Sized>(
    archive: &A,
    network: Network,
    out: &Path,
    mut wanted: impl FnMut(FileName) -> bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<ExportedFile>, BitcoinError> {
    let mut files = History::new(archive, network).files()?;
    files.retain(|(name, _)| wanted(*name));
    let Some((_, first)) = files.first() else {
        let what = format!("a block file of {network}");
        return Err(BitcoinError::NotStored { what });
    };
    if let Some((file, _)) = files.iter().find(|(_, record)| record.xor != first.xor) {
        return Err(BitcoinError::XorKeys { file: *file });
    }
    std::fs::create_dir_all(out).map_err(BitcoinError::io(out))?;
    if let Some(XorKey(key)) = first.xor {
        write_xor_key(&out.join("xor.dat"), key)?;
    }
    let tables = Tables::of(network);
    files.sort_by_key(|(name, _)| (name.number, name.kind));
    files
        .into_iter()
        .map(|(name, record)| {
            let export = Export { archive, tables: &tables, network, name, record };
            export.write(out, progress)
        })
        .collect()
}

fn write_xor_key(path: &Path, key: [u8; 8]) -> Result<(), BitcoinError> {
    match std::fs::read(path) {
        Ok(found) if found == key => Ok(()),
        Ok(_) => Err(BitcoinError::Exists { path: path.to_owned() }),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(BitcoinError::io(path)(e)),
        Err(_) => {
            let unfinished = path.with_extension("dat.unfinished");
            std::fs::write(&unfinished, key).map_err(BitcoinError::io(&unfinished))?;
            std::fs::rename(&unfinished, path).map_err(BitcoinError::io(path))
        }
    }
}

struct Export<'a, A: ?Sized> {
    archive: &'a A,
    tables: &'a Tables,
    network: Network,
    name: FileName,
    record: FileRecord,
}

impl<A: Archive + ?Sized> Export<'_, A> {
    fn write(
        &self,
        out: &Path,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<ExportedFile, BitcoinError> {
        let FileRecord { file_bytes, sha256, .. } = self.record;
        let path = out.join(self.name.to_string());
        let done =
            |kept| ExportedFile { name: self.name, path: path.clone(), file_bytes, sha256, kept };
        if path.exists() {
            let found = hash_file(&path)?;
            return if found == sha256 {
                Ok(done(true))
            } else {
                Err(BitcoinError::Exists { path })
            };
        }
        let unfinished = out.join(format!("{}.unfinished", self.name));
        let file = File::create(&unfinished).map_err(BitcoinError::io(&unfinished))?;
        let mut sink = Sink {
            out: BufWriter::with_capacity(1 << 20, file),
            path: &unfinished,
            sha256: Sha256::new(),
            key: self.record.xor.unwrap_or_default(),
            at: 0,
        };
        for chunk in 0..self.record.layout_chunks {
            let key = layout_key(&sha256, chunk);
            let damaged = |fault| BitcoinError::stored(&self.tables.layout, self.name, fault);
            let bytes = self.archive.get(&self.tables.layout, &key)?;
            let bytes = bytes.ok_or_else(|| damaged(Fault::Missing))?;
            let mut rest = &bytes[..];
            while let Some(segment) = Segment::read(&mut rest) {
                match segment {
                    Segment::Record(hash) => self.write_record(hash, &mut sink)?,
                    Segment::Zeros(bytes) => sink.zeros(bytes.min(file_bytes))?,
                    Segment::Verbatim(bytes) => sink.raw(bytes)?,
                }
                if sink.at > file_bytes {
                    return Err(damaged(Fault::Form { bytes: sink.at }));
                }
            }
            if !rest.is_empty() {
                return Err(damaged(Fault::Form { bytes: bytes.len() as u64 }));
            }
            let (stage, file) = (Stage::Exporting, self.name);
            progress(&Progress { stage, file, bytes_done: sink.at, bytes_total: file_bytes });
        }
        let found = sink.finish()?;
        if found != sha256 {
            std::fs::remove_file(&unfinished).map_err(BitcoinError::io(&unfinished))?;
            let (expected, found) = (Digest(sha256), Digest(found));
            return Err(BitcoinError::ExportDiffers { file: self.name, expected, found });
        }
        std::fs::rename(&unfinished, &path).map_err(BitcoinError::io(&path))?;
        Ok(done(false))
    }

    fn write_record(&self, hash: Hash, sink: &mut Sink<'_>) -> Result<(), BitcoinError> {
        let history = History::new(self.archive, self.network);
        let missing = |table: &str| BitcoinError::stored(table, hash, Fault::Missing);
        let block = history.block(BlockId::Hash(hash))?;
        let block = block.ok_or_else(|| missing(&self.tables.block))?;
        let (payload, checksum) = match self.name.kind {
            FileKind::Blk => (block.bytes, None),
            FileKind::Rev => {
                let undo = history.undo(&block)?.ok_or_else(|| missing(&self.tables.undo))?;
                let checksum = undo::checksum(&block.header.parent, &undo);
                (undo, Some(checksum))
            }
        };
        let length = u32::try_from(payload.len()).map_err(|_| missing(&self.tables.block))?;
        let mut record = Vec::with_capacity(8 + payload.len() + undo::CHECKSUM_BYTES);
        record.extend_from_slice(&self.network.magic());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&payload);
        record.extend(checksum.iter().flat_map(|checksum| checksum.0));
        sink.xored(&mut record)
    }
}

struct Sink<'a> {
    out: BufWriter<File>,
    path: &'a Path,
    sha256: Sha256,
    key: XorKey,
    at: u64,
}

impl Sink<'_> {
    fn xored(&mut self, bytes: &mut [u8]) -> Result<(), BitcoinError> {
        self.key.apply(self.at, bytes);
        self.raw(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), BitcoinError> {
        self.out.write_all(bytes).map_err(BitcoinError::io(self.path))?;
        self.sha256.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<(), BitcoinError> {
        let mut left = count;
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
            self.raw(&ZEROS[..some])?;
            left -= some as u64;
        }
        Ok(())
    }

    fn finish(self) -> Result<[u8; 32], BitcoinError> {
        let file =
            self.out.into_inner().map_err(|e| BitcoinError::io(self.path)(e.into_error()))?;
        file.sync_all().map_err(BitcoinError::io(self.path))?;
        Ok(self.sha256.finalize().into())
    }
}

/// SHA-256 of a file.
pub(super) fn hash_file(path: &Path) -> Result<[u8; 32], BitcoinError> {
    let file = File::open(path).map_err(BitcoinError::io(path))?;
    let (mut input, mut sha256) = (BufReader::new(file), Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = input.read(&mut buffer).map_err(BitcoinError::io(path))?;
        if count == 0 {
            return Ok(sha256.finalize().into());
        }
        sha256.update(&buffer[..count]);
    }
}

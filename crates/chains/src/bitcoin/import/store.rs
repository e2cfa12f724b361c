//! A verified file, read again and put into the store.

use super::{
    super::{
        block::Header,
        error::BitcoinError,
        files::{FileKind, FileName, Records},
        hash::Hash,
        put::{ChainBlock, put_block, put_side_block, put_undo},
        query::{History, latest, stored_height},
        tables::{FileRecord, LAYOUT_CHUNK_BYTES, Segment, VERSIONS_MAX, layout_key},
    },
    FileReport, Import, Stage,
    pieces::each_piece,
    verify::{BlockFacts, Part, UndoFacts, Verified},
};
use crate::{
    archive::{Archive, Record},
    bitcoin::chain::Headers,
};
use std::collections::HashMap;

/// Bytes of a file that are kept as they are, in one segment.
const VERBATIM_BYTES: u64 = 256 << 10;

impl<A: Archive + ?Sized> Import<'_, A> {
    /// Takes a block file and its undo file in, unless they are there.
    pub(super) fn file(
        &mut self,
        number: u32,
        headers: &Headers,
    ) -> Result<FileReport, BitcoinError> {
        let has_undo = self.folder.rev.binary_search(&number).is_ok();
        let kinds = if has_undo { &[FileKind::Blk, FileKind::Rev][..] } else { &[FileKind::Blk] };
        let mut report = FileReport {
            number,
            skipped: false,
            blocks: headers.of_file(number).count() as u64,
            blocks_stored: 0,
            side_blocks: 0,
            transactions: 0,
            undos: 0,
            file_bytes: 0,
            verbatim_bytes: 0,
        };
        let mut stored = self.places_are_stored(headers.of_file(number))?;
        for &kind in kinds {
            let name = FileName { kind, number };
            let records = self.folder.records(name, false)?;
            report.file_bytes += records.bytes();
            stored = stored && self.is_stored(name, records)?;
        }
        if stored {
            report.skipped = true;
            return Ok(report);
        }
        let blocks = self.verify_blocks(number)?;
        let undos = if has_undo { Some(self.verify_undos(number, &blocks)?) } else { None };
        self.contradictions(&blocks)?;
        self.store_blocks(number, &blocks, &mut report)?;
        if let Some(undos) = undos {
            self.store_undos(number, &blocks, &undos, &mut report)?;
        }
        self.archive.commit()?;
        Ok(report)
    }

    /// Whether each of these blocks that has a place has it in the store.
    fn places_are_stored(
        &self,
        mut blocks: impl Iterator<Item = Hash>,
    ) -> Result<bool, BitcoinError> {
        blocks.try_fold(true, |stored, hash| {
            let Some(height) = self.chain.height(hash) else { return Ok(stored) };
            Ok(stored && stored_height(self.archive, &self.tables, hash)? == Some(height))
        })
    }

    /// Whether just this file was stored.
    fn is_stored(&self, name: FileName, records: Records) -> Result<bool, BitcoinError> {
        let Some((_, record)) = latest(self.archive, &self.tables, name)? else { return Ok(false) };
        Ok(record.file_bytes == records.bytes() && record.sha256 == records.hash()?)
    }

    /// No height may have another block already.
    fn contradictions(&self, blocks: &Verified<BlockFacts>) -> Result<(), BitcoinError> {
        for part in &blocks.layout {
            let Part::Record(BlockFacts { hash: found, height: Some(height), .. }) = part else {
                continue;
            };
            let stored =
                History::of(self.archive, self.folder.network, &self.tables).header(*height)?;
            let Some(Header { hash: stored, .. }) = stored else { continue };
            if stored != *found {
                return Err(BitcoinError::Contradicts { height: *height, stored, found: *found });
            }
        }
        Ok(())
    }

    fn store_blocks(
        &mut self,
        number: u32,
        verified: &Verified<BlockFacts>,
        report: &mut FileReport,
    ) -> Result<(), BitcoinError> {
        let file = FileName { kind: FileKind::Blk, number };
        let mut said = 0;
        let records = each_piece(
            self.records_again(file)?,
            self.options.threads,
            |piece| {
                let end = piece.end;
                Ok((end, verified.unchanged(file, piece, |block| block.digest)?))
            },
            |(end, record)| {
                if let Some((block, bytes)) = record {
                    report.transactions += block.transactions.len() as u64;
                    report.side_blocks += u64::from(block.height.is_none());
                    report.blocks_stored += u64::from(self.store_block(block, &bytes)?);
                }
                self.report_now_and_then(Stage::Storing, file, &mut said, end, verified.bytes);
                Ok(())
            },
        )?;
        report.verbatim_bytes += verified.verbatim_bytes();
        self.finish(file, records, verified, |block| block.hash)
    }

    /// Opens a verified file for the second time: its records are known by their digests, what lies between them only by the whole
    /// file's hash.
    fn records_again(&self, file: FileName) -> Result<Records, BitcoinError> {
        let records = self.folder.records(file, self.options.salvage)?;
        Ok(if self.options.salvage { records } else { records.unhashed() })
    }

    /// Puts a block that is not there yet.
    fn store_block(&mut self, block: &BlockFacts, bytes: &[u8]) -> Result<bool, BitcoinError> {
        let &BlockFacts { hash, height, says_height, ref transactions, .. } = block;
        let Some(height) = height else {
            return put_side_block(self.archive, &self.tables, hash, bytes);
        };
        let block = ChainBlock { hash, height, says_height, transactions, bytes, undo: None };
        put_block(self.archive, &self.tables, &block)
    }

    fn store_undos(
        &mut self,
        number: u32,
        blocks: &Verified<BlockFacts>,
        verified: &Verified<UndoFacts>,
        report: &mut FileReport,
    ) -> Result<(), BitcoinError> {
        let file = FileName { kind: FileKind::Rev, number };
        let heights: HashMap<Hash, Option<u64>> = blocks
            .layout
            .iter()
            .filter_map(|part| match part {
                Part::Record(block) => Some((block.hash, block.height)),
                _ => None,
            })
            .collect();
        let records = each_piece(
            self.records_again(file)?,
            self.options.threads,
            |piece| verified.unchanged(file, piece, |undo| undo.digest),
            |record| {
                if let Some((UndoFacts { block, .. }, bytes)) = record {
                    put_undo(self.archive, &self.tables, *block, heights[block], &bytes)?;
                    report.undos += 1;
                }
                Ok(())
            },
        )?;
        report.verbatim_bytes += verified.verbatim_bytes();
        self.finish(file, records, verified, |undo| undo.block)
    }

    /// Stores what a file is made of, then that it is there.
    fn finish<T>(
        &mut self,
        file: FileName,
        mut records: Records,
        verified: &Verified<T>,
        hash: impl Fn(&T) -> Hash,
    ) -> Result<(), BitcoinError> {
        if records.at() != verified.bytes || records.bytes() != verified.bytes {
            return Err(BitcoinError::Changed { file });
        }
        let mut layout = Layout { sha256: verified.sha256, chunk: Vec::new(), chunks: 0 };
        for part in &verified.layout {
            match part {
                Part::Record(record) => {
                    layout.push(self, &Segment::Record(hash(record)))?;
                }
                Part::Zeros(bytes) => layout.push(self, &Segment::Zeros(*bytes))?,
                &Part::Verbatim { offset, bytes } => {
                    let mut at = offset;
                    while at < offset + bytes {
                        let length = VERBATIM_BYTES.min(offset + bytes - at);
                        let mut buffer = vec![0; usize::try_from(length).expect("a segment")];
                        records.verbatim(at, &mut buffer)?;
                        layout.push(self, &Segment::Verbatim(&buffer))?;
                        at += length;
                    }
                }
            }
        }
        layout.flush(self)?;
        if records.finish().is_some_and(|sha256| sha256 != verified.sha256) {
            return Err(BitcoinError::Changed { file });
        }
        let version = match latest(self.archive, &self.tables, file)? {
            Some((_, record)) if record.sha256 == verified.sha256 => return Ok(()),
            Some((version, _)) => (version + 1).min(VERSIONS_MAX - 1),
            None => 0,
        };
        let record = FileRecord {
            xor: self.folder.xor,
            layout_chunks: layout.chunks,
            file_bytes: verified.bytes,
            sha256: verified.sha256,
        };
        let key = u64::from(file.number) * VERSIONS_MAX + version;
        let table = self.tables.files(file.kind);
        self.archive.put(&[Record::sequence(table, key, record.to_bytes().to_vec())])?;
        self.report(Stage::Storing, file, verified.bytes, verified.bytes);
        Ok(())
    }
}

/// A file's segments on their way into the store.
struct Layout {
    sha256: [u8; 32],
    chunk: Vec<u8>,
    chunks: u32,
}

impl Layout {
    fn push<A: Archive + ?Sized>(
        &mut self,
        import: &mut Import<'_, A>,
        segment: &Segment<'_>,
    ) -> Result<(), BitcoinError> {
        segment.write(&mut self.chunk);
        if self.chunk.len() >= LAYOUT_CHUNK_BYTES { self.flush(import) } else { Ok(()) }
    }

    fn flush<A: Archive + ?Sized>(
        &mut self,
        import: &mut Import<'_, A>,
    ) -> Result<(), BitcoinError> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        let (key, table) = (layout_key(&self.sha256, self.chunks), &import.tables.layout);
        if import.archive.get(table, &key)?.is_none() {
            import.archive.put(&[Record::keyed(table, key, chunk)])?;
        }
        self.chunks += 1;
        Ok(())
    }
}

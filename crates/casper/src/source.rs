//! A node's `storage.lmdb` as a source of blocks, lowest height first.
//!
//! The node has no index by height on its disk: all headers are read once, and 48 bytes of each are kept.

use crate::{
    block::{body::Body, header::Header, signatures::BlockSignatures, transaction::Transaction},
    bytesrepr::Reader,
    database::{Database, Kind, Row, Rows},
    error::CasperError,
    lmdb::{Cursor, Lmdb, LmdbError, LmdbFault, Tree, lock::NodeLock},
    state::Completed,
    verify::{BLOCK, CasperVerifier, HEADER, TRANSACTIONS},
};
use prunedb_chains::contract::{ChainSource, Hash, RawBlock, RawPart};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// Networks whose names are tried where only their digest is there.
const KNOWN_NETWORKS: [&str; 2] = ["casper", "casper-test"];

/// A node's file, open for reading; no node can open it meanwhile.
#[derive(Debug)]
pub(crate) struct NodeFile {
    pub(crate) path: PathBuf,
    pub(crate) lmdb: Lmdb,
    trees: [Tree; Database::COUNT],
    _lock: NodeLock,
}

/// Sees a key and its value; goes on while it says `true`.
type EachRow<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, CasperError> + 'a;

impl NodeFile {
    /// Opens the file of a stopped node.
    pub(crate) fn open(path: &Path) -> Result<Self, CasperError> {
        let io = |error| CasperError::Io { path: path.into(), error };
        let file = || path.to_path_buf();
        let lock = NodeLock::take(path).map_err(io)?;
        let lock = lock.ok_or_else(|| CasperError::InUse { file: file() })?;
        let failed = |error: LmdbError| CasperError::File { file: file(), error };
        let mut lmdb = Lmdb::open(path).map_err(failed)?;
        let named = lmdb.databases().map_err(failed)?;
        let tree_of = |database: Database| {
            named.iter().find(|(name, _)| name == database.name()).map(|&(_, tree)| tree)
        };
        let no_headers = Database::of(Kind::Header).all(|database| tree_of(database).is_none());
        if no_headers {
            return Err(failed(LmdbFault::NoDatabase("block_header").into()));
        }
        let mut trees = [Tree::EMPTY; Database::COUNT];
        for database in Database::all() {
            trees[usize::from(database.number())] = tree_of(database).unwrap_or(Tree::EMPTY);
        }
        Ok(Self { path: file(), lmdb, trees, _lock: lock })
    }

    pub(crate) const fn tree(&self, database: Database) -> Tree {
        self.trees[database.number() as usize]
    }

    pub(crate) fn failed(&self, error: LmdbError) -> CasperError {
        CasperError::File { file: self.path.clone(), error }
    }

    /// The value of a key.
    pub(crate) fn get(
        &mut self,
        database: Database,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, CasperError> {
        let tree = self.tree(database);
        self.lmdb.get(&tree, key).map_err(|error| self.failed(error))
    }

    /// Every row of a database, in the order of keys.
    pub(crate) fn each(
        &mut self,
        database: Database,
        each: &mut EachRow<'_>,
    ) -> Result<(), CasperError> {
        let mut cursor = Cursor::new(database.name(), self.tree(database));
        while let Some((key, value)) =
            cursor.next(&mut self.lmdb).map_err(|error| self.failed(error))?
        {
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn row_error<'a>(
        &'a self,
        row: &Row<'a>,
    ) -> impl Fn(crate::ShapeError) -> CasperError + use<'a> {
        let (file, database, key) = (self.path.clone(), row.database.name(), row.key.to_vec());
        move |error| CasperError::Row { file: file.clone(), database, key: key.clone(), error }
    }

    /// Every header with the hash that it lies under, in the order of keys.
    pub(crate) fn headers(
        &mut self,
        each: &mut dyn FnMut(Hash, Header) -> Result<(), CasperError>,
    ) -> Result<(), CasperError> {
        let file = self.path.clone();
        for database in Database::of(Kind::Header) {
            self.each(database, &mut |key, value| {
                let row = Row { database, key, value };
                let failed = |error| CasperError::Row {
                    file: file.clone(),
                    database: database.name(),
                    key: key.to_vec(),
                    error,
                };
                let mut reader = Reader::new(key);
                let hash = reader.hash().and_then(|hash| reader.end().map(|()| hash));
                let header = Header::of_row(&row).map_err(failed)?;
                each(hash.map_err(failed)?, header).map(|()| true)
            })?;
        }
        Ok(())
    }

    /// The blocks that the node says it has whole.
    pub(crate) fn completed(&mut self) -> Result<Option<Completed>, CasperError> {
        let Some(value) = self.get(Database::STATE, Completed::KEY)? else { return Ok(None) };
        let row = Row { database: Database::STATE, key: Completed::KEY, value: &value };
        Completed::read(&value).map(Some).map_err(self.row_error(&row))
    }

    /// Which network the file says it is of: by a transaction, or by the digest in a block's signatures among the known ones and `expected`.
    pub(crate) fn network(&mut self, expected: Option<&str>) -> Result<String, CasperError> {
        let file = self.path.clone();
        let mut found = None;
        for database in Database::of(Kind::Transaction) {
            self.each(database, &mut |key, value| {
                let row = Row { database, key, value };
                // a bad one is found when its block is verified
                found = Transaction::of_row(&row).ok().map(|transaction| transaction.chain_name);
                Ok(found.is_none())
            })?;
            if found.is_some() {
                break;
            }
        }
        let found = found.map(|name| String::from_utf8_lossy(&name).into_owned());
        let found = match found {
            Some(found) => Some(found),
            None => self.network_by_digest(expected)?,
        };
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                Err(CasperError::OtherNetwork { file, expected: expected.into(), found })
            }
            (_, Some(name)) => Ok(name),
            (Some(expected), None) => Ok(expected.into()),
            (None, None) => Err(CasperError::NetworkUnknown { file }),
        }
    }

    fn network_by_digest(&mut self, expected: Option<&str>) -> Result<Option<String>, CasperError> {
        let mut digest = None;
        for database in Database::of(Kind::Signatures) {
            self.each(database, &mut |key, value| {
                let signatures = BlockSignatures::of_row(&Row { database, key, value });
                digest = signatures.ok().and_then(|signatures| signatures.v2);
                Ok(digest.is_none())
            })?;
        }
        let Some(digest) = digest.map(|v2| v2.chain_name_hash) else { return Ok(None) };
        for name in KNOWN_NETWORKS.into_iter().chain(expected) {
            if *CasperVerifier::new(name)?.name_hash() == digest {
                return Ok(Some(name.into()));
            }
        }
        match expected {
            // it is certain that it is another one
            Some(expected) => Err(CasperError::OtherNetwork {
                file: self.path.clone(),
                expected: expected.into(),
                found: format!(
                    "a network whose name has the digest {}",
                    prunedb_chains::contract::hex(&digest)
                ),
            }),
            None => Ok(None),
        }
    }
}

/// What a file has, of a range of heights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SourceBlocks {
    /// Blocks with all their transactions.
    pub whole: u64,
    /// Blocks of which a transaction is missing: their headers and bodies are given.
    pub without_transactions: u64,
    /// Blocks that the node has not whole, and keeps for their headers, as those of switch blocks: only these are given.
    pub headers_only: u64,
}

/// A node's `storage.lmdb`, block by block.
#[derive(Debug)]
pub struct CasperSource {
    pub(crate) file: NodeFile,
    network: String,
    pub(crate) completed: Option<Completed>,
    /// height and hash, in rising order
    pub(crate) blocks: Vec<(u64, Hash)>,
    next: usize,
    counts: SourceBlocks,
}

impl CasperSource {
    /// Opens the file of a stopped node, or a copy of it.
    ///
    /// # Errors
    /// When it is in use, damaged, of another network than `network`, or has no block of these heights.
    pub fn open(
        path: &Path,
        heights: RangeInclusive<u64>,
        network: Option<&str>,
    ) -> Result<Self, CasperError> {
        let mut file = NodeFile::open(path)?;
        let network = file.network(network)?;
        let completed = file.completed()?;
        let mut blocks = Vec::new();
        file.headers(&mut |hash, header| {
            if heights.contains(&header.height) {
                blocks.push((header.height, hash));
            }
            Ok(())
        })?;
        blocks.sort_unstable();
        // a header may be there in both generations
        blocks.dedup();
        if let Some(pair) = blocks.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let (file, height) = (path.into(), pair[0].0);
            return Err(CasperError::TwoBlocks {
                file,
                height,
                first: pair[0].1,
                second: pair[1].1,
            });
        }
        if blocks.is_empty() {
            let heights = (*heights.start(), *heights.end());
            return Err(CasperError::Empty { file: path.into(), heights });
        }
        Ok(Self { file, network, completed, blocks, next: 0, counts: SourceBlocks::default() })
    }

    /// The network that it is of.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The ranges of blocks that the node's own note calls complete: lowest and highest height, the highest range first.
    pub fn completed(&self) -> Vec<(u64, u64)> {
        let ranges = self.completed.as_ref().map_or(&[][..], Completed::ranges);
        ranges.iter().map(|range| (*range.start(), *range.end())).collect()
    }

    /// The hash of the block of a height.
    pub(crate) fn hash_at(&self, height: u64) -> Option<Hash> {
        let found = self.blocks.binary_search_by_key(&height, |(height, _)| *height);
        found.ok().map(|index| self.blocks[index].1)
    }

    /// What it gave since it was opened or rewound.
    pub const fn counts(&self) -> SourceBlocks {
        self.counts
    }

    /// The rows of a kind under this key; `legacy_key` is the key of 1.x.
    fn push_rows(
        &mut self,
        rows: &mut Rows,
        kind: Kind,
        key: &[u8],
        legacy_key: Option<&[u8]>,
    ) -> Result<bool, CasperError> {
        let mut found = false;
        for database in Database::of(kind) {
            let key = if database.is_legacy() { legacy_key } else { Some(key) };
            if let Some(key) = key
                && let Some(value) = self.file.get(database, key)?
            {
                rows.push(Row { database, key, value: &value });
                found = true;
            }
        }
        Ok(found)
    }

    /// The rows of a block, in parts.
    pub(crate) fn block(&mut self, height: u64, hash: &Hash) -> Result<RawBlock, CasperError> {
        let mut block = RawBlock { height, parts: Vec::with_capacity(3) };
        let is_complete =
            self.completed.as_ref().is_some_and(|completed| completed.contains(height));
        let incomplete = |this: &Self, what| match is_complete {
            true => Err(CasperError::Incomplete { file: this.file.path.clone(), height, what }),
            false => Ok(()),
        };
        let mut rows = Rows::new();
        self.push_rows(&mut rows, Kind::Header, hash, Some(hash))?;
        let header = rows.into_bytes();
        let body_hash = self.body_hash(&header, hash)?;
        block.parts.push(RawPart { table: HEADER, bytes: header });
        let Some(body_hash) = body_hash else { return Ok(block) }; // the verifier says what is wrong
        if self.completed.is_some() && !is_complete {
            // an empty body may be there all the same, as that of another block
            self.counts.headers_only += 1;
            return Ok(block);
        }

        let mut rows = Rows::new();
        if !self.push_rows(&mut rows, Kind::Body, &body_hash, Some(&body_hash))? {
            incomplete(self, "body")?;
            self.counts.headers_only += 1;
            return Ok(block);
        }
        let bytes = rows.clone().into_bytes();
        for kind in [Kind::Signatures, Kind::ApprovalsHashes, Kind::Transfers] {
            self.push_rows(&mut rows, kind, hash, Some(hash))?;
        }
        block.parts.push(RawPart { table: BLOCK, bytes: rows.into_bytes() });

        let mut rows = Rows::new();
        for id in self.transactions(&bytes)? {
            let key = id.key();
            let legacy = (!id.is_v1).then_some(&id.hash[..]);
            if !self.push_rows(&mut rows, Kind::Transaction, &key, legacy)? {
                incomplete(self, "transaction")?;
                self.counts.without_transactions += 1;
                return Ok(block);
            }
            for kind in [Kind::Execution, Kind::FinalizedApprovals] {
                self.push_rows(&mut rows, kind, &key, legacy)?;
            }
        }
        block.parts.push(RawPart { table: TRANSACTIONS, bytes: rows.into_bytes() });
        self.counts.whole += 1;
        Ok(block)
    }

    /// The hash of the body of a header that is what its key says.
    fn body_hash(&self, header: &[u8], hash: &Hash) -> Result<Option<Hash>, CasperError> {
        let rows = Rows::read(header).expect("made of rows here");
        let Some(row) = rows.first() else { return Ok(None) };
        let header = Header::of_row(row).map_err(self.file.row_error(row))?;
        Ok((header.hash == *hash).then_some(header.body_hash))
    }

    fn transactions(
        &self,
        body: &[u8],
    ) -> Result<Vec<crate::block::body::TransactionId>, CasperError> {
        let rows = Rows::read(body).expect("made of rows here");
        let row = rows.first().expect("a body was found");
        Body::of_row(row).map(|body| body.transactions).map_err(self.file.row_error(row))
    }
}

impl ChainSource for CasperSource {
    type Error = CasperError;

    fn next_block(&mut self) -> Result<Option<RawBlock>, CasperError> {
        let Some(&(height, hash)) = self.blocks.get(self.next) else { return Ok(None) };
        self.next += 1;
        self.block(height, &hash).map(Some)
    }

    fn rewind(&mut self) -> Result<(), CasperError> {
        self.next = 0;
        self.counts = SourceBlocks::default();
        Ok(())
    }

    fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }
}

#[cfg(test)]
mod tests;

//! The databases of a node's `storage.lmdb`, and rows of them in one piece.

use crate::bytesrepr::ShapeError;

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A block's header, under its hash.
    Header,
    /// A block's body, under its own hash: equal bodies are one row.
    Body,
    /// The validators' signatures of a block, under its hash.
    Signatures,
    /// A transaction (a deploy before 2.0), under its hash.
    Transaction,
    /// What executing a transaction did, under its hash.
    Execution,
    /// The transfers that a block made, under its hash.
    Transfers,
    /// The approvals of a transaction that the block was finalized with, where they are others than it came with.
    FinalizedApprovals,
    /// The hashes of all approvals of a block with their proof in the state, under its hash.
    ApprovalsHashes,
    /// What the node notes for itself.
    State,
}

/// One of the 17 databases.
///
/// 1.x wrote bincode; 2.x writes bytesrepr into databases of its own, and leaves the old rows where they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Database(u8);

/// Name, kind, and whether it is of 1.x; a database's number is its place here, and is stored.
const DATABASES: [(&str, Kind, bool); 17] = [
    ("block_header", Kind::Header, true),
    ("block_header_v2", Kind::Header, false),
    ("block_body", Kind::Body, true),
    ("block_body_v2", Kind::Body, false),
    ("block_metadata", Kind::Signatures, true),
    ("block_metadata_v2", Kind::Signatures, false),
    ("deploys", Kind::Transaction, true),
    ("transactions", Kind::Transaction, false),
    ("deploy_metadata", Kind::Execution, true),
    ("execution_results", Kind::Execution, false),
    ("transfer", Kind::Transfers, true),
    ("versioned_transfers", Kind::Transfers, false),
    ("finalized_approvals", Kind::FinalizedApprovals, true),
    ("versioned_finalized_approvals", Kind::FinalizedApprovals, false),
    ("approvals_hashes", Kind::ApprovalsHashes, true),
    ("versioned_approvals_hashes", Kind::ApprovalsHashes, false),
    ("state_store", Kind::State, false),
];

impl Database {
    /// How many there are.
    pub const COUNT: usize = DATABASES.len();
    /// Where the node notes which blocks it has whole.
    pub const STATE: Self = Self(16);

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(Self::COUNT).map(Self)
    }

    /// Those of one kind: that of 2.x first, as the node looks for a row.
    pub fn of(kind: Kind) -> impl Iterator<Item = Self> {
        let mut both: Vec<Self> = Self::all().filter(|database| database.kind() == kind).collect();
        both.reverse();
        both.into_iter()
    }

    /// Its number, as it is stored.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The database with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// Its name in the file.
    pub const fn name(self) -> &'static str {
        DATABASES[self.0 as usize].0
    }

    /// What its rows are about.
    pub const fn kind(self) -> Kind {
        DATABASES[self.0 as usize].1
    }

    /// Whether its rows are those of 1.x.
    pub const fn is_legacy(self) -> bool {
        DATABASES[self.0 as usize].2
    }
}

/// A row of a node's file, byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// Where it belongs.
    pub database: Database,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// The version of [`Rows`]' layout.
const VERSION: u8 = 1;
/// Before a row's key: database, length of key (u16), length of value (u32).
const ROW_HEADER_BYTES: usize = 7;

/// Rows in one piece: what is stored of a block. The layout is in `docs/chains/casper.md`.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    pub(crate) fn new() -> Self {
        Self(vec![VERSION])
    }

    pub(crate) fn push(&mut self, row: Row<'_>) {
        let (key, value) = (u16::try_from(row.key.len()), u32::try_from(row.value.len()));
        self.0.push(row.database.0);
        self.0.extend(key.expect("LMDB's keys have 511 bytes at most").to_le_bytes());
        self.0.extend(value.expect("values have 64 MiB at most").to_le_bytes());
        self.0.extend(row.key);
        self.0.extend(row.value);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Reads rows in one piece.
    pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Row<'_>>, ShapeError> {
        let tag = |offset, what, found: u8| ShapeError::Tag { offset, what, found: found.into() };
        let needs = |offset: usize, needed: usize| {
            let available = bytes.len() - offset;
            if available < needed {
                return Err(ShapeError::EndsEarly { offset, needed, available });
            }
            Ok(())
        };
        needs(0, 1)?;
        if bytes[0] != VERSION {
            return Err(tag(0, "version of rows", bytes[0]));
        }
        let (mut at, mut rows) = (1, Vec::new());
        while at < bytes.len() {
            needs(at, ROW_HEADER_BYTES)?;
            let database =
                Database::from_number(bytes[at]).ok_or_else(|| tag(at, "database", bytes[at]))?;
            let key_bytes = usize::from(u16::from_le_bytes([bytes[at + 1], bytes[at + 2]]));
            let value_bytes =
                u32::from_le_bytes(bytes[at + 3..at + 7].try_into().expect("4 bytes")) as usize;
            at += ROW_HEADER_BYTES;
            needs(at, key_bytes + value_bytes)?;
            let (key, value) = bytes[at..at + key_bytes + value_bytes].split_at(key_bytes);
            rows.push(Row { database, key, value });
            at += key_bytes + value_bytes;
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn databases_keep_their_numbers() {
        let names: Vec<&str> = Database::all().map(Database::name).collect();
        assert_eq!((names.len(), names[1], names[16]), (17, "block_header_v2", "state_store"));
        let both: Vec<&str> = Database::of(Kind::Transaction).map(Database::name).collect();
        assert_eq!(both, ["transactions", "deploys"]);
        assert_eq!(Database::STATE.kind(), Kind::State);
    }

    #[test]
    fn rows_have_the_bytes_of_version_1() {
        let mut rows = Rows::new();
        let database = Database::from_number(7).unwrap();
        rows.push(Row { database, key: &[0xa1, 0xa2], value: &[0xb1, 0xb2, 0xb3] });
        let golden = [1, 7, 2, 0, 3, 0, 0, 0, 0xa1, 0xa2, 0xb1, 0xb2, 0xb3];
        assert_eq!(rows.into_bytes(), golden);
    }

    proptest! {
        #[test]
        fn rows_come_back(
            rows in prop::collection::vec((0u8..17, prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..90)), 0..9)
        ) {
            let mut all = Rows::new();
            for (number, key, value) in &rows {
                all.push(Row { database: Database::from_number(*number).unwrap(), key, value });
            }
            let bytes = all.into_bytes();
            let read = Rows::read(&bytes).unwrap();
            prop_assert_eq!(read.len(), rows.len());
            for (row, (number, key, value)) in read.iter().zip(&rows) {
                prop_assert_eq!((row.database.number(), row.key, row.value), (*number, &key[..], &value[..]));
            }
        }

        #[test]
        fn any_bytes_are_rows_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            if let Ok(rows) = Rows::read(&bytes) {
                let mut again = Rows::new();
                rows.into_iter().for_each(|row| again.push(row));
                prop_assert_eq!(again.into_bytes(), bytes);
            }
        }
    }
}

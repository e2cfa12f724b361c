//! A complete container of two tables, an empty one, and what damage does to them.

use super::{LAKE, check, fixture, flipped, of_version_2};
use prunedb_core::{ContainerId, Digest, TableId};
use prunedb_format::{
    FormatError,
    container::{
        ContainerHeader, END_MARK, Footer, FooterBuilder, HEADER_BYTES, RecordView, TRAILER_BYTES,
        TableKind, TableName, Trailer, encode_record,
    },
};

const BLOCKS: TableId = TableId(1);
const HASHES: TableId = TableId(2);

pub(crate) const ID: ContainerId = ContainerId::data(7);

fn table(id: TableId) -> TableName {
    let (kind, name) = match id {
        BLOCKS => (TableKind::Sequence, "blocks"),
        _ => (TableKind::Keyed, "block hashes"),
    };
    TableName { id, kind, name: name.into() }
}

/// Writes a container record by record.
struct Writer {
    bytes: Vec<u8>,
    footer: FooterBuilder,
}

impl Writer {
    fn new() -> Self {
        let bytes = ContainerHeader { lake: LAKE, id: ID }.encode().to_vec();
        Self { bytes, footer: FooterBuilder::default() }
    }

    fn record(&mut self, table: TableId, key: &[u8], value: &[u8], end_of_put: bool) {
        self.footer.add(table, self.bytes.len() as u64, key);
        encode_record(&mut self.bytes, table, key, value, end_of_put);
    }

    /// One put of two records: a block, and where to find it by its hash.
    fn block(&mut self, height: u64, block: &[u8]) {
        let height = height.to_be_bytes();
        self.record(BLOCKS, &height, block, false);
        self.record(HASHES, blake3::hash(block).as_bytes(), &height, true);
    }

    fn finish(mut self) -> Vec<u8> {
        let (footer, trailer) = self.footer.finish(self.bytes.len() as u64, table);
        self.bytes.extend_from_slice(&footer);
        let digest = Digest(*blake3::hash(&self.bytes).as_bytes());
        self.bytes.extend_from_slice(&trailer.encode(digest));
        self.bytes
    }
}

/// What all containers here start with: a put of one record, then one of two.
fn first_puts() -> Writer {
    let mut writer = Writer::new();
    writer.record(HASHES, b"", b"", true);
    writer.block(0, b"genesis");
    writer
}

/// The bytes of an active container, of which a crash tore the last put; and where its last whole put ends.
pub(crate) fn torn() -> (Vec<u8>, usize) {
    let mut writer = first_puts();
    let put_end = writer.bytes.len();
    writer.block(1, b"a block of which one record is whole");
    let torn_by = 20;
    writer.bytes.truncate(writer.bytes.len() - torn_by);
    (writer.bytes, put_end)
}

fn whole() -> Vec<u8> {
    let mut writer = first_puts();
    writer.block(1, b"the block after it");
    writer.finish()
}

/// Reads everything, checks everything, writes it again.
fn reencode(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let header = ContainerHeader::decode(bytes.first_chunk().expect("64 bytes"))?;
    assert_eq!(header, ContainerHeader { lake: LAKE, id: ID });
    let (before, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>().expect("80 bytes");
    let trailer = Trailer::decode(trailer, bytes.len() as u64)?;
    let records_end = usize::try_from(trailer.records_end).expect("it fits");
    let footer = Footer::decode(trailer, &before[records_end..])?;
    let mut writer = Writer::new();
    while writer.bytes.len() < records_end {
        let record = RecordView::decode(&before[writer.bytes.len()..records_end])?;
        writer.record(record.table, record.key, record.value, record.end_of_put);
    }
    assert_eq!(footer.entries().count(), trailer.record_count as usize);
    assert!(footer.tables().iter().all(|summary| summary.table == table(summary.table.id)));
    assert_eq!(trailer.digest.as_bytes(), blake3::hash(before).as_bytes());
    Ok(writer.finish())
}

/// Walks records from the start, as after a crash; writes the puts that are whole.
fn recover(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    ContainerHeader::decode(bytes.first_chunk().expect("64 bytes"))?;
    let (mut at, mut put_end) = (HEADER_BYTES, HEADER_BYTES);
    loop {
        match RecordView::decode(&bytes[at..]) {
            Ok(record) => {
                at += record.record_bytes();
                put_end = if record.end_of_put { at } else { put_end };
            }
            Err(_) if put_end == torn().1 => return Ok(bytes.to_vec()),
            Err(e) => return Err(e),
        }
    }
}

#[test]
fn container_fixtures() {
    let good = whole();
    let mut newer = good.clone();
    of_version_2(&mut newer[..HEADER_BYTES]);
    let value = good.windows(3).position(|w| w == b"gen").expect("a value");
    let mark = good.windows(16).position(|w| w == END_MARK).expect("the mark");
    let mut cut = good.clone();
    cut.truncate(good.len() - 16);
    check(
        "container",
        vec![
            fixture("two-tables.container", good.clone(), reencode),
            fixture("empty.container", Writer::new().finish(), reencode),
            fixture("torn-put.active", torn().0, recover),
            fixture("flipped-header.container", flipped(good.clone(), 36), reencode)
                .refused(r#"Checksum { what: "container header""#),
            fixture("flipped-value.container", flipped(good.clone(), value), reencode)
                .refused(r#"Checksum { what: "record""#),
            fixture("flipped-directory.container", flipped(good.clone(), mark + 20), reencode)
                .refused(r#"Checksum { what: "container footer""#),
            fixture("flipped-digest.container", flipped(good.clone(), good.len() - 16), reencode)
                .refused(r#"Checksum { what: "container trailer""#),
            fixture("cut.container", cut, reencode).refused(r#"Magic { what: "container trailer""#),
            fixture("newer-version.container", newer, reencode)
                .refused(r#"Version { what: "container header", found: 2"#),
        ],
    );
}

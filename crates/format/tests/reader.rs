//! A third party's reader: containers and local files from their bytes and `docs/format/` alone, with none of
//! PruneDB's code. Where it disagrees with the crate, the documents are wrong.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// table, key, value, and whether it ends a put
type Record = (u32, Vec<u8>, Vec<u8>, bool);

#[derive(Debug, PartialEq)]
struct Table {
    kind: u8,
    name: String,
    records: u32,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

fn fixture(path: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures", path].iter().collect();
    fs::read(&path).expect("a fixture")
}

/// docs/format/README.md: CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}

/// README: a block with the preamble magic, version, checksum.
fn block<'a>(bytes: &'a [u8], size: usize, magic: &[u8; 8]) -> Option<&'a [u8]> {
    let block = bytes.get(..size)?;
    let mut copy = block.to_vec();
    copy[12..16].fill(0);
    let is_good =
        block.starts_with(magic) && u32_at(block, 12)? == crc32c(&copy) && u32_at(block, 8)? == 1;
    is_good.then_some(block)
}

/// container.md, "Record": the record at `at`, and where the next one starts.
fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let bytes = bytes.get(at..)?;
    let (crc, value_bytes) = (u32_at(bytes, 0)?, u32_at(bytes, 4)?);
    let (key_bytes, flags, table) = (u16_at(bytes, 8)?, *bytes.get(10)?, u32_at(bytes, 12)?);
    if value_bytes > 256 << 20 || key_bytes > 1024 || flags > 1 || bytes[11] != 0 {
        return None;
    }
    let value = 16 + key_bytes;
    let end = value + value_bytes as usize;
    let next = end.next_multiple_of(16);
    let padding = bytes.get(end..next)?;
    if crc32c(&bytes[4..end]) != crc || padding.iter().any(|&b| b != 0) {
        return None;
    }
    let record = (table, bytes[16..value].to_vec(), bytes[value..end].to_vec(), flags == 1);
    Some((record, at + next))
}

/// Takes bytes behind their length as u16.
fn short(bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let count = u16_at(bytes, *at)?;
    let out = bytes.get(*at + 2..*at + 2 + count)?.to_vec();
    *at += 2 + count;
    Some(out)
}

/// container.md, "How a container is read": records and tables, or nothing where any byte is wrong.
fn container(bytes: &[u8]) -> Option<(Vec<Record>, BTreeMap<u32, Table>)> {
    block(bytes, 64, b"PDBCONT\x01")?;
    let trailer_start = bytes.len().checked_sub(80)?;
    let trailer = block(&bytes[trailer_start..], 80, b"PDBFOOT\x01")?;
    let (records_end, record_count) = (u64_at(trailer, 16)?, u32_at(trailer, 24)? as usize);
    let directory_bytes = u32_at(trailer, 28)? as usize;
    let footer = bytes.get(records_end..trailer_start)?;
    if crc32c(footer) != u32_at(trailer, 36)?
        || blake3::hash(&bytes[..trailer_start]).as_bytes() != &trailer[40..72]
        || !footer.starts_with(b"PDBENDOFRECORDS\x01")
    {
        return None;
    }
    let (directory, tables) = footer[16..].split_at_checked(directory_bytes)?;
    if tables.len() != u32_at(trailer, 32)? as usize {
        return None;
    }

    let (mut records, mut at, mut entry) = (Vec::new(), 64, 0);
    while at < records_end {
        let (record, next) = record(&bytes[..records_end], at)?;
        let (table, offset) = (u32_at(directory, entry)?, u32_at(directory, entry + 4)? as usize);
        entry += 8;
        let key = short(directory, &mut entry)?;
        if (table, offset * 16, &key) != (record.0, at, &record.1) {
            return None;
        }
        records.push(record);
        at = next;
    }

    let (mut listed, mut at) = (BTreeMap::new(), 4);
    for _ in 0..u32_at(tables, 0)? {
        let (id, kind) = (u32_at(tables, at)?, *tables.get(at + 4)?);
        at += 5;
        let name = String::from_utf8(short(tables, &mut at)?).ok()?;
        let records = u32_at(tables, at)?;
        at += 4;
        let (first_key, last_key) = (short(tables, &mut at)?, short(tables, &mut at)?);
        listed.insert(id, Table { kind, name, records, first_key, last_key });
    }
    let is_whole = records.len() == record_count && entry == directory.len() && at == tables.len();
    is_whole.then_some((records, listed))
}

/// local-header.md: what is durable according to the newest slot.
fn watermark(header: &[u8]) -> Option<usize> {
    let slots = [0, 2048].map(|at| block(&header[at..], 64, b"PDBLOCL\x01"));
    let newest = slots.into_iter().flatten().max_by_key(|slot| u64_at(slot, 16))?;
    u64_at(newest, 24)
}

#[test]
fn whole_container_is_read_from_its_bytes() {
    let (records, tables) = container(&fixture("container/v1/two-tables.container")).expect("read");
    let height = |n: u64| n.to_be_bytes().to_vec();
    let hash = |block: &[u8]| blake3::hash(block).as_bytes().to_vec();
    let (genesis, next) = (b"genesis".to_vec(), b"the block after it".to_vec());
    let expected = [
        (2, vec![], vec![], true),
        (1, height(0), genesis.clone(), false),
        (2, hash(&genesis), height(0), true),
        (1, height(1), next.clone(), false),
        (2, hash(&next), height(1), true),
    ];
    assert_eq!(records, expected);
    let blocks = Table {
        kind: 1,
        name: "blocks".into(),
        records: 2,
        first_key: height(0),
        last_key: height(1),
    };
    let hashes = Table {
        kind: 0,
        name: "block hashes".into(),
        records: 3,
        first_key: vec![],
        last_key: hash(&genesis).max(hash(&next)),
    };
    assert_eq!(tables, BTreeMap::from([(1, blocks), (2, hashes)]));
}

#[test]
fn every_flipped_bit_is_seen() {
    let good = fixture("container/v1/two-tables.container");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(container(&bad), None, "byte {} bit {}", bit / 8, bit % 8);
    }
}

#[test]
fn torn_tail_is_cut_where_the_last_put_ends() {
    let file = fixture("local-header/v1/torn-tail.active");
    let (header, bytes) = file.split_at(4096);
    let watermark = watermark(header).expect("a slot");
    block(bytes, 64, b"PDBCONT\x01").expect("a container's header");
    let (mut at, mut put_end, mut records) = (64, 64, 0);
    while let Some((record, next)) = record(bytes, at) {
        at = next;
        records += 1;
        put_end = if record.3 { next } else { put_end };
    }
    // four records are whole, but the fourth one's put is not
    assert_eq!((records, at > put_end, put_end), (4, true, 176));
    assert!(put_end >= watermark, "else this would be corruption");
}

#[test]
fn older_slot_counts_where_the_newer_one_is_torn() {
    assert_eq!(watermark(&fixture("local-header/v1/cached-frames.header")), Some(176));
    assert_eq!(watermark(&fixture("local-header/v1/torn-slot.header")), Some(96));
    assert_eq!(watermark(&fixture("local-header/v1/both-slots-torn.header")), None);
}

#[test]
fn worked_example_of_the_document_is_a_record() {
    let document = include_str!("../../../docs/format/container.md");
    let (_, example) = document.split_once("<!-- example: record -->").expect("the example");
    let (_, hex) = example.split_once("```text\n").expect("its bytes");
    let (hex, _) = hex.split_once("```").expect("their end");
    let bytes: Vec<u8> = hex
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1).take(16))
        .map(|digits| u8::from_str_radix(digits, 16).expect("hex digits"))
        .collect();
    let expected = (1, 1u64.to_be_bytes().to_vec(), b"the block after it".to_vec(), false);
    assert_eq!(record(&bytes, 0), Some((expected, bytes.len())));
    let container = fixture("container/v1/two-tables.container");
    assert_eq!(bytes, container[176..176 + bytes.len()], "it is the fixture's fourth record");
}

//! redb's file in blocks with checksums. redb checks its pages where it recovers from a crash, and nowhere else: a bit
//! that rots would be believed, or bring it down.
//!
//! ```text
//! offset    size   block 0, then every other one alike
//!      0    4,096  bytes of redb's
//!  4,096        4  CRC-32C of the block's number (u64) and those bytes; zero in block 0
//!  4,100        4  zero
//! ```
//! Block 0 is redb's header: overwritten in place, with checksums and a fallback of its own. Of the others redb overwrites
//! none that it still needs, so a crash tears only what nobody reads. A block of zeros with a zero checksum was never
//! written.

use prunedb_disk::File;
use prunedb_format::crc32c;
use redb::StorageBackend;
use std::{io, ops::Range, sync::Arc};

/// redb's page, the least that it reads and writes but for its header.
const BLOCK_BYTES: usize = 4096;
const SEALED_BYTES: usize = BLOCK_BYTES + 8;
const BLOCK: u64 = BLOCK_BYTES as u64;
const SEALED: u64 = SEALED_BYTES as u64;

/// One of our files as redb wants it. The folder's lock keeps other processes out.
#[derive(Debug)]
pub(super) struct Pages(Arc<dyn File>);

impl Pages {
    pub(super) const fn new(file: Arc<dyn File>) -> Self {
        Self(file)
    }

    fn read_blocks(&self, blocks: Range<u64>) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from((blocks.end - blocks.start) * SEALED).map_err(too_long)?;
        let mut sealed = vec![0; bytes];
        // the last block of a file may lack its checksum, where it is the header's
        let read = self.0.read_at(&mut sealed, blocks.start * SEALED)?;
        sealed.truncate(read);
        let mut out = Vec::with_capacity(bytes);
        for (number, sealed) in blocks.zip(sealed.chunks(SEALED_BYTES)) {
            if number > 0 {
                check(number, sealed)?;
            }
            out.extend_from_slice(&sealed[..sealed.len().min(BLOCK_BYTES)]);
        }
        Ok(out)
    }
}

fn check(number: u64, sealed: &[u8]) -> io::Result<()> {
    let wrong = || {
        let reason = format!("the checksum of its page {number} is wrong");
        io::Error::new(io::ErrorKind::InvalidData, reason)
    };
    if sealed.len() < SEALED_BYTES {
        return Err(wrong());
    }
    let (block, seal) = sealed.split_at(BLOCK_BYTES);
    let written = seal != [0; 8] || block.iter().any(|&byte| byte != 0);
    if written && seal != seal_of(number, block) { Err(wrong()) } else { Ok(()) }
}

fn seal_of(number: u64, block: &[u8]) -> [u8; 8] {
    let mut seal = [0; 8];
    let crc = crc32c(&[&number.to_le_bytes()[..], block].concat());
    seal[..4].copy_from_slice(&crc.to_le_bytes());
    seal
}

fn too_long(_: std::num::TryFromIntError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "more than memory can hold")
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        let sealed = self.0.len()?;
        Ok(sealed / SEALED * BLOCK + (sealed % SEALED).min(BLOCK))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        let blocks = offset / BLOCK..end.div_ceil(BLOCK);
        let from = usize::try_from(offset - blocks.start * BLOCK).map_err(too_long)?;
        let found = self.read_blocks(blocks)?;
        let found = found.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len / BLOCK * SEALED + len % BLOCK)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 <= BLOCK {
            return self.0.write_all_at(data, offset);
        }
        let (blocks, rest) = data.as_chunks::<BLOCK_BYTES>();
        if !offset.is_multiple_of(BLOCK) || !rest.is_empty() {
            let reason = "redb writes its header or whole pages";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let mut sealed = Vec::with_capacity(blocks.len() * SEALED_BYTES);
        for (number, block) in (offset / BLOCK..).zip(blocks) {
            sealed.extend_from_slice(block);
            sealed.extend_from_slice(&if number == 0 { [0; 8] } else { seal_of(number, block) });
        }
        self.0.write_all_at(&sealed, offset / BLOCK * SEALED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_disk::{Disk, Open, faulty::FaultyDisk};

    #[test]
    fn what_is_written_is_read_and_a_flipped_bit_is_an_error() {
        let disk = FaultyDisk::default();
        let file = disk.open("/pages".as_ref(), Open::CreateNew).unwrap();
        let pages = Pages::new(file);
        for len in [0, 320, 4096, 5 * 4096] {
            pages.set_len(len).unwrap();
            assert_eq!(pages.len().unwrap(), len);
        }
        pages.write(0, &[1; 320]).unwrap();
        pages.write(4096, &[2; 3 * 4096]).unwrap();
        let mut out = vec![9; 5 * 4096];
        pages.read(0, &mut out).unwrap();
        let expected = [&[1; 320][..], &[0; 3776], &[2; 3 * 4096], &[0; 4096]].concat();
        assert!(out == expected);
        assert!(pages.read(4096, &mut out).is_err(), "past the end");
        assert!(pages.write(5000, &[0; 4096]).is_err());
        let sealed = disk.file("/pages");
        for at in SEALED_BYTES..sealed.len() {
            disk.flip("/pages", at, 1);
            let error = pages.read(0, &mut out).unwrap_err().to_string();
            assert!(error.contains(&format!("page {}", at / SEALED_BYTES)), "{at}: {error}");
            disk.flip("/pages", at, 1);
        }
    }
}

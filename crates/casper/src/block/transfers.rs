//! Transfers of a block: stored in one form, sent over the binary port in another.
//!
//! ```text
//! stored, 2.x   bytesrepr: count u32; of each its generation u8 (0: of 1.x), and its fields
//! stored, 1.x   bincode: count u64; of each its fields
//! sent          bincode: count u64; of each its generation u32, and its fields
//! ```
//! Who initiated one of 2.x is stored as a table of two fields: what it is (0 a key, 1 an account), and it.

use super::legacy::{Done, Transcoder};
use crate::{
    bytesrepr::{Reader, ShapeError},
    database::Row,
};

/// Two fields, the first at 0, the second at 1; their length follows.
const INITIATOR: [u8; 16] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0];

/// As they are stored, from what was sent.
pub(crate) fn stored(sent: &[u8], of_1_x: bool) -> Result<Vec<u8>, ShapeError> {
    let mut this = Transcoder::new(sent);
    let mut row = sent.get(..8).unwrap_or_default().to_vec();
    this.many(|this| {
        let (start, out) = (this.reader.offset() + 4, this.out.len());
        transfer(this)?;
        if of_1_x && this.out[out] != 0 {
            return Err(this.reader.tag(0, "transfer of 1.x", this.out[out].into()));
        }
        row.extend(this.reader.since(start));
        Ok(())
    })?;
    let current = this.finish()?;
    Ok(if of_1_x { row } else { current })
}

/// As they are sent, from a row of them.
pub(crate) fn sent(row: &Row<'_>) -> Result<Vec<u8>, ShapeError> {
    if row.database.is_legacy() {
        let mut this = Transcoder::new(row.value);
        let mut sent = row.value.get(..8).unwrap_or_default().to_vec();
        this.many(|this| {
            let start = this.reader.offset();
            transfer_v1(this)?;
            sent.extend([0; 4]);
            sent.extend(this.reader.since(start));
            Ok(())
        })?;
        return this.finish().map(|_| sent);
    }
    let mut reader = Reader::new(row.value);
    let count = u64::from(reader.clone().u32()?);
    let mut sent = count.to_le_bytes().to_vec();
    reader.many(|reader| each(reader, &mut sent))?;
    reader.end()?;
    Ok(sent)
}

/// Of which transaction, from whom, and the rest; bincode in, bytesrepr out.
fn transfer(this: &mut Transcoder<'_>) -> Done {
    let generation = this.variant("transfer", 2)?;
    this.out.push(generation);
    if generation == 0 {
        return transfer_v1(this);
    }
    let kind = this.variant("transaction", 2)?;
    this.out.push(kind);
    this.digest()?;
    this.out.extend(INITIATOR);
    let length = this.out.len();
    this.out.extend([0; 4]);
    let initiator = this.variant("initiator", 2)?;
    this.out.push(initiator);
    if initiator == 0 {
        this.public_key()?
    } else {
        this.copy(32)?
    }
    let bytes = u32::try_from(this.out.len() - length - 4).expect("35 at most");
    this.out[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    rest(this)
}

fn transfer_v1(this: &mut Transcoder<'_>) -> Done {
    this.digest()?;
    this.copy(32)?;
    rest(this)
}

/// To whom, between which purses, how much, for how much gas, with which number.
fn rest(this: &mut Transcoder<'_>) -> Done {
    this.option("recipient", |this| this.copy(32))?;
    this.copy(2 * 33)?;
    this.big_number()?;
    this.big_number()?;
    this.option("number", |this| this.copy(8))
}

/// One of 2.x's rows; bytesrepr in, bincode out.
fn each(reader: &mut Reader<'_>, sent: &mut Vec<u8>) -> Done {
    let variant = |reader: &mut Reader<'_>, sent: &mut Vec<u8>, what| {
        let tag = reader.flag(what)?;
        sent.extend(u32::from(tag).to_le_bytes());
        Ok::<bool, ShapeError>(tag)
    };
    let hash = |reader: &mut Reader<'_>, sent: &mut Vec<u8>| {
        sent.extend(32u64.to_le_bytes());
        sent.extend(reader.hash()?);
        Ok::<(), ShapeError>(())
    };
    if variant(reader, sent, "transfer")? {
        variant(reader, sent, "transaction")?;
        hash(reader, sent)?;
        if reader.take(INITIATOR.len())? != INITIATOR {
            return Err(reader.tag(INITIATOR.len(), "table of an initiator", 0));
        }
        let (length, start) = (reader.length()?, reader.offset());
        if variant(reader, sent, "initiator")? {
            sent.extend(reader.hash()?);
        } else {
            let (tag, key) = reader.public_key()?.split_first().expect("its tag at least");
            sent.extend(u32::from(*tag).to_le_bytes());
            if *tag > 0 {
                sent.extend((key.len() as u64).to_le_bytes());
            }
            sent.extend(key);
        }
        if reader.offset() - start != length {
            return Err(reader.tag(0, "length of an initiator", 0));
        }
    } else {
        hash(reader, sent)?;
        sent.extend(reader.hash()?);
    }
    let start = reader.offset();
    if reader.flag("recipient")? {
        reader.hash()?;
    }
    reader.take(2 * 33)?;
    reader.big_number()?;
    reader.big_number()?;
    if reader.flag("number")? {
        reader.u64()?;
    }
    sent.extend(reader.since(start));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Kind};
    use proptest::prelude::*;

    fn row(value: &[u8], legacy: bool) -> Row<'_> {
        let mut both = Database::of(Kind::Transfers);
        Row { database: both.find(|d| d.is_legacy() == legacy).unwrap(), key: &[], value }
    }

    /// A transfer of every shape, in bytesrepr.
    fn some() -> impl Strategy<Value = Vec<u8>> {
        let from = prop_oneof![
            any::<[u8; 32]>().prop_map(|account| [&[1][..], &account].concat()),
            any::<[u8; 32]>().prop_map(|key| [&[0, 1][..], &key].concat()),
            prop::collection::vec(any::<u8>(), 33).prop_map(|key| [&[0, 2][..], &key].concat()),
        ];
        let v2 = (0u8..2, any::<[u8; 32]>(), from).prop_map(|(kind, hash, from)| {
            let length = u32::try_from(from.len()).unwrap().to_le_bytes();
            [&[1, kind][..], &hash, &INITIATOR, &length, &from].concat()
        });
        let v1 = any::<[u8; 64]>().prop_map(|fields| [&[0][..], &fields].concat());
        let option = |bytes: usize| {
            prop_oneof![
                Just(vec![0]),
                prop::collection::vec(any::<u8>(), bytes)
                    .prop_map(|value| [&[1][..], &value].concat()),
            ]
        };
        let number = prop::collection::vec(any::<u8>(), 0..=64)
            .prop_map(|digits| [&[u8::try_from(digits.len()).unwrap()][..], &digits].concat());
        let purses = prop::collection::vec(any::<u8>(), 66);
        (prop_oneof![v1, v2], option(32), purses, number.clone(), number, option(8)).prop_map(
            |(head, to, purses, amount, gas, id)| [head, to, purses, amount, gas, id].concat(),
        )
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_stored(all in prop::collection::vec(some(), 0..5)) {
            let count = u32::try_from(all.len()).unwrap();
            let value = [&count.to_le_bytes()[..], &all.concat()].concat();
            let sent = sent(&row(&value, false)).unwrap();
            prop_assert_eq!(stored(&sent, false).unwrap(), value);
            if all.iter().all(|transfer| transfer[0] == 0) {
                let of_1_x = stored(&sent, true).unwrap();
                prop_assert_eq!(super::sent(&row(&of_1_x, true)).unwrap(), sent);
            } else {
                stored(&sent, true).unwrap_err();
            }
        }

        #[test]
        fn any_bytes_are_transfers_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = stored(&bytes, false);
            _ = stored(&bytes, true);
            _ = sent(&row(&bytes, false));
            _ = sent(&row(&bytes, true));
        }
    }
}

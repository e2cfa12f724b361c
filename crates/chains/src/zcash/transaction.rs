//! Transactions of versions 1 to 5: where each ends, and its id.
//!
//! ```text
//! 1    version, inputs, outputs, lock time
//! 2    ... and joinsplits
//! 3    version, group, inputs, outputs, lock time, expiry, joinsplits
//! 4    version, group, inputs, outputs, lock time, expiry, balance, spends, outputs, joinsplits, their key and signature, binding signature
//! 5    version, group, branch, lock time, expiry, inputs, outputs, Sapling, Orchard
//! ```
//! Up to 4 the id is SHA-256 twice over all of it. Of version 5 it is a tree of BLAKE2b over what the transaction does, without what authorizes it (ZIP 244).

use super::fault::Fault;
use crate::bitcoin::{Hash, Reader, sha256d};
use blake2::{
    Blake2bMac,
    digest::{FixedOutput as _, Update as _, consts::U32},
};

const OVERWINTER: u32 = 1 << 31;
const GROUP_3: u32 = 0x03c4_8270;
const GROUP_4: u32 = 0x892f_2085;
const GROUP_5: u32 = 0x26a7_270a;
/// Bytes of a joinsplit, by the kind of its proof, and of their key and signature.
const JOINSPLIT_BYTES: usize = 1802;
const JOINSPLIT_BYTES_GROTH16: usize = 1698;
const JOINSPLIT_AUTH_BYTES: usize = 32 + 64;
/// A note's ciphertext: what a light client needs, the memo, the rest.
const COMPACT_BYTES: usize = 52;
const MEMO_BYTES: usize = 512;

/// What is needed of a transaction.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) id: Hash,
    /// the script of the first input, if that spends nothing
    pub(super) coinbase: Option<&'a [u8]>,
}

/// Reads a transaction.
pub(super) fn walk<'a>(reader: &mut Reader<'a>) -> Result<Transaction<'a>, Fault> {
    let start = reader.at();
    let header = u32::from_le_bytes(reader.array("transaction version")?);
    let version = header & !OVERWINTER;
    let mut group = 0;
    if header & OVERWINTER != 0 {
        group = u32::from_le_bytes(reader.array("version group")?);
    }
    let coins = match (header & OVERWINTER != 0, version, group) {
        (false, 1 | 2, _) => {
            let coins = Coins::read(reader)?;
            reader.take(4, "lock time")?;
            if version == 2 {
                joinsplits(reader, JOINSPLIT_BYTES)?;
            }
            coins
        }
        (true, 3, GROUP_3) => {
            let coins = Coins::read(reader)?;
            reader.take(8, "lock time and expiry")?;
            joinsplits(reader, JOINSPLIT_BYTES)?;
            coins
        }
        (true, 4, GROUP_4) => {
            let coins = Coins::read(reader)?;
            reader.take(8 + 8, "lock time, expiry and balance")?;
            let spends = many(reader, 384, "Sapling spends")?.len();
            let outputs = many(reader, 948, "Sapling outputs")?.len();
            joinsplits(reader, JOINSPLIT_BYTES_GROTH16)?;
            if spends + outputs > 0 {
                reader.take(64, "binding signature")?;
            }
            coins
        }
        (true, 5, GROUP_5) => return walk_v5(reader, start),
        _ => return Err(Fault::Version { version, group }),
    };
    Ok(Transaction { id: sha256d(&[reader.since(start)]), coinbase: coins.coinbase })
}

/// Things of the same length, with their count before them.
fn many<'a>(
    reader: &mut Reader<'a>,
    bytes: usize,
    what: &'static str,
) -> Result<Vec<&'a [u8]>, Fault> {
    let count = reader.count(bytes, what)?;
    Ok((0..count).map(|_| reader.take(bytes, what)).collect::<Result<_, _>>()?)
}

fn joinsplits(reader: &mut Reader<'_>, bytes: usize) -> Result<(), Fault> {
    if !many(reader, bytes, "joinsplits")?.is_empty() {
        reader.take(JOINSPLIT_AUTH_BYTES, "key and signature of joinsplits")?;
    }
    Ok(())
}

/// Inputs and outputs that are not shielded.
struct Coins<'a> {
    coinbase: Option<&'a [u8]>,
    is_empty: bool,
    spent: Blake,
    sequences: Blake,
    outputs: Blake,
}

impl<'a> Coins<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut coins = Self {
            coinbase: None,
            is_empty: true,
            spent: Blake::new(b"ZTxIdPrevoutHash"),
            sequences: Blake::new(b"ZTxIdSequencHash"),
            outputs: Blake::new(b"ZTxIdOutputsHash"),
        };
        // outpoint, script, sequence
        let inputs = reader.count(36 + 1 + 4, "inputs")?;
        for index in 0..inputs {
            let spent = reader.take(36, "outpoint")?;
            let script = reader.counted("script")?;
            if index == 0 && spent[..32] == [0; 32] {
                coins.coinbase = Some(script);
            }
            coins.spent.add(spent);
            coins.sequences.add(reader.take(4, "sequence")?);
        }
        // value, script
        let outputs = reader.count(8 + 1, "outputs")?;
        for _ in 0..outputs {
            let start = reader.at();
            reader.take(8, "value")?;
            reader.counted("script")?;
            coins.outputs.add(reader.since(start));
        }
        coins.is_empty = inputs + outputs == 0;
        Ok(coins)
    }

    fn digest(self) -> [u8; 32] {
        let mut all = Blake::new(b"ZTxIdTranspaHash");
        if !self.is_empty {
            for part in [self.spent, self.sequences, self.outputs] {
                all.add(&part.done());
            }
        }
        all.done()
    }
}

fn walk_v5<'a>(reader: &mut Reader<'a>, start: usize) -> Result<Transaction<'a>, Fault> {
    let branch: [u8; 4] = reader.array("consensus branch")?;
    reader.take(8, "lock time and expiry")?;
    let header = Blake::of(b"ZTxIdHeadersHash", &[reader.since(start)]);
    let coins = Coins::read(reader)?;
    let coinbase = coins.coinbase;
    let (sapling, orchard) = (sapling(reader)?, orchard(reader)?);
    let mut personal = *b"ZcashTxHash_\0\0\0\0";
    personal[12..].copy_from_slice(&branch);
    let id = Blake::of(&personal, &[&header, &coins.digest(), &sapling, &orchard]);
    Ok(Transaction { id: Hash(id), coinbase })
}

fn sapling(reader: &mut Reader<'_>) -> Result<[u8; 32], Fault> {
    // commitment to the value, nullifier, key
    let spends = many(reader, 3 * 32, "Sapling spends")?;
    // commitments to value and note, key, ciphertexts of 580 and 80 bytes
    let outputs = many(reader, 3 * 32 + 580 + 80, "Sapling outputs")?;
    let any = !spends.is_empty() || !outputs.is_empty();
    let balance = reader.take(if any { 8 } else { 0 }, "Sapling balance")?;
    let anchor = reader.take(if spends.is_empty() { 0 } else { 32 }, "Sapling anchor")?;
    let auth_bytes = spends.len() * (192 + 64) + outputs.len() * 192 + if any { 64 } else { 0 };
    reader.take(auth_bytes, "Sapling proofs and signatures")?;
    let mut all = Blake::new(b"ZTxIdSaplingHash");
    if !any {
        return Ok(all.done());
    }
    let (mut whole, mut compact, mut rest) = (
        Blake::new(b"ZTxIdSSpendsHash"),
        Blake::new(b"ZTxIdSSpendCHash"),
        Blake::new(b"ZTxIdSSpendNHash"),
    );
    for spend in &spends {
        compact.add(&spend[32..64]);
        [&spend[..32], anchor, &spend[64..]].iter().for_each(|part| rest.add(part));
    }
    if !spends.is_empty() {
        whole.add(&compact.done());
        whole.add(&rest.done());
    }
    all.add(&whole.done());
    let personals =
        [b"ZTxIdSOutputHash", b"ZTxIdSOutC__Hash", b"ZTxIdSOutM__Hash", b"ZTxIdSOutN__Hash"];
    let mut notes = Notes::new(personals);
    for output in &outputs {
        let (cv, rest) = output.split_at(32);
        let (commitment_and_key, ciphertexts) = rest.split_at(64);
        notes.add(&[commitment_and_key], &[cv], ciphertexts);
    }
    all.add(&notes.digest(!outputs.is_empty()));
    all.add(balance);
    Ok(all.done())
}

fn orchard(reader: &mut Reader<'_>) -> Result<[u8; 32], Fault> {
    // commitment to the value, nullifier, key, commitment to the note, key, ciphertexts of 580 and 80 bytes
    let actions = many(reader, 5 * 32 + 580 + 80, "Orchard actions")?;
    let personals =
        [b"ZTxIdOrchardHash", b"ZTxIdOrcActCHash", b"ZTxIdOrcActMHash", b"ZTxIdOrcActNHash"];
    let mut notes = Notes::new(personals);
    if actions.is_empty() {
        return Ok(notes.digest(false));
    }
    for action in &actions {
        let (fixed, ciphertexts) = action.split_at(5 * 32);
        let (cv, nullifier, rk) = (&fixed[..32], &fixed[32..64], &fixed[64..96]);
        notes.add(&[nullifier, &fixed[96..]], &[cv, rk], ciphertexts);
    }
    let flags_balance_anchor = reader.take(1 + 8 + 32, "Orchard flags, balance and anchor")?;
    reader.counted("Orchard proofs")?;
    reader.take(actions.len() * 64 + 64, "Orchard signatures")?;
    let mut all = notes.parts();
    all.add(flags_balance_anchor);
    Ok(all.done())
}

/// What is said of new notes: for light clients, memos, the rest.
struct Notes {
    all: Blake,
    compact: Blake,
    memos: Blake,
    rest: Blake,
}

impl Notes {
    fn new([all, compact, memos, rest]: [&[u8; 16]; 4]) -> Self {
        let [all, compact, memos, rest] = [all, compact, memos, rest].map(Blake::new);
        Self { all, compact, memos, rest }
    }

    /// What goes before the ciphertext in the first and in the last part, and the ciphertexts.
    fn add(&mut self, compact: &[&[u8]], rest: &[&[u8]], ciphertexts: &[u8]) {
        let (short, others) = ciphertexts.split_at(COMPACT_BYTES);
        let (memo, others) = others.split_at(MEMO_BYTES);
        compact.iter().chain([&short]).for_each(|part| self.compact.add(part));
        self.memos.add(memo);
        rest.iter().chain([&others]).for_each(|part| self.rest.add(part));
    }

    fn parts(mut self) -> Blake {
        for part in [self.compact, self.memos, self.rest] {
            self.all.add(&part.done());
        }
        self.all
    }

    fn digest(self, any: bool) -> [u8; 32] {
        if any { self.parts().done() } else { self.all.done() }
    }
}

/// BLAKE2b with 32 bytes and a person.
struct Blake(Blake2bMac<U32>);

impl Blake {
    fn new(personal: &[u8; 16]) -> Self {
        let hasher = Blake2bMac::new_with_salt_and_personal(None, &[], personal);
        Self(hasher.expect("no key, no salt, 16 bytes"))
    }

    fn of(personal: &[u8; 16], parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Self::new(personal);
        parts.iter().for_each(|part| hasher.add(part));
        hasher.done()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn done(self) -> [u8; 32] {
        self.0.finalize_fixed().into()
    }
}

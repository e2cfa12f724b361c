//! A block as it is sent and stored, walked once: its hashes, where its transactions are, and whether they are those
//! that its header promises.
//!
//! ```text
//! block        header (80 bytes), count, transactions
//! header       version i32, previous hash, Merkle root, time u32, bits u32, nonce u32
//! transaction  version, [00 01 if it has witnesses], inputs, outputs, [witnesses], lock time
//! id           SHA-256 twice over all but the brackets; the header's root is over them
//! ```
//! The root over the ids *with* witnesses is in an output of the first transaction (BIP 141). Cost: the transactions are
//! hashed once, those with witnesses twice; about half of the time of the block.

use super::{
    error::Fault,
    hash::{Hash, merkle_root, sha256d},
    network::Network,
    target::Target,
    wire::Reader,
};
use std::ops::Range;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 80;
/// Bytes that a block can have: its weight of 4,000,000 at one a byte.
pub const BLOCK_BYTES_MAX: usize = 4_000_000;
/// Version, counts of nothing, lock time.
const TRANSACTION_BYTES_MIN: usize = 10;
/// What the output begins with that commits to the witnesses.
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// A block's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// its hash
    pub hash: Hash,
    /// as signalled
    pub version: i32,
    /// the block before
    pub parent: Hash,
    /// over the transactions' ids
    pub merkle_root: Hash,
    /// seconds since 1970, as the miner says
    pub time: u32,
    /// the target in short form
    pub bits: u32,
    /// what was tried
    pub nonce: u32,
}

impl Header {
    /// Reads a header, and checks its proof of work: that its hash meets its own target, and that this one is not easier
    /// than the network allows. Whether the target is the one that the chain asks for at its height is not checked.
    ///
    /// # Errors
    /// [`Fault::Target`], [`Fault::Work`].
    pub fn verified(bytes: &[u8; HEADER_BYTES], network: Network) -> Result<Self, Fault> {
        let header = Self::read(bytes);
        let Header { hash, bits, .. } = header;
        let target = Target::of_bits(bits).filter(|&target| target <= network.limit());
        let target = target.ok_or(Fault::Target { bits, network })?;
        if target.is_met_by(hash) { Ok(header) } else { Err(Fault::Work { hash, bits }) }
    }

    pub(crate) fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let four = |at: usize| -> [u8; 4] { bytes[at..at + 4].try_into().expect("4 bytes") };
        let hash = |at: usize| Hash(bytes[at..at + 32].try_into().expect("32 bytes"));
        Self {
            hash: sha256d(&[bytes]),
            version: i32::from_le_bytes(four(0)),
            parent: hash(4),
            merkle_root: hash(36),
            time: u32::from_le_bytes(four(68)),
            bits: u32::from_le_bytes(four(72)),
            nonce: u32::from_le_bytes(four(76)),
        }
    }

    /// What a chain gains by this block.
    pub(crate) fn work(&self) -> u128 {
        Target::of_bits(self.bits).map_or(0, Target::work)
    }
}

/// A transaction in its block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// its id, without witnesses
    pub txid: Hash,
    /// the same with witnesses; equal to `txid` where there are none
    pub wtxid: Hash,
    /// where it is in the block
    pub bytes: Range<usize>,
    /// how many outputs it spends
    pub inputs: u32,
    /// its length without witnesses
    pub stripped_bytes: u32,
    /// satoshis of its outputs
    pub output_amount: u64,
}

/// A block that was walked and is what its header promises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// its header
    pub header: Header,
    /// in order; the first is the coinbase
    pub transactions: Vec<Transaction>,
    /// the height that its coinbase begins with, where it does (BIP 34; rule since height 227,931 of mainnet)
    pub coinbase_height: Option<u64>,
}

impl Block {
    /// Its length without witnesses.
    pub fn stripped_bytes(&self) -> usize {
        // header and count are before the first transaction
        let before = self.transactions.first().map_or(0, |first| first.bytes.start);
        let stripped = self.transactions.iter().map(|transaction| transaction.stripped_bytes);
        before + stripped.map(|bytes| bytes as usize).sum::<usize>()
    }

    /// Reads a block and verifies proof of work, Merkle root and witness commitment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verified(bytes: &[u8], network: Network) -> Result<Self, Fault> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(Fault::TooLong { bytes: bytes.len() as u64 });
        }
        let mut reader = Reader::new(bytes);
        let header = Header::verified(&reader.array("header")?, network)?;
        let count = reader.count(TRANSACTION_BYTES_MIN, "transactions")?;
        let mut transactions = Vec::with_capacity(count);
        let mut coinbase = None;
        for _ in 0..count {
            let walked = walk(&mut reader)?;
            coinbase.get_or_insert(walked.coinbase);
            transactions.push(walked.transaction);
        }
        reader.end("block")?;
        let coinbase = coinbase.ok_or(Fault::NoCoinbase)?;
        let ids = transactions.iter().map(|transaction| transaction.txid).collect();
        let found = merkle_root(ids).ok_or(Fault::Mutated)?;
        let expected = header.merkle_root;
        if found != expected {
            return Err(Fault::Root { what: "the Merkle root", expected, found });
        }
        check_witnesses(&transactions, &coinbase)?;
        Ok(Self { header, transactions, coinbase_height: coinbase.height })
    }
}

/// What is looked for in a coinbase; of other transactions it is not used.
struct Coinbase {
    height: Option<u64>,
    commitment: Option<Hash>,
    /// the witness of its only input, if it is one item of 32 bytes
    reserved: Option<[u8; 32]>,
}

struct Walked {
    transaction: Transaction,
    coinbase: Coinbase,
}

fn walk(reader: &mut Reader<'_>) -> Result<Walked, Fault> {
    let start = reader.at();
    let version = reader.take(4, "transaction version")?;
    let with_witnesses = reader.peek() == Some(0);
    if with_witnesses {
        let [_, flag] = reader.array("witness marker")?;
        if flag != 1 {
            return Err(Fault::WitnessFlag { flag });
        }
    }
    let body_start = reader.at();
    // previous output, script, sequence
    let inputs = reader.count(41, "inputs")?;
    let mut height = None;
    for input in 0..inputs {
        reader.take(36, "previous output")?;
        let script = reader.counted("input script")?;
        if input == 0 {
            height = script_height(script);
        }
        reader.take(4, "sequence")?;
    }
    // amount, script
    let outputs = reader.count(9, "outputs")?;
    let (mut commitment, mut output_amount) = (None, 0u64);
    for _ in 0..outputs {
        let amount = u64::from_le_bytes(reader.array("amount")?);
        output_amount = output_amount.saturating_add(amount);
        let script = reader.counted("output script")?;
        if let Some(hash) = script.strip_prefix(&COMMITMENT).and_then(<[u8]>::first_chunk) {
            commitment = Some(Hash(*hash));
        }
    }
    let body = reader.since(body_start);
    let mut reserved = None;
    if with_witnesses {
        for input in 0..inputs {
            let items = reader.count(1, "witness items")?;
            for _ in 0..items {
                let item = reader.counted("witness item")?;
                if input == 0 && items == 1 {
                    reserved = item.try_into().ok();
                }
            }
        }
    }
    let lock_time = reader.take(4, "lock time")?;
    let whole = reader.since(start);
    let txid = sha256d(&[version, body, lock_time]);
    let wtxid = if with_witnesses { sha256d(&[whole]) } else { txid };
    let narrow = |count: usize, what| {
        u32::try_from(count).map_err(|_| Fault::Count { what, value: count as u64 })
    };
    Ok(Walked {
        transaction: Transaction {
            txid,
            wtxid,
            bytes: start..reader.at(),
            inputs: narrow(inputs, "inputs")?,
            stripped_bytes: narrow(version.len() + body.len() + lock_time.len(), "bytes")?,
            output_amount,
        },
        coinbase: Coinbase { height, commitment, reserved },
    })
}

/// A script's first push as a number, as BIP 34 has heights there.
fn script_height(script: &[u8]) -> Option<u64> {
    let (&first, rest) = script.split_first()?;
    match first {
        0 => Some(0),
        0x51..=0x60 => Some(u64::from(first - 0x50)),
        1..=5 => {
            let bytes = rest.get(..usize::from(first))?;
            let negative = bytes.last()? & 0x80 != 0;
            let number = bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
            (!negative).then_some(number)
        }
        _ => None,
    }
}

/// The rule of BIP 141, as far as it can be told without the rules' state: witnesses are committed to; a commitment whose
/// coinbase has the reserved value is right.
fn check_witnesses(transactions: &[Transaction], coinbase: &Coinbase) -> Result<(), Fault> {
    let committed = coinbase.commitment.zip(coinbase.reserved);
    let Some((expected, reserved)) = committed else {
        let witnesses =
            transactions.iter().any(|transaction| transaction.wtxid != transaction.txid);
        return if witnesses { Err(Fault::Uncommitted) } else { Ok(()) };
    };
    // the coinbase commits to itself as zeros
    let others = transactions.iter().skip(1).map(|transaction| transaction.wtxid);
    let ids = std::iter::once(Hash::default()).chain(others).collect();
    let root = merkle_root(ids).ok_or(Fault::Mutated)?;
    let found = sha256d(&[&root.0, &reserved]);
    if found == expected {
        Ok(())
    } else {
        Err(Fault::Root { what: "the witness commitment", expected, found })
    }
}

//! Coins: the outputs that a block spends, one by one, as undo data has them.
//!
//! ```text
//! undo     CompactSize: transactions but the coinbase; of each: CompactSize: inputs; of each a coin
//! coin     VARINT(height * 2 + coinbase), [00 if height > 0], VARINT(amount), script
//! amount   0, or 1 + 10 * (9 * n + d - 1) + e for (10 * n + d) * 10^e with d from 1 to 9, or 1 + 10 * (n - 1) + 9 for n * 10^9
//! script   00 and hash: to a key's hash; 01 and hash: to a script's; 02, 03 and x: to a compressed key; 04, 05 and x: to one
//!          with both coordinates, of which y is computed; else VARINT(length + 6) and the script
//! ```
//! Each coin has one form, so undo data that was read and written again has the same bytes: that is how it is made
//! again from what a node tells about a block's inputs.

use super::{
    error::Fault,
    wire::{Reader, write_compact},
};
use k256::{PublicKey, elliptic_curve::sec1::ToSec1Point as _};

/// Satoshis in a bitcoin.
const COIN: u64 = 100_000_000;
const DUP: u8 = 0x76;
const EQUAL: u8 = 0x87;
const EQUALVERIFY: u8 = 0x88;
const HASH160: u8 = 0xa9;
const CHECKSIG: u8 = 0xac;

/// An output that was spent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coin {
    /// height of the block that made it
    pub height: u64,
    /// whether that block's first transaction did
    pub coinbase: bool,
    /// in satoshis
    pub amount: u64,
    /// its locking script
    pub script: Vec<u8>,
}

/// Reads undo data: of each transaction but the coinbase the coins that it spends, input by input.
///
/// # Errors
/// What is wrong with it.
pub fn read_coins(undo: &[u8]) -> Result<Vec<Vec<Coin>>, Fault> {
    let mut reader = Reader::new(undo);
    let transactions = reader.count(1, "transactions of the undo")?;
    let mut all = Vec::with_capacity(transactions);
    for _ in 0..transactions {
        let coins = reader.count(3, "coins of the undo")?;
        all.push((0..coins).map(|_| read_coin(&mut reader)).collect::<Result<_, _>>()?);
    }
    reader.end("undo")?;
    Ok(all)
}

/// Undo data of these coins.
pub fn write_coins(transactions: &[Vec<Coin>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_compact(transactions.len() as u64, &mut out);
    for coins in transactions {
        write_compact(coins.len() as u64, &mut out);
        coins.iter().for_each(|coin| write_coin(coin, &mut out));
    }
    out
}

/// An amount as the node's RPC has it: bitcoins with eight digits behind the point.
pub fn amount_text(satoshis: u64) -> String {
    format!("{}.{:08}", satoshis / COIN, satoshis % COIN)
}

/// Satoshis of such a text; fewer digits will do.
pub fn amount_of_text(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if part.len() > 8 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<8}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(COIN)?.checked_add(part)
}

fn read_coin(reader: &mut Reader<'_>) -> Result<Coin, Fault> {
    let code = reader.varint("coin's height")?;
    if code > 1 {
        reader.varint("coin's version")?;
    }
    let compressed = reader.varint("coin's amount")?;
    let amount = amount_of_compressed(compressed)
        .ok_or(Fault::Count { what: "coin's amount", value: compressed })?;
    let script = read_script(reader)?;
    Ok(Coin { height: code >> 1, coinbase: code & 1 == 1, amount, script })
}

fn read_script(reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    const WHAT: &str = "coin's script";
    let kind = reader.varint(WHAT)?;
    Ok(match kind {
        0 => [&[DUP, HASH160, 20], reader.take(20, WHAT)?, &[EQUALVERIFY, CHECKSIG]].concat(),
        1 => [&[HASH160, 20], reader.take(20, WHAT)?, &[EQUAL]].concat(),
        2 | 3 => {
            let sign = if kind == 2 { 2 } else { 3 };
            [&[33, sign], reader.take(32, WHAT)?, &[CHECKSIG]].concat()
        }
        4 | 5 => {
            let sign = if kind == 4 { 2 } else { 3 };
            let x: [u8; 32] = reader.array(WHAT)?;
            let key = PublicKey::from_sec1_bytes(&[&[sign], &x[..]].concat())
                .map_err(|_| Fault::Key { x })?;
            [&[65], key.to_sec1_point(false).as_bytes(), &[CHECKSIG]].concat()
        }
        long => {
            let bytes = long - 6;
            let length = usize::try_from(bytes);
            let length = length.map_err(|_| Fault::Count { what: WHAT, value: bytes })?;
            reader.take(length, WHAT)?.to_vec()
        }
    })
}

fn write_coin(coin: &Coin, out: &mut Vec<u8>) {
    write_varint(coin.height << 1 | u64::from(coin.coinbase), out);
    if coin.height > 0 {
        // what once was the transaction's version
        out.push(0);
    }
    write_varint(compressed_amount(coin.amount), out);
    write_script(&coin.script, out);
}

fn write_script(script: &[u8], out: &mut Vec<u8>) {
    match script {
        [DUP, HASH160, 20, hash @ .., EQUALVERIFY, CHECKSIG] if hash.len() == 20 => {
            out.push(0);
            out.extend_from_slice(hash);
        }
        [HASH160, 20, hash @ .., EQUAL] if hash.len() == 20 => {
            out.push(1);
            out.extend_from_slice(hash);
        }
        [33, sign @ (2 | 3), x @ .., CHECKSIG] if x.len() == 32 => {
            out.push(*sign);
            out.extend_from_slice(x);
        }
        // a key that is none has no y to be computed
        [65, key @ .., CHECKSIG] if is_whole_key(key) => {
            out.push(4 | key[64] & 1);
            out.extend_from_slice(&key[1..33]);
        }
        other => {
            write_varint(other.len() as u64 + 6, out);
            out.extend_from_slice(other);
        }
    }
}

/// A point of the curve, with both coordinates.
fn is_whole_key(key: &[u8]) -> bool {
    key.len() == 65 && key[0] == 4 && PublicKey::from_sec1_bytes(key).is_ok()
}

fn compressed_amount(amount: u64) -> u64 {
    if amount == 0 {
        return 0;
    }
    let (mut n, mut zeros) = (amount, 0);
    while n % 10 == 0 && zeros < 9 {
        n /= 10;
        zeros += 1;
    }
    if zeros < 9 { 1 + 10 * (9 * (n / 10) + n % 10 - 1) + zeros } else { 1 + 10 * (n - 1) + 9 }
}

fn amount_of_compressed(value: u64) -> Option<u64> {
    let Some(rest) = value.checked_sub(1) else { return Some(0) };
    let (rest, zeros) = (rest / 10, rest % 10);
    let number = match zeros {
        9 => rest + 1,
        _ => (rest / 9).checked_mul(10)? + rest % 9 + 1,
    };
    number.checked_mul(10u64.pow(u32::try_from(zeros).ok()?))
}

/// The last seven bits first, and backwards: so each number has one form.
fn write_varint(value: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value;
    loop {
        let [low, ..] = rest.to_le_bytes();
        let more = if out.len() == start { 0 } else { 0x80 };
        out.push(low & 0x7f | more);
        if rest < 0x80 {
            break;
        }
        rest = (rest >> 7) - 1;
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn script() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |range| prop::collection::vec(any::<u8>(), range);
        prop_oneof![
            bytes(0..70),
            bytes(20..21).prop_map(|hash| [&[0x76, 0xa9, 20], &hash[..], &[0x88, 0xac]].concat()),
            bytes(20..21).prop_map(|hash| [&[0xa9, 20], &hash[..], &[0x87]].concat()),
            (2u8..4, bytes(32..33)).prop_map(|(s, x)| [&[33, s], &x[..], &[0xac]].concat()),
            (4u8..5, bytes(64..65)).prop_map(|(s, xy)| [&[65, s], &xy[..], &[0xac]].concat()),
            (2u8..4, bytes(32..33)).prop_map(|(sign, x)| {
                // half of all are the x of a point
                let key = PublicKey::from_sec1_bytes(&[&[sign], &x[..]].concat());
                key.map_or(x, |key| [&[65], key.to_sec1_point(false).as_bytes(), &[0xac]].concat())
            }),
        ]
    }

    proptest! {
        #[test]
        fn coins_are_read_as_they_were_written(
            coins in prop::collection::vec(
                (0u64..1 << 31, any::<bool>(), 0u64..21_000_000 * COIN, script()), 0..20)
        ) {
            let coin = |(height, coinbase, amount, script)| Coin { height, coinbase, amount, script };
            let coins: Vec<Coin> = coins.into_iter().map(coin).collect();
            let all: Vec<Vec<Coin>> = coins.chunks(3).map(<[Coin]>::to_vec).collect();
            prop_assert_eq!(read_coins(&write_coins(&all)), Ok(all));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // amounts and scripts can be unreadable where lengths are right
            if read_coins(&bytes).is_ok() {
                prop_assert!(super::super::undo::spent(&bytes).is_ok());
            }
        }

        #[test]
        fn amounts_are_read_as_they_were_written(amount in any::<u64>()) {
            prop_assert_eq!(amount_of_text(&amount_text(amount)), Some(amount));
        }
    }

    #[test]
    fn short_forms_are_those_of_core() {
        for (amount, short) in [(0, 0), (1, 1), (1_000_000, 7), (COIN, 9), (50 * COIN, 50)] {
            assert_eq!(compressed_amount(amount), short);
            assert_eq!(amount_of_compressed(short), Some(amount));
        }
        assert_eq!(amount_of_text("0.1"), Some(10_000_000));
        for wrong in ["", "-1", "1e-8", "0.000000001", "1.-1", "99999999999999"] {
            assert_eq!(amount_of_text(wrong), None, "{wrong}");
        }
    }
}

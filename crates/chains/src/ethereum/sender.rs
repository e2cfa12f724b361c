//! Who sent a transaction: recovered from its signature.
//!
//! ```text
//! signed   legacy     keccak([nonce, gas price, gas, to, value, input])                    v = 27, 28
//!          EIP-155    keccak([nonce, gas price, gas, to, value, input, chain, 0, 0])       v = 35 + 2 * chain + parity
//!          typed      keccak(type byte || [all fields before the signature])               v = parity
//! sender   the last 20 bytes of keccak(public key);  contract  the last 20 of keccak([sender, nonce])
//! ```
//! Cost: a recovery takes about 100 us, by far the most of answering for a full block; callers keep what they have recovered.

use super::{
    hash::{Address, keccak256},
    rlp::{Item, Items, RlpError, list_prefix, write_list, write_string},
    transaction::Transaction,
    uint::U256,
};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

/// Fields of a signature, at the end of a transaction.
const SIGNATURE_FIELDS: usize = 3;
/// What EIP-155 adds to what is signed: chain, 0, 0.
const EMPTY: [u8; 1] = [0x80];

/// The account that signed a transaction; `None` if its type is not known, or nobody can have signed it so.
pub fn sender(transaction: &Transaction<'_>) -> Option<Address> {
    let fields = transaction.fields.as_ref()?;
    let (odd, chain_id) = match (transaction.kind, fields.v) {
        (0, v @ (27 | 28)) => (v == 28, None),
        (0, v) => (v.checked_sub(35)? % 2 == 1, fields.chain_id),
        (_, parity @ (0 | 1)) => (parity == 1, None),
        _ => return None,
    };
    let signed = signed(transaction, chain_id).ok()?;
    let mut scalars = [0; 64];
    for (out, scalar) in scalars.chunks_exact_mut(32).zip([&fields.r, &fields.s]) {
        let bytes = scalar.as_minimal_be();
        out[32 - bytes.len()..].copy_from_slice(bytes);
    }
    let signature = Signature::from_slice(&scalars).ok()?;
    let hash = keccak256(&signed);
    let key = VerifyingKey::recover_from_prehash(&hash.0, &signature, RecoveryId::new(odd, false));
    let point = key.ok()?.to_sec1_point(false);
    // the first byte says that both coordinates follow
    Some(last_20(&point.as_bytes()[1..]))
}

/// The contract that an account's transaction makes.
pub(crate) fn created_contract(sender: Address, nonce: u64) -> Address {
    let (mut address, mut number, mut list) = (Vec::new(), Vec::new(), Vec::new());
    write_string(&mut address, &sender.0);
    write_string(&mut number, U256::from(nonce).as_minimal_be());
    write_list(&mut list, &[&address, &number]);
    last_20(&list)
}

fn last_20(bytes: &[u8]) -> Address {
    let hash = keccak256(bytes).0;
    Address(*hash.last_chunk().expect("32 bytes"))
}

/// What was signed.
fn signed(transaction: &Transaction<'_>, chain_id: Option<u64>) -> Result<Vec<u8>, RlpError> {
    let list = match transaction.kind {
        0 => transaction.raw,
        _ => &transaction.raw[1..],
    };
    let all = Item::exact(list)?.payload();
    let count = Items::new(all).count();
    let mut items = Items::new(all);
    for _ in SIGNATURE_FIELDS..count {
        items.item()?;
    }
    let fields = &all[..all.len() - items.rest().len()];
    let mut chain = Vec::new();
    if let Some(chain_id) = chain_id {
        write_string(&mut chain, U256::from(chain_id).as_minimal_be());
        chain.extend(EMPTY.repeat(2));
    }
    let mut out = Vec::with_capacity(fields.len() + chain.len() + 10);
    out.extend((transaction.kind > 0).then_some(transaction.kind));
    out.extend_from_slice(&list_prefix(fields.len() + chain.len()));
    out.extend_from_slice(fields);
    out.extend_from_slice(&chain);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn sender_of(raw: &str) -> Option<String> {
        let raw = bytes(raw);
        sender(&Transaction::decode(&raw).unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn the_example_of_eip_155() {
        let raw = "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025\
                   a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276\
                   a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";
        assert_eq!(sender_of(raw).as_deref(), Some("0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"));
        // the other parity is another's, a signature of zeros nobody's
        let other = raw.replacen("8025a0", "8026a0", 1);
        assert!(sender_of(&other).is_some_and(|sender| !sender.starts_with("0x9d8a")));
        let at = raw.len() - 64;
        let none = format!("f84c{}80", &raw[4..at - 2]);
        assert_eq!(sender_of(&none), None);
    }

    #[test]
    fn a_contract_is_named_by_its_maker_and_his_nonce() {
        // the first account of anvil, nonce 3
        let maker = Address(bytes("f39fd6e51aad88f6f4ce6ab8827279cfffb92266").try_into().unwrap());
        let made = created_contract(maker, 3).to_string();
        assert_eq!(made, "0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(mut raw in prop::collection::vec(any::<u8>(), 3..200), kind in 0u8..6) {
            (raw[0], raw[1]) = (kind, 0xc0 + u8::try_from(raw.len() - 2).unwrap().min(0x37));
            if let Ok(transaction) = Transaction::decode(&raw) {
                let _ = sender(&transaction);
            }
        }
    }
}

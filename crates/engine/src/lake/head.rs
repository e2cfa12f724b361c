//! Sealing and opening the head: AES-256-GCM inside, an ed25519 signature around.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use prunedb_codec::LakeSecret;
use prunedb_core::{Digest, Term};
use prunedb_format::head::{HeadBody, HeadParts, HeadPrefix};

/// A head as the nodes store it.
#[derive(Debug, Clone)]
pub(crate) struct SealedHead {
    pub(crate) term: Term,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Seals and signs a head. `salt` is fresh randomness.
pub(crate) fn seal_head(
    secret: &LakeSecret,
    term: Term,
    number: u64,
    salt: [u8; 32],
    body: &HeadBody,
) -> SealedHead {
    let signer = signer(secret);
    let public_key = signer.public_key().as_ref().try_into().expect("an ed25519 key has 32 bytes");
    let prefix = HeadPrefix { lake: secret.lake_id(), term, number, salt, public_key };
    let mut sealed = body.encode();
    let prefix = prefix.encode(sealed.len() + AES_256_GCM.tag_len());
    sealing_key(secret, salt)
        .seal_in_place_append_tag(zero_nonce(), Aad::from(&prefix), &mut sealed)
        .expect("a head is far below the cipher's limit");
    let mut bytes = prefix.to_vec();
    bytes.extend_from_slice(&sealed);
    let signature = signer.sign(&bytes);
    bytes.extend_from_slice(signature.as_ref());
    SealedHead { term, number, bytes }
}

/// Opens a head that some node gave; `None` where it is not one of this lake, signed and sealed with its secret.
pub(crate) fn open_head(secret: &LakeSecret, bytes: &[u8]) -> Option<(HeadPrefix, HeadBody)> {
    let parts = HeadParts::decode(bytes).ok()?;
    let signer = signer(secret);
    let public_key = signer.public_key().as_ref();
    if parts.prefix.lake != secret.lake_id() || parts.prefix.public_key != *public_key {
        return None;
    }
    UnparsedPublicKey::new(&ED25519, public_key).verify(parts.signed, parts.signature).ok()?;
    let mut sealed = parts.sealed.to_vec();
    let body = sealing_key(secret, parts.prefix.salt)
        .open_in_place(zero_nonce(), Aad::from(parts.prefix_bytes), &mut sealed)
        .ok()?;
    let body = HeadBody::decode(body).ok()?;
    if body.groups.is_empty() {
        return None; // nothing can be placed
    }
    Some((parts.prefix, body))
}

/// What a registry has of a head: whoever has the secret can tell whether it is this one.
pub(crate) fn head_root(secret: &LakeSecret, term: Term, number: u64, body: &HeadBody) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("prunedb v1 manifest head");
    hasher.update(secret.batch_key().as_slice());
    hasher.update(&term.0.to_le_bytes()).update(&number.to_le_bytes()).update(&body.encode());
    Digest(*hasher.finalize().as_bytes())
}

fn signer(secret: &LakeSecret) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(secret.head_signing_seed().as_slice())
        .expect("any 32 bytes are a seed")
}

/// The key of one head: the salt is random, so the nonce may be zero.
fn sealing_key(secret: &LakeSecret, salt: [u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, secret.head_key(&salt).as_slice())
        .expect("32 bytes are an AES-256 key");
    LessSafeKey::new(key)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_format::head::Group;

    fn secret_of(byte: u8) -> LakeSecret {
        LakeSecret::new(prunedb_codec::Key::new([byte; 32]))
    }

    fn body() -> HeadBody {
        let policy = "2+1".parse().unwrap();
        HeadBody {
            next_data: 3,
            next_manifest: 1,
            next_edit: 0,
            policy,
            nodes: vec!["a:1".into(), "b:2".into(), "c:3".into()],
            groups: vec![Group { policy, slots: vec![2, 0, 1] }],
            manifests: Vec::new(),
        }
    }

    #[test]
    fn a_head_opens_with_its_secret_only_and_any_flipped_bit_is_refused() {
        let secret = secret_of(7);
        let head = seal_head(&secret, Term(2), 9, [1; 32], &body());
        let (prefix, opened) = open_head(&secret, &head.bytes).unwrap();
        assert_eq!((prefix.term, prefix.number, opened), (Term(2), 9, body()));
        assert!(open_head(&secret_of(8), &head.bytes).is_none());
        for bit in 0..head.bytes.len() * 8 {
            let mut bad = head.bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open_head(&secret, &bad).is_none(), "bit {bit}");
        }
    }
}

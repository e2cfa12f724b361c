//! Passwords of namespaces: kept as a salted Argon2id hash, and sealed for the challenge form.
//!
//! A client may prove that it knows a password by SHA-1 of (nonce, password), which only somebody who knows the
//! password can check: a hash of it is not enough. So it is kept a second time, sealed with AES-256-GCM under a key
//! that Argon2id makes of the administrator's password, which is given at every start and never stored. A disk that
//! is stolen shows neither; with another administrator password, or none, the challenge form waits until the password
//! was given in clear once.
//!
//! Argon2id and not BLAKE3: people choose these passwords, and a fast hash of such a one is found by trying. One
//! check takes 19 MiB and some 20 ms; a password that was seen since the start is compared with itself.

use crate::state::lock;
use argon2::{Argon2, Params};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
};
use std::{
    fmt,
    sync::{Mutex, OnceLock},
};
use zeroize::Zeroizing;

/// Longest password of a namespace.
pub(crate) const PASSWORD_BYTES_MAX: usize = 63;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Length, password, tag.
const SEALED_BYTES: usize = 1 + PASSWORD_BYTES_MAX + 8 + 16;

/// No random bytes, or no memory for a hash.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password")]
pub(crate) struct HashError;

/// Seals passwords; made of the administrator's one.
pub(crate) struct SealKey(LessSafeKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// The key of an administrator's password, and of 16 bytes that stay the same for the node.
    pub(crate) fn new(admin: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Self, HashError> {
        let key = hash(admin, salt)?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| HashError)?;
        Ok(Self(LessSafeKey::new(key)))
    }
}

/// The password of a namespace.
///
/// ```text
/// offset  size  field
///      0    16  salt
///     16    32  Argon2id of the password
///     48    12  nonce; zeros: it is not sealed
///     60    88  AES-256-GCM of (bytes u8, password, zeros to 72)
/// ```
pub(crate) struct Password {
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
    sealed: Option<([u8; NONCE_LEN], [u8; SEALED_BYTES])>,
    /// in clear, once it was seen
    clear: OnceLock<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    pub(crate) const BYTES: usize = SALT_BYTES + HASH_BYTES + NONCE_LEN + SEALED_BYTES;

    /// Of what somebody chose.
    pub(crate) fn new(clear: &[u8], key: Option<&SealKey>) -> Result<Self, HashError> {
        debug_assert!(clear.len() <= PASSWORD_BYTES_MAX);
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
        getrandom::fill(&mut salt).map_err(|_| HashError)?;
        getrandom::fill(&mut nonce).map_err(|_| HashError)?;
        let sealed = match key {
            None => None,
            Some(SealKey(key)) => {
                let mut plain = Zeroizing::new(vec![0; SEALED_BYTES - 16]);
                plain[0] = u8::try_from(clear.len()).map_err(|_| HashError)?;
                plain[1..=clear.len()].copy_from_slice(clear);
                let tag = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(&salt),
                        &mut plain,
                    )
                    .map_err(|_| HashError)?;
                let mut sealed = [0; SEALED_BYTES];
                sealed[..plain.len()].copy_from_slice(&plain);
                sealed[plain.len()..].copy_from_slice(tag.as_ref());
                Some((nonce, sealed))
            }
        };
        let hash = *hash(clear, &salt)?;
        let known = OnceLock::from(Zeroizing::new(clear.to_vec()));
        Ok(Self { salt, hash, sealed, clear: known })
    }

    /// Opens what is sealed, so that the challenge form works; nothing happens where the key is another.
    pub(crate) fn unseal(&self, SealKey(key): &SealKey) {
        let Some((nonce, sealed)) = self.sealed else { return };
        let mut bytes = Zeroizing::new(sealed);
        let nonce = Nonce::assume_unique_for_key(nonce);
        if let Ok(plain) = key.open_in_place(nonce, Aad::from(&self.salt), &mut *bytes)
            && let Some(clear) = plain.get(1..=usize::from(plain[0]))
        {
            _ = self.clear.set(Zeroizing::new(clear.to_vec()));
        }
    }

    /// Whether this is the password.
    pub(crate) fn is(&self, given: &[u8]) -> Result<bool, HashError> {
        if let Some(clear) = self.clear.get() {
            return Ok(is_equal(clear, given));
        }
        let right = is_equal(&*hash(given, &self.salt)?, &self.hash);
        if right {
            _ = self.clear.set(Zeroizing::new(given.to_vec()));
        }
        Ok(right)
    }

    /// The password itself, where it is known.
    pub(crate) fn clear(&self) -> Option<&[u8]> {
        self.clear.get().map(|clear| &clear[..])
    }

    pub(crate) fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (salt, rest) = out.split_at_mut(SALT_BYTES);
        let (hash, rest) = rest.split_at_mut(HASH_BYTES);
        salt.copy_from_slice(&self.salt);
        hash.copy_from_slice(&self.hash);
        if let Some((nonce, sealed)) = &self.sealed {
            rest[..NONCE_LEN].copy_from_slice(nonce);
            rest[NONCE_LEN..].copy_from_slice(sealed);
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (salt, rest) = bytes.split_first_chunk().expect("16 of 148 bytes");
        let (hash, rest) = rest.split_first_chunk().expect("32 of 132 bytes");
        let (nonce, sealed) = rest.split_first_chunk().expect("12 of 100 bytes");
        let sealed = sealed.try_into().expect("88 bytes are left");
        let sealed = (*nonce != [0; NONCE_LEN]).then_some((*nonce, sealed));
        Self { salt: *salt, hash: *hash, sealed, clear: OnceLock::new() }
    }
}

/// Whether somebody who was asked to prove knowledge of a password answered rightly: 40 hex digits of SHA-1 over the
/// nonce, a colon and the password.
pub(crate) fn is_proof(nonce: &str, clear: &[u8], given: &[u8]) -> bool {
    let mut asked = Zeroizing::new(nonce.as_bytes().to_vec());
    asked.push(b':');
    asked.extend_from_slice(clear);
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &asked);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    is_equal(hex.as_bytes(), &given.to_ascii_lowercase())
}

/// Whether two secrets are the same, in a time that tells only whether their lengths are.
pub(crate) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// One at a time: each takes 19 MiB.
static HASHING: Mutex<()> = Mutex::new(());

fn hash(secret: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; HASH_BYTES]>, HashError> {
    let _one = lock(&HASHING);
    let argon = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::DEFAULT);
    let mut out = Zeroizing::new([0; HASH_BYTES]);
    argon.hash_password_into(secret, salt, &mut *out).map_err(|_| HashError)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_survives_as_a_hash_and_sealed() {
        let key = SealKey::new(b"root", &[1; 16]).unwrap();
        let made = Password::new(b"hello", Some(&key)).unwrap();
        let bytes = made.to_bytes();
        assert!(!bytes.windows(5).any(|window| window == b"hello"));

        let read = Password::from_bytes(&bytes);
        assert_eq!(read.clear(), None);
        assert!(!read.is(b"hell").unwrap() && read.clear().is_none());
        assert!(read.is(b"hello").unwrap());
        assert_eq!(read.clear(), Some(&b"hello"[..]));
        assert!(!read.is(b"hello1").unwrap());

        let read = Password::from_bytes(&bytes);
        read.unseal(&SealKey::new(b"other", &[1; 16]).unwrap());
        assert_eq!(read.clear(), None);
        read.unseal(&key);
        assert_eq!(read.clear(), Some(&b"hello"[..]));
        assert_eq!(format!("{read:?}"), "Password(..)");
    }

    #[test]
    fn without_an_administrator_only_the_hash_is_kept() {
        let read = Password::from_bytes(&Password::new(b"x", None).unwrap().to_bytes());
        read.unseal(&SealKey::new(b"", &[0; 16]).unwrap());
        assert_eq!(read.clear(), None);
        assert!(read.is(b"x").unwrap());
    }

    #[test]
    fn a_proof_is_sha1_of_nonce_and_password() {
        // printf 'abc:root' | sha1sum
        let proof = b"ba355f2f2a47177655c93a374aeefa29e7bceb5f";
        assert!(is_proof("abc", b"root", proof));
        assert!(is_proof("abc", b"root", &proof.to_ascii_uppercase()));
        assert!(!is_proof("abd", b"root", proof));
        assert!(!is_proof("abc", b"root", b""));
    }
}

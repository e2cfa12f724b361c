//! Finding a holder: what an owner wants, and the signed path that the question took.
//!
//! ```text
//! h0 = H("prunedb v1 market wish", wish)                      signed by the owner
//! hi = H("prunedb v1 market hop", h(i-1) || key of heavy i)   signed by heavy i, when it passes the question on or answers
//! offer = H("prunedb v1 market offer", hn || offer)           signed by heavy n, whose child holds the cell
//! ```
//! Nobody can take a hop out, put one in or turn two around without a signature going wrong: a hop signs everything before it.
//!
//! Invariants: a path has at most [`HOPS_MAX`] hops, and never a key twice; a heavy node takes a question only from who
//! signed last; a wish is good for [`WISH_SECONDS`] and names what the owner pays at most.
//!
//! Cost: a signature check for each hop, at each hop.

use prunedb_access::{Identity, PublicKey, SIGNATURE_BYTES};
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, CELL_BYTES_MAX, Endpoint, Key, NodeId,
    canonical::{Canonical, canonical_struct},
};

/// Longest path of a question.
pub const HOPS_MAX: usize = 8;
/// How often a question is passed on, unless the owner says otherwise.
pub const TTL: u8 = 3;
/// How long a wish is good for.
pub const WISH_SECONDS: u64 = 60;
/// Clocks may differ by this.
const SKEW_SECONDS: u64 = 300;
/// Most holders that a wish excludes: a policy has 255 shards.
pub const EXCEPT_MAX: usize = 255;
/// Least cell: two samples.
pub const CELL_BYTES_MIN: u64 = 2 * prunedb_proof::SAMPLE_BYTES as u64;

canonical_struct! {
    /// What an owner looks for.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Wish {
        /// who pays
        pub owner: Key,
        /// random: two wishes are never the same
        pub nonce: [u8; 16],
        /// size of the cell: whole samples, at least two
        pub bytes: u64,
        /// most that an epoch may cost
        pub price_max: Amount,
        /// how long
        pub epochs: u32,
        /// holders that are not wanted: they have a part of the same already
        pub except: Vec<NodeId>,
        /// how often it may be passed on
        pub ttl: u8,
        /// when it ends, in seconds since 1970
        pub expires: u64,
    }
}

canonical_struct! {
    /// A heavy node that a question passed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Hop {
        /// its key
        pub heavy: Key,
        /// over everything before it, and its key
        pub signature: [u8; SIGNATURE_BYTES],
    }
}

canonical_struct! {
    /// A question on its way.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Lookup {
        /// what is looked for
        pub wish: Wish,
        /// the owner's
        pub signature: [u8; SIGNATURE_BYTES],
        /// whom it passed, the owner's heavy node first
        pub hops: Vec<Hop>,
    }
}

canonical_struct! {
    /// A place for a cell.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Offer {
        /// who holds
        pub holder: NodeId,
        /// its key
        pub holder_key: Key,
        /// where its storage is reached, `host:port`
        pub holder_endpoint: Endpoint,
        /// it cannot be reached: its heavy node relays
        pub is_relayed: bool,
        /// the holder's heavy node
        pub heavy: NodeId,
        /// where the heavy node is reached, `host:port`
        pub heavy_endpoint: Endpoint,
        /// price of an epoch
        pub price: Amount,
        /// what lets the owner write and read the cell's shard, and no other
        pub capability: [u8; prunedb_access::CAPABILITY_BYTES],
    }
}

canonical_struct! {
    /// An answer to a question.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Found {
        /// the place
        pub offer: Offer,
        /// the path, the owner's heavy node first, the holder's last
        pub hops: Vec<Hop>,
        /// the last one's, over path and offer
        pub signature: [u8; SIGNATURE_BYTES],
    }
}

/// A question, or an answer, that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// What is wished for cannot be.
    #[error("{what} is {found}, {bounds}")]
    Wish {
        /// which part
        what: &'static str,
        /// what it is
        found: u64,
        /// what it may be
        bounds: &'static str,
    },
    /// The owner did not sign it.
    #[error("the wish is not signed by its owner {owner}")]
    Owner {
        /// who should have
        owner: Key,
    },
    /// A hop is signed wrongly: it is forged, or something before it was changed.
    #[error("hop {position} is not signed by heavy node {heavy}")]
    Hop {
        /// which hop, from 0
        position: usize,
        /// who should have signed
        heavy: Key,
    },
    /// It was passed on too often.
    #[error("{hops} hops, the wish allows {allowed}")]
    TooFar {
        /// hops so far
        hops: usize,
        /// hops that are allowed
        allowed: usize,
    },
    /// It came back.
    #[error("a loop: heavy node {heavy} is on the path already")]
    Loop {
        /// who
        heavy: Key,
    },
    /// Who brings it is not who signed last.
    #[error("brought by {found}, signed last by {expected}")]
    Bearer {
        /// who signed last
        expected: Key,
        /// who brings it
        found: Key,
    },
    /// It ended, or it has not begun.
    #[error("the wish ends at {expires}, now it is {now}: too late, or a clock is wrong")]
    Time {
        /// its end
        expires: u64,
        /// now
        now: u64,
    },
    /// The answer does not fit the question.
    #[error("the answer has another {what} than was asked for")]
    Answer {
        /// which part
        what: &'static str,
    },
}

impl Wish {
    /// Names the wish.
    pub fn digest(&self) -> Digest {
        Digest(blake3::derive_key("prunedb v1 market wish", &self.to_bytes()))
    }

    /// Whether it can be.
    ///
    /// # Errors
    /// [`LookupError::Wish`], [`LookupError::Time`].
    pub fn check(&self, now: u64) -> Result<(), LookupError> {
        let wrong = |what, found, bounds| Err(LookupError::Wish { what, found, bounds });
        if !(CELL_BYTES_MIN..=CELL_BYTES_MAX).contains(&self.bytes)
            || !self.bytes.is_multiple_of(prunedb_proof::SAMPLE_BYTES as u64)
        {
            return wrong("size of the cell", self.bytes, "2 KiB to 256 MiB, in whole KiB");
        }
        if self.epochs == 0 {
            return wrong("number of epochs", 0, "one at least");
        }
        if usize::from(self.ttl) >= HOPS_MAX {
            return wrong("ttl", self.ttl.into(), "7 at most");
        }
        if self.except.len() > EXCEPT_MAX {
            return wrong("number of excluded holders", self.except.len() as u64, "255 at most");
        }
        let latest = now.saturating_add(WISH_SECONDS + SKEW_SECONDS);
        if self.expires > latest || self.expires.saturating_add(SKEW_SECONDS) < now {
            return Err(LookupError::Time { expires: self.expires, now });
        }
        Ok(())
    }
}

/// What hop after hop signs.
fn next(before: Digest, heavy: Key) -> Digest {
    Digest(blake3::derive_key("prunedb v1 market hop", &[before.0, heavy.0].concat()))
}

fn is_signed(key: Key, what: Digest, signature: &[u8]) -> bool {
    PublicKey(key.0).verify(&what.0, signature).is_ok()
}

/// Checks a path; what its last hop signed.
fn check_path(wish: &Wish, hops: &[Hop]) -> Result<Digest, LookupError> {
    let allowed = usize::from(wish.ttl) + 1;
    if hops.len() > allowed {
        return Err(LookupError::TooFar { hops: hops.len(), allowed });
    }
    let mut signed = wish.digest();
    for (position, hop) in hops.iter().enumerate() {
        if hops[..position].iter().any(|before| before.heavy == hop.heavy) {
            return Err(LookupError::Loop { heavy: hop.heavy });
        }
        signed = next(signed, hop.heavy);
        if !is_signed(hop.heavy, signed, &hop.signature) {
            return Err(LookupError::Hop { position, heavy: hop.heavy });
        }
    }
    Ok(signed)
}

impl Lookup {
    /// An owner's question.
    pub fn new(wish: Wish, owner: &Identity) -> Self {
        let signature = owner.sign(&wish.digest().0);
        Self { wish, signature, hops: Vec::new() }
    }

    /// Whether the heavy node `me` is to look, where `bearer` brings it.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn check(&self, me: Key, bearer: Key, now: u64) -> Result<(), LookupError> {
        self.wish.check(now)?;
        let owner = self.wish.owner;
        if !is_signed(owner, self.wish.digest(), &self.signature) {
            return Err(LookupError::Owner { owner });
        }
        // it is a hop itself, as soon as it looks
        let allowed = usize::from(self.wish.ttl);
        if self.hops.len() > allowed {
            return Err(LookupError::TooFar { hops: self.hops.len() + 1, allowed: allowed + 1 });
        }
        check_path(&self.wish, &self.hops)?;
        if self.hops.iter().any(|hop| hop.heavy == me) {
            return Err(LookupError::Loop { heavy: me });
        }
        let expected = self.hops.last().map_or(owner, |hop| hop.heavy);
        if expected != bearer {
            return Err(LookupError::Bearer { expected, found: bearer });
        }
        Ok(())
    }

    /// Signs as the next hop; the path was checked before.
    #[must_use]
    pub fn passed(mut self, me: &Identity) -> Self {
        let heavy = Key(me.public().0);
        let signed = next(self.signed(), heavy);
        self.hops.push(Hop { heavy, signature: me.sign(&signed.0) });
        self
    }

    /// Whether it may be passed on once more.
    pub fn may_go_on(&self) -> bool {
        self.hops.len() <= usize::from(self.wish.ttl)
    }

    /// What the last one on the path signed.
    fn signed(&self) -> Digest {
        self.hops.iter().fold(self.wish.digest(), |before, hop| next(before, hop.heavy))
    }

    /// Answers, as the last hop of the path.
    pub fn answered(self, offer: Offer, me: &Identity) -> Found {
        let signature = me.sign(&offer_digest(self.signed(), &offer).0);
        Found { offer, hops: self.hops, signature }
    }
}

fn offer_digest(path: Digest, offer: &Offer) -> Digest {
    let mut bytes = path.to_bytes();
    offer.put(&mut bytes);
    Digest(blake3::derive_key("prunedb v1 market offer", &bytes))
}

impl Found {
    /// Whether it answers this question, by a path that begins with these hops.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn check(&self, wish: &Wish, begins: &[Key]) -> Result<(), LookupError> {
        let signed = check_path(wish, &self.hops)?;
        let keys: Vec<Key> = self.hops.iter().map(|hop| hop.heavy).collect();
        if !keys.starts_with(begins) || keys.is_empty() {
            return Err(LookupError::Answer { what: "path" });
        }
        let last = self.hops.last().expect("not empty");
        if !is_signed(last.heavy, offer_digest(signed, &self.offer), &self.signature) {
            return Err(LookupError::Hop { position: self.hops.len(), heavy: last.heavy });
        }
        if self.offer.price > wish.price_max {
            return Err(LookupError::Answer { what: "price" });
        }
        if wish.except.contains(&self.offer.holder) || self.offer.holder_key == wish.owner {
            return Err(LookupError::Answer { what: "holder" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

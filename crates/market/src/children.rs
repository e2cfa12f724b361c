//! A heavy node's table of its children: what each offers, until when it counts as there, what is promised to owners.
//!
//! Times are milliseconds of a clock that never goes back, brought by the caller. A child counts as there for a lease
//! after its last heartbeat; what it says to have free counts less what was promised since. Bounds: [`CHILDREN_MAX`]
//! children, [`PROMISES_MAX`] promises, each for [`PROMISE_MS`] unless it is kept.

use crate::{lookup::Wish, message::Terms};
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Key, NodeId,
    canonical::{Canonical, canonical_struct},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most children of a heavy node.
pub const CHILDREN_MAX: usize = 4096;
/// Most promises at once.
pub const PROMISES_MAX: usize = 1024;
/// How long space is kept for an owner that was told of it.
pub const PROMISE_MS: u64 = 600_000;

/// A child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// its number in the registry, as soon as it has one
    pub node: Option<NodeId>,
    /// what it offers
    pub terms: Terms,
    /// what it said to have free
    pub free_bytes: u64,
    /// it counts as there until then
    pub lease_until: u64,
    /// a heartbeat came in this epoch
    is_present: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Promise {
    child: Key,
    bytes: u64,
    until: u64,
}

canonical_struct! {
    /// What a heavy node's subtree has, in short: neighbours ask those first where it fits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Summary {
        /// children that are there
        pub children: u32,
        /// most that one of them has free
        pub free_bytes_max: u64,
        /// least price of an epoch
        pub price_min: Amount,
    }
}

/// A child that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// It has not registered, or its lease ran out.
    #[error("light node {0} is not registered here, or was silent for too long: it registers anew")]
    Unknown(Key),
    /// There are too many.
    #[error("no room for more children: {CHILDREN_MAX} at most")]
    Full,
    /// There are too many promises.
    #[error("{PROMISES_MAX} owners have been promised cells and have not used them yet: later")]
    Promises,
}

/// The table.
#[derive(Debug)]
pub struct Children {
    lease_ms: u64,
    by_key: BTreeMap<Key, Child>,
    promises: BTreeMap<Digest, Promise>,
}

impl Children {
    /// An empty one; a child is gone `lease_ms` after its last heartbeat.
    pub const fn new(lease_ms: u64) -> Self {
        Self { lease_ms, by_key: BTreeMap::new(), promises: BTreeMap::new() }
    }

    /// A child whose capacity was checked.
    ///
    /// # Errors
    /// [`ChildError::Full`].
    pub fn register(
        &mut self,
        now: u64,
        key: Key,
        node: Option<NodeId>,
        terms: Terms,
    ) -> Result<(), ChildError> {
        self.expire(now);
        if self.by_key.len() >= CHILDREN_MAX && !self.by_key.contains_key(&key) {
            return Err(ChildError::Full);
        }
        let free_bytes = terms.capacity_bytes;
        let lease_until = now.saturating_add(self.lease_ms);
        let child = Child { node, terms, free_bytes, lease_until, is_present: true };
        self.by_key.insert(key, child);
        Ok(())
    }

    /// A heartbeat.
    ///
    /// # Errors
    /// [`ChildError::Unknown`].
    pub fn renew(&mut self, now: u64, key: Key, free_bytes: u64) -> Result<(), ChildError> {
        self.expire(now);
        let child = self.by_key.get_mut(&key).ok_or(ChildError::Unknown(key))?;
        child.free_bytes = free_bytes.min(child.terms.capacity_bytes);
        child.lease_until = now.saturating_add(self.lease_ms);
        child.is_present = true;
        Ok(())
    }

    /// A child has its number.
    pub fn joined(&mut self, key: Key, node: NodeId) {
        if let Some(child) = self.by_key.get_mut(&key) {
            child.node = Some(node);
        }
    }

    /// Drops those who were silent, and promises that nobody used.
    fn expire(&mut self, now: u64) {
        self.by_key.retain(|_, child| child.lease_until > now);
        self.promises.retain(|_, promise| promise.until > now);
    }

    /// A child that is there.
    pub fn get(&mut self, now: u64, key: Key) -> Option<&Child> {
        self.expire(now);
        self.by_key.get(&key)
    }

    /// The children that are there and have a number, by it.
    pub fn numbers(&mut self, now: u64) -> BTreeMap<NodeId, Key> {
        self.expire(now);
        self.by_key.iter().filter_map(|(key, child)| Some((child.node?, *key))).collect()
    }

    fn promised(&self, key: &Key) -> u64 {
        self.promises.values().filter(|p| p.child == *key).map(|p| p.bytes).sum()
    }

    /// The cheapest child that fits, the one with most room first among equals; those in `tried` are left out.
    pub fn find(&mut self, now: u64, wish: &Wish, tried: &BTreeSet<Key>) -> Option<Key> {
        self.expire(now);
        let fits = |(key, child): &(&Key, &Child)| {
            child.node.is_some_and(|node| !wish.except.contains(&node))
                && child.terms.price <= wish.price_max
                && **key != wish.owner
                && !tried.contains(*key)
                && child.free_bytes.saturating_sub(self.promised(key)) >= wish.bytes
        };
        let rank = |(key, child): &(&Key, &Child)| {
            let free = child.free_bytes.saturating_sub(self.promised(key));
            (child.terms.price, std::cmp::Reverse(free), **key)
        };
        self.by_key.iter().filter(fits).min_by_key(rank).map(|(key, _)| *key)
    }

    /// Keeps space of a child for the owner of a wish.
    ///
    /// # Errors
    /// [`ChildError::Promises`].
    pub fn promise(
        &mut self,
        now: u64,
        wish: Digest,
        child: Key,
        bytes: u64,
    ) -> Result<(), ChildError> {
        self.expire(now);
        if self.promises.len() >= PROMISES_MAX {
            return Err(ChildError::Promises);
        }
        let until = now.saturating_add(PROMISE_MS);
        self.promises.insert(wish, Promise { child, bytes, until });
        Ok(())
    }

    /// The promise was kept, or is off.
    pub fn release(&mut self, wish: &Digest) {
        self.promises.remove(wish);
    }

    /// In short.
    pub fn summary(&mut self, now: u64) -> Summary {
        self.expire(now);
        let free =
            |(key, child): (&Key, &Child)| child.free_bytes.saturating_sub(self.promised(key));
        Summary {
            children: u32::try_from(self.by_key.len()).expect("bounded by CHILDREN_MAX"),
            free_bytes_max: self.by_key.iter().map(free).max().unwrap_or(0),
            price_min: self.by_key.values().map(|c| c.terms.price).min().unwrap_or_default(),
        }
    }

    /// Who gave a sign in the epoch that ends: numbers, and a bit for each. The next epoch begins.
    pub fn end_epoch(&mut self, now: u64) -> Presence {
        self.expire(now);
        let mut presence = Presence::default();
        for child in self.by_key.values_mut() {
            let is_present = std::mem::take(&mut child.is_present);
            let Some(node) = child.node else { continue };
            let position = presence.children.len();
            presence.children.push(node);
            presence.bits.resize(position / 8 + 1, 0);
            presence.bits[position / 8] |= u8::from(is_present) << (position % 8);
        }
        presence
    }
}

canonical_struct! {
    /// The heartbeats of an epoch: one bitmap.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Presence {
        /// the children, in the order of their keys
        pub children: Vec<NodeId>,
        /// a bit for each, low bits first
        pub bits: Vec<u8>,
    }
}

impl Presence {
    /// What the heavy node commits to.
    pub fn digest(&self) -> Digest {
        Digest(blake3::derive_key("prunedb v1 market presence", &self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_registry::Endpoint;

    fn terms(price: u64) -> Terms {
        Terms {
            capacity_bytes: 1 << 30,
            endpoint: Endpoint::new("127.0.0.1:1").unwrap(),
            domains: [0; 3],
            price: Amount(price),
            is_relayed: false,
        }
    }

    fn wish(bytes: u64, price_max: u64, except: &[u32]) -> Wish {
        Wish {
            owner: Key([99; 32]),
            nonce: [0; 16],
            bytes,
            price_max: Amount(price_max),
            epochs: 1,
            except: except.iter().map(|&n| NodeId(n)).collect(),
            ttl: 3,
            expires: 0,
        }
    }

    fn table() -> Children {
        let mut children = Children::new(1_000);
        for (number, price) in [(1, 5), (2, 3), (3, 3)] {
            let key = Key([number; 32]);
            children.register(0, key, Some(NodeId(number.into())), terms(price)).unwrap();
        }
        children
    }

    #[test]
    fn the_cheapest_that_fits_is_found_and_what_is_promised_is_not_given_twice() {
        let mut children = table();
        let none = BTreeSet::new();
        let find = |children: &mut Children, wish: &Wish| children.find(1, wish, &BTreeSet::new());
        children.renew(1, Key([3; 32]), 600 << 20).unwrap();
        assert_eq!(find(&mut children, &wish(1024, 9, &[])), Some(Key([2; 32])), "more room");
        children.promise(1, Digest([1; 32]), Key([2; 32]), 900 << 20).unwrap();
        assert_eq!(find(&mut children, &wish(1024, 9, &[])), Some(Key([3; 32])));
        assert_eq!(find(&mut children, &wish(700 << 20, 9, &[])), Some(Key([1; 32])));
        assert_eq!(find(&mut children, &wish(700 << 20, 4, &[])), None, "too dear");
        assert_eq!(find(&mut children, &wish(1024, 9, &[2, 3])), Some(Key([1; 32])));
        assert_eq!(find(&mut children, &wish(2 << 30, 9, &[])), None, "too large");
        let own = Wish { owner: Key([3; 32]), ..wish(1024, 4, &[2]) };
        assert_eq!(children.find(1, &own, &none), None, "an owner is not its own holder");
        let tried = BTreeSet::from([Key([2; 32]), Key([3; 32])]);
        assert_eq!(children.find(1, &wish(1024, 9, &[]), &tried), Some(Key([1; 32])));
        assert_eq!(children.summary(1).free_bytes_max, 1 << 30);
        children.release(&Digest([1; 32]));
        assert_eq!(find(&mut children, &wish(700 << 20, 4, &[])), Some(Key([2; 32])));
    }

    #[test]
    fn who_is_silent_for_a_lease_is_gone_and_presence_is_a_bit() {
        let mut children = table();
        children.renew(900, Key([1; 32]), 5).unwrap();
        let presence = children.end_epoch(950);
        assert_eq!((presence.children.len(), &presence.bits[..]), (3, &[0b111][..]));
        children.renew(999, Key([2; 32]), u64::MAX).unwrap();
        assert_eq!(
            children.get(999, Key([2; 32])).unwrap().free_bytes,
            1 << 30,
            "no more than checked"
        );
        assert_eq!(children.renew(1_000, Key([3; 32]), 5), Err(ChildError::Unknown(Key([3; 32]))));
        let presence = children.end_epoch(1_001);
        assert_eq!(presence.children, [NodeId(1), NodeId(2)]);
        assert_eq!(presence.bits, [0b10], "the first gave no sign in this epoch");
        assert_eq!(children.find(2_500, &wish(1024, 9, &[]), &BTreeSet::new()), None);
        assert_eq!(children.summary(2_500), Summary::default());
    }

    #[test]
    fn a_child_without_a_number_is_not_offered_and_promises_have_a_bound() {
        let mut children = Children::new(u64::MAX);
        children.register(0, Key([1; 32]), None, terms(1)).unwrap();
        assert_eq!(children.find(1, &wish(1024, 9, &[]), &BTreeSet::new()), None);
        children.joined(Key([1; 32]), NodeId(7));
        assert!(children.find(1, &wish(1024, 9, &[]), &BTreeSet::new()).is_some());
        for number in 0..PROMISES_MAX {
            let wish = Digest(blake3::derive_key("test", &number.to_le_bytes()));
            children.promise(1, wish, Key([1; 32]), 1).unwrap();
        }
        let more = children.promise(1, Digest([0; 32]), Key([1; 32]), 1);
        assert_eq!(more, Err(ChildError::Promises));
        assert_eq!(children.promise(1 + PROMISE_MS, Digest([0; 32]), Key([1; 32]), 1), Ok(()));
    }
}

//! What was asked for last, within a bound of memory.
//!
//! Two generations: a full young one becomes the old one, whose entries come back when they are asked for; so what is asked for again and
//! again stays. Archived history never changes; what a later import adds to a block (its total difficulty) shows when it comes anew.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A bounded map that many threads share.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    generations: Mutex<Generations<K, V>>,
    /// of one generation
    weight_max: usize,
}

#[derive(Debug)]
struct Generations<K, V> {
    /// with their weights
    young: HashMap<K, (V, usize)>,
    young_weight: usize,
    old: HashMap<K, (V, usize)>,
}

impl<K: Hash + Eq + Copy, V: Clone> Cache<K, V> {
    /// Keeps at most twice this weight.
    pub(super) fn new(weight_max: usize) -> Self {
        let generations =
            Generations { young: HashMap::new(), young_weight: 0, old: HashMap::new() };
        Self { generations: Mutex::new(generations), weight_max }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut generations = self.lock();
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = generations.old.remove(key)?;
        generations.insert(*key, value.clone(), weight, self.weight_max);
        Some(value)
    }

    /// Keeps a value, unless it is heavier than all that may be kept.
    pub(super) fn insert(&self, key: K, value: V, weight: usize) {
        if weight <= self.weight_max {
            self.lock().insert(key, value, weight, self.weight_max);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Generations<K, V> {
    fn insert(&mut self, key: K, value: V, weight: usize, weight_max: usize) {
        if self.young_weight + weight > weight_max {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        // a key's value, and so its weight, is always the same
        if self.young.insert(key, (value, weight)).is_none() {
            self.young_weight += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let cache = Cache::new(100);
        cache.insert(0, "kept", 10);
        for number in 1..1000 {
            cache.insert(number, "new", 10);
            assert_eq!(cache.get(&0), Some("kept"), "{number}");
            let generations = cache.lock();
            assert!(generations.young_weight <= 100);
            assert!((generations.young.len() + generations.old.len()) * 10 <= 200);
        }
        assert_eq!(cache.get(&1), None);
        cache.insert(5000, "too heavy", 101);
        assert_eq!(cache.get(&5000), None);
    }
}

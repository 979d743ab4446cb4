//! A hash map in buckets that copies share.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

/// A copy shares all buckets, and a change copies one of them: with n entries a clone costs O(`BUCKETS`)
/// and the first change after it O(n / `BUCKETS`), where a plain map would cost O(n) per DDL statement.
const BUCKETS: usize = 256;

#[derive(Debug)]
pub(super) struct Buckets<K, V> {
    buckets: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Clone for Buckets<K, V> {
    fn clone(&self) -> Self {
        Self {
            buckets: self.buckets.clone(),
            hasher: self.hasher.clone(),
            len: self.len,
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Buckets<K, V> {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![Arc::default(); BUCKETS],
            hasher: RandomState::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.buckets[self.bucket(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let bucket = self.bucket(&key);
        let replaced = Arc::make_mut(&mut self.buckets[bucket]).insert(key, value);
        self.len += usize::from(replaced.is_none());
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.get(key).is_some() {
            let bucket = self.bucket(key);
            Arc::make_mut(&mut self.buckets[bucket]).remove(key);
            self.len -= 1;
        }
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.buckets.iter().flat_map(|bucket| bucket.iter())
    }

    fn bucket<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash % BUCKETS as u64).expect("BUCKETS fits usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut map = Buckets::new();
        for i in 0..1_000 {
            map.insert(i, i);
        }
        let copy = map.clone();
        map.insert(0, 7);
        map.insert(1_000, 1_000);
        map.remove(&1);
        map.remove(&5_000);
        assert_eq!((map.len(), copy.len()), (1_000, 1_000));
        assert_eq!((map.get(&0), copy.get(&0)), (Some(&7), Some(&0)));
        assert_eq!((map.get(&1), copy.get(&1)), (None, Some(&1)));
        assert_eq!(copy.iter().count(), 1_000);
    }
}

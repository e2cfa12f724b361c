//! A binary Merkle tree over digests, in order.
//!
//! ```text
//! leaf = H("prunedb v1 merkle leaf", digest)
//! node = H("prunedb v1 merkle node", left || right)
//! root of n > 1 leaves = node(root of the first k, root of the rest), k the largest power of two below n
//! ```
//! `H` is BLAKE3 in key derivation mode, so a leaf is never a node. The number of leaves is not in the root: whoever
//! uses it commits to it beside the root, as a container's root does by its policy.
//!
//! A path lists the siblings from the leaf up: at most `ceil(log2 n)` digests, 8 for 255 shards.

use crate::domain;
use prunedb_core::Digest;

const LEAF: &str = "prunedb v1 merkle leaf";
const NODE: &str = "prunedb v1 merkle node";

/// A path that does not lead to the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// No such leaf.
    #[error("leaf {index} of a tree of {count}")]
    Index {
        /// the leaf asked for
        index: usize,
        /// leaves of the tree
        count: usize,
    },
    /// Not the number of siblings that this leaf has.
    #[error("a path of {found} digests, expected {expected}")]
    Length {
        /// siblings on the way up
        expected: usize,
        /// digests given
        found: usize,
    },
    /// It leads to another root.
    #[error("the path leads to {found}, expected {expected}")]
    Root {
        /// the root it should lead to
        expected: Digest,
        /// the root it leads to
        found: Digest,
    },
}

/// The root over `digests`; `None` where there are none.
pub fn root(digests: &[Digest]) -> Option<Digest> {
    match digests {
        [] => None,
        [one] => Some(leaf(one)),
        many => {
            let (left, right) = many.split_at(left_count(many.len()));
            Some(node(&root(left)?, &root(right)?))
        }
    }
}

/// The siblings of leaf `index`, from the leaf up.
///
/// # Errors
/// [`PathError::Index`] where there is no such leaf.
pub fn path(digests: &[Digest], index: usize) -> Result<Vec<Digest>, PathError> {
    if index >= digests.len() {
        return Err(PathError::Index { index, count: digests.len() });
    }
    let mut siblings = Vec::new();
    let (mut range, mut index) = (digests, index);
    while range.len() > 1 {
        let (left, right) = range.split_at(left_count(range.len()));
        let sibling = if index < left.len() {
            range = left;
            right
        } else {
            index -= left.len();
            range = right;
            left
        };
        siblings.push(root(sibling).expect("both parts of a split have leaves"));
    }
    siblings.reverse();
    Ok(siblings)
}

/// The root that leaf `index` of `count` and its siblings lead to.
///
/// # Errors
/// [`PathError::Index`], and [`PathError::Length`] where the path is not as long as this leaf's.
pub fn root_of_path(
    digest: &Digest,
    index: usize,
    count: usize,
    path: &[Digest],
) -> Result<Digest, PathError> {
    if index >= count {
        return Err(PathError::Index { index, count });
    }
    // from the root down: on which side the leaf lies
    let mut sides = Vec::new();
    let (mut range, mut at) = (count, index);
    while range > 1 {
        let left = left_count(range);
        let is_right = at >= left;
        (range, at) = if is_right { (range - left, at - left) } else { (left, at) };
        sides.push(is_right);
    }
    if path.len() != sides.len() {
        return Err(PathError::Length { expected: sides.len(), found: path.len() });
    }
    Ok(sides.iter().rev().zip(path).fold(leaf(digest), |below, (&is_right, sibling)| {
        if is_right { node(sibling, &below) } else { node(&below, sibling) }
    }))
}

/// Whether `digest` is leaf `index` of the tree of `count` leaves with this root.
///
/// # Errors
/// Those of [`root_of_path`], and [`PathError::Root`] where it leads elsewhere.
pub fn verify(
    digest: &Digest,
    index: usize,
    count: usize,
    path: &[Digest],
    expected: &Digest,
) -> Result<(), PathError> {
    let found = root_of_path(digest, index, count, path)?;
    if found == *expected { Ok(()) } else { Err(PathError::Root { expected: *expected, found }) }
}

fn leaf(digest: &Digest) -> Digest {
    domain::hash(LEAF, &[&digest.0])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    domain::hash(NODE, &[&left.0, &right.0])
}

/// Leaves of the left part of a tree of `count` > 1: the largest power of two below it.
fn left_count(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(count: usize) -> Vec<Digest> {
        (0..count).map(|i| domain::hash("test", &[&i.to_le_bytes()])).collect()
    }

    #[test]
    fn every_path_of_every_size_leads_to_the_root_and_no_other_leaf_does() {
        for count in (1..=20).chain([64, 100, 255]) {
            let all = digests(count);
            let root = root(&all).unwrap();
            for index in 0..count {
                let path = path(&all, index).unwrap();
                assert!(path.len() <= 8);
                assert_eq!(verify(&all[index], index, count, &path, &root), Ok(()));
                let other = (index + 1) % count;
                if other != index {
                    assert!(verify(&all[other], index, count, &path, &root).is_err());
                    assert!(verify(&all[index], other, count, &path, &root).is_err());
                }
            }
        }
    }

    #[test]
    fn refusals_say_why() {
        let all = digests(5);
        let good = path(&all, 4).unwrap();
        assert_eq!(good.len(), 1, "the fifth leaf hangs right below the root");
        assert_eq!(path(&all, 5), Err(PathError::Index { index: 5, count: 5 }));
        let root = root(&all).unwrap();
        assert_eq!(
            verify(&all[4], 4, 5, &[], &root),
            Err(PathError::Length { expected: 1, found: 0 })
        );
        assert!(matches!(verify(&all[4], 4, 5, &[root], &root), Err(PathError::Root { .. })));
        assert_eq!(super::root(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_paths_never_panic_or_verify(
            index in 0usize..300, count in 0usize..300, path in prop::collection::vec(any::<[u8; 32]>(), 0..12),
        ) {
            let path: Vec<_> = path.into_iter().map(Digest).collect();
            let all = digests(7);
            prop_assert!(verify(&all[3], index, count, &path, &root(&all).unwrap()).is_err());
        }
    }
}

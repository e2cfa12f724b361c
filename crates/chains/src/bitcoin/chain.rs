//! Which block has which height: the blocks of all files, linked by their headers.
//!
//! Files hold blocks in the order in which they arrived, those of abandoned branches too. A block without a parent among
//! them is the root of a tree; its height is asked for. Of a tree the branch with the most work counts (of equals the one
//! whose tip came first, as for the node), and of that branch what lies deep enough; no other block has a height.
//!
//! Memory: about 120 bytes a block while it is reckoned; 110 MB for 900,000.

use super::{block::Header, hash::Hash};
use std::{cmp::Reverse, ops::RangeInclusive};

/// Headers in the order in which they came.
#[derive(Default)]
pub(crate) struct Headers {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    at: BlockPlace,
    hash: Hash,
    parent: Hash,
    work: u128,
}

/// Where a block lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockPlace {
    /// number of the file
    pub(crate) file: u32,
    /// where its record begins
    pub(crate) offset: u64,
}

/// A block without a parent among the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    pub(crate) at: BlockPlace,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
}

/// What is known of a block by those before it.
#[derive(Clone, Copy)]
struct Branch {
    /// the first block of its tree
    root: u32,
    /// blocks from there
    blocks: u64,
    /// their work
    work: u128,
}

/// Blocks by hash, with their heights where they have one.
#[derive(Debug)]
pub(crate) struct Chain {
    places: Vec<(Hash, Option<u64>)>,
    /// heights of the chain's blocks, deep ones or not; of several trees that of the one with the most work
    pub(crate) heights: Option<RangeInclusive<u64>>,
}

impl Headers {
    pub(crate) fn push(&mut self, at: BlockPlace, header: &Header) {
        let &Header { hash, parent, .. } = header;
        self.nodes.push(Node { at, hash, parent, work: header.work() });
    }

    /// The blocks of one file.
    pub(crate) fn of_file(&self, file: u32) -> impl Iterator<Item = Hash> {
        self.nodes.iter().filter(move |node| node.at.file == file).map(|node| node.hash)
    }

    /// The chain, where `height_of` knows the heights of blocks without a parent here, and so many blocks have to lie over
    /// one that gets its place.
    pub(crate) fn chain<E>(
        &self,
        confirmations: u64,
        mut height_of: impl FnMut(Root) -> Result<Option<u64>, E>,
    ) -> Result<Chain, E> {
        let nodes = &self.nodes;
        let mut by_hash: Vec<u32> = (0..).take(nodes.len()).collect();
        by_hash.sort_by_key(|&node| (nodes[node as usize].hash, node));
        by_hash.dedup_by_key(|node| nodes[*node as usize].hash);
        let find = |hash: Hash| -> Option<u32> {
            let at = by_hash.binary_search_by_key(&hash, |&node| nodes[node as usize].hash);
            at.ok().map(|at| by_hash[at])
        };
        let parents: Vec<Option<u32>> = nodes.iter().map(|node| find(node.parent)).collect();
        let branches = branches(nodes, &parents);

        // the best tip of each tree
        let mut tips: Vec<u32> = by_hash.clone();
        tips.sort_by_key(|&node| {
            let Branch { root, work, .. } = branches[node as usize];
            (root, Reverse(work), node)
        });
        tips.dedup_by_key(|node| branches[*node as usize].root);
        tips.sort_by_key(|&node| Reverse(branches[node as usize].work));

        let mut heights: Vec<Option<u64>> = vec![None; nodes.len()];
        let mut taken: Vec<RangeInclusive<u64>> = Vec::new();
        for tip in tips {
            let Branch { root, blocks, .. } = branches[tip as usize];
            let Node { at, hash, parent, .. } = nodes[root as usize];
            let Some(first) = height_of(Root { at, hash, parent })? else { continue };
            let range = first..=first.saturating_add(blocks - 1);
            if taken
                .iter()
                .any(|other| other.start() <= range.end() && range.start() <= other.end())
            {
                continue;
            }
            let chain = std::iter::successors(Some(tip), |&node| parents[node as usize]);
            for (node, height) in chain.zip(range.clone().rev()) {
                let deep = range.end() - height >= confirmations;
                heights[node as usize] = deep.then_some(height);
            }
            taken.push(range);
        }
        let places =
            by_hash.iter().map(|&node| (nodes[node as usize].hash, heights[node as usize]));
        Ok(Chain { places: places.collect(), heights: taken.into_iter().next() })
    }
}

/// For each block its tree and what lies between; a parent may come after its children.
fn branches(nodes: &[Node], parents: &[Option<u32>]) -> Vec<Branch> {
    let mut branches: Vec<Option<Branch>> = vec![None; nodes.len()];
    let mut path = Vec::new();
    for start in (0..).take(nodes.len()) {
        let mut next = Some(start);
        while let Some(node) = next.filter(|&node| branches[node as usize].is_none()) {
            path.push(node);
            next = parents[node as usize];
        }
        let mut below = next.and_then(|node| branches[node as usize]);
        while let Some(node) = path.pop() {
            let before = below.unwrap_or(Branch { root: node, blocks: 0, work: 0 });
            let work = before.work.saturating_add(nodes[node as usize].work);
            below = Some(Branch { blocks: before.blocks + 1, work, ..before });
            branches[node as usize] = below;
        }
    }
    branches.into_iter().map(|branch| branch.expect("each was reached from itself")).collect()
}

impl Chain {
    /// The height of a block that has its place.
    pub(crate) fn height(&self, hash: Hash) -> Option<u64> {
        let at = self.places.binary_search_by_key(&hash, |&(hash, _)| hash).ok()?;
        self.places[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const BITS: u32 = 0x207f_ffff;

    fn headers(links: &[(u8, u8)]) -> Headers {
        let mut headers = Headers::default();
        for &(hash, parent) in links {
            let (hash, parent) = (Hash([hash; 32]), Hash([parent; 32]));
            let (merkle_root, version, time, bits, nonce) = (Hash::default(), 1, 0, BITS, 0);

            let at = BlockPlace { file: 0, offset: 0 };
            headers.push(at, &Header { hash, version, parent, merkle_root, time, bits, nonce });
        }
        headers
    }

    fn heights(links: &[(u8, u8)], confirmations: u64, roots: &[(u8, u64)]) -> Vec<Option<u64>> {
        let known = |root: Root| -> Result<_, Infallible> {
            Ok(roots.iter().find(|known| known.0 == root.hash.0[0]).map(|known| known.1))
        };
        let Ok(chain) = headers(links).chain(confirmations, known);
        links.iter().map(|&(hash, _)| chain.height(Hash([hash; 32]))).collect()
    }

    #[test]
    fn the_branch_with_the_most_work_counts() {
        let some = |heights: &[u64]| heights.iter().map(|&h| Some(h)).collect::<Vec<_>>();
        // in any order
        assert_eq!(heights(&[(3, 2), (1, 0), (2, 1)], 0, &[(1, 0)]), some(&[2, 0, 1]));
        // a fork: 1 - 2 - 3 - 4, and 2 - 13; of equals the first
        let fork = [(1, 0), (2, 1), (13, 2), (3, 2)];
        assert_eq!(heights(&fork, 0, &[(1, 5)]), [Some(5), Some(6), Some(7), None]);
        let fork = [(1, 0), (2, 1), (13, 2), (3, 2), (4, 3)];
        assert_eq!(heights(&fork, 0, &[(1, 0)]), [Some(0), Some(1), None, Some(2), Some(3)]);
        assert_eq!(heights(&fork, 2, &[(1, 0)]), [Some(0), Some(1), None, None, None]);
        // a block twice is one
        assert_eq!(heights(&[(1, 0), (2, 1), (1, 0)], 0, &[(1, 0)]), some(&[0, 1, 0]));
    }

    #[test]
    fn trees_have_their_own_roots() {
        let two = [(1, 0), (2, 1), (3, 2), (7, 6), (8, 7)];
        let known = heights(&two, 0, &[(1, 0), (7, 6)]);
        assert_eq!(known, [Some(0), Some(1), Some(2), Some(6), Some(7)]);
        assert_eq!(heights(&two, 0, &[(7, 6)])[..3], [None; 3]);
        // at the same heights the one with more work has the place
        assert_eq!(heights(&two, 0, &[(1, 0), (7, 1)])[3..], [None; 2]);
        assert_eq!(heights(&[], 0, &[]), []);
    }
}

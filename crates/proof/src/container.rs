//! The root of a container: one digest that fixes its parameters, its lengths and every byte of every shard.

use crate::{domain, merkle};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};

const CONTEXT: &str = "prunedb v1 container root";

/// Size of what is hashed, the Merkle root included.
pub const FACTS_BYTES: usize = 88;

/// The public facts of a container that its root commits to.
///
/// ```text
/// offset  size  field
///      0    16  lake
///     16     1  container kind
///     17     1  p
///     18     1  q
///     19     1  zero
///     20     4  container number
///     24     4  codec version
///     28     4  generation of the lake key
///     32     4  leaf_bytes
///     36     4  leaves per shard
///     40     8  container_bytes
///     48     8  coded_bytes
///     56    32  Merkle root of the shard names, data shards first
/// ```
/// All numbers little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContainerFacts {
    /// its lake
    pub lake: LakeId,
    /// which container
    pub container: ContainerId,
    /// its policy
    pub policy: Policy,
    /// codec version
    pub codec: u32,
    /// generation of the lake key
    pub generation: Generation,
    /// sealed bytes of a leaf
    pub leaf_bytes: u32,
    /// leaves of each shard
    pub leaves_per_shard: u32,
    /// length of the container
    pub container_bytes: u64,
    /// length of the coded stream
    pub coded_bytes: u64,
}

/// A root that cannot be made, or is another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Not one name for each shard.
    #[error("container {container}: {found} shard names, policy {policy} has {}", policy.total_shards())]
    NameCount {
        /// which container
        container: ContainerId,
        /// its policy
        policy: Policy,
        /// names given
        found: usize,
    },
    /// Facts or names are not those that the root stands for.
    #[error("container {container}: root {found}, expected {expected}")]
    Mismatch {
        /// which container
        container: ContainerId,
        /// the root it should have
        expected: Digest,
        /// the root that facts and names give
        found: Digest,
    },
    /// A shard's name is not under the root.
    #[error("container {container}: {source}")]
    Path {
        /// which container
        container: ContainerId,
        /// what is wrong with the path
        source: merkle::PathError,
    },
}

impl ContainerFacts {
    /// The container's root.
    ///
    /// # Errors
    /// [`RootError::NameCount`] unless there is one name for each shard.
    pub fn root(&self, names: &[Digest]) -> Result<Digest, RootError> {
        let (container, policy) = (self.container, self.policy);
        let names_root = merkle::root(names)
            .filter(|_| names.len() == policy.total_shards())
            .ok_or(RootError::NameCount { container, policy, found: names.len() })?;
        Ok(self.root_over(&names_root))
    }

    /// Whether these facts and names are those of the container with this root.
    ///
    /// # Errors
    /// [`RootError::NameCount`], [`RootError::Mismatch`].
    pub fn verify(&self, names: &[Digest], expected: &Digest) -> Result<(), RootError> {
        self.compare(self.root(names)?, expected)
    }

    /// Whether `name` is that of shard `index`, given the path from [`merkle::path`] over all names.
    ///
    /// # Errors
    /// [`RootError::Path`] where the path is none, [`RootError::Mismatch`] where it leads elsewhere.
    pub fn verify_name(
        &self,
        name: &Digest,
        index: usize,
        path: &[Digest],
        expected: &Digest,
    ) -> Result<(), RootError> {
        let names_root = merkle::root_of_path(name, index, self.policy.total_shards(), path)
            .map_err(|source| RootError::Path { container: self.container, source })?;
        self.compare(self.root_over(&names_root), expected)
    }

    fn compare(&self, found: Digest, expected: &Digest) -> Result<(), RootError> {
        if found == *expected {
            return Ok(());
        }
        Err(RootError::Mismatch { container: self.container, expected: *expected, found })
    }

    fn root_over(&self, names_root: &Digest) -> Digest {
        domain::hash(CONTEXT, &[&self.to_bytes(names_root)])
    }

    fn to_bytes(self, names_root: &Digest) -> [u8; FACTS_BYTES] {
        let shards = |n: usize| u8::try_from(n).expect("a policy has at most 255 shards");
        let mut out = [0; FACTS_BYTES];
        out[..16].copy_from_slice(&self.lake.0);
        out[16] = self.container.kind as u8;
        out[17] = shards(self.policy.data_shards());
        out[18] = shards(self.policy.parity_shards());
        out[20..24].copy_from_slice(&self.container.number.to_le_bytes());
        out[24..28].copy_from_slice(&self.codec.to_le_bytes());
        out[28..32].copy_from_slice(&self.generation.0.to_le_bytes());
        out[32..36].copy_from_slice(&self.leaf_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.leaves_per_shard.to_le_bytes());
        out[40..48].copy_from_slice(&self.container_bytes.to_le_bytes());
        out[48..56].copy_from_slice(&self.coded_bytes.to_le_bytes());
        out[56..].copy_from_slice(&names_root.0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ContainerFacts {
        ContainerFacts {
            lake: LakeId([7; 16]),
            container: ContainerId::data(12),
            policy: "16+4".parse().unwrap(),
            codec: 1,
            generation: Generation(3),
            leaf_bytes: 16_384,
            leaves_per_shard: 382,
            container_bytes: 100_000_000,
            coded_bytes: 99_999_000,
        }
    }

    fn names(count: u8) -> Vec<Digest> {
        (0..count).map(|i| Digest([i; 32])).collect()
    }

    #[test]
    fn the_root_is_the_published_one() {
        let root = facts().root(&names(20)).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/container-root/v1/16+4.txt");
        if cfg!(bless) {
            std::fs::write(path, format!("{root}\n")).unwrap();
        }
        assert_eq!(root.to_string(), std::fs::read_to_string(path).unwrap().trim());
        assert_eq!(facts().verify(&names(20), &root), Ok(()));
    }

    #[test]
    fn every_fact_and_name_changes_the_root() {
        let base = facts();
        let root = base.root(&names(20)).unwrap();
        let others = [
            ContainerFacts { lake: LakeId([8; 16]), ..base },
            ContainerFacts { container: ContainerId::data(13), ..base },
            ContainerFacts { container: ContainerId::manifest(12), ..base },
            ContainerFacts { policy: "15+5".parse().unwrap(), ..base },
            ContainerFacts { codec: 2, ..base },
            ContainerFacts { generation: Generation(4), ..base },
            ContainerFacts { leaf_bytes: 4096, ..base },
            ContainerFacts { leaves_per_shard: 383, ..base },
            ContainerFacts { container_bytes: 100_000_001, ..base },
            ContainerFacts { coded_bytes: 99_999_001, ..base },
        ];
        for other in others {
            assert!(matches!(other.verify(&names(20), &root), Err(RootError::Mismatch { .. })));
        }
        for shard in 0..20 {
            let mut names = names(20);
            names[shard].0[31] ^= 1;
            assert!(matches!(base.verify(&names, &root), Err(RootError::Mismatch { .. })));
        }
        for count in [0, 19, 21] {
            assert!(matches!(base.root(&names(count)), Err(RootError::NameCount { .. })));
        }
    }

    #[test]
    fn one_name_is_checked_by_its_path() {
        let (facts, names) = (facts(), names(20));
        let root = facts.root(&names).unwrap();
        for index in 0..20 {
            let path = merkle::path(&names, index).unwrap();
            assert_eq!(facts.verify_name(&names[index], index, &path, &root), Ok(()));
            let other = &names[(index + 1) % 20];
            assert!(matches!(
                facts.verify_name(other, index, &path, &root),
                Err(RootError::Mismatch { .. })
            ));
        }
        assert!(matches!(
            facts.verify_name(&names[0], 20, &[], &root),
            Err(RootError::Path { .. })
        ));
    }
}

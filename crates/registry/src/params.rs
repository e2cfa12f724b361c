//! The rules that a registry may choose. Permissioned and permissionless are the same machine with other values.

use crate::{
    canonical::canonical_struct,
    ids::{Amount, Key},
    market::SILENT_EPOCHS,
};
use prunedb_placement::{DOMAIN_KINDS, Limits};

canonical_struct! {
    /// What holds from some height on.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Params {
        /// who governs, by rising key
        pub authorities: Vec<Key>,
        /// how many of them must sign
        pub authority_threshold: u16,
        /// nodes join only with the authorities' signatures
        pub permissioned: bool,
        /// who names the seed of an epoch; none: the validators, by commit and reveal
        pub beacon: Option<Key>,
        /// most slots of a group in one operator, network, place; 0: no limit
        pub slots_per_domain: [u8; DOMAIN_KINDS],
        /// shards beyond `p` that a group must have for a batch to close or to be pruned
        pub margin: u8,
        /// a slot stays vacant rather than break a limit
        pub strict_limits: bool,
        /// epochs that a node must have seen before it gets slots
        pub min_age_epochs: u32,
        /// heights after which an epoch ends without a closing
        pub epoch_heights: u64,
        /// heights from an epoch's start until its seed is fixed; half of them to commit, half to reveal
        pub seed_heights: u64,
        /// heights from the seed until proofs are late
        pub proof_heights: u64,
        /// heights that a closing waits for slow holders
        pub closing_heights: u64,
        /// heights that a new holder has to fill its slot
        pub repair_heights: u64,
        /// samples of a proof
        pub samples: u16,
        /// each sample depends on the one before
        pub sequential: bool,
        /// validators that must have read a batch back before it may be pruned
        pub attesters: u16,
        /// missed epochs, of the last 8, that cost a node its slots
        pub misses_max: u8,
        /// millionths of the stake that these misses cost
        pub slash_ppm: u32,
        /// millionths of a slash for who showed what it is for
        pub reward_ppm: u32,
        /// what an account is paid for a GiB proven in an epoch
        pub pay_per_gib: Amount,
        /// millionths of a cell's rent for the two heavy nodes together
        pub heavy_fee_ppm: u32,
        /// epochs in which a heavy node's report may be disputed, the one in which it came first; at least those after which a heavy
        /// node without a report is silent
        pub dispute_epochs: u32,
        /// least stake of a node
        pub stake_min: Amount,
        /// stake for a GiB of slots; 0: capacity alone counts
        pub stake_per_gib: Amount,
        /// most nodes that ever join
        pub nodes_max: u32,
        /// most groups
        pub groups_max: u32,
        /// most accounts
        pub accounts_max: u32,
    }
}

/// Parameters that contradict themselves; says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("parameter {0} makes no sense")]
pub struct ParamsError(pub &'static str);

impl Params {
    /// One authority, no stakes, no pay: a lake of one operator.
    pub fn permissioned(authority: Key) -> Self {
        Self {
            authorities: vec![authority],
            authority_threshold: 1,
            permissioned: true,
            beacon: None,
            slots_per_domain: [0; DOMAIN_KINDS],
            margin: 1,
            strict_limits: false,
            min_age_epochs: 0,
            epoch_heights: 7_200,
            seed_heights: 4,
            proof_heights: 600,
            closing_heights: 600,
            repair_heights: 600_000,
            samples: 50,
            sequential: false,
            attesters: 1,
            misses_max: 2,
            slash_ppm: 0,
            reward_ppm: 150_000,
            pay_per_gib: Amount(0),
            heavy_fee_ppm: 20_000,
            dispute_epochs: 2,
            stake_min: Amount(0),
            stake_per_gib: Amount(0),
            nodes_max: 100_000,
            groups_max: 65_536,
            accounts_max: 1_000_000,
        }
    }

    /// Whether they can be worked with.
    ///
    /// # Errors
    /// [`ParamsError`] for the first one that cannot.
    pub fn check(&self) -> Result<(), ParamsError> {
        let is_rising = |keys: &[Key]| keys.windows(2).all(|pair| pair[0] < pair[1]);
        let checks = [
            ("authorities", is_rising(&self.authorities) && self.authorities.len() <= 255),
            (
                "authority_threshold",
                (1..=self.authorities.len()).contains(&self.authority_threshold.into()),
            ),
            ("seed_heights", self.seed_heights >= 2),
            ("proof_heights", self.proof_heights >= 1),
            (
                "epoch_heights",
                self.seed_heights
                    .checked_add(self.proof_heights)
                    .is_some_and(|least| least < self.epoch_heights),
            ),
            ("closing_heights", self.closing_heights >= 1),
            ("repair_heights", self.repair_heights >= 1),
            ("samples", (1..=255).contains(&self.samples)),
            ("misses_max", (1..=8).contains(&self.misses_max)),
            ("heavy_fee_ppm", self.heavy_fee_ppm <= 1_000_000),
            ("slash_ppm", self.slash_ppm <= 1_000_000),
            ("reward_ppm", self.reward_ppm <= 1_000_000),
            ("dispute_epochs", (SILENT_EPOCHS..=64).contains(&self.dispute_epochs)),
        ];
        checks.iter().find(|check| !check.1).map_or(Ok(()), |check| Err(ParamsError(check.0)))
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            slots_per_domain: self.slots_per_domain,
            margin: self.margin,
            strict: self.strict_limits,
        }
    }
}

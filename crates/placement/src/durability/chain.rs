//! The life of one group of slots as a birth-death chain.
//!
//! ```text
//!        (n-0)/L     (n-1)/L           (n-q)/L
//!   0 ───────> 1 ───────> 2 ── ... ── q ───────> lost        state: shards that are missing
//!   ^          │          │           │                      L: mean life of a node
//!   └──────────┴──────────┴───────────┘  1/T once more       T: mean time of a repair
//!        than `lazy_shards` are missing
//! ```
//! A repair restores all missing shards at once. A lost failure domain takes several slots at once. First-step analysis from
//! the last state down: every term is positive, so nothing cancels however small a probability is.

/// A group's rates, per year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    /// n: slots
    pub slots: usize,
    /// q: slots that may be missing
    pub parity_slots: usize,
    /// deaths of one node
    pub deaths_per_year: f64,
    /// repairs, while there is something to repair
    pub repairs_per_year: f64,
    /// missing shards that are left alone
    pub lazy_shards: usize,
    /// failure domains that are lost
    pub domain_losses_per_year: f64,
    /// slots that one of them takes
    pub slots_per_domain: usize,
}

/// What happens from a state on, until nothing is missing or too much is.
#[derive(Clone, Copy, Debug)]
struct Fate {
    healed: f64,
    lost: f64,
    years: f64,
}

const LOST: Fate = Fate { healed: 0.0, lost: 1.0, years: 0.0 };

impl Chain {
    /// Mean years until more than q slots are missing; infinite beyond 1e308.
    pub fn years_to_loss(&self) -> f64 {
        let mut fates = vec![LOST; self.parity_slots + 1];
        for missing in (1..=self.parity_slots).rev() {
            fates[missing] = self.fate(missing, &fates);
        }
        let start = self.fate(0, &fates);
        start.years / start.lost
    }

    /// Chance to lose the group within a year.
    pub fn loss_per_year(&self) -> f64 {
        -(-1.0 / self.years_to_loss()).exp_m1()
    }

    fn fate(&self, missing: usize, fates: &[Fate]) -> Fate {
        let next = |more: usize| fates.get(missing + more).copied().unwrap_or(LOST);
        #[expect(clippy::cast_precision_loss, reason = "slots are a few hundred")]
        let deaths = (self.slots - missing) as f64 * self.deaths_per_year;
        let (domains, repairs) = (
            self.domain_losses_per_year,
            if missing > self.lazy_shards.min(self.parity_slots) {
                self.repairs_per_year
            } else {
                0.0
            },
        );
        let (death, domain) = (next(1), next(self.slots_per_domain.max(1)));
        let all = deaths + domains + repairs;
        Fate {
            healed: (repairs + deaths * death.healed + domains * domain.healed) / all,
            lost: (deaths * death.lost + domains * domain.lost) / all,
            years: (1.0 + deaths * death.years + domains * domain.years) / all,
        }
    }
}

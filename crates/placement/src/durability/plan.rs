//! A lake on paper: what its nodes, its policy and its repair bandwidth give.

use super::{Chain, YEAR_HOURS, readable::unreadable};
use prunedb_core::Policy;

/// A lake as it is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lake {
    /// storage nodes
    pub nodes: usize,
    /// their policy
    pub policy: Policy,
    /// mean life of a node, until it is gone with its data
    pub node_life_years: f64,
    /// bytes a second that repair moves in the whole lake, read and written together
    pub repair_bytes_per_s: f64,
    /// bytes of containers
    pub data_bytes: f64,
    /// time until a loss is noticed and its repair begins
    pub detect_hours: f64,
    /// missing shards of a container that are left alone
    pub lazy_shards: usize,
    /// placement groups
    pub groups: usize,
    /// failure domains, where they are planned for
    pub domains: Option<Domains>,
    /// share of the time that a node is up
    pub uptime: f64,
    /// most chance to lose a container within a year
    pub loss_per_year_max: f64,
}

/// Failure domains, each with as many nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Domains {
    /// how many
    pub count: usize,
    /// how often one is lost with its data, a year
    pub losses_per_year: f64,
}

/// A plan that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not a positive number, or not one that fits.
    #[error("{what} is {found}: it must be {expected}")]
    Value {
        /// which figure
        what: &'static str,
        /// the figure
        found: f64,
        /// what it may be
        expected: &'static str,
    },
}

/// What a plan gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// bytes on each node
    pub node_bytes: f64,
    /// bytes on all nodes for each byte of containers
    pub overhead: f64,
    /// bytes that move to rebuild one dead node
    pub rebuild_bytes: f64,
    /// time to rebuild one dead node with all of the repair bandwidth
    pub rebuild_hours: f64,
    /// bytes a second that repair moves on average
    pub repair_traffic_bytes_per_s: f64,
    /// share of the repair bandwidth that this takes; from 1 on repair falls behind for ever
    pub repair_load: f64,
    /// mean time from a loss that is to be repaired until it is; infinite where repair falls behind
    pub repair_hours: f64,
    /// most slots of a group that one domain takes
    pub slots_per_domain: Option<usize>,
    /// chance to lose a given container within a year
    pub container_loss_per_year: f64,
    /// most chance to lose any container within a year
    pub lake_loss_per_year: f64,
    /// chance that a container cannot be read at a moment
    pub unreadable: f64,
    /// why the plan cannot be kept; empty: it can
    pub refusals: Vec<Refusal>,
}

/// Why a plan cannot be kept.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Each shard needs a node of its own.
    #[error("{policy} needs {needed} nodes, one for each shard; there are {found}")]
    TooFewNodes {
        /// the policy
        policy: Policy,
        /// nodes it needs
        needed: usize,
        /// nodes there are
        found: usize,
    },
    /// More is lost than can be repaired.
    #[error("repair falls behind: it must move {:.1} MB/s on average, and has {:.1} MB/s", needed / 1e6, found / 1e6)]
    FallsBehind {
        /// bytes a second that are needed
        needed: f64,
        /// bytes a second that there are
        found: f64,
    },
    /// Losing one domain loses containers.
    #[error("one lost domain takes {slots} shards of a container, {policy} survives {}", policy.parity_shards())]
    Domain {
        /// slots in one domain
        slots: usize,
        /// the policy
        policy: Policy,
    },
    /// The chance of loss is too high.
    #[error("a container is lost with a chance of {found:.1e} a year, more than {most:.1e}")]
    Loss {
        /// the chance
        found: f64,
        /// what is allowed
        most: f64,
    },
}

#[expect(clippy::cast_precision_loss, reason = "nodes, groups and shards are far below 2^52")]
fn real(n: usize) -> f64 {
    n as f64
}

impl Lake {
    /// Whether the figures can be worked with.
    ///
    /// # Errors
    /// [`PlanError::Value`] for the first one that cannot.
    pub fn check(&self) -> Result<(), PlanError> {
        let positive = |n: f64| n.is_finite() && n > 0.0;
        let checks = [
            (
                "nodes",
                real(self.nodes),
                self.nodes > 0 && self.nodes <= 1_000_000,
                "1 to 1,000,000",
            ),
            ("node life", self.node_life_years, positive(self.node_life_years), "above 0"),
            (
                "repair bandwidth",
                self.repair_bytes_per_s,
                positive(self.repair_bytes_per_s),
                "above 0",
            ),
            ("size", self.data_bytes, positive(self.data_bytes), "above 0"),
            (
                "time to detect a loss",
                self.detect_hours,
                self.detect_hours.is_finite() && self.detect_hours >= 0.0,
                "0 or more",
            ),
            (
                "lazy threshold",
                real(self.lazy_shards),
                self.lazy_shards < self.policy.parity_shards(),
                "below q",
            ),
            ("groups", real(self.groups), self.groups > 0, "1 or more"),
            ("uptime", self.uptime, self.uptime > 0.0 && self.uptime < 1.0, "between 0 and 1"),
            (
                "target",
                self.loss_per_year_max,
                self.loss_per_year_max > 0.0 && self.loss_per_year_max <= 1.0,
                "above 0, at most 1",
            ),
        ];
        let domains = self.domains.map(|d| {
            [
                ("domains", real(d.count), d.count > 0, "1 or more"),
                (
                    "losses of a domain",
                    d.losses_per_year,
                    d.losses_per_year.is_finite() && d.losses_per_year >= 0.0,
                    "0 or more",
                ),
            ]
        });
        let bad = checks.into_iter().chain(domains.into_iter().flatten()).find(|check| !check.2);
        match bad {
            None => Ok(()),
            Some((what, found, _, expected)) => Err(PlanError::Value { what, found, expected }),
        }
    }

    /// What the plan gives.
    pub fn figures(&self) -> Figures {
        let (p, n, nodes) = (
            real(self.policy.data_shards()),
            real(self.policy.total_shards()),
            real(self.nodes.max(self.policy.total_shards())),
        );
        let year_s = YEAR_HOURS * 3600.0;
        let node_bytes = self.data_bytes * n / p / nodes;
        let rebuild_bytes = node_bytes * (p + 1.0);
        let restored = real(self.lazy_shards + 1);
        // one repair of a container reads it once and writes what is missing
        let repair_share = 1.0 + restored / p;
        let years_between: f64 =
            (0..=self.lazy_shards).map(|i| self.node_life_years / (n - real(i))).sum();
        let traffic = self.data_bytes * repair_share / years_between / year_s;
        let load = traffic / self.repair_bytes_per_s;
        // a death makes at most the containers due that had a shard on the node
        let due_bytes = n / nodes * self.data_bytes * repair_share;
        let alone_hours = due_bytes / self.repair_bytes_per_s / 3600.0;
        let repair_hours =
            if load < 1.0 { self.detect_hours + alone_hours / (1.0 - load) } else { f64::INFINITY };
        let slots_per_domain = self.domains.map(|d| self.policy.total_shards().div_ceil(d.count));
        let group = self.chain(self.policy.total_shards(), repair_hours);
        let container_loss = group.loss_per_year();
        let mut lake_loss = (real(self.groups) * container_loss).min(1.0);
        if self.lazy_shards == 0 {
            // however the groups lie, nothing is lost while no more than q nodes are gone
            lake_loss = lake_loss
                .min(self.chain(self.nodes.max(group.slots), repair_hours).loss_per_year());
        }
        let mut figures = Figures {
            node_bytes,
            overhead: n / p,
            rebuild_bytes,
            rebuild_hours: rebuild_bytes / self.repair_bytes_per_s / 3600.0,
            repair_traffic_bytes_per_s: traffic,
            repair_load: load,
            repair_hours,
            slots_per_domain,
            container_loss_per_year: container_loss,
            lake_loss_per_year: lake_loss.max(container_loss),
            unreadable: unreadable(self.policy, self.uptime),
            refusals: Vec::new(),
        };
        figures.refusals = self.refusals(&figures);
        figures
    }

    fn chain(&self, slots: usize, repair_hours: f64) -> Chain {
        Chain {
            slots,
            parity_slots: self.policy.parity_shards(),
            deaths_per_year: 1.0 / self.node_life_years,
            repairs_per_year: YEAR_HOURS / repair_hours,
            lazy_shards: self.lazy_shards,
            domain_losses_per_year: self.domains.map_or(0.0, |d| real(d.count) * d.losses_per_year),
            slots_per_domain: self.domains.map_or(1, |d| slots.div_ceil(d.count)),
        }
    }

    fn refusals(&self, figures: &Figures) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let (policy, needed) = (self.policy, self.policy.total_shards());
        if self.nodes < needed {
            refusals.push(Refusal::TooFewNodes { policy, needed, found: self.nodes });
        }
        if let Some(slots) =
            figures.slots_per_domain.filter(|&slots| slots > policy.parity_shards())
        {
            refusals.push(Refusal::Domain { slots, policy });
        }
        if figures.repair_load >= 1.0 {
            let (needed, found) = (figures.repair_traffic_bytes_per_s, self.repair_bytes_per_s);
            refusals.push(Refusal::FallsBehind { needed, found });
        }
        let (found, most) = (figures.container_loss_per_year, self.loss_per_year_max);
        if found > most {
            refusals.push(Refusal::Loss { found, most });
        }
        refusals
    }
}

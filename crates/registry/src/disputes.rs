//! A heavy node's report that is a lie: who shows it has it convicted.
//!
//! ```text
//! ReportCells: bits, answers root ──paid, kept for `dispute_epochs`──> DisputeReport: what the root says of a paid cell
//!     that proves the cell          refused: the report is right
//!     samples that prove nothing, or none at all          convicted: all its stake, its cells end, it leaves
//! nothing is shown ──> DemandAnswer ── ShowAnswer within an epoch's time: proves the cell ──> all is well
//!                                   └─ none ──> convicted
//! ```
//! The heavy node signed both: the bit that had the cell paid, and the root that has no proof of it. Nothing else is looked at, so
//! who has its answers is never convicted, and a cell that its holder lost later convicts nobody.
//!
//! Bounds: a demand for each party and report, [`DEMANDS_MAX`] for a report.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    evidence::{CELL_SAMPLES, Evidence, cell_seed, verify_cell},
    ids::Key,
    market::PaidCell,
    nodes::NodeStatus,
    reject::Reject,
    state::State,
    tx::CheckedTx,
};
use prunedb_placement::NodeId;

/// Most demands about one report.
const DEMANDS_MAX: usize = 64;

canonical_struct! {
    /// An answer that a heavy node has to show.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Demand {
        /// about which cell
        pub cell: u64,
        /// by when; nothing: it was shown
        pub deadline: Option<u64>,
    }
}

impl State {
    /// Reports that may not be disputed any more are forgotten, and what was demanded about them.
    pub(crate) fn forget_reports(&mut self) {
        let (now, open) = (self.epoch.number, self.params.dispute_epochs);
        let market = &mut self.market;
        let is_waited_for = |heavy, epoch| {
            let demands = market.demands.range((heavy, epoch, Key::MIN)..=(heavy, epoch, Key::MAX));
            demands.into_iter().any(|(_, demand)| demand.deadline.is_some())
        };
        market.reports.retain(|&(heavy, epoch), _| {
            epoch.saturating_add(open) >= now || is_waited_for(heavy, epoch)
        });
        let reports = &market.reports;
        market.demands.retain(|&(heavy, epoch, _), _| reports.contains_key(&(heavy, epoch)));
    }

    /// A cell that a report had paid.
    fn paid_cell(&self, heavy: NodeId, epoch: u32, cell: u64) -> Result<PaidCell, Reject> {
        let report = self.market.reports.get(&(heavy, epoch));
        let report = report.ok_or(Reject::NoReport { heavy, epoch })?;
        let paid = report.paid.binary_search_by_key(&cell, |paid| paid.number);
        paid.map(|at| report.paid[at]).map_err(|_| Reject::NotPaid { heavy, epoch, cell })
    }

    /// Whether what a heavy node committed to proves a cell that it had paid.
    fn is_proof(&self, heavy: NodeId, evidence: &Evidence) -> Result<bool, Reject> {
        let Evidence { epoch, cell, .. } = *evidence;
        let paid = self.paid_cell(heavy, epoch, cell)?;
        let report = &self.market.reports[&(heavy, epoch)];
        if !evidence.is_under(&report.answers_root) {
            return Err(Reject::NotCommitted { heavy, epoch });
        }
        let seed = cell_seed(&report.seed, cell);
        Ok(verify_cell((&paid.root, paid.bytes), &seed, CELL_SAMPLES, &evidence.shown).is_ok())
    }

    pub(crate) fn dispute_report(
        &mut self,
        tx: &CheckedTx,
        heavy: NodeId,
        evidence: &Evidence,
        events: &mut Events,
    ) -> Result<(), Reject> {
        if self.is_proof(heavy, evidence)? {
            let Evidence { epoch, cell, .. } = *evidence;
            return Err(Reject::NoLie { heavy, epoch, cell });
        }
        self.convict(heavy, tx.sender(), events);
        self.elect(events);
        Ok(())
    }

    pub(crate) fn demand_answer(
        &mut self,
        tx: &CheckedTx,
        (heavy, epoch, cell): (NodeId, u32, u64),
        events: &mut Events,
    ) -> Result<(), Reject> {
        self.paid_cell(heavy, epoch, cell)?;
        self.require_part(&tx.sender())?;
        let of_report = (heavy, epoch, Key::MIN)..=(heavy, epoch, Key::MAX);
        if self.market.demands.range(of_report).count() >= DEMANDS_MAX {
            return Err(Reject::Full("demands about one report"));
        }
        let demand = (heavy, epoch, tx.sender());
        if self.market.demands.contains_key(&demand) {
            return Err(Reject::Phase("the sender demanded an answer of this report already"));
        }
        let deadline = Some(self.height.saturating_add(self.params.epoch_heights));
        self.market.demands.insert(demand, Demand { cell, deadline });
        events.push(Event::AnswerDemanded { heavy, epoch, cell });
        Ok(())
    }

    pub(crate) fn show_answer(
        &mut self,
        tx: &CheckedTx,
        heavy: NodeId,
        evidence: &Evidence,
    ) -> Result<(), Reject> {
        if self.present(heavy)?.key != tx.sender() {
            return Err(Reject::Signer("the heavy node"));
        }
        let Evidence { epoch, cell, .. } = *evidence;
        if !self.is_proof(heavy, evidence)? {
            return Err(Reject::Phase("what is shown does not prove the cell"));
        }
        let of_report = (heavy, epoch, Key::MIN)..=(heavy, epoch, Key::MAX);
        let mut is_demanded = false;
        for (_, demand) in self.market.demands.range_mut(of_report) {
            if demand.cell == cell && demand.deadline.take().is_some() {
                is_demanded = true;
            }
        }
        is_demanded.then_some(()).ok_or(Reject::Phase("nobody demands this answer"))
    }

    /// Who was to show an answer and did not is convicted.
    pub(crate) fn expire_demands(&mut self, events: &mut Events) {
        let is_late = |demand: &Demand| demand.deadline.is_some_and(|last| last < self.height);
        let demands = self.market.demands.iter().filter(|(_, demand)| is_late(demand));
        let late: Vec<(NodeId, Key)> = demands.map(|(&(heavy, _, by), _)| (heavy, by)).collect();
        if late.is_empty() {
            return;
        }
        for (heavy, by) in late {
            // once, whatever else it did not show
            if self.market.reports_of(heavy).next().is_some() {
                self.convict(heavy, by, events);
            }
        }
        self.elect(events);
    }

    /// A heavy node lied: all its stake is gone, what it checks ends, and it has to leave.
    fn convict(&mut self, heavy: NodeId, by: Key, events: &mut Events) {
        events.push(Event::Convicted { node: heavy, by });
        let node = &mut self.nodes[heavy.0 as usize];
        node.status = NodeStatus::Leaving;
        let stake = std::mem::take(&mut node.stake);
        let rest = self.reward(&by, stake);
        self.bank.give_escrow(rest);
        events.push(Event::Slashed { node: heavy, amount: stake });
        self.market.reports.retain(|(node, _), _| *node != heavy);
        self.market.demands.retain(|(node, ..), _| *node != heavy);
        let cells = self.market.cells.iter().filter(|(_, c)| c.cell.holder_heavy == Some(heavy));
        for number in cells.map(|(number, _)| *number).collect::<Vec<u64>>() {
            self.drop_cell(number, events);
        }
    }
}

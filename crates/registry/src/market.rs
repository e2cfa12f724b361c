//! Rented cells: space on one node for one owner's shards, found and checked by heavy nodes.
//!
//! The owner's money for the whole time is set aside when the rent begins. Each epoch the holder's heavy node says which of its
//! cells proved; a proven epoch is paid at once, from what was set aside: the price less the fee to the holder's owner, the fee in
//! halves to the two heavy nodes, so that longer paths earn nothing. What is not used goes back. What a report had paid may be
//! disputed for some epochs (`disputes`).

use crate::{
    canonical::canonical_struct,
    disputes::Demand,
    event::{Event, Events},
    ids::{Amount, Key},
    nodes::NodeStatus,
    reject::{Reject, expect_value},
    state::State,
    tx::{Cell, CheckedTx},
};
use prunedb_core::Digest;
use prunedb_placement::NodeId;
use std::collections::BTreeMap;

canonical_struct! {
    /// A cell that is rented.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct RentedCell {
        /// who pays
        pub owner: Key,
        /// the contract
        pub cell: Cell,
        /// what is left of the money set aside
        pub held: Amount,
        /// epochs that are left
        pub epochs_left: u32,
        /// epochs that proved
        pub epochs_proven: u32,
        /// the epoch in which it was rented, or adopted; the ones after it count, so that each had time for a check
        pub since_epoch: u32,
    }
}

impl RentedCell {
    /// Whether a heavy node's report of an epoch is about it.
    pub fn is_checked_by(&self, heavy: NodeId, epoch: u32) -> bool {
        self.cell.holder_heavy == Some(heavy) && self.since_epoch < epoch
    }

    /// Whether it may go over to another heavy node in this epoch: its own one, whose last report is given, let a whole epoch
    /// pass without the report that was due in it. So who reports loses no cell, and who forged a report stays the one who
    /// checked the cell for an epoch at least.
    pub fn is_forsaken(&self, last: Option<&CellReport>, epoch: u32) -> bool {
        let last = last.map_or(0, |report| report.epoch).max(self.since_epoch);
        last.saturating_add(SILENT_EPOCHS) < epoch
    }
}

canonical_struct! {
    /// What a heavy node said about its cells.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CellReport {
        /// about which epoch
        pub epoch: u32,
        /// root of the answers
        pub answers_root: Digest,
    }
}

canonical_struct! {
    /// A cell that a report had paid, as its contract was.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PaidCell {
        /// its number
        pub number: u64,
        /// root of what is in it
        pub root: Digest,
        /// how much
        pub bytes: u64,
    }
}

canonical_struct! {
    /// A report that may be disputed.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct OpenReport {
        /// root of the answers
        pub answers_root: Digest,
        /// the seed of the epoch that it is about
        pub seed: [u8; 32],
        /// the cells that it had paid, by rising number
        pub paid: Vec<PaidCell>,
    }
}

canonical_struct! {
    /// All cells.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Market {
        /// number of the next cell
        pub next: u64,
        /// by number
        pub cells: BTreeMap<u64, RentedCell>,
        /// reports that may be disputed, by heavy node and epoch
        pub reports: BTreeMap<(NodeId, u32), OpenReport>,
        /// answers that are to be shown, or were, by heavy node, epoch, and who demands it
        pub demands: BTreeMap<(NodeId, u32, Key), Demand>,
    }
}

/// Largest cell: 256 MB.
pub const CELL_BYTES_MAX: u64 = 256 << 20;
/// A heavy node is silent that sent no report for more epochs than these: the one that is running, and the one in which the
/// report before was due.
pub(crate) const SILENT_EPOCHS: u32 = 2;
/// Most cells at once.
pub const CELLS_MAX: usize = 1_000_000;

impl Market {
    /// Money set aside for rents.
    pub(crate) fn total(&self) -> u128 {
        self.cells.values().map(|c| u128::from(c.held.0)).sum()
    }

    /// Whether a node holds cells, checks them, or has said something of them that may be disputed.
    pub(crate) fn holds(&self, node: NodeId) -> bool {
        let is_its = |c: &RentedCell| c.cell.holder == node || c.cell.holder_heavy == Some(node);
        self.cells.values().any(is_its) || self.reports_of(node).next().is_some()
    }

    /// The reports of a heavy node that may be disputed, the oldest first.
    pub fn reports_of(&self, heavy: NodeId) -> impl Iterator<Item = (u32, &OpenReport)> {
        let reports = self.reports.range((heavy, 0)..=(heavy, u32::MAX));
        reports.map(|((_, epoch), report)| (*epoch, report))
    }

    /// The answers that a heavy node has to show: epoch and cell.
    pub fn demanded_of(&self, heavy: NodeId) -> impl Iterator<Item = (u32, u64)> {
        let of_heavy = (heavy, 0, Key::MIN)..=(heavy, u32::MAX, Key::MAX);
        let open = self.demands.range(of_heavy).filter(|(_, demand)| demand.deadline.is_some());
        open.map(|((_, epoch, _), demand)| (*epoch, demand.cell))
    }

    /// The newest report of a heavy node, as far as it may be disputed.
    pub fn newest_report(&self, heavy: NodeId) -> Option<CellReport> {
        let (epoch, report) = self.reports_of(heavy).last()?;
        Some(CellReport { epoch, answers_root: report.answers_root })
    }

    /// The newest report of each heavy node, as far as it may be disputed.
    pub fn newest_reports(&self) -> BTreeMap<NodeId, CellReport> {
        let reports = self.reports.iter().map(|(&(heavy, epoch), report)| {
            (heavy, CellReport { epoch, answers_root: report.answers_root })
        });
        reports.collect()
    }
}

impl State {
    pub(crate) fn adopt_cells(
        &mut self,
        tx: &CheckedTx,
        holder: NodeId,
        heavy: NodeId,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let epoch = self.epoch.number;
        for node in [holder, heavy] {
            if !tx.signers().contains(&self.present(node)?.key) {
                return Err(Reject::Signer("the holder and the heavy node that takes its cells"));
            }
        }
        if self.nodes[heavy.0 as usize].status != NodeStatus::Active {
            return Err(Reject::Node(heavy));
        }
        let last = |heavy| self.market.newest_report(heavy);
        let is_adopted = |c: &RentedCell| {
            let before = c.cell.holder_heavy.filter(|&before| before != heavy);
            let is_forsaken = before.is_some_and(|h| c.is_forsaken(last(h).as_ref(), epoch));
            c.cell.holder == holder && is_forsaken
        };
        let cells = self.market.cells.iter();
        let adopted: Vec<u64> = cells.filter(|(_, c)| is_adopted(c)).map(|(&n, _)| n).collect();
        if adopted.is_empty() {
            return Err(Reject::Phase("no cell of the holder has a heavy node that is silent"));
        }
        for number in adopted {
            let rented = self.market.cells.get_mut(&number).expect("listed just now");
            rented.cell.holder_heavy = Some(heavy);
            // the new one has not asked for samples before: what was not reported is not counted
            rented.since_epoch = epoch;
            events.push(Event::CellAdopted(number));
        }
        self.release_leavers(events);
        Ok(())
    }

    pub(crate) fn rent_cell(
        &mut self,
        tx: &CheckedTx,
        cell: Cell,
        events: &mut Events,
    ) -> Result<(), Reject> {
        for node in [Some(cell.holder), cell.holder_heavy, cell.owner_heavy].into_iter().flatten() {
            let found = self.present(node)?;
            if found.status != NodeStatus::Active {
                return Err(Reject::Node(node));
            }
            if !tx.signers().contains(&found.key) {
                return Err(Reject::Signer("the holder and the heavy nodes"));
            }
        }
        if cell.holder_heavy.is_none() {
            return Err(Reject::Phase("nobody is to check the cell: name the holder's heavy node"));
        }
        if cell.epochs == 0 || !(1..=CELL_BYTES_MAX).contains(&cell.bytes) {
            let expected = CELL_BYTES_MAX;
            return Err(Reject::Value { what: "bytes of a cell", expected, found: cell.bytes });
        }
        if self.market.cells.len() >= CELLS_MAX {
            return Err(Reject::Full("cells"));
        }
        let rent =
            cell.price.0.checked_mul(cell.epochs.into()).map(Amount).ok_or(Reject::Overflow)?;
        self.bank.take(&tx.sender(), rent)?;
        let number = self.market.next;
        self.market.next += 1;
        let rented = RentedCell {
            owner: tx.sender(),
            cell,
            held: rent,
            epochs_left: cell.epochs,
            epochs_proven: 0,
            since_epoch: self.epoch.number,
        };
        self.market.cells.insert(number, rented);
        events.push(Event::CellRented(number));
        Ok(())
    }

    pub(crate) fn end_cell(
        &mut self,
        tx: &CheckedTx,
        number: u64,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let cell = self.market.cells.get(&number).ok_or(Reject::Phase("there is no such cell"))?;
        if cell.owner != tx.sender() {
            return Err(Reject::Signer("the cell's owner"));
        }
        self.drop_cell(number, events);
        self.release_leavers(events);
        Ok(())
    }

    pub(crate) fn drop_cell(&mut self, number: u64, events: &mut Events) {
        let cell = self.market.cells.remove(&number).expect("looked up before");
        self.bank.give(&cell.owner, cell.held);
        events.push(Event::CellEnded(number));
    }

    pub(crate) fn report_cells(
        &mut self,
        tx: &CheckedTx,
        heavy: NodeId,
        report: CellReport,
        proven: &[u8],
        events: &mut Events,
    ) -> Result<(), Reject> {
        if self.present(heavy)?.key != tx.sender() {
            return Err(Reject::Signer("the heavy node"));
        }
        expect_value("epoch", report.epoch.saturating_add(1), self.epoch.number)?;
        let seed = self.epoch.seed_before.ok_or(Reject::Phase("the epoch had no seed"))?;
        if self.market.reports.contains_key(&(heavy, report.epoch)) {
            return Err(Reject::Phase("the heavy node reported this epoch already"));
        }
        let its = |c: &RentedCell| c.is_checked_by(heavy, report.epoch);
        let cells: Vec<u64> =
            self.market.cells.iter().filter(|(_, c)| its(c)).map(|(&number, _)| number).collect();
        expect_value("bytes of the report", proven.len() as u64, cells.len().div_ceil(8) as u64)?;
        let mut paid = Vec::new();
        for (position, number) in cells.into_iter().enumerate() {
            let has_proven = (proven[position / 8] >> (position % 8)) & 1 == 1;
            if has_proven {
                let Cell { root, bytes, .. } = self.market.cells[&number].cell;
                paid.push(PaidCell { number, root, bytes });
            }
            self.end_cell_epoch(number, has_proven, events);
        }
        let open = OpenReport { answers_root: report.answers_root, seed, paid };
        self.market.reports.insert((heavy, report.epoch), open);
        self.release_leavers(events);
        Ok(())
    }

    /// One epoch of a cell is over.
    fn end_cell_epoch(&mut self, number: u64, has_proven: bool, events: &mut Events) {
        let rented = self.market.cells.get_mut(&number).expect("listed just now");
        rented.epochs_left -= 1;
        let is_over = rented.epochs_left == 0;
        if has_proven {
            rented.epochs_proven += 1;
            let price = rented.cell.price;
            rented.held = rented.held.minus(price).expect("set aside for every epoch");
            let cell = rented.cell;
            let fee = price.parts_per_million(self.params.heavy_fee_ppm);
            let half = Amount(fee.0 / 2);
            let owner = |node: NodeId| self.nodes[node.0 as usize].owner;
            let heavies: Vec<Key> =
                [cell.owner_heavy, cell.holder_heavy].into_iter().flatten().map(owner).collect();
            let holder = owner(cell.holder);
            let mut left = price;
            for heavy in heavies {
                left = left.minus(half).expect("two halves of a part");
                self.bank.give(&heavy, half);
            }
            self.bank.give(&holder, left);
        }
        if is_over {
            self.drop_cell(number, events);
        }
    }
}

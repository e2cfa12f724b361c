//! One block after another, one transaction after another.

use crate::{
    event::Events,
    lease::Head,
    market::CellReport,
    reject::Reject,
    state::State,
    tx::{Body, CheckedTx},
};
use prunedb_core::Term;

impl State {
    /// Begins the block of the next height: seeds, settlements, elections and deadlines that are due.
    ///
    /// # Errors
    /// [`Reject::Height`] for any other height.
    pub fn advance(&mut self, height: u64) -> Result<Events, Reject> {
        let expected = self.height.saturating_add(1);
        if height != expected {
            return Err(Reject::Height { expected, found: height });
        }
        self.height = height;
        let mut events = Events::new();
        self.advance_params(&mut events);
        self.expire_repairs(&mut events);
        self.expire_demands(&mut events);
        self.advance_epoch(&mut events);
        Ok(events)
    }

    /// Applies a transaction of the block at this height.
    ///
    /// # Errors
    /// [`Reject`]; the state is as it was.
    pub fn apply(&mut self, height: u64, tx: &CheckedTx) -> Result<Events, Reject> {
        if height != self.height {
            return Err(Reject::Height { expected: self.height, found: height });
        }
        if *tx.registry() != self.registry {
            return Err(Reject::Phase("the transaction is for another registry"));
        }
        if tx.valid_until() < height {
            return Err(Reject::Expired { valid_until: tx.valid_until(), height });
        }
        let sender = tx.sender();
        let account = self.bank.accounts.get(&sender).ok_or(Reject::Account(sender))?;
        if account.nonce != tx.nonce() {
            return Err(Reject::Nonce { expected: account.nonce, found: tx.nonce() });
        }
        let nonce = account.nonce.checked_add(1).ok_or(Reject::Overflow)?;
        let mut events = Events::new();
        self.dispatch(tx, &mut events)?;
        self.bank.accounts.get_mut(&sender).expect("accounts are never closed").nonce = nonce;
        Ok(events)
    }

    /// Every branch refuses before it changes anything.
    fn dispatch(&mut self, tx: &CheckedTx, events: &mut Events) -> Result<(), Reject> {
        let sender = tx.sender();
        match tx.body() {
            Body::JoinNode { join } => self.join(tx, join, events),
            Body::LeaveNode { leave } => self.leave(tx, *leave, events),
            Body::OpenGroups { policy, count } => {
                self.require_authorities(tx)?;
                self.open_groups(*policy, *count, events)
            }
            Body::CloseBatch { batch } => self.close_batch(tx, batch, events),
            Body::Receipt { receipt } => self.receipt(tx, *receipt, events),
            Body::CommitSeed { epoch, commitment } => self.commit_seed(tx, *epoch, *commitment),
            Body::RevealSeed { epoch, secret } => self.reveal_seed(tx, *epoch, *secret),
            Body::Beacon { epoch, value } => self.beacon(tx, *epoch, *value),
            Body::Prove { proof } => self.prove(tx, proof, events),
            Body::AttestReadBack { up_to } => self.attest_read_back(tx, *up_to),
            Body::Deposit { account, amount } => {
                self.require_authorities(tx)?;
                self.bank.deposit(*account, *amount, self.params.accounts_max, events)
            }
            Body::Withdraw { amount } => self.bank.withdraw(sender, *amount, events),
            Body::Transfer { account, amount } => self.bank.transfer(&sender, account, *amount),
            Body::FundEscrow { amount } => {
                self.bank.take(&sender, *amount)?;
                self.bank.give_escrow(*amount);
                Ok(())
            }
            Body::AddStake { node, amount } => {
                self.present(*node)?;
                self.bank.take(&sender, *amount)?;
                let stake = &mut self.nodes[node.0 as usize].stake;
                *stake = stake.plus(*amount).expect("no more money than was deposited");
                Ok(())
            }
            Body::AcquireLease { term, heights } => self.acquire_lease(tx, *term, *heights, events),
            Body::RenewLease { term, heights } => self.renew_lease(tx, *term, *heights),
            Body::SetInSync { in_sync } => self.set_in_sync(tx, in_sync),
            Body::CommitHead { term, number, root } => self.commit_head(
                tx,
                Head { term: Term(*term), number: *number, root: *root },
                events,
            ),
            Body::SetParams { height, params } => self.set_params(tx, *height, params),
            Body::SetValidators { validators } => self.set_validators(tx, validators),
            Body::RentCell { cell } => self.rent_cell(tx, *cell, events),
            Body::EndCell { cell } => self.end_cell(tx, *cell, events),
            Body::ReportCells { heavy, epoch, answers_root, proven } => {
                let report = CellReport { epoch: *epoch, answers_root: *answers_root };
                self.report_cells(tx, *heavy, report, proven, events)
            }
            Body::AdoptCells { holder, heavy } => self.adopt_cells(tx, *holder, *heavy, events),
            Body::ReportFault { node, batch, slot } => {
                self.report_fault(tx, *node, *batch, *slot, events)
            }
            Body::DisputeReport { heavy, evidence } => {
                self.dispute_report(tx, *heavy, evidence, events)
            }
            Body::DemandAnswer { heavy, epoch, cell } => {
                self.demand_answer(tx, (*heavy, *epoch, *cell), events)
            }
            Body::ShowAnswer { heavy, evidence } => self.show_answer(tx, *heavy, evidence),
        }
    }
}

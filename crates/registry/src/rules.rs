//! Who governs: authorities, validators, parameters.

use crate::{
    event::{Event, Events},
    ids::Key,
    params::Params,
    reject::Reject,
    state::State,
    tx::CheckedTx,
};

/// Most parameter changes that wait.
const PARAMS_WAITING_MAX: usize = 16;
/// Most validators.
const VALIDATORS_MAX: usize = 255;

impl State {
    /// Enough authorities signed.
    pub(crate) fn require_authorities(&self, tx: &CheckedTx) -> Result<(), Reject> {
        let signed =
            tx.signers().iter().filter(|k| self.params.authorities.binary_search(k).is_ok());
        if signed.count() >= self.params.authority_threshold.into() {
            return Ok(());
        }
        Err(Reject::Signer("enough authorities"))
    }

    /// A validator sent it.
    pub(crate) fn require_validator(&self, tx: &CheckedTx) -> Result<(), Reject> {
        let is_validator = self.validators.binary_search(&tx.sender()).is_ok();
        is_validator.then_some(()).ok_or(Reject::Signer("a validator"))
    }

    /// More than two thirds of the validators signed.
    pub(crate) fn require_validators(&self, tx: &CheckedTx) -> Result<(), Reject> {
        let signed = tx.signers().iter().filter(|k| self.validators.binary_search(k).is_ok());
        if signed.count() * 3 > self.validators.len() * 2 {
            return Ok(());
        }
        Err(Reject::Signer("two thirds of the validators"))
    }

    pub(crate) fn set_params(
        &mut self,
        tx: &CheckedTx,
        height: u64,
        params: &Params,
    ) -> Result<(), Reject> {
        self.require_authorities(tx)?;
        params.check()?;
        if height <= self.height {
            return Err(Reject::Phase("parameters change at a later height"));
        }
        if self.next_params.len() >= PARAMS_WAITING_MAX && !self.next_params.contains_key(&height) {
            return Err(Reject::Full("parameter changes that wait"));
        }
        for key in &params.authorities {
            self.can_open(*key, params.authorities.len())?;
        }
        for key in &params.authorities {
            self.bank.open(*key, self.params.accounts_max)?;
        }
        self.next_params.insert(height, params.clone());
        Ok(())
    }

    pub(crate) fn set_validators(
        &mut self,
        tx: &CheckedTx,
        validators: &[Key],
    ) -> Result<(), Reject> {
        self.require_authorities(tx)?;
        let is_rising = validators.windows(2).all(|pair| pair[0] < pair[1]);
        if validators.is_empty() || validators.len() > VALIDATORS_MAX || !is_rising {
            return Err(Reject::Full("validators: 1 to 255, each once and in order"));
        }
        for key in validators {
            self.can_open(*key, validators.len())?;
        }
        for key in validators {
            self.bank.open(*key, self.params.accounts_max)?;
        }
        self.next_validators = Some(validators.to_vec());
        Ok(())
    }

    /// Whether there is room for an account, and for `more` beside it.
    fn can_open(&self, key: Key, more: usize) -> Result<(), Reject> {
        let has_room = self.bank.accounts.len() + more <= self.params.accounts_max as usize;
        if has_room || self.bank.accounts.contains_key(&key) {
            return Ok(());
        }
        Err(Reject::Full("accounts"))
    }

    /// Parameters that hold from this height on.
    pub(crate) fn advance_params(&mut self, events: &mut Events) {
        while let Some(entry) = self.next_params.first_entry().filter(|e| *e.key() <= self.height) {
            self.params = entry.remove();
            events.push(Event::ParamsChanged);
        }
    }
}

//! Money: accounts, the escrow that pays holders, what came in and went out.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    ids::{Amount, Key},
    reject::Reject,
};
use std::collections::BTreeMap;

canonical_struct! {
    /// What a key has, and how often it sent something.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Account {
        /// transactions so far
        pub nonce: u64,
        /// free money
        pub balance: Amount,
    }
}

canonical_struct! {
    /// All money but stakes and rents.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Bank {
        /// by key
        pub accounts: BTreeMap<Key, Account>,
        /// what the holders of the lake are paid from
        pub escrow: Amount,
        /// all that ever came in
        pub deposited: Amount,
        /// all that ever went out
        pub withdrawn: Amount,
    }
}

impl Bank {
    /// Makes an account where there is none.
    ///
    /// # Errors
    /// [`Reject::Full`].
    pub(crate) fn open(&mut self, key: Key, accounts_max: u32) -> Result<(), Reject> {
        let is_full = self.accounts.len() as u64 >= accounts_max.into();
        if is_full && !self.accounts.contains_key(&key) {
            return Err(Reject::Full("accounts"));
        }
        self.accounts.entry(key).or_default();
        Ok(())
    }

    fn account(&mut self, key: &Key) -> Result<&mut Account, Reject> {
        self.accounts.get_mut(key).ok_or(Reject::Account(*key))
    }

    /// Whether so much may be taken from an account.
    ///
    /// # Errors
    /// [`Reject::Account`], [`Reject::Funds`].
    pub(crate) fn can_take(&self, key: &Key, amount: Amount) -> Result<(), Reject> {
        let account = self.accounts.get(key).ok_or(Reject::Account(*key))?;
        account.balance.minus(amount).map(|_| ())
    }

    /// Takes money from an account.
    ///
    /// # Errors
    /// [`Reject::Account`], [`Reject::Funds`].
    pub(crate) fn take(&mut self, key: &Key, amount: Amount) -> Result<(), Reject> {
        let account = self.account(key)?;
        account.balance = account.balance.minus(amount)?;
        Ok(())
    }

    /// Gives money to an account that is there.
    pub(crate) fn give(&mut self, key: &Key, amount: Amount) {
        let account = self.accounts.get_mut(key).expect("accounts are never closed");
        account.balance = account.balance.plus(amount).expect("no more money than was deposited");
    }

    pub(crate) fn give_escrow(&mut self, amount: Amount) {
        self.escrow = self.escrow.plus(amount).expect("no more money than was deposited");
    }

    pub(crate) fn deposit(
        &mut self,
        key: Key,
        amount: Amount,
        accounts_max: u32,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let deposited = self.deposited.plus(amount)?;
        self.open(key, accounts_max)?;
        self.deposited = deposited;
        self.give(&key, amount);
        events.push(Event::Deposited(key, amount));
        Ok(())
    }

    pub(crate) fn withdraw(
        &mut self,
        key: Key,
        amount: Amount,
        events: &mut Events,
    ) -> Result<(), Reject> {
        self.take(&key, amount)?;
        self.withdrawn = self.withdrawn.plus(amount).expect("no more than was deposited");
        events.push(Event::Withdrawn(key, amount));
        Ok(())
    }

    pub(crate) fn transfer(&mut self, from: &Key, to: &Key, amount: Amount) -> Result<(), Reject> {
        if !self.accounts.contains_key(to) {
            return Err(Reject::Account(*to));
        }
        self.take(from, amount)?;
        self.give(to, amount);
        Ok(())
    }

    /// Free money and escrow.
    pub(crate) fn total(&self) -> u128 {
        let balances: u128 = self.accounts.values().map(|a| u128::from(a.balance.0)).sum();
        balances + u128::from(self.escrow.0)
    }
}

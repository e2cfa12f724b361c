//! What a storage node earns, what it must set aside, and what it gains or loses by throwing data away. Figures for
//! people, as [`crate::durability`]: nothing that nodes agree on depends on them.
//!
//! ```text
//! caught in an epoch   c = 1 - (1-a)^K                     a: share thrown away, K: samples of a proof
//! a miss costs         the pay of its epoch
//! suspended            m misses in the last 8 epochs: a part of the stake, and all pay from then on
//! ```

/// Epochs that are looked back on.
const WINDOW: usize = 8;
const DAYS_PER_MONTH: f64 = 30.0;

/// Prices, all in one currency, and the rules of a registry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// what a node is paid for a TB in a month
    pub pay_per_tb_month: f64,
    /// what a TB of disk costs it in a month, power and all
    pub disk_per_tb_month: f64,
    /// what a TB sent or received costs it
    pub traffic_per_tb: f64,
    /// what it has at stake
    pub stake: f64,
    /// part of the stake that a suspension costs
    pub slash: f64,
    /// samples of a proof
    pub samples: u16,
    /// epochs in a day
    pub epochs_per_day: f64,
    /// misses of the last 8 epochs that suspend it
    pub misses_max: u8,
}

/// What an honest node has of it in a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Provider {
    /// pay
    pub income: f64,
    /// disk
    pub disk: f64,
    /// its part of the repair traffic, and its proofs
    pub traffic: f64,
    /// what is left
    pub margin: f64,
    /// bytes of proofs that it sends
    pub proof_bytes: f64,
    /// what should be at stake at least: a month's pay, or what it costs to repair what it holds, whichever is more
    pub deposit: f64,
}

/// What becomes of a node that throws a share of its data away, within a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cheat {
    /// the share
    pub share: f64,
    /// chance that one epoch catches it
    pub caught_per_epoch: f64,
    /// chance that it is suspended within the month
    pub suspended: f64,
    /// disk that it saves
    pub saved: f64,
    /// pay and stake that it loses, expected
    pub lost: f64,
}

/// Prices that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} must be {1}")]
pub struct PriceError(pub &'static str, pub &'static str);

impl Prices {
    /// Whether they can be worked with.
    ///
    /// # Errors
    /// [`PriceError`] for the first one that cannot.
    pub fn check(&self) -> Result<(), PriceError> {
        let amount = |n: f64| n.is_finite() && n >= 0.0;
        let checks = [
            ("the pay", amount(self.pay_per_tb_month), "0 or more"),
            ("the price of disk", amount(self.disk_per_tb_month), "0 or more"),
            ("the price of traffic", amount(self.traffic_per_tb), "0 or more"),
            ("the stake", amount(self.stake), "0 or more"),
            ("the part that is slashed", (0.0..=1.0).contains(&self.slash), "0 to 1"),
            ("samples", (1..=255).contains(&self.samples), "1 to 255"),
            ("epochs in a day", (0.1..=1440.0).contains(&self.epochs_per_day), "0.1 to 1440"),
            ("misses", (1..=8).contains(&self.misses_max), "1 to 8"),
        ];
        checks.iter().find(|c| !c.1).map_or(Ok(()), |c| Err(PriceError(c.0, c.2)))
    }

    fn epochs(&self) -> f64 {
        self.epochs_per_day * DAYS_PER_MONTH
    }

    /// A node's month. `node_bytes`: what it holds; `repair_bytes_per_s`: its part of the repair traffic; `rebuild_bytes`: what
    /// moves when it is gone; `proof_bytes`: of one proof.
    pub fn provider(
        &self,
        node_bytes: f64,
        repair_bytes_per_s: f64,
        rebuild_bytes: f64,
        proof_bytes: f64,
    ) -> Provider {
        let tb = node_bytes / 1e12;
        let income = tb * self.pay_per_tb_month;
        let disk = tb * self.disk_per_tb_month;
        let proof_bytes = proof_bytes * self.epochs();
        let repair_bytes = repair_bytes_per_s * 86_400.0 * DAYS_PER_MONTH;
        let traffic = (repair_bytes + proof_bytes) / 1e12 * self.traffic_per_tb;
        Provider {
            income,
            disk,
            traffic,
            margin: income - disk - traffic,
            proof_bytes,
            deposit: income.max(rebuild_bytes / 1e12 * self.traffic_per_tb),
        }
    }

    /// The month of a node that keeps all but a share of what it holds.
    pub fn cheat(&self, node_bytes: f64, share: f64) -> Cheat {
        let caught = 1.0 - (1.0 - share).powi(self.samples.into());
        let pay = node_bytes / 1e12 * self.pay_per_tb_month / self.epochs();
        let saved = node_bytes / 1e12 * self.disk_per_tb_month * share;
        // which of the last epochs were missed, as bits, the newest lowest; the rest of the chance is suspended
        let mut windows = vec![0.0; 1 << WINDOW];
        windows[0] = 1.0;
        let (mut suspended, mut lost) = (0.0, 0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 43,200 epochs, checked"
        )]
        let epochs = self.epochs().round() as u32;
        for _ in 0..epochs {
            lost += suspended * pay;
            let mut next = vec![0.0; windows.len()];
            for (window, chance) in windows.iter().enumerate() {
                let kept = (window << 1) & (windows.len() - 1);
                next[kept] += chance * (1.0 - caught);
                let missed = chance * caught;
                lost += missed * pay;
                if (kept | 1).count_ones() >= self.misses_max.into() {
                    suspended += missed;
                    lost += missed * self.stake * self.slash;
                } else {
                    next[kept | 1] += missed;
                }
            }
            windows = next;
        }
        Cheat { share, caught_per_epoch: caught, suspended, saved, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices {
        pay_per_tb_month: 4.0,
        disk_per_tb_month: 2.0,
        traffic_per_tb: 1.0,
        stake: 400.0,
        slash: 0.2,
        samples: 50,
        epochs_per_day: 8.0,
        misses_max: 2,
    };

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
    }

    #[test]
    fn an_honest_month_adds_up() {
        let month = PRICES.provider(100e12, 1e6, 1_700e12, 80e3);
        assert!(close(month.income, 400.0) && close(month.disk, 200.0));
        assert!(close(month.proof_bytes, 80e3 * 240.0));
        assert!(close(month.traffic, (1e6 * 86_400.0 * 30.0 + 19.2e6) / 1e12));
        assert!(close(month.margin, month.income - month.disk - month.traffic));
        assert!(close(month.deposit, 1_700.0), "repairing it costs more than a month's pay");
    }

    #[test]
    fn cheating_is_caught_as_the_formula_says() {
        let none = PRICES.cheat(100e12, 0.0);
        assert_eq!(
            (none.caught_per_epoch, none.suspended, none.saved, none.lost),
            (0.0, 0.0, 0.0, 0.0)
        );
        let all = PRICES.cheat(100e12, 1.0);
        // two epochs without pay, the slash, and 238 epochs of nothing
        assert!(close(all.suspended, 1.0) && close(all.lost, 400.0 + 80.0), "{all:?}");
        let percent = PRICES.cheat(100e12, 0.01);
        assert!(close(percent.caught_per_epoch, 1.0 - 0.99f64.powi(50)));
        assert!(percent.suspended > 0.999 && percent.lost > 50.0 * percent.saved, "{percent:?}");
    }

    #[test]
    fn the_window_forgets() {
        // a thousandth: caught in 4.9 % of the epochs; a window of 8 suspends it later than one that never forgets
        let forgets = PRICES.cheat(100e12, 0.001);
        let epochs = 240;
        let c = forgets.caught_per_epoch;
        let at_most_once =
            (1.0 - c).powi(epochs) + f64::from(epochs) * c * (1.0 - c).powi(epochs - 1);
        assert!(forgets.suspended < 1.0 - at_most_once, "{forgets:?}");
        let strict = Prices { misses_max: 1, ..PRICES }.cheat(100e12, 0.001);
        assert!(close(strict.suspended, 1.0 - (1.0 - c).powi(epochs)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(PRICES.check(), Ok(()));
        assert!(Prices { slash: 1.5, ..PRICES }.check().is_err());
        assert!(Prices { stake: f64::NAN, ..PRICES }.check().is_err());
        assert!(Prices { samples: 0, ..PRICES }.check().is_err());
    }
}

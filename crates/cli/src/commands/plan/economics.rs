//! `prunedb plan --economics`: what a node of the plan earns, and what it would have of cheating.

use crate::io::Io;
use clap::Args;
use prunedb_placement::{
    durability::{Figures, Lake},
    economics::{Cheat, Prices, Provider},
};
use serde_json::{Value, json};

/// Shares of its data that a node might throw away.
const SHARES: [f64; 4] = [0.001, 0.01, 0.1, 1.0];
/// Bytes of an answer: a sample, its path in a shard of some MB, the path of the shard's name.
const ANSWER_BYTES: f64 = 1_600.0;

/// Prices in one currency, and the rules of the registry.
#[derive(Args, Debug, Clone)]
pub(crate) struct Economics {
    /// What a node of the plan earns in a month, and what it would have of throwing data away
    #[arg(long)]
    economics: bool,
    /// What a node is paid for a TB in a month
    #[arg(long, value_name = "MONEY", default_value_t = 4.0, requires = "economics")]
    pay: f64,
    /// What a TB of disk costs it in a month
    #[arg(long, value_name = "MONEY", default_value_t = 1.5, requires = "economics")]
    disk_cost: f64,
    /// What a TB of traffic costs it
    #[arg(long, value_name = "MONEY", default_value_t = 1.0, requires = "economics")]
    traffic_cost: f64,
    /// What it has at stake [default: the least that is recommended]
    #[arg(long, value_name = "MONEY", requires = "economics")]
    stake: Option<f64>,
    /// Part of the stake that is lost with its standing
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, requires = "economics")]
    slash: f64,
    /// Samples of a proof
    #[arg(long, value_name = "N", default_value_t = 50, requires = "economics")]
    samples: u16,
    /// Epochs in a day
    #[arg(long, value_name = "N", default_value_t = 8.0, requires = "economics")]
    epochs_per_day: f64,
    /// Misses of the last 8 epochs that cost a node its standing
    #[arg(long, value_name = "N", default_value_t = 2, requires = "economics")]
    misses: u8,
}

/// A node's month.
pub(crate) struct Month {
    stake: f64,
    provider: Provider,
    cheats: Vec<Cheat>,
}

impl Economics {
    /// The month of a node of the plan, where it was asked for.
    pub(crate) fn month(&self, lake: &Lake, figures: &Figures) -> anyhow::Result<Option<Month>> {
        if !self.economics {
            return Ok(None);
        }
        let mut prices = Prices {
            pay_per_tb_month: self.pay,
            disk_per_tb_month: self.disk_cost,
            traffic_per_tb: self.traffic_cost,
            stake: self.stake.unwrap_or(0.0),
            slash: self.slash,
            samples: self.samples,
            epochs_per_day: self.epochs_per_day,
            misses_max: self.misses,
        };
        prices.check()?;
        #[expect(clippy::cast_precision_loss, reason = "at most a million nodes")]
        let nodes = lake.nodes as f64;
        let provider = prices.provider(
            figures.node_bytes,
            figures.repair_traffic_bytes_per_s / nodes,
            figures.rebuild_bytes,
            f64::from(self.samples) * ANSWER_BYTES,
        );
        prices.stake = self.stake.unwrap_or(provider.deposit);
        let cheats = SHARES.iter().map(|&share| prices.cheat(figures.node_bytes, share)).collect();
        Ok(Some(Month { stake: prices.stake, provider, cheats }))
    }
}

impl Month {
    pub(crate) fn to_json(&self) -> Value {
        let Provider { income, disk, traffic, margin, proof_bytes, deposit } = self.provider;
        json!({
            "income": income,
            "disk": disk,
            "traffic": traffic,
            "margin": margin,
            "proof_bytes": proof_bytes,
            "deposit_recommended": deposit,
            "stake": self.stake,
            "cheats": self.cheats.iter().map(|cheat| json!({
                "share": cheat.share,
                "caught_per_epoch": cheat.caught_per_epoch,
                "suspended": cheat.suspended,
                "saved": cheat.saved,
                "lost": cheat.lost,
            })).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn write(&self, io: &mut Io) -> anyhow::Result<()> {
        let Provider { income, disk, traffic, margin, proof_bytes, deposit } = self.provider;
        io.line(format_args!(
            "provider  {income:.2} a month for a node, less {disk:.2} for disk and {traffic:.2} for traffic: {margin:.2} is left"
        ))?;
        io.line(format_args!(
            "proofs    {} a month; stake {:.2}, at least {deposit:.2} is recommended",
            super::bytes(proof_bytes),
            self.stake
        ))?;
        for cheat in &self.cheats {
            let verdict = if cheat.lost >= cheat.saved { "a loss" } else { "IT PAYS" };
            io.line(format_args!(
                "cheating  {:>5} % thrown away: {:.1} % of the epochs catch it, it saves {:.2} and loses {:.2} in a month: {verdict}",
                cheat.share * 100.0,
                cheat.caught_per_epoch * 100.0,
                cheat.saved,
                cheat.lost
            ))?;
        }
        Ok(())
    }
}

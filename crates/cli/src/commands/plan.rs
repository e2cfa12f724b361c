//! `prunedb plan`: what a lake survives, what its repair costs, and whether it can be kept. Formulas: `docs/durability.md`.

mod economics;

use crate::{
    io::{Exit, Io},
    text::{count, size},
};
use clap::Args;
use economics::{Economics, Month};
use prunedb_core::Policy;
use prunedb_placement::durability::{Advice, Domains, Figures, Lake, advise};
use serde_json::{Value, json};

/// A lake on paper.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb plan --nodes 24 --policy 16+4 --size-tb 2 --repair-mbps 100\n  \
        prunedb plan --nodes 100 --policy 20+80 --size-tb 100 --repair-mbps 200 --lazy 40 --domains 10\n  \
        prunedb plan --nodes 100 --policy 20+80 --size-tb 1000 --repair-mbps 2000 --lazy 40 --economics --pay 4\n\n\
        Nodes live for --mttf-years on average, one independent of the other; --domains adds losses of many nodes at \
        once. TB are 10^12 bytes, MB 10^6. docs/durability.md has the formulas.\n\
        Exits with 1 if the plan cannot be kept, and says why."
)]
pub(crate) struct Plan {
    /// Storage nodes
    #[arg(long, value_name = "N")]
    nodes: usize,
    /// p+q: any p of p+q shards give a container back, each on its own node
    #[arg(long, value_name = "P+Q")]
    policy: Policy,
    /// Containers of the lake together, before coding
    #[arg(long, value_name = "TB")]
    size_tb: f64,
    /// What repair moves in the whole lake at most, read and written together
    #[arg(long, value_name = "MB/S")]
    repair_mbps: f64,
    /// Mean life of a node until it is gone with its data
    #[arg(long, value_name = "YEARS", default_value_t = 3.0)]
    mttf_years: f64,
    /// Time until a loss is noticed and its repair begins
    #[arg(long, value_name = "HOURS", default_value_t = 1.0)]
    detect_hours: f64,
    /// Missing shards of a container that are left alone; repair begins with one more
    #[arg(long, value_name = "SHARDS", default_value_t = 0)]
    lazy: usize,
    /// Placement groups [default: as many as nodes]
    #[arg(long, value_name = "N")]
    groups: Option<usize>,
    /// Failure domains (operators, networks, places) that the nodes are spread over evenly
    #[arg(long, value_name = "N")]
    domains: Option<usize>,
    /// How often a domain is lost with all its data, a year
    #[arg(long, value_name = "TIMES", default_value_t = 0.01, requires = "domains")]
    domain_losses: f64,
    /// Share of the time that a node is up
    #[arg(long, value_name = "SHARE", default_value_t = 0.99)]
    uptime: f64,
    /// Most chance to lose a container within a year
    #[arg(long, value_name = "CHANCE", default_value_t = 1e-6)]
    target: f64,
    #[command(flatten)]
    economics: Economics,
}

pub(crate) fn run(args: &Plan, io: &mut Io) -> anyhow::Result<Exit> {
    let lake = Lake {
        nodes: args.nodes,
        policy: args.policy,
        node_life_years: args.mttf_years,
        repair_bytes_per_s: args.repair_mbps * 1e6,
        data_bytes: args.size_tb * 1e12,
        detect_hours: args.detect_hours,
        lazy_shards: args.lazy,
        groups: args.groups.unwrap_or(args.nodes),
        domains: args.domains.map(|count| Domains { count, losses_per_year: args.domain_losses }),
        uptime: args.uptime,
        loss_per_year_max: args.target,
    };
    lake.check()?;
    let (figures, advice) = (lake.figures(), advise(&lake));
    let month = args.economics.month(&lake, &figures)?;
    if io.json {
        let mut plan = plan_json(&lake, &figures, &advice);
        plan["economics"] = month.as_ref().map(Month::to_json).into();
        io.json(&plan)?;
    } else {
        write(&lake, &figures, io)?;
        write_advice(&lake, &figures, &advice, io)?;
        if let Some(month) = month {
            month.write(io)?;
        }
    }
    Ok(Exit::of(figures.refusals.is_empty()))
}

fn plan_json(lake: &Lake, figures: &Figures, advice: &Advice) -> Value {
    json!({
        "nodes": lake.nodes,
        "policy": lake.policy.to_string(),
        "data_bytes": lake.data_bytes,
        "node_life_years": lake.node_life_years,
        "repair_bytes_per_s_max": lake.repair_bytes_per_s,
        "detect_hours": lake.detect_hours,
        "lazy_shards": lake.lazy_shards,
        "groups": lake.groups,
        "domains": lake.domains.map(|d| d.count),
        "domain_losses_per_year": lake.domains.map(|d| d.losses_per_year),
        "uptime": lake.uptime,
        "target_loss_per_year": lake.loss_per_year_max,
        "node_bytes": figures.node_bytes,
        "overhead": figures.overhead,
        "rebuild_bytes": figures.rebuild_bytes,
        "rebuild_hours": figures.rebuild_hours,
        "repair_traffic_bytes_per_s": figures.repair_traffic_bytes_per_s,
        "repair_load": figures.repair_load,
        // JSON has no infinity: null where repair falls behind
        "repair_hours": figures.repair_hours,
        "slots_per_domain": figures.slots_per_domain,
        "container_loss_per_year": figures.container_loss_per_year,
        "lake_loss_per_year_max": figures.lake_loss_per_year,
        "unreadable": figures.unreadable,
        "kept": figures.refusals.is_empty(),
        "refusals": figures.refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "advice": {
            "repair_bytes_per_s": advice.repair_bytes_per_s,
            "data_bytes": advice.data_bytes,
            "policy": advice.policy.map(|p| p.to_string()),
            "lazy_shards": advice.lazy.map(|(shards, _)| shards),
            "lazy_repair_traffic_bytes_per_s": advice.lazy.map(|(_, traffic)| traffic),
        },
    })
}

/// Bytes for people, from a figure that is worked out.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a figure for people; `as` saturates"
)]
fn bytes(bytes: f64) -> String {
    size(bytes as u64)
}

fn megabytes_per_s(bytes_per_s: f64) -> String {
    format!("{:.1} MB/s", bytes_per_s / 1e6)
}

fn duration(hours: f64) -> String {
    match hours {
        h if h.is_infinite() => "never".into(),
        h if h < 72.0 => format!("{h:.1} hours"),
        h => format!("{:.0} days", h / 24.0),
    }
}

fn chance(chance: f64) -> String {
    if chance < 1e-300 { "less than 1e-300".into() } else { format!("{chance:.1e}") }
}

fn write(lake: &Lake, figures: &Figures, io: &mut Io) -> anyhow::Result<()> {
    io.line(format_args!(
        "stored    {} at {} on {}: {} on each",
        bytes(lake.data_bytes),
        lake.policy,
        count(lake.nodes as u64, "node"),
        bytes(figures.node_bytes)
    ))?;
    io.line(format_args!(
        "rebuild   a dead node: {} to move, {} at {}",
        bytes(figures.rebuild_bytes),
        duration(figures.rebuild_hours),
        megabytes_per_s(lake.repair_bytes_per_s)
    ))?;
    io.line(format_args!(
        "repair    {} on average, {:.0} % of the bandwidth; what is due is repaired after {}",
        megabytes_per_s(figures.repair_traffic_bytes_per_s),
        figures.repair_load * 100.0,
        duration(figures.repair_hours)
    ))?;
    if let (Some(slots), Some(domains)) = (figures.slots_per_domain, lake.domains) {
        io.line(format_args!(
            "domains   {} of each container in one of {}",
            count(slots as u64, "shard"),
            domains.count
        ))?;
    }
    io.line(format_args!(
        "loss      a container {} a year; any of the lake at most {} ({})",
        chance(figures.container_loss_per_year),
        chance(figures.lake_loss_per_year),
        count(lake.groups as u64, "group")
    ))?;
    io.line(format_args!(
        "readable  all but {} of the time, with nodes up {} %",
        chance(figures.unreadable),
        lake.uptime * 100.0
    ))?;
    let verdict = if figures.refusals.is_empty() { "it can be kept" } else { "IT CANNOT BE KEPT" };
    io.line(format_args!(
        "verdict   {verdict} (at most {} a year)",
        chance(lake.loss_per_year_max)
    ))?;
    for refusal in &figures.refusals {
        io.line(format_args!("          {refusal}"))?;
    }
    Ok(())
}

fn write_advice(
    lake: &Lake,
    figures: &Figures,
    advice: &Advice,
    io: &mut Io,
) -> anyhow::Result<()> {
    let mut advise = |text: String| io.line(format_args!("advice    {text}"));
    let is_kept = figures.refusals.is_empty();
    if let Some(rate) = advice.repair_bytes_per_s {
        let least = if is_kept { "it would do with" } else { "it can be kept with" };
        advise(format!("{least} {} of repair", megabytes_per_s(rate)))?;
    }
    if let Some(data) = advice.data_bytes {
        let most = if is_kept { "it would bear" } else { "it can be kept with" };
        advise(format!("{most} {} of containers", bytes(data)))?;
    }
    if let Some(policy) = advice.policy.filter(|&policy| policy != lake.policy) {
        let verb = if is_kept { "would do" } else { "can be kept" };
        let (p, n) = (policy.data_shards(), policy.total_shards());
        advise(format!("{policy} {verb}: {} % on the nodes", 100 * n / p))?;
    }
    if let Some((shards, traffic)) = advice.lazy.filter(|&(shards, _)| shards != lake.lazy_shards) {
        advise(format!(
            "--lazy {shards} costs the least repair: {} on average",
            megabytes_per_s(traffic)
        ))?;
    }
    Ok(())
}

//! The tables of `docs/benchmarks/engine.md`.

use crate::{figures::Figures, peers, plot};
use prunedb_bench::{page, process};
use std::{fmt::Write, fs, path::Path};

const PAGE: &str = "engine.md";
const PLOT: &str = "engine.svg";

/// Renews what is between the marks of the page, and writes the plot.
pub(crate) fn write(figures: &[Figures], mb: u64, folder: &Path) -> anyhow::Result<()> {
    let mut text = format!(
        "Machine: {}, {} cores. {mb} MB of keys and values for each store and size. Date: {}.\n\n",
        process::cpu_name(),
        std::thread::available_parallelism().map_or(1, usize::from),
        page::date()
    );
    text += &tables(figures);
    let _ = write!(text, "![the same as bars]({PLOT})\n\n## Settings\n");
    for peer in peers::all() {
        let _ = writeln!(text, "- **{}**: {}.", peer.name, peer.settings);
    }
    page::renew(&folder.join(PAGE), &text)?;
    fs::write(folder.join(PLOT), plot::svg(figures))?;
    Ok(())
}

/// A column of the table: its head, and its cell.
type Column = (&'static str, fn(&Figures) -> String);

const COLUMNS: [Column; 14] = [
    ("ingest MB/s", |f| format!("{:.0}", f.ingest_mbps)),
    ("CPU s/GB", |f| format!("{:.2}", f.cpu_s_per_gb)),
    ("written x", |f| format!("{:.2}", f.write_amp)),
    ("disk x", |f| format!("{:.2}", f.disk_per_byte)),
    (
        "reopen ms",
        |f| if f.store == "raw append" { "-".into() } else { format!("{:.1}", f.reopen_ms) },
    ),
    ("warm us", |f| format!("{:.1}", f.warm_p50_us)),
    ("warm reads/s", |f| thousands(f.warm_ops)),
    ("on 2 threads", |f| thousands(f.warm_ops_2)),
    ("cold us", |f| format!("{:.0}", f.cold_p50_us)),
    ("cold reads/s", |f| thousands(f.cold_ops)),
    ("on 2 threads", |f| thousands(f.cold_ops_2)),
    ("scan MB/s cold", |f| format!("{:.0}", f.scan_mbps)),
    ("warm", |f| format!("{:.0}", f.scan_warm_mbps)),
    ("RSS MB", |f| format!("{:.0}", f.peak_rss_mb)),
];

fn thousands(value: f64) -> String {
    if value < 10_000.0 { format!("{:.1}k", value / 1e3) } else { format!("{:.0}k", value / 1e3) }
}

/// A table for each value size.
pub(crate) fn tables(figures: &[Figures]) -> String {
    let mut text = String::new();
    for of_size in figures.chunk_by(|a, b| a.value_bytes == b.value_bytes) {
        let _ = write!(text, "**Values of {} bytes**\n\n|", of_size[0].value_bytes);
        for head in [""].into_iter().chain(COLUMNS.map(|(head, _)| head)) {
            let _ = write!(text, " {head} |");
        }
        text += &format!("\n| --- |{}\n", " ---: |".repeat(COLUMNS.len()));
        for figures in of_size {
            let mark = if figures.store == "prunedb" { "**" } else { "" };
            let _ = write!(text, "| {mark}{}{mark} |", figures.store);
            for (_, cell) in COLUMNS {
                let _ = write!(text, " {mark}{}{mark} |", cell(figures));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

//! The plot: a bar for each store, a panel for each figure, a row of panels for each value size.

use crate::figures::Figures;
use std::fmt::Write;

const BAR: usize = 16;
const NAMES: usize = 80;
const PANEL: usize = 300;
const BARS: f64 = (PANEL - NAMES - 60) as f64;

/// A panel: what it shows, and the figure.
type Panel = (&'static str, fn(&Figures) -> f64);

const PANELS: [Panel; 4] = [
    ("ingest, MB/s", |f| f.ingest_mbps),
    ("warm point reads, thousands/s", |f| f.warm_ops / 1e3),
    ("cold point read, us (short is good)", |f| f.cold_p50_us),
    ("bytes written per byte (short is good)", |f| f.write_amp),
];

/// Bars are to scale within a panel.
pub(crate) fn svg(figures: &[Figures]) -> String {
    let mut body = String::new();
    let mut y = 34;
    for of_size in figures.chunk_by(|a, b| a.value_bytes == b.value_bytes) {
        for (column, (what, figure)) in PANELS.into_iter().enumerate() {
            let what = format!("{} B: {what}", of_size[0].value_bytes);
            panel(&mut body, (10 + column * PANEL, y), &what, of_size, figure);
        }
        y += 34 + of_size.len() * BAR;
    }
    let width = 10 + PANELS.len() * PANEL;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" font-family="sans-serif" font-size="11">
<rect width="{width}" height="{y}" fill="#ffffff"/>
<text x="10" y="20" font-size="14">The engine beside other stores, one run; bars are to scale within a panel</text>
{body}</svg>
"##
    )
}

fn panel(
    body: &mut String,
    (x, y): (usize, usize),
    what: &str,
    figures: &[Figures],
    figure: fn(&Figures) -> f64,
) {
    let most = figures.iter().map(figure).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(body, r#"<text x="{x}" y="{}" font-weight="bold">{what}</text>"#, y + 12);
    for (row, of_store) in figures.iter().enumerate() {
        let top = y + 18 + row * BAR;
        let colour = match of_store.store.as_str() {
            "prunedb" => "#0a7d5a",
            "raw append" => "#d5dae0",
            _ => "#9aa5b1",
        };
        let value = figure(of_store);
        let width = (value / most * BARS).max(1.0);
        let digits = if value < 10.0 { 2 } else { 0 };
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
            x + NAMES - 6,
            top + 11,
            of_store.store
        );
        let _ = writeln!(
            body,
            r#"<rect x="{}" y="{}" width="{width:.1}" height="{}" fill="{colour}"/>"#,
            x + NAMES,
            top + 1,
            BAR - 4
        );
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{}">{value:.digits$}</text>"#,
            (x + NAMES) as f64 + width + 5.0,
            top + 11
        );
    }
}

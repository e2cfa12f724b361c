//! The plot: a bar for each crate, a panel for each row of the table.

use crate::race::Race;
use std::fmt::Write;

const BAR: usize = 18;
const NAMES: usize = 170;
const WIDTH: usize = 760;
const BARS: f64 = (WIDTH - NAMES - 90) as f64;

/// Bars are to scale within a panel.
pub(crate) fn svg(races: &[Race]) -> String {
    let mut body = String::new();
    let mut y = 34;
    for race in races {
        let _ = writeln!(
            body,
            r#"<text x="10" y="{}" font-weight="bold">{}</text>"#,
            y + 13,
            race.what
        );
        y += 22;
        let rivals = race.peers.iter().map(|rival| (rival.name, rival.gbps));
        let bars: Vec<_> = [("prunedb", Some(race.ours_gbps))].into_iter().chain(rivals).collect();
        let most = bars.iter().filter_map(|bar| bar.1).fold(0.0, f64::max);
        for (position, (name, gbps)) in bars.into_iter().enumerate() {
            let colour = if position == 0 { "#0a7d5a" } else { "#9aa5b1" };
            let text = gbps.map_or_else(|| "cannot".into(), |gbps| format!("{gbps:.2}"));
            let width = (gbps.unwrap_or(0.0) / most * BARS).max(1.0);
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{}" text-anchor="end">{name}</text>"#,
                NAMES - 8,
                y + 13
            );
            let _ = writeln!(
                body,
                r#"<rect x="{NAMES}" y="{}" width="{width:.1}" height="{}" fill="{colour}"/>"#,
                y + 2,
                BAR - 4
            );
            let _ = writeln!(
                body,
                r#"<text x="{:.1}" y="{}">{text}</text>"#,
                NAMES as f64 + width + 6.0,
                y + 13
            );
            y += BAR;
        }
        y += 10;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>
<text x="10" y="20" font-size="14">GB/s per core, one run; bars are to scale within a group</text>
{body}</svg>
"##
    )
}

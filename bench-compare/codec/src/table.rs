//! The table for a terminal.

use crate::race::Race;
use std::fmt::Write;

/// GB/s per core, and how many times as fast ours is.
pub(crate) fn table(races: &[Race]) -> String {
    let mut text = String::from("GB/s per core; in brackets: how many times as fast ours is\n");
    for race in races {
        let Race { what, ours_gbps, peers } = race;
        let _ = writeln!(text, "{what}\n  {:22}{ours_gbps:8.2}", "prunedb");
        for rival in peers {
            let figure = rival.gbps.map_or_else(
                || "      --".into(),
                |gbps| format!("{gbps:8.2}  ({:.1})", ours_gbps / gbps),
            );
            let _ = writeln!(text, "  {:22}{figure}", rival.name);
        }
    }
    text
}

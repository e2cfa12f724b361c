//! `prunedb coverage [CHAIN]`: which heights are here, which are missing, at risk, or may go elsewhere.

use super::{
    history::{History, Safety, StoredRun, histories, stored_runs},
    maintain::depth,
};
use crate::{
    io::{Exit, Io},
    session::Session,
    text::count,
};
use clap::Args;
use prunedb_engine::Db;
use serde_json::{Value, json};

/// Characters of the bar.
const BAR: u64 = 60;

/// Which chains.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  prunedb coverage\n  prunedb coverage casper --json\n\n\
    In the bar, left to right by height: `#` in the lake, all shards there; `+` here, and not to be deleted elsewhere yet; \
    `!` with missing or damaged shards; `-` only a part of the block, such as its header; `.` not stored.\n\
    A range is prunable when its container is in the lake, was read back and compared, all its shards are there now, and the container after it is closed.\n\
    Exits with 1 if something is missing or partial between the first and the last height, or at risk.")]
pub(crate) struct Coverage {
    /// Chain: bitcoin, casper or ethereum [default: all that are stored]
    #[arg(value_name = "CHAIN")]
    chain: Option<String>,
    /// Network [default: all that are stored]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

/// A run of heights of which the same holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    state: State,
}

/// The worse, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// may be deleted elsewhere
    Prunable,
    /// here, and must stay elsewhere, too
    Present,
    /// shards of it are missing or damaged
    Degraded,
    /// only parts of its blocks are stored
    Partial,
    Missing,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Prunable => "prunable",
            Self::Present => "present",
            Self::Degraded => "degraded",
            Self::Partial => "partial",
            Self::Missing => "missing",
        }
    }

    const fn mark(self) -> char {
        match self {
            Self::Prunable => '#',
            Self::Present => '+',
            Self::Degraded => '!',
            Self::Partial => '-',
            Self::Missing => '.',
        }
    }
}

pub(super) fn run(args: &Coverage, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let asked = |history: &History| {
        args.chain.as_ref().is_none_or(|chain| chain == history.chain)
            && args.network.as_ref().is_none_or(|network| *network == history.network)
    };
    let histories: Vec<History> =
        histories(&session.db).into_iter().filter(|history| asked(history)).collect();
    let safety = Safety::now(session, depth(false, None), io)?;
    let (mut all, mut whole) = (Vec::new(), !histories.is_empty());
    for history in &histories {
        let ranges = ranges(history, &safety, &session.db)?;
        let good = |range: &Range| matches!(range.state, State::Prunable | State::Present);
        whole &= ranges.iter().all(good);
        if io.json {
            all.push(json!({
                "chain": history.chain,
                "network": history.network,
                "ranges": ranges.iter().map(range_json).collect::<Vec<_>>(),
            }));
        } else {
            write(history, &ranges, io)?;
        }
    }
    if io.json {
        io.json(&json!({ "histories": all }))?;
    } else if histories.is_empty() {
        io.note("no such history is stored");
    }
    Ok(Exit::of(whole))
}

fn range_json(range: &Range) -> Value {
    json!({ "first": range.first, "last": range.last, "state": range.state.name() })
}

/// From the first height to the last one, without a gap between the ranges.
fn ranges(history: &History, safety: &Safety, db: &Db) -> anyhow::Result<Vec<Range>> {
    let mut ranges = table_ranges(&history.table, safety, db)?;
    for table in &history.other_parts {
        ranges = with_part(&ranges, &table_ranges(table, safety, db)?);
    }
    Ok(ranges)
}

/// The heights of one table.
fn table_ranges(table: &str, safety: &Safety, db: &Db) -> anyhow::Result<Vec<Range>> {
    let runs = stored_runs(table, &safety.containers, db)?;
    let state = |container: Option<usize>| match container {
        Some(position) if safety.faults(position) > 0 => State::Degraded,
        Some(position) if safety.reasons(position).is_empty() => State::Prunable,
        _ => State::Present,
    };
    let range =
        |run: StoredRun| Range { first: run.first, last: run.last, state: state(run.container) };
    Ok(joined(runs.into_iter().map(range).collect()))
}

/// Ranges of blocks, where another part of each has these ranges: the worse of both, and partial where the other part is missing.
fn with_part(ranges: &[Range], part: &[Range]) -> Vec<Range> {
    let mut cut = Vec::new();
    for range in ranges {
        let mut first = range.first;
        if range.state == State::Missing {
            continue; // joining finds it again
        }
        let here = part.iter().filter(|p| p.state != State::Missing);
        for other in here.filter(|p| p.first <= range.last && range.first <= p.last) {
            if first < other.first {
                cut.push(Range { first, last: other.first - 1, state: State::Partial });
            }
            let (start, last) = (first.max(other.first), range.last.min(other.last));
            cut.push(Range { first: start, last, state: range.state.max(other.state) });
            first = last.saturating_add(1);
        }
        if first <= range.last && cut.last().is_none_or(|last| last.last < range.last) {
            cut.push(Range { first, last: range.last, state: State::Partial });
        }
    }
    joined(cut)
}

/// Ranges that touch and are alike become one; what is missing between two gets its own.
fn joined(stored: Vec<Range>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for next in stored {
        if let Some(&last) = ranges.last() {
            if next.last <= last.last {
                continue; // a height that is there twice
            }
            let first = next.first.max(last.last + 1);
            if last.last + 1 < first {
                let missing = State::Missing;
                ranges.push(Range { first: last.last + 1, last: first - 1, state: missing });
            } else if last.state == next.state {
                ranges.last_mut().expect("the one before").last = next.last;
                continue;
            }
            ranges.push(Range { first, ..next });
        } else {
            ranges.push(next);
        }
    }
    ranges
}

fn write(history: &History, ranges: &[Range], io: &mut Io) -> anyhow::Result<()> {
    let (Some(low), Some(high)) = (ranges.first(), ranges.last()) else { return Ok(()) };
    io.line(format_args!("{} {}", history.chain, history.network))?;
    io.line(format_args!("  {}", bar(ranges, low.first, high.last)))?;
    for range in ranges {
        let blocks = count(range.last - range.first + 1, "block");
        io.line(format_args!(
            "  {}-{} {} ({blocks})",
            range.first,
            range.last,
            range.state.name()
        ))?;
    }
    Ok(())
}

/// Each character stands for the same number of heights, and shows the worst of them.
fn bar(ranges: &[Range], low: u64, high: u64) -> String {
    let heights = u128::from(high - low) + 1;
    let width = heights.min(u128::from(BAR));
    let at = |index: u128| u128::from(low) + heights * index / width;
    let height = |at: u128| u64::try_from(at).expect("within the heights");
    let worst = |first: u64, last: u64| {
        let order =
            [State::Degraded, State::Missing, State::Partial, State::Present, State::Prunable];
        let within = |state: &State| {
            let overlaps = |r: &Range| r.state == *state && r.first <= last && first <= r.last;
            ranges.iter().any(overlaps)
        };
        order.into_iter().find(within).map_or(' ', State::mark)
    };
    (0..width).map(|index| worst(height(at(index)), height(at(index + 1) - 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(first: u64, last: u64, state: State) -> Range {
        Range { first, last, state }
    }

    #[test]
    fn blocks_of_which_a_part_is_missing_are_partial() {
        let (here, near, bad) = (State::Prunable, State::Present, State::Degraded);
        let headers = [range(0, 9, here), range(10, 19, State::Missing), range(20, 39, near)];
        let bodies = [
            range(2, 4, here),
            range(5, 24, State::Missing),
            range(25, 29, bad),
            range(30, 35, here),
        ];
        let expected = [
            range(0, 1, State::Partial),
            range(2, 4, here),
            range(5, 9, State::Partial),
            range(10, 19, State::Missing),
            range(20, 24, State::Partial),
            range(25, 29, bad),
            range(30, 35, near),
            range(36, 39, State::Partial),
        ];
        assert_eq!(with_part(&headers, &bodies), expected);
        assert_eq!(with_part(&headers, &[]).last(), Some(&range(20, 39, State::Partial)));
        let to_the_end = [range(7, u64::MAX, here)];
        assert_eq!(with_part(&to_the_end, &to_the_end), to_the_end);
    }

    #[test]
    fn ranges_join_and_gaps_show() {
        let (here, gone) = (State::Prunable, State::Missing);
        let stored = vec![
            range(0, 9, here),
            range(10, 19, here),
            range(15, 19, State::Present),
            range(20, 29, State::Degraded),
            range(40, 49, here),
            range(49, 52, here),
        ];
        let ranges = joined(stored);
        let expected = [
            range(0, 19, here),
            range(20, 29, State::Degraded),
            range(30, 39, gone),
            range(40, 52, here),
        ];
        assert_eq!(ranges, expected);
        assert_eq!(
            bar(&ranges, 0, 52),
            format!("{}{}{}{}", "#".repeat(20), "!".repeat(10), ".".repeat(10), "#".repeat(13))
        );
        assert_eq!(bar(&[range(7, 7, here)], 7, 7), "#");
        let wide = [range(0, u64::MAX - 1, here), range(u64::MAX, u64::MAX, gone)];
        assert_eq!(bar(&wide, 0, u64::MAX), format!("{}.", "#".repeat(59)));
    }
}

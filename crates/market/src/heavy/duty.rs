//! What a heavy node owes in every epoch: asking its children, the report, looking at others' checks.
//!
//! ```text
//! epoch n: seed ──> every child is asked ──────────┐
//! epoch n+1: report of n ──> evidence of others' n ─┴─> findings ──> disputes
//! always: answers that others demand of us are shown
//! ```
//! A look at the registry comes with each new block, and no more often than [`PACE`].

use super::{Inner, lock, serve};
use crate::{
    checks::{Asked, CHECK_SAMPLES, CheckedCell, Checks, Evidence, cell_seed, verify},
    children::Presence,
    judge::{Finding, Report, judge, repeats},
    keys::HeavyAddress,
    link::{Link, LinkError},
    message::{Answer, Refusal, Request},
};
use prunedb_registry::{Body, Key, Node, NodeId, RentedCell};
use prunedb_validator::{ClientError, WAIT_MS_MAX};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

/// Least time between two looks at the registry.
const PACE: Duration = Duration::from_millis(50);
/// Pause after the registry did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Holders that are asked at once.
const ASKED_MAX: usize = 256;
/// Checks of others that are repeated in an epoch, at most.
const REPEATS_MAX: usize = 256;
/// How long another heavy node may take to have a child show samples.
const REPEAT_PATIENCE: Duration = Duration::from_secs(60);
/// How often a report is sent, where the cells change meanwhile.
const REPORTS_MAX: usize = 4;

/// A check of another heavy node's that is repeated.
struct Repeat {
    number: u64,
    cell: CheckedCell,
    heavy: NodeId,
    /// epochs that were paid when it was repeated
    proven_before: u32,
    epochs_left_before: u32,
    /// whether the holder showed it to us
    has_shown: bool,
}

/// The running epoch, and what is to be done about the last one.
#[derive(Default)]
struct Epochs {
    checks: Option<Checks>,
    repeats: Vec<Repeat>,
    repeated: BTreeSet<u64>,
    /// the epoch before, to be reported
    due: Option<(Checks, Presence)>,
    /// of the epoch before, to be looked at once its reports are there
    judged_later: Option<(Checks, Vec<Repeat>)>,
}

type Answered = (u32, u64, Asked);

/// Why a duty is to be tried again.
#[derive(Debug, thiserror::Error)]
enum DutyError {
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    #[error("the answers of an epoch cannot be kept, so it is not reported: {0}")]
    Answers(#[from] io::Error),
}

pub(super) async fn run(inner: Arc<Inner>) {
    let mut epochs = Epochs::default();
    let mut asking: JoinSet<Answered> = JoinSet::new();
    let mut repeating: JoinSet<Option<(u32, Repeat)>> = JoinSet::new();
    let mut height = 0;
    loop {
        let stepped = async {
            height = inner.chain.client.height(height + 1, WAIT_MS_MAX).await?;
            step(&inner, &mut epochs, &mut asking, &mut repeating).await
        };
        let pause = match stepped.await {
            Ok(()) => PACE,
            Err(error) => {
                tracing::warn!(%error, "a duty is tried again");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn step(
    inner: &Arc<Inner>,
    epochs: &mut Epochs,
    asking: &mut JoinSet<Answered>,
    repeating: &mut JoinSet<Option<(u32, Repeat)>>,
) -> Result<(), DutyError> {
    while let Some(joined) = asking.try_join_next() {
        let Ok((epoch, cell, asked)) = joined else { continue };
        if let Some(checks) = epochs.checks.as_mut().filter(|c| c.epoch() == epoch) {
            checks.answered(cell, asked);
        }
    }
    while let Some(joined) = repeating.try_join_next() {
        let Ok(Some((epoch, repeat))) = joined else { continue };
        if epochs.checks.as_ref().is_some_and(|c| c.epoch() == epoch) {
            epochs.repeats.push(repeat);
        }
    }
    answer_demands(inner).await?;
    let epoch = inner.chain.client.epoch().await?;
    if let Some(checks) = epochs.checks.take_if(|c| c.epoch() < epoch.number) {
        let presence = lock(&inner.children).end_epoch(inner.now_ms());
        epochs.due = Some((checks, presence));
    }
    // where the registry does not answer it stays due
    if let Some((checks, presence)) = &epochs.due {
        if checks.epoch() + 1 == epoch.number {
            report(inner, checks, presence).await?;
        } else {
            tracing::warn!(epoch = checks.epoch(), "too late for a report: nobody is paid");
        }
        let repeats = std::mem::take(&mut epochs.repeats);
        epochs.judged_later = epochs.due.take().map(|(checks, _)| (checks, repeats));
        epochs.repeated.clear();
    }
    let Some(seed) = epoch.seed else { return Ok(()) };
    // by the time that this epoch has its seed, the reports of the one before are in, or late
    if let Some((checks, repeats)) = epochs.judged_later.take() {
        look_at(inner, &checks, &repeats).await?;
    }
    let checks =
        epochs.checks.get_or_insert_with(|| Checks::new(epoch.number, seed, CHECK_SAMPLES));
    let cells = inner.chain.cells().await?;
    let is_own = |cell: &RentedCell| cell.is_checked_by(inner.node, epoch.number);
    let own: BTreeMap<u64, CheckedCell> =
        cells.iter().filter(|(_, c)| is_own(c)).map(|(n, c)| (*n, checked(c))).collect();
    inner.cells.send_replace(u32::try_from(own.len()).unwrap_or(u32::MAX));
    // a child that is not there yet, as after a start of this heavy node, is asked when it is
    let children = lock(&inner.children).numbers(inner.now_ms());
    let can_be_asked = own.iter().filter(|(_, cell)| children.contains_key(&cell.holder));
    let room = ASKED_MAX.saturating_sub(asking.len());
    for number in checks.due(can_be_asked.map(|(number, _)| *number), room) {
        let (inner, cell, epoch) = (Arc::clone(inner), own[&number], epoch.number);
        let (child, seed) = (children[&cell.holder], cell_seed(&seed, number));
        asking.spawn(async move { (epoch, number, ask(&inner, child, &cell, &seed).await) });
    }
    let is_others = |rented: &RentedCell| {
        let heavy = rented.cell.holder_heavy.filter(|&heavy| heavy != inner.node);
        heavy.is_some_and(|heavy| rented.is_checked_by(heavy, epoch.number))
    };
    let others: Vec<&(u64, RentedCell)> = cells.iter().filter(|(_, c)| is_others(c)).collect();
    start_repeats(inner, epoch.number, &seed, &others, &mut epochs.repeated, repeating).await?;
    Ok(())
}

fn checked(rented: &RentedCell) -> CheckedCell {
    let cell = rented.cell;
    CheckedCell { holder: cell.holder, root: cell.root, bytes: cell.bytes }
}

async fn ask(inner: &Inner, child: Key, cell: &CheckedCell, seed: &[u8; 32]) -> Asked {
    match serve::ask_samples(inner, child, cell, seed).await {
        Ok(shown) => Asked::Proven(shown),
        Err(Refusal::Vanished { .. }) => Asked::Silent,
        Err(refusal) => {
            tracing::warn!(%refusal, root = %cell.root, "a cell is not proven");
            Asked::Failed
        }
    }
}

/// Tells the registry which cells proved, and keeps what shows it.
async fn report(inner: &Arc<Inner>, checks: &Checks, presence: &Presence) -> Result<(), DutyError> {
    for _ in 0..REPORTS_MAX {
        // where an answer was lost on its way, the report that was sent counts, and no other is made
        if inner.has_reported(checks.epoch()).await? {
            return Ok(());
        }
        let cells = inner.chain.cells().await?;
        let is_own = |cell: &RentedCell| cell.is_checked_by(inner.node, checks.epoch());
        let own: BTreeSet<u64> = cells.iter().filter(|(_, c)| is_own(c)).map(|(n, _)| *n).collect();
        let closed = checks.close(&own, presence);
        let body = Body::ReportCells {
            heavy: inner.node,
            epoch: closed.epoch,
            answers_root: closed.root(),
            proven: closed.proven.clone(),
        };
        // durable before it is sent: whoever sees the root may ask at once
        let keeper = Arc::clone(inner);
        let kept = tokio::task::spawn_blocking(move || keeper.answers.keep(closed));
        kept.await.map_err(io::Error::other)??;
        match inner.chain.send(body).await {
            Ok(_) => {}
            // a cell came or went between the look and the block
            Err(ClientError::Rejected { reason, .. }) => {
                tracing::info!(reason, epoch = checks.epoch(), "the report is made anew");
                if inner.chain.client.epoch().await?.number != checks.epoch() + 1 {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if inner.has_reported(checks.epoch()).await? {
        return Ok(());
    }
    tracing::warn!(epoch = checks.epoch(), "no report came in: nobody is paid for the epoch");
    Ok(())
}

/// Begins to repeat the checks of others that this epoch's seed names.
async fn start_repeats(
    inner: &Arc<Inner>,
    epoch: u32,
    seed: &[u8; 32],
    others: &[&(u64, RentedCell)],
    repeated: &mut BTreeSet<u64>,
    repeating: &mut JoinSet<Option<(u32, Repeat)>>,
) -> Result<(), ClientError> {
    let is_drawn = |number: u64| repeats(seed, inner.node, number, inner.rules.repeat_ppm);
    let drawn: Vec<_> = others
        .iter()
        .filter(|(number, _)| !repeated.contains(number) && is_drawn(*number))
        .take(REPEATS_MAX.saturating_sub(repeated.len()))
        .collect();
    if drawn.is_empty() {
        return Ok(());
    }
    let nodes = inner.chain.client.placement().await?.nodes;
    for (number, rented) in drawn {
        repeated.insert(*number);
        let Some(heavy) = rented.cell.holder_heavy else { continue };
        let Some(link) = link_to(inner, &nodes, heavy) else { continue };
        let (number, cell) = (*number, checked(rented));
        let (proven_before, epochs_left_before) = (rented.epochs_proven, rented.epochs_left);
        repeating.spawn(async move {
            let has_shown = shows(&link, number, &cell).await?;
            let repeat =
                Repeat { number, cell, heavy, proven_before, epochs_left_before, has_shown };
            Some((epoch, repeat))
        });
    }
    Ok(())
}

/// How another heavy node is asked: as the neighbour that it is, or where the registry says that it is.
fn link_to(inner: &Inner, nodes: &[Node], heavy: NodeId) -> Option<Arc<Link>> {
    let node = nodes.get(heavy.0 as usize)?;
    let neighbours = lock(&inner.neighbours);
    if let Some(known) = neighbours.iter().find(|link| link.address().key == node.key) {
        return Some(Arc::clone(known));
    }
    let address = HeavyAddress { server: node.endpoint.as_str().into(), key: node.key };
    Some(Arc::new(Link::new(address, Arc::clone(&inner.keys))))
}

/// Whether the holder of a cell shows samples of a seed of our own; `None`: it could not be asked.
async fn shows(link: &Link, number: u64, cell: &CheckedCell) -> Option<bool> {
    let mut seed = [0; 32];
    serve::random(&mut seed).ok()?;
    match link.ask(&Request::Recheck { cell: number, seed }, REPEAT_PATIENCE).await {
        Ok(Answer::Rechecked { samples: shown }) => {
            Some(verify(cell, &seed, CHECK_SAMPLES, &shown).is_ok())
        }
        Err(LinkError::Refused(Refusal::Vanished { .. } | Refusal::Child { .. })) => Some(false),
        other => {
            tracing::debug!(?other, number, "a check was not repeated");
            None
        }
    }
}

/// Looks at what others reported of the checks that were repeated.
async fn look_at(inner: &Inner, checks: &Checks, repeats: &[Repeat]) -> Result<(), ClientError> {
    if repeats.is_empty() {
        return Ok(());
    }
    let reports: BTreeMap<NodeId, _> = inner.chain.reports().await?.into_iter().collect();
    let cells: BTreeMap<u64, RentedCell> = inner.chain.cells().await?.into_iter().collect();
    let nodes = inner.chain.client.placement().await?.nodes;
    for repeat in repeats {
        // no report yet, or the cell has ended: nothing to be said
        let reported = reports.get(&repeat.heavy).filter(|r| r.epoch == checks.epoch());
        let (Some(reported), Some(now)) = (reported, cells.get(&repeat.number)) else { continue };
        if now.epochs_left.checked_add(1) != Some(repeat.epochs_left_before) {
            continue;
        }
        let Some(link) = link_to(inner, &nodes, repeat.heavy) else { continue };
        let is_paid = now.epochs_proven > repeat.proven_before;
        let evidence = match evidence_of(&link, checks.epoch(), repeat.number).await {
            Ok(evidence) => evidence,
            Err(error) => {
                let Repeat { number, heavy, .. } = repeat;
                let text = format!("heavy node {heavy}, cell {number}: cannot be asked: {error}");
                inner.found(&text);
                if is_paid {
                    // the registry reaches it, if it is alive
                    dispute(inner, repeat, checks.epoch(), None).await?;
                }
                continue;
            }
        };
        let report = Report {
            cell: &repeat.cell,
            number: repeat.number,
            epoch_seed: checks.seed(),
            samples: checks.samples(),
            answers_root: &reported.answers_root,
            is_paid,
            evidence: evidence.as_ref(),
        };
        if let Err(finding) = judge(&report, repeat.has_shown) {
            tell(inner, &nodes, repeat, checks.epoch(), &finding);
            match finding {
                Finding::Unproven | Finding::Wrong(_) => {
                    dispute(inner, repeat, checks.epoch(), evidence).await?;
                }
                Finding::Withheld | Finding::NotCommitted => {
                    dispute(inner, repeat, checks.epoch(), None).await?;
                }
                // nothing that is signed shows it
                Finding::Contradicted | Finding::Denied => {}
            }
        }
    }
    Ok(())
}

/// Has the registry look at a report that had a cell paid: at once by the answer that is a lie, else by one that is demanded.
async fn dispute(
    inner: &Inner,
    repeat: &Repeat,
    epoch: u32,
    lie: Option<Evidence>,
) -> Result<(), ClientError> {
    let Repeat { heavy, number: cell, .. } = *repeat;
    let body = match lie {
        Some(evidence) => Body::DisputeReport { heavy, evidence },
        None => Body::DemandAnswer { heavy, epoch, cell },
    };
    settle(inner, body, "a dispute").await
}

/// Shows what others demand of us.
async fn answer_demands(inner: &Inner) -> Result<(), ClientError> {
    for (epoch, cell) in inner.chain.client.cell_demands(inner.node).await? {
        match serve::evidence(inner, epoch, cell).await {
            Ok(Answer::Evidence { evidence }) => {
                settle(inner, Body::ShowAnswer { heavy: inner.node, evidence }, "an answer")
                    .await?;
            }
            other => tracing::debug!(?other, epoch, cell, "an answer is demanded that is not here"),
        }
    }
    Ok(())
}

/// Sends a transaction of a dispute; that the registry refuses it is said, and changes nothing.
async fn settle(inner: &Inner, body: Body, what: &str) -> Result<(), ClientError> {
    match inner.chain.send(body).await {
        Ok(sent) => tracing::info!(what, tx = %sent.tx, "sent to the registry"),
        Err(ClientError::Rejected { reason, .. }) => tracing::info!(what, reason, "refused"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What a heavy node shows; `None`: it says that it has nothing to show.
async fn evidence_of(link: &Link, epoch: u32, cell: u64) -> Result<Option<Evidence>, LinkError> {
    match link.ask(&Request::Evidence { epoch, cell }, REPEAT_PATIENCE).await {
        Ok(Answer::Evidence { evidence }) => Ok(Some(evidence)),
        Err(LinkError::Refused(Refusal::Absent { .. })) => Ok(None),
        Ok(_) => Err(link.confused()),
        Err(error) => Err(error),
    }
}

/// Keeps a finding; who lied is no neighbour any more.
fn tell(inner: &Inner, nodes: &[Node], repeat: &Repeat, epoch: u32, finding: &Finding) {
    let Repeat { number, heavy, .. } = repeat;
    inner.found(&format!("heavy node {heavy}, cell {number}, epoch {epoch}: {finding}"));
    let is_lie = !matches!(finding, Finding::Contradicted | Finding::Denied);
    let key: Option<Key> = nodes.get(heavy.0 as usize).map(|node| node.key);
    if is_lie && let Some(key) = key {
        lock(&inner.neighbours).retain(|link| link.address().key != key);
    }
}

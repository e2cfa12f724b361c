//! What a heavy node does for light nodes and owners.

use super::{Inner, SEEN_MAX, lock, unix_seconds};
use crate::{
    chain::join_body,
    checks::{CHECK_SAMPLES, CheckedCell, verify},
    keys::cells_lake,
    link::LinkError,
    lookup::{CELL_BYTES_MIN, Found, Lookup, Offer, Wish},
    message::{Answer, Job, Outcome, Refusal, Request, Shown, Terms, TxSlot},
    relay::Way,
    storage::{CellError, CellStore},
};
use prunedb_access::{CAPABILITY_BYTES, PublicKey, Scope, SignedCapability};
use prunedb_core::Digest;
use prunedb_registry::{Body, Cell, Key};
use prunedb_validator::ClientError;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Children that are asked for one wish.
const TRIES: usize = 4;
/// How long the check of a capacity may take, of which few run at once.
const PROBE_PATIENCE: Duration = Duration::from_secs(300);
/// How long a child may take to make room.
const GRANT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a neighbour may take, for each hop that is left: all of its tries, and the registry.
const HOP_PATIENCE: Duration = Duration::from_secs(50);
/// Repeated checks of one epoch, of all heavy nodes together.
const REPEATED_MAX: usize = 4096;
/// Repeated checks of one epoch that one node may ask for.
const REPEATED_PER_NODE: usize = 256;
/// Contracts on their way at once.
const DEALS_MAX: usize = 2048;
/// How long one may be on its way: a cell has to be written.
const DEAL_MS: u64 = crate::children::PROMISE_MS;

/// What was agreed on with an owner.
pub(super) struct Deal {
    wish: Wish,
    offer: Offer,
    /// the holder is a child of ours
    is_own_child: bool,
    /// the owner asked us
    is_own_owner: bool,
    until: u64,
}

fn registry(error: ClientError) -> Refusal {
    Refusal::Registry { reason: error.to_string() }
}

/// A light node offers its disk: takes a sample of it.
pub(super) async fn register(
    inner: &Arc<Inner>,
    peer: Key,
    terms: Terms,
    probe: &[u8; CAPABILITY_BYTES],
    join: Option<TxSlot>,
) -> Result<Answer, Refusal> {
    if terms.capacity_bytes < CELL_BYTES_MIN {
        return Err(Refusal::Capacity { claimed: terms.capacity_bytes, found: 0 });
    }
    let node = inner.chain.node_of(peer).await.map_err(registry)?;
    if node.is_none() && join.is_none() {
        let reason = "it is no node of the registry, and sends no transaction to join".into();
        return Err(Refusal::Stranger { key: peer, reason });
    }
    let busy = |_| Refusal::Busy { reason: "the heavy node stops".into() };
    let _turn = inner.registering.acquire().await.map_err(busy)?;
    let way = terms.is_relayed.then(|| Way::Own(Arc::clone(&inner.relay)));
    let endpoint = terms.endpoint.as_str();
    let failed = |error: CellError| match error {
        CellError::Capacity { claimed, found } => Refusal::Capacity { claimed, found },
        other => Refusal::Probe { reason: other.to_string() },
    };
    let store = CellStore::open(endpoint, way, peer, probe, &inner.keys).await.map_err(failed)?;
    let mut seed = [0; 32];
    random(&mut seed)?;
    let probed = store.probe(terms.capacity_bytes, inner.rules.probe_bytes, &seed);
    let late = |_| Refusal::Probe { reason: format!("it took more than {PROBE_PATIENCE:?}") };
    let probed_bytes = timeout(PROBE_PATIENCE, probed).await.map_err(late)?.map_err(failed)?;
    let signature = join.map(|slot| {
        let Terms { endpoint, domains, capacity_bytes, .. } = terms.clone();
        inner.chain.sign(slot, join_body(peer, endpoint, domains, capacity_bytes)).1
    });
    let registered = lock(&inner.children).register(inner.now_ms(), peer, node, terms);
    registered.map_err(|e| Refusal::Busy { reason: e.to_string() })?;
    Ok(Answer::Registered { probed_bytes, signature })
}

pub(super) fn random(out: &mut [u8]) -> Result<(), Refusal> {
    let failed = |e: getrandom::Error| Refusal::Busy { reason: format!("no random bytes: {e}") };
    getrandom::fill(out).map_err(failed)
}

/// A child that joined after it registered has a number by now.
pub(super) async fn number_child(inner: &Inner, child: Key) -> Result<(), Refusal> {
    let now = inner.now_ms();
    if lock(&inner.children).get(now, child).is_some_and(|c| c.node.is_none())
        && let Some(node) = inner.chain.node_of(child).await.map_err(registry)?
    {
        lock(&inner.children).joined(child, node);
    }
    Ok(())
}

/// Looks for a holder: among the children, then at neighbours.
pub(super) async fn lookup(
    inner: &Arc<Inner>,
    peer: Key,
    lookup: Lookup,
) -> Result<Answer, Refusal> {
    let refused = |e: crate::lookup::LookupError| Refusal::Lookup { reason: e.to_string() };
    lookup.check(inner.key(), peer, unix_seconds()).map_err(refused)?;
    let is_own_owner = lookup.hops.is_empty();
    let neighbours = lock(&inner.neighbours).clone();
    let is_neighbour = |key: Key| neighbours.iter().any(|link| link.address().key == key);
    if !is_own_owner && !is_neighbour(peer) {
        let reason = "only neighbours pass questions on".into();
        return Err(Refusal::Stranger { key: peer, reason });
    }
    let name = lookup.wish.digest();
    {
        let mut seen = lock(&inner.seen);
        if seen.contains(&name) {
            return Err(Refusal::Lookup { reason: "it was here before".into() });
        }
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(name);
    }
    let wish = lookup.wish.clone();
    let passed = lookup.passed(&inner.keys.identity);
    let found = match among_children(inner, &wish, &passed).await? {
        Some(found) => found,
        None => among_neighbours(&wish, &passed, &neighbours).await?,
    };
    remember(inner, wish, &found, is_own_owner)?;
    Ok(Answer::Found { found })
}

async fn among_children(
    inner: &Inner,
    wish: &Wish,
    passed: &Lookup,
) -> Result<Option<Found>, Refusal> {
    let name = wish.digest();
    let mut tried = BTreeSet::new();
    for _ in 0..TRIES {
        let now = inner.now_ms();
        let (child, terms, node) = {
            let mut children = lock(&inner.children);
            let Some(child) = children.find(now, wish, &tried) else { return Ok(None) };
            let entry = children.get(now, child).expect("found just now");
            let node = entry.node.expect("only children with a number are found");
            let terms = entry.terms.clone();
            let promised = children.promise(now, name, child, wish.bytes);
            promised.map_err(|e| Refusal::Busy { reason: e.to_string() })?;
            (child, terms, node)
        };
        let granted = async {
            can_pay(inner, wish, terms.price).await?;
            let job = Job::Grant { wish: wish.clone() };
            Ok(inner.desk.ask(child, job, GRANT_PATIENCE).await)
        };
        match granted.await {
            Ok(Some(Outcome::Granted { capability }))
                if is_good(&capability, child, wish.owner) =>
            {
                let offer = Offer {
                    holder: node,
                    holder_key: child,
                    holder_endpoint: terms.endpoint,
                    is_relayed: terms.is_relayed,
                    heavy: inner.node,
                    heavy_endpoint: inner.endpoint.clone(),
                    price: terms.price,
                    capability,
                };
                return Ok(Some(passed.clone().answered(offer, &inner.keys.identity)));
            }
            Ok(outcome) => {
                tracing::debug!(%child, ?outcome, "a child does not take a cell");
                lock(&inner.children).release(&name);
                tried.insert(child);
            }
            Err(refusal) => {
                lock(&inner.children).release(&name);
                return Err(refusal);
            }
        }
    }
    Ok(None)
}

/// Whether the owner could set the rent aside now.
async fn can_pay(
    inner: &Inner,
    wish: &Wish,
    price: prunedb_registry::Amount,
) -> Result<(), Refusal> {
    let needed = prunedb_registry::Amount(price.0.saturating_mul(wish.epochs.into()));
    let found = inner.chain.balance(wish.owner).await.map_err(registry)?;
    if found < needed { Err(Refusal::Funds { needed, found }) } else { Ok(()) }
}

/// A capability that lets the owner, and nobody else, into one shard of the child.
fn is_good(capability: &[u8; CAPABILITY_BYTES], child: Key, owner: Key) -> bool {
    let Some(signed) = SignedCapability::decode(capability) else { return false };
    signed.verify(&PublicKey(child.0)).is_ok_and(|claims| {
        let lake = cells_lake(child);
        let is_one = matches!(claims.scope, Scope::Shard(id) if id.lake == lake);
        is_one && claims.lake == lake && claims.holder.0 == owner.0
    })
}

async fn among_neighbours(
    wish: &Wish,
    passed: &Lookup,
    neighbours: &[Arc<crate::link::Link>],
) -> Result<Found, Refusal> {
    if !passed.may_go_on() {
        return Err(Refusal::NotFound {});
    }
    let path: Vec<Key> = passed.hops.iter().map(|hop| hop.heavy).collect();
    let hops_left = u32::from(wish.ttl).saturating_sub(u32::try_from(path.len()).unwrap_or(0)) + 1;
    let patience = HOP_PATIENCE * hops_left;
    let request = Request::Lookup { lookup: passed.clone() };
    let mut funds = None;
    for link in neighbours.iter().filter(|link| !path.contains(&link.address().key)) {
        match link.ask(&request, patience).await {
            Ok(Answer::Found { found }) => match found.check(wish, &path) {
                Ok(()) => return Ok(found),
                Err(error) => tracing::warn!(neighbour = %link.address(), %error, "a bad answer"),
            },
            Ok(_) => tracing::warn!(neighbour = %link.address(), "another answer"),
            // somebody has room: the owner should know why it is not to have it
            Err(LinkError::Refused(refusal @ Refusal::Funds { .. })) => funds = Some(refusal),
            Err(error) => tracing::debug!(%error, "a neighbour finds nothing"),
        }
    }
    Err(funds.unwrap_or(Refusal::NotFound {}))
}

fn remember(inner: &Inner, wish: Wish, found: &Found, is_own_owner: bool) -> Result<(), Refusal> {
    let now = inner.now_ms();
    let mut deals = lock(&inner.deals);
    deals.retain(|_, deal| deal.until > now);
    if deals.len() >= DEALS_MAX {
        return Err(Refusal::Busy { reason: format!("{DEALS_MAX} contracts are on their way") });
    }
    let is_own_child = found.hops.last().is_some_and(|hop| hop.heavy == inner.key());
    if is_own_owner || is_own_child {
        let (name, offer) = (wish.digest(), found.offer.clone());
        let until = now.saturating_add(DEAL_MS);
        deals.insert(name, Deal { wish, offer, is_own_child, is_own_owner, until });
    }
    Ok(())
}

/// Signs the contract of a cell; where the holder is a child, after it signed and showed that it has what is in it.
pub(super) async fn countersign(
    inner: &Inner,
    peer: Key,
    wish: &Digest,
    slot: TxSlot,
    cell: Cell,
) -> Result<Answer, Refusal> {
    let (agreed, offer, is_own_child, is_own_owner) = {
        let deals = lock(&inner.deals);
        let deal = deals.get(wish).filter(|deal| deal.wish.owner == peer);
        let deal = deal.ok_or_else(|| Refusal::Absent { what: "contract of yours".into() })?;
        (deal.wish.clone(), deal.offer.clone(), deal.is_own_child, deal.is_own_owner)
    };
    let fits = [
        ("holder", cell.holder == offer.holder),
        ("size", cell.bytes == agreed.bytes),
        ("price", cell.price == offer.price),
        ("number of epochs", cell.epochs == agreed.epochs),
        ("heavy node of the holder", cell.holder_heavy == Some(offer.heavy)),
        ("heavy node of the owner", !is_own_owner || cell.owner_heavy == Some(inner.node)),
    ];
    if let Some((what, _)) = fits.iter().find(|(_, fits)| !fits) {
        return Err(Refusal::Differs { what: (*what).into() });
    }
    check_slot(inner, slot).await?;
    let mut signatures = Vec::new();
    if is_own_child {
        let child = offer.holder_key;
        let job = Job::Sign { wish: *wish, slot, cell };
        let patience = inner.rules.job_patience;
        match inner.desk.ask(child, job, patience).await {
            Some(Outcome::Signed { signature }) => signatures.push((child, signature)),
            Some(Outcome::Refused { reason }) => {
                return Err(Refusal::Child { key: child, reason });
            }
            Some(_) => {
                return Err(Refusal::Child { key: child, reason: "it answers nonsense".into() });
            }
            None => return Err(Refusal::Vanished { key: child }),
        }
        let mut seed = [0; 32];
        random(&mut seed)?;
        let checked = CheckedCell { holder: cell.holder, root: cell.root, bytes: cell.bytes };
        ask_samples(inner, child, &checked, &seed).await?;
        lock(&inner.children).release(wish);
    }
    signatures.push(inner.chain.sign(slot, Body::RentCell { cell }));
    Ok(Answer::Countersigned { signatures })
}

/// Nothing is signed that counts long after it was agreed on.
async fn check_slot(inner: &Inner, slot: TxSlot) -> Result<(), Refusal> {
    let last = inner.chain.last_height_to_sign().await.map_err(registry)?;
    if slot.valid_until > last {
        let reason = format!("the transaction would count after height {last}: sign it anew");
        return Err(Refusal::Malformed { reason });
    }
    Ok(())
}

/// Signs that a child's cells, whose heavy node is silent, are checked here from now on.
pub(super) async fn adopt(inner: &Inner, peer: Key, slot: TxSlot) -> Result<Answer, Refusal> {
    let holder = lock(&inner.children).get(inner.now_ms(), peer).and_then(|child| child.node);
    let reason = || "it is no light node of this heavy node: register first".into();
    let holder = holder.ok_or_else(|| Refusal::Stranger { key: peer, reason: reason() })?;
    check_slot(inner, slot).await?;
    let signature = inner.chain.sign(slot, Body::AdoptCells { holder, heavy: inner.node });
    Ok(Answer::Countersigned { signatures: vec![signature] })
}

/// Has a child show samples, and checks them.
pub(super) async fn ask_samples(
    inner: &Inner,
    child: Key,
    cell: &CheckedCell,
    seed: &[u8; 32],
) -> Result<Vec<Shown>, Refusal> {
    let job =
        Job::Prove { root: cell.root, bytes: cell.bytes, seed: *seed, samples: CHECK_SAMPLES };
    match inner.desk.ask(child, job, inner.rules.job_patience).await {
        None => Err(Refusal::Vanished { key: child }),
        Some(Outcome::Shown { samples: shown }) => {
            let verified = verify(cell, seed, CHECK_SAMPLES, &shown);
            verified.map_err(|e| Refusal::Child { key: child, reason: e.to_string() })?;
            Ok(shown)
        }
        Some(Outcome::Refused { reason }) => Err(Refusal::Child { key: child, reason }),
        Some(_) => Err(Refusal::Child { key: child, reason: "it answers nonsense".into() }),
    }
}

/// Shows what the root of an epoch's answers says of a cell.
pub(super) async fn evidence(inner: &Inner, epoch: u32, cell: u64) -> Result<Answer, Refusal> {
    let mut made = inner.answers.of(epoch);
    if made.len() > 1 {
        // a report was made anew: the one counts that the registry took
        let taken = inner.chain.report_of(inner.node).await.map_err(registry)?;
        made.retain(|c| taken.is_some_and(|t| t.epoch == epoch && t.answers_root == c.root()));
    }
    let what = || format!("answer of cell {cell} in epoch {epoch}");
    let evidence = made.first().and_then(|closed| closed.evidence(cell));
    let evidence = evidence.ok_or_else(|| Refusal::Absent { what: what() })?;
    Ok(Answer::Evidence { evidence })
}

/// Another heavy node repeats a check: passes its seed on, and the answer back as it is.
pub(super) async fn recheck(
    inner: &Inner,
    peer: Key,
    number: u64,
    seed: [u8; 32],
) -> Result<Answer, Refusal> {
    if inner.chain.node_of(peer).await.map_err(registry)?.is_none() {
        let reason = "only nodes of the registry repeat checks".into();
        return Err(Refusal::Stranger { key: peer, reason });
    }
    let epoch = inner.chain.client.epoch().await.map_err(registry)?.number;
    {
        let mut repeated = lock(&inner.repeated);
        if repeated.0 != epoch {
            *repeated = (epoch, BTreeSet::new());
        }
        let own = repeated.1.range((peer, 0)..=(peer, u64::MAX)).count();
        if repeated.1.len() >= REPEATED_MAX || own >= REPEATED_PER_NODE {
            let reason = "as many checks were repeated in this epoch as can be".into();
            return Err(Refusal::Busy { reason });
        }
        if !repeated.1.insert((peer, number)) {
            let reason = format!("you repeated the check of cell {number} in this epoch already");
            return Err(Refusal::Busy { reason });
        }
    }
    let absent = || Refusal::Absent { what: format!("cell {number} of a child") };
    let cells = inner.chain.client.cells(number, 1).await.map_err(registry)?;
    let found =
        cells.into_iter().find(|(n, c)| *n == number && c.cell.holder_heavy == Some(inner.node));
    let cell = found.ok_or_else(absent)?.1.cell;
    let children = lock(&inner.children).numbers(inner.now_ms());
    let child = *children.get(&cell.holder).ok_or_else(absent)?;
    let checked = CheckedCell { holder: cell.holder, root: cell.root, bytes: cell.bytes };
    let samples = ask_samples(inner, child, &checked, &seed).await?;
    Ok(Answer::Rechecked { samples })
}

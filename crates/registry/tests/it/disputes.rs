//! Reports of heavy nodes that are lies, and disputes that are.

use crate::world::{AUTHORITY, OWNER, VALIDATORS, World, genesis, node_key, params};
use prunedb_core::Digest;
use prunedb_proof::{merkle, prove_sample};
use prunedb_registry::{
    Amount, Body, CELL_SAMPLES, Cell, Event, Events, Evidence, Key, NodeId, NodeStatus, Params,
    Reject, Shown, answer_leaf, cell_places, cell_seed,
};

const TENANT: Key = VALIDATORS[1];
const CHALLENGER: Key = VALIDATORS[2];
const STAKE: u64 = 1_000;
const HEAVY: NodeId = NodeId(4);

fn rules() -> Params {
    Params { stake_min: Amount(STAKE), reward_ppm: 150_000, ..params() }
}

fn content() -> Vec<u8> {
    let mut content = vec![0; 64 << 10];
    blake3::Hasher::new().update(b"a cell").finalize_xof().fill(&mut content);
    content
}

/// What a holder shows of a cell for a seed.
fn show(seed: &[u8; 32], cell: u64) -> Vec<Shown> {
    let content = content();
    let places = cell_places(&cell_seed(seed, cell), content.len() as u64, CELL_SAMPLES);
    places.into_iter().map(|at| prove_sample(&content, at).unwrap().into()).collect()
}

/// A world with a heavy node that is no holder otherwise, and two cells that it checks.
fn started() -> World {
    let mut world = World::started(rules(), "2+2", 5, 1);
    world.deposit(TENANT, 100_000);
    for _ in 0..2 {
        let content = content();
        let cell = Cell {
            holder: NodeId(0),
            root: Digest(*blake3::hash(&content).as_bytes()),
            bytes: content.len() as u64,
            price: Amount(100),
            epochs: 9,
            owner_heavy: None,
            holder_heavy: Some(HEAVY),
        };
        let signers = [TENANT, node_key(0), node_key(HEAVY.0)];
        world.send(Body::RentCell { cell }, &signers).unwrap();
    }
    next_epoch(&mut world);
    world
}

fn next_epoch(world: &mut World) {
    world.run_until(|e| matches!(e, Event::EpochStarted(_)));
}

/// An epoch's answers, and its report.
struct Answers {
    epoch: u32,
    shown: [Vec<Shown>; 2],
}

impl Answers {
    fn leaves(&self) -> Vec<Digest> {
        let cells =
            (0..).zip(&self.shown).map(|(cell, shown)| answer_leaf(self.epoch, cell, shown));
        [Digest([9; 32])].into_iter().chain(cells).collect()
    }

    fn evidence(&self, cell: u64) -> Evidence {
        let (leaves, position) = (self.leaves(), usize::try_from(cell).unwrap() + 1);
        Evidence {
            epoch: self.epoch,
            cell,
            shown: self.shown[position - 1].clone(),
            leaves: 3,
            position: u32::try_from(position).unwrap(),
            path: merkle::path(&leaves, position).unwrap(),
        }
    }

    /// A report of the epoch before: `answers` has what is committed to for each cell, given the seed.
    fn report(
        world: &mut World,
        proven: u8,
        answers: impl Fn(&[u8; 32]) -> [Vec<Shown>; 2],
    ) -> Self {
        // the whole epoch, so that there are cells that are older
        world.run_until(|e| matches!(e, Event::SeedFixed { .. }));
        let (epoch, seed) = (world.state.epoch().number, world.state.epoch().seed.unwrap());
        next_epoch(world);
        let this = Self { epoch, shown: answers(&seed) };
        let answers_root = merkle::root(&this.leaves()).unwrap();
        let body = Body::ReportCells { heavy: HEAVY, epoch, answers_root, proven: vec![proven] };
        world.send(body, &[node_key(HEAVY.0)]).unwrap();
        this
    }
}

fn dispute(world: &mut World, evidence: Evidence) -> Result<Events, Reject> {
    world.send(Body::DisputeReport { heavy: HEAVY, evidence }, &[CHALLENGER])
}

fn demand(world: &mut World, epoch: u32, cell: u64, by: Key) -> Result<Events, Reject> {
    world.send(Body::DemandAnswer { heavy: HEAVY, epoch, cell }, &[by])
}

fn balance(world: &World, key: Key) -> u64 {
    world.state.bank().accounts[&key].balance.0
}

/// What a conviction leaves behind.
fn check_convicted(world: &mut World, events: &Events) {
    assert!(events.contains(&Event::Convicted { node: HEAVY, by: CHALLENGER }), "{events:?}");
    assert!(events.contains(&Event::Slashed { node: HEAVY, amount: Amount(STAKE) }));
    assert_eq!(balance(world, CHALLENGER), 150, "its part of the stake");
    assert_eq!(world.state.bank().escrow, Amount(850));
    let market = world.state.market();
    assert!(market.cells.is_empty() && market.reports.is_empty() && market.demands.is_empty());
    world.check();
    // its slots, if it has some, go to others; then it is gone, with nothing
    world.dead.insert(HEAVY);
    for _ in 0..100 {
        if world.state.nodes()[HEAVY.0 as usize].status == NodeStatus::Gone {
            break;
        }
        world.block();
        world.receipts();
        world.prove();
    }
    assert_eq!(world.state.nodes()[HEAVY.0 as usize].status, NodeStatus::Gone);
    world.check();
    world.check_replay(&genesis(rules()));
}

#[test]
fn a_report_that_had_a_cell_paid_without_proof_costs_the_heavy_node_all_its_stake() {
    let mut world = started();
    // cell 0 is right; of cell 1 it commits to having no answer, and has it paid all the same
    let answers = Answers::report(&mut world, 0b11, |seed| [show(seed, 0), Vec::new()]);
    let before = balance(&world, TENANT);
    let epoch = answers.epoch;
    let honest = dispute(&mut world, answers.evidence(0));
    assert_eq!(honest, Err(Reject::NoLie { heavy: HEAVY, epoch, cell: 0 }));
    let events = dispute(&mut world, answers.evidence(1)).unwrap();
    // what the tenant set aside for the epochs to come goes back: 8 of each cell
    assert_eq!(balance(&world, TENANT) - before, 2 * 8 * 100);
    let again = dispute(&mut world, answers.evidence(1));
    assert_eq!(again, Err(Reject::NoReport { heavy: HEAVY, epoch }));
    check_convicted(&mut world, &events);
}

#[test]
fn samples_of_another_seed_are_a_lie_too() {
    let mut world = started();
    let answers = Answers::report(&mut world, 0b11, |seed| [show(seed, 0), show(&[7; 32], 1)]);
    let events = dispute(&mut world, answers.evidence(1)).unwrap();
    check_convicted(&mut world, &events);
}

#[test]
fn a_false_or_late_dispute_is_refused_and_costs_nobody_anything() {
    let mut world = started();
    // cell 1 did not prove, and was not paid
    let answers = Answers::report(&mut world, 0b01, |seed| [show(seed, 0), Vec::new()]);
    let epoch = answers.epoch;
    let unpaid = dispute(&mut world, answers.evidence(1));
    assert_eq!(unpaid, Err(Reject::NotPaid { heavy: HEAVY, epoch, cell: 1 }));
    let other_epoch = Evidence { epoch: epoch + 1, ..answers.evidence(0) };
    assert_eq!(
        dispute(&mut world, other_epoch),
        Err(Reject::NoReport { heavy: HEAVY, epoch: epoch + 1 })
    );
    let not_committed = Err(Reject::NotCommitted { heavy: HEAVY, epoch });
    for change in [
        |e: &mut Evidence| e.shown.clear(),
        |e: &mut Evidence| e.shown[0].sample[0] ^= 1,
        |e: &mut Evidence| e.position = 2,
        |e: &mut Evidence| e.position = u32::MAX,
        |e: &mut Evidence| e.leaves = u32::MAX,
        |e: &mut Evidence| e.path.clear(),
    ] {
        let mut forged = answers.evidence(0);
        change(&mut forged);
        assert_eq!(dispute(&mut world, forged), not_committed);
    }
    let nobody = Body::DisputeReport { heavy: NodeId(99), evidence: answers.evidence(0) };
    assert!(matches!(world.send(nobody, &[CHALLENGER]), Err(Reject::NoReport { .. })));
    // it may not go with its stake while it may be disputed
    for cell in 0..2 {
        world.send(Body::EndCell { cell }, &[TENANT]).unwrap();
    }
    let leave = prunedb_registry::Leave { node: HEAVY };
    world.send(Body::LeaveNode { leave }, &[node_key(HEAVY.0)]).unwrap();
    assert!(matches!(dispute(&mut world, answers.evidence(0)), Err(Reject::NoLie { .. })));
    for _ in 0..rules().dispute_epochs {
        assert_eq!(world.state.nodes()[HEAVY.0 as usize].status, NodeStatus::Leaving);
        next_epoch(&mut world);
    }
    assert_eq!(
        dispute(&mut world, answers.evidence(0)),
        Err(Reject::NoReport { heavy: HEAVY, epoch })
    );
    next_epoch(&mut world);
    assert_eq!(world.state.nodes()[HEAVY.0 as usize].status, NodeStatus::Gone);
    world.check();
    world.check_replay(&genesis(rules()));
}

#[test]
fn an_answer_that_is_demanded_is_shown_in_time_or_costs_all() {
    let mut world = started();
    let answers = Answers::report(&mut world, 0b11, |seed| [show(seed, 0), Vec::new()]);
    let epoch = answers.epoch;
    let stranger = Key([99; 32]);
    world.deposit(stranger, 1);
    assert!(matches!(demand(&mut world, epoch, 0, stranger), Err(Reject::Signer(_))));
    let unknown = demand(&mut world, epoch, 5, CHALLENGER);
    assert_eq!(unknown, Err(Reject::NotPaid { heavy: HEAVY, epoch, cell: 5 }));
    let unasked = Body::ShowAnswer { heavy: HEAVY, evidence: answers.evidence(0) };
    assert!(matches!(world.send(unasked.clone(), &[node_key(HEAVY.0)]), Err(Reject::Phase(_))));
    let events = demand(&mut world, epoch, 0, CHALLENGER).unwrap();
    assert_eq!(events, [Event::AnswerDemanded { heavy: HEAVY, epoch, cell: 0 }]);
    assert!(matches!(demand(&mut world, epoch, 1, CHALLENGER), Err(Reject::Phase(_))), "one each");
    demand(&mut world, epoch, 0, AUTHORITY).unwrap();
    // only the heavy node answers, and only with what proves it
    assert!(matches!(world.send(unasked.clone(), &[OWNER]), Err(Reject::Signer(_))));
    let without = Body::ShowAnswer { heavy: HEAVY, evidence: answers.evidence(1) };
    assert!(matches!(world.send(without, &[node_key(HEAVY.0)]), Err(Reject::Phase(_))));
    world.send(unasked.clone(), &[node_key(HEAVY.0)]).unwrap();
    assert!(world.state.market().demands.values().all(|d| d.deadline.is_none()), "for both");
    assert!(matches!(world.send(unasked, &[node_key(HEAVY.0)]), Err(Reject::Phase(_))));
    // nothing proves cell 1
    demand(&mut world, epoch, 1, OWNER).unwrap();
    let deadline = world.state.height() + world.state.params().epoch_heights;
    let mut events = Events::new();
    while !events.iter().any(|e| matches!(e, Event::Convicted { .. })) {
        assert!(world.state.height() <= deadline, "it was to be shown by {deadline}");
        events = world.block();
        world.receipts();
        world.prove();
    }
    assert_eq!(world.state.height(), deadline + 1);
    assert!(events.contains(&Event::Convicted { node: HEAVY, by: OWNER }), "{events:?}");
    assert!(world.state.market().cells.is_empty());
    world.check();
    world.check_replay(&genesis(rules()));
}

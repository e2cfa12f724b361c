//! Random sequences of transactions: whatever comes, the invariants hold, replay gives the same root, a snapshot the same state.

use crate::world::{AUTHORITIES, AUTHORITY, OWNER, VALIDATORS, World, genesis, node_key, params};
use proptest::prelude::*;
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Body, Cell, Evidence, Key, Lease, Leave, NodeId, Params, State, answer_leaf,
};

/// A step; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Blocks(u8),
    Duty,
    Receipt(u8, u8),
    Prove,
    Kill(u8),
    Revive,
    Join,
    Leave(u8),
    Close,
    Attest(u8, u8),
    Deposit(u8, u64),
    Withdraw(u8, u64),
    Transfer(u8, u8, u64),
    Fund(u64),
    Stake(u8, u64),
    Groups(u8),
    Lease(u8, u8),
    Renew(u8),
    Head(u8),
    Authorities(u8, u8),
    Restore,
    Margin(u8),
    Rent(u8, u8, u16),
    End(u8),
    Report(u8, u8),
    Adopt(u8),
    Dispute(u8),
    Demand(u8, u8),
    Fault(u8, u8, u8),
    Validators(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u8..12).prop_map(Step::Blocks),
        8 => Just(Step::Duty),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(g, s)| Step::Receipt(g, s)),
        3 => Just(Step::Prove),
        1 => any::<u8>().prop_map(Step::Kill),
        1 => Just(Step::Revive),
        2 => Just(Step::Join),
        1 => any::<u8>().prop_map(Step::Leave),
        6 => Just(Step::Close),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(v, n)| Step::Attest(v, n)),
        1 => (any::<u8>(), any::<u64>()).prop_map(|(a, n)| Step::Deposit(a, n)),
        1 => (any::<u8>(), 0u64..2_000).prop_map(|(a, n)| Step::Withdraw(a, n)),
        1 => (any::<u8>(), any::<u8>(), 0u64..2_000).prop_map(|(a, b, n)| Step::Transfer(a, b, n)),
        1 => (0u64..5_000).prop_map(Step::Fund),
        1 => (any::<u8>(), 0u64..2_000).prop_map(|(n, a)| Step::Stake(n, a)),
        1 => (0u8..3).prop_map(Step::Groups),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(v, h)| Step::Lease(v, h)),
        1 => any::<u8>().prop_map(Step::Renew),
        1 => (0u8..4).prop_map(Step::Head),
        1 => (1u8..8, 0u8..3).prop_map(|(set, enough)| Step::Authorities(set, enough)),
        1 => Just(Step::Restore),
        1 => (0u8..3).prop_map(Step::Margin),
        2 => (any::<u8>(), any::<u8>(), any::<u16>()).prop_map(|(n, e, p)| Step::Rent(n, e, p)),
        1 => any::<u8>().prop_map(Step::End),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(n, b)| Step::Report(n, b)),
        2 => any::<u8>().prop_map(Step::Adopt),
        1 => any::<u8>().prop_map(Step::Dispute),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(n, a)| Step::Demand(n, a)),
        2 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(n, b, s)| Step::Fault(n, b, s)),
        1 => (0u8..4).prop_map(Step::Validators),
    ]
}

const ACCOUNTS: [Key; 4] = [OWNER, AUTHORITY, VALIDATORS[0], VALIDATORS[1]];

fn run(world: &mut World, step: &Step) {
    let nodes = u32::try_from(world.state.nodes().len()).unwrap().max(1);
    let node = |n: u8| NodeId(u32::from(n) % nodes);
    let account = |n: u8| ACCOUNTS[usize::from(n) % ACCOUNTS.len()];
    // whether it is accepted is not the point: that what is refused changes nothing is checked by `World::apply`
    _ = match *step {
        Step::Blocks(count) => {
            (0..count).for_each(|_| drop(world.block()));
            Ok(Vec::new())
        }
        Step::Duty => {
            world.receipts();
            world.prove();
            Ok(Vec::new())
        }
        Step::Receipt(group, slot) => {
            let groups = u8::try_from(world.state.groups().len()).unwrap().max(1);
            world.receipt(u32::from(group % groups), slot % 4);
            Ok(Vec::new())
        }
        Step::Prove => {
            world.prove();
            Ok(Vec::new())
        }
        Step::Kill(n) => {
            world.dead.insert(node(n));
            Ok(Vec::new())
        }
        Step::Revive => {
            world.dead.clear();
            Ok(Vec::new())
        }
        Step::Join => world.join().map(|_| Vec::new()),
        Step::Leave(n) => {
            let leave = Leave { node: node(n) };
            world.send(Body::LeaveNode { leave }, &[node_key(leave.node.0)])
        }
        Step::Close if world.state.groups().is_empty() => Ok(Vec::new()),
        Step::Close => world.send_close(),
        Step::Attest(validator, up_to) => {
            let validator = VALIDATORS[usize::from(validator) % 4];
            let up_to = u32::from(up_to) % (world.state.batches().count() + 2);
            world.send(Body::AttestReadBack { up_to }, &[validator])
        }
        Step::Deposit(to, amount) => {
            let body = Body::Deposit { account: account(to), amount: Amount(amount) };
            world.send(body, &world.governors())
        }
        Step::Withdraw(from, amount) => {
            world.send(Body::Withdraw { amount: Amount(amount) }, &[account(from)])
        }
        Step::Transfer(from, to, amount) => {
            let body = Body::Transfer { account: account(to), amount: Amount(amount) };
            world.send(body, &[account(from)])
        }
        Step::Fund(amount) => world.send(Body::FundEscrow { amount: Amount(amount) }, &[OWNER]),
        Step::Stake(n, amount) => {
            world.send(Body::AddStake { node: node(n), amount: Amount(amount) }, &[OWNER])
        }
        Step::Groups(count) => {
            let policy = world.policy;
            world.send(Body::OpenGroups { policy, count: count.into() }, &world.governors())
        }
        Step::Lease(validator, heights) => {
            let term = world.state.lease().map_or(0, |l| l.term.0);
            let body = Body::AcquireLease { term, heights: u32::from(heights) + 1 };
            // a validator; a writer for whom the authorities sign; one of those; an authority that may have no say any more
            match validator % 8 {
                number @ 0..4 => world.send(body, &[VALIDATORS[usize::from(number)]]),
                4 | 5 => world.send(body, &[vec![OWNER], world.governors()].concat()),
                6 => world.send(body, &world.governors()),
                _ => world.send(body, &AUTHORITIES),
            }
        }
        Step::Renew(heights) => {
            let Some(Lease { term, holder, .. }) = world.state.lease().cloned() else { return };
            let body = Body::RenewLease { term: term.0, heights: u32::from(heights) * 4 + 1 };
            // every other time by itself alone
            let others =
                world.governors().into_iter().filter(|key| *key != holder && heights % 2 == 0);
            let signers: Vec<Key> = [holder].into_iter().chain(others).collect();
            world.send(body, &signers)
        }
        Step::Head(rise) => {
            let Some(Lease { term, holder, .. }) = world.state.lease().cloned() else { return };
            let last = world.state.head().map_or(0, |head| head.number);
            let number = last + u64::from(rise);
            let (term, root) = (term.0, Digest([3; 32]));
            world.send(Body::CommitHead { term, number, root }, &[holder])
        }
        Step::Authorities(set, enough) => {
            let is_in = |n: &usize| (set >> n) & 1 == 1;
            let authorities: Vec<Key> = (0..3).filter(is_in).map(|n| AUTHORITIES[n]).collect();
            let authority_threshold =
                u16::from(enough) % u16::try_from(authorities.len()).unwrap() + 1;
            let params =
                Params { authorities, authority_threshold, ..world.state.params().clone() };
            let height = world.state.height() + 2;
            world.send(Body::SetParams { height, params }, &world.governors())
        }
        Step::Restore => {
            // whoever begins with a snapshot goes on like all the others: the replay at the end knows no snapshot
            world.state = State::restore(&world.state.snapshot(), &world.state.root()).unwrap();
            Ok(Vec::new())
        }
        Step::Margin(margin) => {
            let params = Params { margin, ..world.state.params().clone() };
            let height = world.state.height() + 3;
            world.send(Body::SetParams { height, params }, &world.governors())
        }
        Step::Rent(n, epochs, price) => {
            let cell = Cell {
                holder: node(n),
                root: Digest([1; 32]),
                bytes: 1 << 20,
                price: Amount(price.into()),
                epochs: u32::from(epochs % 4),
                owner_heavy: None,
                holder_heavy: Some(node(n / 2)),
            };
            let keys = [OWNER, node_key(node(n).0), node_key(node(n / 2).0)];
            let signers = if keys[1] == keys[2] { &keys[..2] } else { &keys[..] };
            world.send(Body::RentCell { cell }, signers)
        }
        Step::End(n) => world.send(Body::EndCell { cell: (n % 8).into() }, &[OWNER]),
        Step::Report(n, bits) => {
            let heavy = node(n);
            let epoch = world.state.epoch().number.saturating_sub(1);
            let of = |c: &&prunedb_registry::RentedCell| c.is_checked_by(heavy, epoch);
            let market = world.state.market();
            let cells = market.cells.values().filter(of).count();
            // it commits to having no answer for its first cell, and to nothing else
            let first = market.cells.iter().find(|(_, c)| of(c)).map_or(0, |(number, _)| *number);
            let body = Body::ReportCells {
                heavy,
                epoch,
                answers_root: answer_leaf(epoch, first, &Vec::new()),
                proven: vec![bits; cells.div_ceil(8)],
            };
            world.send(body, &[node_key(heavy.0)])
        }
        Step::Adopt(n) => {
            let (holder, heavy) = (node(n), node(n / 2));
            let keys = [node_key(holder.0), node_key(heavy.0)];
            let signers = if holder == heavy { &keys[..1] } else { &keys[..] };
            world.send(Body::AdoptCells { holder, heavy }, signers)
        }
        Step::Dispute(n) => {
            let Some((heavy, epoch, cell)) = paid_cell(world, node(n)) else { return };
            let (shown, path) = (Vec::new(), Vec::new());
            let evidence = Evidence { epoch, cell, shown, leaves: 1, position: 0, path };
            world.send(Body::DisputeReport { heavy, evidence }, &[account(n)])
        }
        Step::Demand(n, by) => {
            let Some((heavy, epoch, cell)) = paid_cell(world, node(n)) else { return };
            world.send(Body::DemandAnswer { heavy, epoch, cell }, &[account(by)])
        }
        Step::Fault(n, batch, slot) => {
            let batch = u32::from(batch) % (world.state.batches().count() + 1);
            let slot = slot % 4;
            // half of them of the node that holds it
            let holder = |b: &prunedb_registry::Batch| {
                world.state.groups()[b.group as usize].slots[usize::from(slot)].holder
            };
            let held = world.state.batches().get(batch).and_then(holder);
            let node = held.filter(|_| n % 2 == 0).unwrap_or(node(n / 2));
            world.send(Body::ReportFault { node, batch, slot }, &[account(n)])
        }
        Step::Validators(without) => {
            // three of the four: a closing needs more than two thirds of those who are left
            let mut validators = VALIDATORS.to_vec();
            validators.remove(without.into());
            world.send(Body::SetValidators { validators }, &world.governors())
        }
    };
}

/// The first cell that a heavy node's newest report had paid.
fn paid_cell(world: &World, heavy: NodeId) -> Option<(NodeId, u32, u64)> {
    let (epoch, report) = world.state.market().reports_of(heavy).last()?;
    Some((heavy, epoch, report.paid.first()?.number))
}

fn rules() -> impl Strategy<Value = Params> {
    (any::<bool>(), 0u8..3, 1u8..3, 0u32..1_000_001, 0u64..200, 0u64..50, any::<bool>()).prop_map(
        |(permissioned, per_domain, misses_max, slash_ppm, stake, pay, strict_limits)| Params {
            permissioned,
            slots_per_domain: [per_domain, 0, 0],
            misses_max,
            slash_ppm,
            stake_min: Amount(stake),
            pay_per_gib: Amount(pay),
            strict_limits,
            samples: 2,
            repair_heights: 12,
            nodes_max: 12,
            groups_max: 6,
            epoch_heights: 16,
            ..params()
        },
    )
}

/// One writer at a time, under a term of its own; whose right was taken away does not go on beyond its lease.
fn check_lease(world: &World, before: Option<&Lease>, now: Option<&Lease>) {
    let (Some(before), Some(now)) = (before, now) else {
        assert!(before.is_none(), "a lease is replaced, never taken away");
        return;
    };
    if now.term == before.term {
        assert_eq!(now.holder, before.holder, "two holders of one term");
        let last = world.history.last().and_then(|block| block.last());
        if now.until != before.until {
            let tx = last.expect("a block changes no lease");
            assert!(matches!(tx.body(), Body::RenewLease { .. }) && tx.sender() == now.holder);
            let may = world.state.validators().contains(&now.holder)
                || tx
                    .signers()
                    .iter()
                    .filter(|k| world.state.params().authorities.contains(k))
                    .count()
                    >= world.state.params().authority_threshold.into();
            assert!(may && now.until > before.until, "renewed without the right to write");
        }
    } else {
        assert_eq!(now.term.0, before.term.0 + 1, "terms rise by one");
        let was_free = before.until < world.state.height() || before.holder == now.holder;
        assert!(was_free, "the lease was taken from who had it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_comes_the_invariants_hold(rules in rules(), steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::started(rules.clone(), "2+2", 6, 2);
        let mut watermark = 0;
        let (mut lease, mut head) = (None, 0);
        for step in &steps {
            run(&mut world, step);
            world.check();
            prop_assert!(world.state.prunable_up_to() >= watermark, "the watermark fell");
            watermark = world.state.prunable_up_to();
            let now = world.state.lease().cloned();
            check_lease(&world, lease.as_ref(), now.as_ref());
            lease = now;
            let number = world.state.head().map_or(0, |head| head.number);
            prop_assert!(number >= head, "the head fell");
            head = number;
        }
        world.check_replay(&genesis(rules));
    }
}

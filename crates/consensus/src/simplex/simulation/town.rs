//! Everybody who sends transactions: the authority, the writer, holders honest and not, and those who try what is not theirs.

use super::{
    lake::{self, Honesty},
    seats::Seat,
};
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Body, Cell, Endpoint, JoinNode, Key, Leave, NodeId, NodeStatus, Proof, Receipt, Secret,
    SignedTx, State, canonical::Canonical,
};
use std::collections::BTreeSet;

pub(super) const GROUPS: u32 = 2;
pub(super) const HOLDERS: u32 = 9;

/// One epoch of a holder that threw something away.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Trial {
    pub(super) node: NodeId,
    pub(super) epoch: u32,
    /// what the formula says
    pub(super) expected: f64,
    pub(super) is_caught: bool,
}

pub(super) struct Town {
    pub(super) authority: Secret,
    holders: Vec<(Secret, Honesty)>,
    stranger: Secret,
    /// the validator that commits to secrets and does not reveal them
    pub(super) withholds: Option<Key>,
    /// a validator that goes, and one that comes in its place
    pub(super) change: Option<(Key, Key)>,
    pub(super) trials: Vec<Trial>,
    answered: BTreeSet<(u32, u32)>,
}

/// What is to be sent.
type Txs = Vec<Vec<u8>>;

fn secret(domain: u8, number: u32) -> Secret {
    let mut seed = [domain; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    Secret::from_seed(&seed)
}

fn tx(state: &State, body: Body, signers: &[&Secret], ahead: u64) -> Vec<u8> {
    let nonce = state.bank().accounts.get(&signers[0].key()).map_or(0, |a| a.nonce) + ahead;
    SignedTx::sign(state.registry(), nonce, u64::MAX, body, signers).to_bytes()
}

impl Town {
    pub(super) fn new(
        honesty: impl Fn(u32) -> Honesty,
        withholds: Option<Key>,
        change: Option<(Key, Key)>,
    ) -> Self {
        Self {
            authority: secret(1, 0),
            holders: (0..HOLDERS).map(|n| (secret(2, n), honesty(n))).collect(),
            stranger: secret(3, 0),
            withholds,
            change,
            trials: Vec::new(),
            answered: BTreeSet::new(),
        }
    }

    fn join(&self, number: u32) -> JoinNode {
        JoinNode {
            key: self.holders[number as usize].0.key(),
            endpoint: Endpoint::new(&format!("holder-{number}:9900")).unwrap(),
            domains: [number + 1, 0, 0],
            capacity_gib: 100,
            stake: Amount(0),
        }
    }

    /// What everybody sends who looks at this state.
    pub(super) fn act(&mut self, state: &State, seats: &[Seat], chance: u64) -> Txs {
        if state.groups().is_empty() {
            return self.found(state);
        }
        let mut out = Txs::new();
        self.govern(state, &mut out);
        self.write(state, seats, &mut out);
        self.secrets(state, seats, &mut out);
        self.hold(state, &mut out);
        self.try_what_is_not_theirs(state, seats, chance, &mut out);
        out
    }

    /// The authority takes the holders in and opens the groups.
    fn found(&self, state: &State) -> Txs {
        let joined = u32::try_from(state.nodes().len()).unwrap();
        let mut out: Txs = (joined..HOLDERS)
            .map(|n| {
                let signers = [&self.authority, &self.holders[n as usize].0];
                tx(state, Body::JoinNode { join: self.join(n) }, &signers, (n - joined).into())
            })
            .collect();
        let open = Body::OpenGroups { policy: lake::policy(), count: GROUPS };
        out.push(tx(state, open, &[&self.authority], (HOLDERS - joined).into()));
        out
    }

    /// The authority has one validator go and another one come.
    fn govern(&self, state: &State, out: &mut Txs) {
        let Some((goes, comes)) = self.change else { return };
        if state.height() < 20 || !state.validators().contains(&goes) {
            return;
        }
        let stay = state.validators().iter().filter(|&&key| key != goes);
        let mut validators: Vec<Key> = stay.copied().chain([comes]).collect();
        validators.sort_unstable();
        out.push(tx(state, Body::SetValidators { validators }, &[&self.authority], 0));
    }

    /// The first validator writes: it takes the lease and closes one batch after another.
    fn write(&self, state: &State, seats: &[Seat], out: &mut Txs) {
        let master = &seats[0].secret;
        let Some(lease) = state.lease() else {
            let acquire = Body::AcquireLease { term: 0, heights: 10_000 };
            return out.push(tx(state, acquire, &[master], 0));
        };
        if state.closing().is_none() && state.epoch().settled {
            let batch = lake::close(state.batches().count(), lease.term.0, GROUPS);
            let validators = state.validators();
            let enough = validators.len() * 2 / 3 + 1;
            let signers = seats.iter().filter(|s| validators.contains(&s.key)).take(enough);
            let signers: Vec<&Secret> = signers.map(|s| &s.secret).collect();
            out.push(tx(state, Body::CloseBatch { batch }, &signers, 0));
        }
    }

    /// Every validator gives its part to the seed.
    fn secrets(&self, state: &State, seats: &[Seat], out: &mut Txs) {
        let epoch = state.epoch();
        if epoch.seed.is_some() {
            return;
        }
        let half = state.params().seed_heights / 2;
        // the first one has the nonce of its other transactions
        for seat in seats[1..].iter().filter(|s| state.validators().contains(&s.key)) {
            let mut input = seat.key.0.to_vec();
            input.extend_from_slice(&epoch.number.to_le_bytes());
            let secret = blake3::derive_key("simulated secret", &input);
            let has = epoch.commitments.contains_key(&seat.key);
            if !has && state.height() + 1 < epoch.started + half {
                let hash = blake3::derive_key("prunedb v1 seed commitment", &secret);
                let commitment = Digest(hash);
                let commit = Body::CommitSeed { epoch: epoch.number, commitment };
                out.push(tx(state, commit, &[&seat.secret], 0));
            }
            let waits = !epoch.reveals.contains_key(&seat.key);
            if has
                && waits
                && state.height() + 1 >= epoch.started + half
                && self.withholds != Some(seat.key)
            {
                let reveal = Body::RevealSeed { epoch: epoch.number, secret };
                out.push(tx(state, reveal, &[&seat.secret], 0));
            }
        }
    }

    /// Holders acknowledge what they got, and prove.
    fn hold(&mut self, state: &State, out: &mut Txs) {
        for number in 0..HOLDERS {
            let node = NodeId(number);
            if state.nodes()[number as usize].status == NodeStatus::Gone {
                continue;
            }
            let mut ahead = 0;
            for (group, slot) in lake::held(state, node) {
                let closing = state.closing().is_some_and(|batch| batch.group == group);
                let batches = state.batches().of_group(group) + u32::from(closing);
                let place = state.groups()[group as usize].slots[usize::from(slot)];
                if place.batches < batches {
                    let receipt = Body::Receipt { receipt: Receipt { node, group, slot, batches } };
                    out.push(tx(state, receipt, &[&self.holders[number as usize].0], ahead));
                    ahead += 1;
                }
            }
            let honesty = self.holders[number as usize].1;
            if honesty.is_silent || state.epoch().proven.contains(&node) {
                continue;
            }
            let Some(shown) = lake::answer(state, node, honesty) else { continue };
            // who has to fetch: all at once, or one after another where each sample names the next
            let params = state.params();
            let fetches = if params.sequential { params.samples.into() } else { 1 };
            let asked = state.epoch().started + params.seed_heights;
            if state.height() < asked + fetches * honesty.fetch_heights {
                continue;
            }
            let epoch = state.epoch().number;
            let is_first = self.answered.insert((epoch, number));
            if is_first && honesty.lost_ppm > 0 {
                let samples = i32::from(state.params().samples);
                let expected = 1.0 - (1.0 - shown.lost_share).powi(samples);
                self.trials.push(Trial { node, epoch, expected, is_caught: !shown.is_whole });
            }
            let endpoint = Endpoint::new("moved:1").unwrap();
            let proof = Proof { epoch, node, endpoint, answers: shown.answers };
            out.push(tx(state, Body::Prove { proof }, &[&self.holders[number as usize].0], ahead));
        }
    }

    /// None of these may have an effect.
    fn try_what_is_not_theirs(&self, state: &State, seats: &[Seat], chance: u64, out: &mut Txs) {
        let stranger = &self.stranger;
        let holder = &self.holders[1].0;
        let body = match chance % 8 {
            0 => {
                // Sybils: as many identities as it likes, none of them let in
                let join = JoinNode { key: stranger.key(), ..self.join(0) };
                return out.push(tx(state, Body::JoinNode { join }, &[holder, stranger], 0));
            }
            1 => Body::Deposit { account: holder.key(), amount: Amount(1 << 40) },
            2 => {
                // a master that lies about a root: no other validator signs it
                let Some(lease) = state.lease() else { return };
                let mut batch = lake::close(state.batches().count(), lease.term.0, GROUPS);
                batch.root.0[0] ^= 1;
                let body = Body::CloseBatch { batch };
                return out.push(tx(state, body, &[&seats[0].secret, stranger, holder], 0));
            }
            3 => {
                // footprints of heavy nodes that never saw the request
                let [heavy, other] = [3, 4].map(|n| Some(NodeId(n)));
                let cell = Cell {
                    holder: NodeId(1),
                    root: Digest([1; 32]),
                    bytes: 1 << 20,
                    price: Amount(0),
                    epochs: 9,
                    owner_heavy: heavy,
                    holder_heavy: other,
                };
                Body::RentCell { cell }
            }
            4 => Body::LeaveNode { leave: Leave { node: NodeId(5) } },
            _ => return,
        };
        out.push(tx(state, body, &[holder], 0));
    }
}

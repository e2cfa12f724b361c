//! `cargo bench -p prunedb-registry --bench growth -- [--svg FILE]`: an epoch of a registry with 100 to a million batches: bytes
//! on chain, CPU time of a validator (its one thread), memory, snapshot, restart. 100 nodes, 4,096 groups of 16+4, 50 real samples from each
//! node, real signatures; the batches share their shards' bytes, so that they fit into memory.

use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};
use prunedb_proof::{ContainerFacts, merkle, prove_sample};
use prunedb_registry::{
    Amount, Answer, Batch, Body, Canonical, CloseBatch, Endpoint, Event, Genesis, JoinNode, NodeId,
    OwedSample, Params, Proof, Receipt, Secret, SignedTx, SlotGroup, SnapshotError, State,
};
use std::{fmt::Write as _, time::Instant};

const NODES: u32 = 100;
const GROUPS: u32 = 4096;
const LEAF_BYTES: u32 = 16_384;
const LEAVES: u32 = 32;
const LAKE: LakeId = LakeId([9; 16]);

struct World {
    policy: Policy,
    authority: Secret,
    nodes: Vec<Secret>,
    shards: Vec<Vec<u8>>,
    names: Vec<Digest>,
    base: State,
}

/// What an epoch costs.
#[derive(Default)]
struct Cost {
    tx_bytes: usize,
    cpu_seconds: f64,
}

/// CPU time of this thread so far: what others do on the machine does not count.
fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

impl Cost {
    fn timed<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let started = cpu_seconds();
        let out = what();
        self.cpu_seconds += cpu_seconds() - started;
        out
    }

    /// A transaction as a validator gets it: bytes, signatures, rules.
    fn send(&mut self, state: &mut State, body: Body, signers: &[&Secret]) {
        let nonce = state.bank().accounts[&signers[0].key()].nonce;
        let bytes = SignedTx::sign(state.registry(), nonce, u64::MAX, body, signers).to_bytes();
        self.tx_bytes += bytes.len();
        self.timed(|| {
            let tx = SignedTx::decode(&bytes).expect("just written");
            let tx = tx.check(state.registry()).expect("just signed");
            state.apply(state.height(), &tx).expect("made to be accepted");
        });
    }

    fn advance(&mut self, state: &mut State) -> Vec<Event> {
        let height = state.height() + 1;
        self.timed(|| state.advance(height).expect("the next height"))
    }
}

fn secret(domain: u8, number: u32) -> Secret {
    let mut seed = [domain; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    Secret::from_seed(&seed)
}

impl World {
    fn new() -> Self {
        let policy: Policy = "16+4".parse().expect("a policy");
        let authority = secret(1, 0);
        let nodes: Vec<Secret> = (0..NODES).map(|n| secret(2, n)).collect();
        let shard = |slot: usize| {
            let mut bytes = vec![0; (LEAF_BYTES * LEAVES) as usize];
            let mut hasher = blake3::Hasher::new_derive_key("growth shard");
            hasher.update(&slot.to_le_bytes()).finalize_xof().fill(&mut bytes);
            bytes
        };
        let shards: Vec<Vec<u8>> = (0..policy.total_shards()).map(shard).collect();
        let names = shards.iter().map(|s| Digest(*blake3::hash(s).as_bytes())).collect();
        let params = Params {
            epoch_heights: 12,
            seed_heights: 4,
            proof_heights: 4,
            closing_heights: 2,
            ..Params::permissioned(authority.key())
        };
        let validators = vec![authority.key()];
        let genesis = Genesis { lake: LAKE, params, validators };
        let mut base = State::new(&genesis).expect("good rules");
        let mut cost = Cost::default();
        cost.advance(&mut base);
        for node in &nodes {
            let join = JoinNode {
                key: node.key(),
                endpoint: Endpoint::new("127.0.0.1:9900").expect("short"),
                domains: [0; 3],
                capacity_gib: 500_000,
                stake: Amount(0),
            };
            cost.send(&mut base, Body::JoinNode { join }, &[&authority, node]);
        }
        cost.send(&mut base, Body::OpenGroups { policy, count: GROUPS }, &[&authority]);
        cost.send(&mut base, Body::AcquireLease { term: 0, heights: 10_000 }, &[&authority]);
        Self { policy, authority, nodes, shards, names, base }
    }

    fn facts(&self, batch: u32) -> ContainerFacts {
        ContainerFacts {
            lake: LAKE,
            container: ContainerId::data(batch),
            policy: self.policy,
            codec: 1,
            generation: Generation(0),
            leaf_bytes: LEAF_BYTES,
            leaves_per_shard: LEAVES,
            container_bytes: 30_000_000,
            coded_bytes: 20_000_000,
        }
    }

    fn batch(&self, number: u32) -> Batch {
        let facts = self.facts(number);
        Batch {
            first_block: u64::from(number) * 100,
            blocks: 100,
            container_digest: Digest([8; 32]),
            root: facts.root(&self.names).expect("as many names as shards"),
            codec: 1,
            generation: 0,
            leaf_bytes: LEAF_BYTES,
            leaves_per_shard: LEAVES,
            container_bytes: facts.container_bytes,
            coded_bytes: facts.coded_bytes,
            group: number % GROUPS,
            term: 1,
            height: 1,
        }
    }

    /// A snapshot of the base state with so many batches, put together from its sections, and its root.
    fn grown(&self, batches: u32) -> (Vec<u8>, Digest) {
        let state = &self.base;
        let before = 32
            + 24
            + state.params().to_bytes().len()
            + 4
            + state.validators().to_vec().to_bytes().len()
            + 1
            + state.bank().to_bytes().len()
            + state.nodes().to_vec().to_bytes().len();
        let snapshot = state.snapshot();
        let old_groups = state.groups().to_vec().to_bytes().len();
        let filled = |(number, group): (u32, &SlotGroup)| {
            let mut group = group.clone();
            let has = batches / GROUPS + u32::from(number < batches % GROUPS);
            group.slots.iter_mut().for_each(|slot| slot.batches = has);
            group
        };
        let groups: Vec<SlotGroup> = (0..).zip(state.groups()).map(filled).collect();
        let mut grown = snapshot[..before].to_vec();
        groups.put(&mut grown);
        // all but the empty list of batches
        grown.extend_from_slice(&snapshot[before + old_groups..snapshot.len() - 4]);
        let records: Vec<Batch> = (0..batches).map(|number| self.batch(number)).collect();
        records.put(&mut grown);
        let Err(SnapshotError::Root { found, .. }) = State::restore(&grown, &Digest([0; 32]))
        else {
            panic!("a snapshot's sections are not where they were");
        };
        (grown, found)
    }

    fn prove(&self, state: &mut State, node: u32, cost: &mut Cost) {
        let mut answers = Vec::new();
        let shown = |_, owed: OwedSample| {
            let slot = usize::from(owed.slot);
            let sample = prove_sample(&self.shards[slot], owed.sample).expect("of the shard");
            let shown = *sample.sample;
            let name_path = merkle::path(&self.names, slot).expect("one of them");
            answers.push(Answer { name: self.names[slot], name_path, sample });
            Some(shown)
        };
        let node_id = NodeId(node);
        if state.challenge(node_id, shown).is_err() {
            return;
        }
        let endpoint = Endpoint::new("127.0.0.1:9900").expect("short");
        let proof = Proof { epoch: state.epoch().number, node: node_id, endpoint, answers };
        cost.send(state, Body::Prove { proof }, &[&self.nodes[node as usize]]);
    }

    /// One epoch: seed, proofs, settlement, and the closing of a batch.
    fn epoch(&self, state: &mut State) -> Cost {
        let mut warm = Cost::default();
        while !warm.advance(state).iter().any(|e| matches!(e, Event::EpochStarted(_))) {}
        let mut cost = Cost::default();
        let secret = [5; 32];
        let epoch = state.epoch().number;
        let commitment = Digest(blake3::derive_key("prunedb v1 seed commitment", &secret));
        cost.send(state, Body::CommitSeed { epoch, commitment }, &[&self.authority]);
        cost.advance(state);
        cost.advance(state);
        cost.send(state, Body::RevealSeed { epoch, secret }, &[&self.authority]);
        cost.advance(state);
        cost.advance(state);
        for node in 0..NODES {
            self.prove(state, node, &mut cost);
        }
        cost.advance(state);
        assert!(state.epoch().settled && state.epoch().weak_groups == 0, "all have proven");
        let (number, mut before) = (state.batches().count(), self.batch(state.batches().count()));
        before.first_block = state.batches().iter().last().map_or(0, |b| b.first_block + 100);
        let close = CloseBatch {
            batch: number,
            term: 1,
            first_block: before.first_block,
            blocks: 100,
            container_digest: before.container_digest,
            root: before.root,
            codec: 1,
            generation: 0,
            leaf_bytes: LEAF_BYTES,
            leaves_per_shard: LEAVES,
            container_bytes: before.container_bytes,
            coded_bytes: before.coded_bytes,
            group: before.group,
        };
        cost.send(state, Body::CloseBatch { batch: close }, &[&self.authority]);
        let batches = state.batches().of_group(before.group) + 1;
        for slot in 0..u8::try_from(self.policy.total_shards()).expect("20") {
            let place = state.groups()[before.group as usize].slots[usize::from(slot)];
            let node = place.holder.expect("elected");
            let receipt = Receipt { node, group: before.group, slot, batches };
            let signer = &self.nodes[node.0 as usize];
            cost.send(state, Body::Receipt { receipt }, &[signer]);
        }
        cost.advance(state);
        assert_eq!(state.batches().count(), number + 1, "the batch is closed");
        cost
    }
}

/// Memory of this process that is in use, in MB.
fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1e3
}

/// Two lines over the number of batches, both axes of figures in logarithms.
fn svg(points: &[(u32, f64, f64)]) -> String {
    let (width, height, left, top) = (640.0, 320.0, 60.0, 30.0);
    let x = |batches: u32| left + (f64::from(batches).log10() - 2.0) / 4.0 * (width - left - 20.0);
    // 1 to 100,000
    let y = |value: f64| top + (1.0 - value.log10() / 5.0) * (height - top - 40.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for decade in 0..=5 {
        let value = 10f64.powi(decade);
        let at = y(value);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {at}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
            width - 20.0,
            left - 6.0,
            at + 4.0
        );
    }
    for (batches, ..) in points {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{batches}</text>",
            x(*batches),
            height - 20.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">batches</text>",
        width / 2.0,
        height - 4.0
    );
    type Figure = fn(&(u32, f64, f64)) -> f64;
    let lines: [(&str, &str, Figure); 2] =
        [("kB on chain", "#06c", |p| p.1 / 1e3), ("CPU ms of a validator", "#c30", |p| p.2 * 1e3)];
    for (n, (what, colour, of)) in lines.into_iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(of(p)))).collect();
        let _ = writeln!(
            out,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join("L")
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"18\" fill=\"{colour}\">{what} per epoch</text>",
            left + 10.0 + 200.0 * n as f64
        );
    }
    out + "</svg>\n"
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let world = World::new();
    println!(
        "| batches | bytes on chain per epoch | CPU time of a validator, ms | state in memory, MB | snapshot, MB | restart from it, s | root, ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut points = Vec::new();
    for batches in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let (snapshot, root) = world.grown(batches);
        let before = rss_mb();
        let started = Instant::now();
        let mut state = State::restore(&snapshot, &root).expect("its root was computed");
        let restart = started.elapsed().as_secs_f64();
        let memory = rss_mb() - before;
        let started = Instant::now();
        state.root();
        let root_ms = started.elapsed().as_secs_f64() * 1e3;
        let cost = world.epoch(&mut state);
        println!(
            "| {batches} | {} | {:.0} | {memory:.0} | {:.1} | {restart:.2} | {root_ms:.1} |",
            cost.tx_bytes,
            cost.cpu_seconds * 1e3,
            snapshot.len() as f64 / 1e6
        );
        points.push((batches, cost.tx_bytes as f64, cost.cpu_seconds));
    }
    if let Some(file) = args.iter().position(|a| a == "--svg").and_then(|at| args.get(at + 1)) {
        std::fs::write(file, svg(&points)).expect("a file to write to");
    }
}

//! Made-up history: chains of small blocks that verify, with every type of transaction, for tests and demonstrations.
//!
//! Deterministic: the same network, start and seed give the same bytes. No signature is valid and no state exists, which
//! nothing here checks.

use super::{
    accumulator::{Accumulator, EPOCH_BLOCKS},
    e2store::{kind, write_record},
    era1::{Era1Name, VERSION_RECORD, write_tail, write_tuple},
    ere::{
        EreName, EreProfile, Offsets,
        slim::{bloom, shrink},
        write_tail as write_tail_of_ere,
    },
    hash::{Hash32, keccak256},
    network::Network,
    rlp::{Item, write_list, write_string},
    snappy::FrameEncoder,
    trie::ordered_root,
    uint::U256,
};

/// A block, in the pieces of which files are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntheticBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash32,
    /// RLP of its header.
    pub header: Vec<u8>,
    /// RLP of transactions, ommers and perhaps withdrawals, in a list.
    pub body: Vec<u8>,
    /// RLP of its receipts.
    pub receipts: Vec<u8>,
    /// The sum of difficulties up to it.
    pub total_difficulty: U256,
    /// Its transactions' hashes.
    pub transactions: Vec<Hash32>,
}

impl SyntheticBlock {
    /// RLP of the whole block, as in plain files.
    pub fn rlp(&self) -> Vec<u8> {
        let block = super::block::Block::from_parts(&self.header, &self.body);
        let mut out = Vec::new();
        block.expect("made to be one").write_rlp(&mut out);
        out
    }
}

/// Makes blocks, each on top of the one before, for ever.
#[derive(Clone, Debug)]
pub struct SyntheticChain {
    chain_id: u64,
    random: u64,
    height: u64,
    parent: Hash32,
    total: U256,
    transactions_max: u64,
    merged_from: u64,
}

impl SyntheticChain {
    /// A chain whose first block is `start_height`, with at most `transactions_max` transactions in a block.
    pub fn new(network: &Network, start_height: u64, transactions_max: u64, seed: u64) -> Self {
        let mut chain = Self {
            chain_id: network.chain_id().unwrap_or(1337),
            random: seed,
            height: start_height,
            parent: Hash32::default(),
            total: U256::from(start_height),
            transactions_max,
            merged_from: u64::MAX,
        };
        if start_height > 0 {
            chain.parent = Hash32(chain.array());
        } else {
            chain.total = U256::default();
        }
        chain
    }

    /// The same, with blocks of no difficulty from `height` on.
    pub const fn merged_from(mut self, height: u64) -> Self {
        self.merged_from = height;
        self
    }

    /// An `.era1` file of the next `blocks` blocks (at most 8,192): its name and its bytes.
    pub fn era1(&mut self, network: &Network, blocks: usize) -> (String, Vec<u8>) {
        let start_height = self.height;
        let (mut out, mut offsets) = (VERSION_RECORD.to_vec(), Vec::new());
        let (mut accumulator, mut encoder) = (Accumulator::default(), FrameEncoder::new());
        for block in self.take(blocks) {
            offsets.push(out.len() as u64);
            let SyntheticBlock { header, body, receipts, total_difficulty, .. } = &block;
            write_tuple(&mut encoder, header, body, receipts, *total_difficulty, &mut out);
            accumulator.push(block.hash, block.total_difficulty);
        }
        let root = accumulator.root();
        let tail = write_tail(&root, start_height, &offsets, out.len() as u64);
        out.extend(tail);
        (Era1Name::of(network, start_height / EPOCH_BLOCKS as u64, &root), out)
    }

    /// An `.ere` file of the next `blocks` blocks (at most 8,192): its name and its bytes. Headers after the merge have no proofs that could be
    /// made up: theirs say the type and lead nowhere.
    pub fn ere(
        &mut self,
        network: &Network,
        blocks: usize,
        profile: EreProfile,
    ) -> (String, Vec<u8>) {
        let (start_height, merged_from) = (self.height, self.merged_from);
        let blocks: Vec<SyntheticBlock> = self.take(blocks).collect();
        let mut accumulator = Accumulator::default();
        let before = |block: &SyntheticBlock| block.height < merged_from;
        for block in blocks.iter().filter(|block| before(block)) {
            accumulator.push(block.hash, block.total_difficulty);
        }
        let proof = |(index, block): (usize, &SyntheticBlock)| {
            let (kind, ssz) = if before(block) {
                (0, accumulator.path(index, block.total_difficulty).concat())
            } else {
                (3, vec![7; 800])
            };
            list(&[uint(kind), string(&ssz)])
        };
        let mut out = VERSION_RECORD.to_vec();
        let mut section = |kind: u16, parts: &mut dyn Iterator<Item = Vec<u8>>| -> Vec<u64> {
            let mut encoder = FrameEncoder::new();
            parts
                .map(|part| {
                    let start = out.len() as u64;
                    write_record(&mut out, kind, |out| match kind {
                        kind::TOTAL_DIFFICULTY => out.extend(part),
                        _ => encoder.encode(&part, out),
                    });
                    start
                })
                .collect()
        };
        let slim = |block: &SyntheticBlock| {
            let mut slim = Vec::new();
            shrink(&block.receipts, &mut slim).expect("made to be receipts");
            slim
        };
        let mut offsets = Offsets {
            headers: section(kind::HEADER, &mut blocks.iter().map(|block| block.header.clone())),
            bodies: section(kind::BODY, &mut blocks.iter().map(|block| block.body.clone())),
            ..Offsets::default()
        };
        if profile.receipts {
            offsets.receipts = section(kind::SLIM_RECEIPTS, &mut blocks.iter().map(slim));
        }
        if profile.proofs {
            offsets.proofs = section(kind::PROOF, &mut blocks.iter().enumerate().map(proof));
        }
        let root = blocks.first().is_some_and(before).then(|| accumulator.root());
        if root.is_some() {
            let total = |block: &SyntheticBlock| block.total_difficulty.to_le_bytes().to_vec();
            offsets.totals = section(kind::TOTAL_DIFFICULTY, &mut blocks.iter().map(total));
        }
        let tail = write_tail_of_ere(start_height, &offsets, root.as_ref(), out.len() as u64);
        out.extend(tail);
        let epoch = start_height / EPOCH_BLOCKS as u64;
        (EreName::of(network, epoch, &self.parent, profile), out)
    }

    fn number(&mut self) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.number().to_le_bytes()[0])
    }

    fn bytes(&mut self, bytes_max: u64) -> Vec<u8> {
        (0..self.below(bytes_max + 1)).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    fn hash(&mut self) -> Vec<u8> {
        string(&self.array::<32>())
    }

    fn address(&mut self) -> Vec<u8> {
        string(&self.array::<20>())
    }

    /// A transaction as it is hashed.
    fn transaction(&mut self, kind: u8) -> Vec<u8> {
        let chain_id = self.chain_id;
        let to = if self.below(8) == 0 { string(&[]) } else { self.address() };
        let mut fields = Vec::new();
        if kind > 0 {
            fields.push(uint(chain_id));
        }
        fields.push(uint(self.below(1000))); // nonce
        fields.push(uint(self.below(1 << 36))); // gas price, or tip
        if kind >= 2 {
            fields.push(uint(self.below(1 << 36)));
        }
        fields.extend([uint(21_000), to, uint(self.number()), string(&self.bytes(200))]);
        if kind > 0 {
            let keys: Vec<_> = (0..self.below(3)).map(|_| self.hash()).collect();
            let entry = list(&[self.address(), list(&keys)]);
            fields.push(if self.below(2) == 0 { list(&[]) } else { list(&[entry]) });
        }
        if kind == 3 {
            fields.extend([uint(7), list(&[self.hash()])]);
        }
        if kind == 4 {
            let (address, r, s) = (self.address(), self.number(), self.number());
            let grant = [uint(chain_id), address, uint(1), uint(0), uint(r), uint(s)];
            fields.push(list(&[list(&grant)]));
        }
        let v = match kind {
            0 if self.below(2) == 0 => 27 + self.below(2),
            0 => 35 + 2 * chain_id + self.below(2),
            _ => self.below(2),
        };
        fields.extend([uint(v), uint(self.number()), uint(self.number())]);
        envelope(kind, list(&fields))
    }

    /// A receipt as it is in the trie.
    fn receipt(&mut self, kind: u8, gas_used: u64) -> Vec<u8> {
        let outcome = match self.below(3) {
            0 => self.hash(),
            status => string(&[1][..usize::from(status == 1)]),
        };
        let log = |chain: &mut Self| {
            let topics: Vec<_> = (0..chain.below(5)).map(|_| chain.hash()).collect();
            list(&[chain.address(), list(&topics), string(&chain.bytes(100))])
        };
        let logs: Vec<_> = (0..self.below(3)).map(|_| log(self)).collect();
        let logs = list(&logs);
        let bloom = Item::exact(&logs).and_then(bloom).expect("made to be logs");
        envelope(kind, list(&[outcome, uint(gas_used), string(&bloom), logs]))
    }

    /// A header that no block has.
    fn ommer(&mut self) -> Vec<u8> {
        let (hash, nothing) = (self.hash(), string(&[]));
        let mut fields = vec![hash.clone(), hash.clone(), string(&[0; 20])];
        fields.extend([hash.clone(), hash.clone(), hash.clone(), string(&[0; 256])]);
        fields.extend([uint(1), uint(self.height), uint(5000), uint(0), uint(0), nothing, hash]);
        fields.push(string(&[0; 8]));
        list(&fields)
    }

    fn block(&mut self) -> SyntheticBlock {
        let fork = self.height % 5; // each kind of header there has been
        let kinds: Vec<u8> = (0..self.below(self.transactions_max + 1))
            .map(|_| self.below(if fork == 0 { 1 } else { 5 }).to_le_bytes()[0])
            .collect();
        let transactions: Vec<_> = kinds.iter().map(|&kind| self.transaction(kind)).collect();
        let receipts: Vec<_> =
            (1..).zip(&kinds).map(|(gas, &kind)| self.receipt(kind, 21_000 * gas)).collect();
        let withdrawals: Vec<_> = (0..self.below(4))
            .map(|index| list(&[uint(index), uint(self.below(9)), self.address(), uint(5)]))
            .collect();
        let ommers = if self.below(10) == 0 { list(&[self.ommer()]) } else { list(&[]) };
        let difficulty = 1 + self.below(1 << 40);
        let difficulty = if self.height < self.merged_from { difficulty } else { 0 };
        let extra = self.bytes(32);
        let mut header = vec![
            string(&self.parent.0),
            string(&keccak256(&ommers).0),
            self.address(),
            self.hash(),
            string(&root(&transactions).0),
            string(&root(&receipts).0),
            string(&[0; 256]),
            uint(difficulty),
            uint(self.height),
            uint(30_000_000),
            uint(21_000 * kinds.len() as u64),
            uint(1_438_269_988 + 12 * self.height),
            string(&extra),
            self.hash(),
            string(&self.array::<8>()),
        ];
        let mut body = vec![list(&each_in_a_list(&transactions)), ommers];
        if fork > 0 {
            header.push(uint(self.below(1 << 30))); // base fee
        }
        if fork > 1 {
            header.push(string(&root(&withdrawals).0));
            body.push(list(&withdrawals));
        }
        if fork > 2 {
            header.extend([uint(1 << 17), uint(0), self.hash()]); // blobs and beacon root
        }
        if fork > 3 {
            header.push(self.hash()); // requests
        }
        let header = list(&header);
        let (height, hash) = (self.height, keccak256(&header));
        let total = self.total.checked_add(U256::from(difficulty)).expect("far below 2^256");
        (self.parent, self.total) = (hash, total);
        self.height += 1;
        SyntheticBlock {
            height,
            hash,
            header,
            body: list(&body),
            receipts: list(&each_in_a_list(&receipts)),
            total_difficulty: total,
            transactions: transactions.iter().map(|transaction| keccak256(transaction)).collect(),
        }
    }
}

impl Iterator for SyntheticChain {
    type Item = SyntheticBlock;

    fn next(&mut self) -> Option<SyntheticBlock> {
        Some(self.block())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_string(&mut out, bytes);
    out
}

fn uint(value: u64) -> Vec<u8> {
    string(U256::from(value).as_minimal_be())
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_list(&mut out, &items.iter().map(Vec::as_slice).collect::<Vec<_>>());
    out
}

fn envelope(kind: u8, list: Vec<u8>) -> Vec<u8> {
    if kind == 0 { list } else { [&[kind], &list[..]].concat() }
}

/// Legacy items are lists already, typed ones become strings.
fn each_in_a_list(envelopes: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let item = |envelope: &Vec<u8>| match envelope[0] {
        0xc0.. => envelope.clone(),
        _ => string(envelope),
    };
    envelopes.iter().map(item).collect()
}

fn root(items: &[Vec<u8>]) -> Hash32 {
    ordered_root(&items.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

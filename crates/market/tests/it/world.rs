//! A marketplace in a folder of its own.

use prunedb_disk::RealDisk;
use prunedb_market::{Contract, Heavy, HeavyRules, Light, LocalMarket, LocalRules, Rent, Tenant};
use prunedb_registry::{Amount, Key, NodeId, RentedCell};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What each participant begins with.
pub(crate) const MONEY: u64 = 1_000_000;
pub(crate) const CELL_BYTES: u64 = 256 << 10;

pub(crate) struct World {
    pub(crate) market: LocalMarket,
    _folder: TempDir,
}

/// Bytes that differ from seed to seed.
pub(crate) fn content(seed: u8, bytes: u64) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(bytes).unwrap()];
    let mut state = u64::from(seed) + 1;
    for byte in &mut content {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    content
}

pub(crate) fn rent(price_max: u64, epochs: u32) -> Rent {
    Rent { content_bytes: CELL_BYTES, price_max: Amount(price_max), epochs, except: Vec::new() }
}

impl World {
    pub(crate) async fn start(repeat_ppm: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = LocalRules {
            block: Duration::from_millis(20),
            epoch_heights: 100,
            heavy: HeavyRules {
                probe_bytes: 128 << 10,
                repeat_ppm,
                job_patience: Duration::from_secs(20),
                ..HeavyRules::default()
            },
        };
        let market = LocalMarket::start(folder.path(), Arc::new(RealDisk), rules).await.unwrap();
        Self { market, _folder: folder }
    }

    pub(crate) async fn heavy(&self, number: u8) -> Heavy {
        self.market.heavy([number; 32], MONEY, Vec::new()).await.unwrap()
    }

    /// A light node with 8 MiB, registered.
    pub(crate) async fn light(
        &self,
        number: u8,
        heavy: &Heavy,
        price: u64,
        is_relayed: bool,
    ) -> (Light, NodeId) {
        let mut config = self.market.light_config([number; 32], heavy.address(), 64 << 20, price);
        config.offer_bytes = Some(8 << 20);
        config.is_relayed = is_relayed;
        let light = self.market.light(config, MONEY).await.unwrap();
        let node = LocalMarket::registered(&light).await.unwrap();
        (light, node)
    }

    /// An owner with an account.
    pub(crate) async fn tenant(&self, number: u8, heavy: &Heavy, money: u64) -> Tenant {
        let seed = [number; 32];
        let key = prunedb_market::Keys::from_seed(&seed).key();
        self.market.deposit(key, money).await.unwrap();
        self.market.tenant(&seed, heavy.address()).await.unwrap()
    }

    pub(crate) fn balance(&self, key: Key) -> u64 {
        self.market.balances()[&key]
    }

    pub(crate) async fn cell(&self, number: u64) -> Option<RentedCell> {
        let found = self.market.client().cells(number, 1).await.unwrap();
        found.into_iter().find(|(n, _)| *n == number).map(|(_, cell)| cell)
    }

    /// Waits until so many epochs of a cell were reported.
    pub(crate) async fn reported(&self, contract: &Contract, epochs: u32) -> RentedCell {
        let first = self.cell(contract.number).await.unwrap().cell.epochs;
        let mut blocks = self.blocks();
        loop {
            let cell = self.cell(contract.number).await.expect("it has not ended");
            if first - cell.epochs_left >= epochs {
                return cell;
            }
            blocks.next().await;
        }
    }

    /// One block after another, for a while.
    pub(crate) fn blocks(&self) -> Blocks<'_> {
        Blocks { world: self, height: 0, since: Instant::now() }
    }
}

pub(crate) struct Blocks<'a> {
    world: &'a World,
    height: u64,
    since: Instant,
}

impl Blocks<'_> {
    pub(crate) async fn next(&mut self) {
        assert!(self.since.elapsed() < Duration::from_secs(240), "it does not come");
        let client = self.world.market.client();
        self.height = client.height(self.height + 1, 10_000).await.unwrap();
    }
}

pub(crate) async fn read(tenant: &Tenant, contract: &Contract) -> Vec<u8> {
    let mut out = Vec::new();
    let take = |piece: &[u8]| {
        out.extend_from_slice(piece);
        Ok(())
    };
    tenant.read(contract, take).await.unwrap();
    out
}

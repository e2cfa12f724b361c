//! One validator on a disk in memory, with its door on loopback.

use prunedb_consensus::{Local, LocalConfig};
use prunedb_core::{Digest, LakeId};
use prunedb_disk::faulty::FaultyDisk;
use prunedb_registry::{Amount, Body, Endpoint, Genesis, JoinNode, Params, Secret};
use prunedb_validator::{Client, Copies, Door, NoCopies, Validator, ValidatorConfig, ValidatorKey};
use std::{sync::Arc, time::Duration};
use tokio::runtime::Handle;

pub(crate) fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

pub(crate) const AUTHORITY: u8 = 1;
pub(crate) const VALIDATOR: u8 = 2;

pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    pub(crate) validator: Validator,
    door: Door,
    pub(crate) address: String,
    pub(crate) client: Client,
    pub(crate) registry: Digest,
}

pub(crate) fn genesis() -> Genesis {
    let params = Params {
        epoch_heights: 60,
        seed_heights: 20,
        proof_heights: 30,
        closing_heights: 5,
        samples: 4,
        ..Params::permissioned(secret(AUTHORITY).key())
    };
    let validators = vec![ValidatorKey::from_seed(&[VALIDATOR; 32]).public()];
    Genesis { lake: LakeId([9; 16]), params, validators }
}

impl World {
    pub(crate) async fn start(disk: &FaultyDisk, copies: Arc<dyn Copies>) -> Self {
        Self::with_snapshots(disk, copies, 16).await
    }

    pub(crate) async fn with_snapshots(
        disk: &FaultyDisk,
        copies: Arc<dyn Copies>,
        snapshot_heights: u64,
    ) -> Self {
        let interval = Duration::from_millis(3);
        let config = LocalConfig { dir: "/registry/journal".into(), interval };
        let orderer = Arc::new(Local::start(Arc::new(disk.clone()), &config).unwrap());
        let config =
            ValidatorConfig { dir: "/registry/state".into(), genesis: genesis(), snapshot_heights };
        let key = ValidatorKey::from_seed(&[VALIDATOR; 32]);
        let disk_of_validator = Arc::new(disk.clone());
        let runtime = Handle::current();
        let validator =
            Validator::start(&config, key, orderer, copies, disk_of_validator, &runtime).unwrap();
        let door = Door::open(([127, 0, 0, 1], 0).into(), &validator).await.unwrap();
        let address = door.address().to_string();
        let client = Client::new([address.clone()]);
        let registry = client.status().await.unwrap().registry;
        Self { disk: disk.clone(), validator, door, address, client, registry }
    }

    /// Stops it; the disk as it is then.
    pub(crate) async fn stop(self) -> FaultyDisk {
        self.door.close().await;
        drop(self.validator);
        self.disk
    }

    pub(crate) async fn fresh() -> Self {
        Self::start(&FaultyDisk::new(1), Arc::new(NoCopies)).await
    }

    /// The authority gives money to a key.
    pub(crate) async fn deposit(&self, to: u8, amount: u64) {
        let body = Body::Deposit { account: secret(to).key(), amount: Amount(amount) };
        self.client.send(&self.registry, body, &[&secret(AUTHORITY)]).await.unwrap();
    }

    /// Nodes join with keys from `first` on.
    pub(crate) async fn join(&self, first: u8, count: u8) {
        let authority = secret(AUTHORITY);
        let keys: Vec<Secret> = (first..first + count).map(secret).collect();
        let joins = keys.iter().zip(0..).map(|(key, number)| {
            let join = JoinNode {
                key: key.key(),
                endpoint: Endpoint::new(&format!("node:{number}")).unwrap(),
                domains: [0; 3],
                capacity_gib: 1,
                stake: Amount(0),
            };
            (Body::JoinNode { join }, vec![&authority, key])
        });
        self.client.send_all(&self.registry, joins.collect()).await.unwrap();
    }
}

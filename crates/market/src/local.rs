//! A marketplace on this machine: a registry with one validator, and participants on loopback with real sockets and disks.

use crate::{
    Heavy, HeavyAddress, HeavyConfig, HeavyRules, Light, LightConfig, LightState, StartError,
    Tenant, TenantError,
};
use prunedb_consensus::{JournalError, Local, LocalConfig};
use prunedb_core::{Digest, LakeId};
use prunedb_disk::Disk;
use prunedb_registry::{Amount, Body, Genesis, Key, NodeId, Params, ParamsError, Secret};
use prunedb_validator::{
    Client, ClientError, Door, NoCopies, Validator, ValidatorConfig, ValidatorError, ValidatorKey,
};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, time::timeout};
use zeroize::Zeroizing;

/// How long a light node may take to register: its capacity is checked.
const REGISTERS: Duration = Duration::from_secs(120);
/// Heights from snapshot to snapshot.
const SNAPSHOT_HEIGHTS: u64 = 1_000;

/// Why there is no local marketplace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalMarketError {
    /// The registry's blocks.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its validator.
    #[error(transparent)]
    Validator(#[from] ValidatorError),
    /// Its rules.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Its door.
    #[error("the registry's door: {0}")]
    Door(#[source] io::Error),
    /// It does not answer as it should.
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    /// A participant does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An owner cannot begin.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// No light node's registration.
    #[error("light node {key} did not register: {reason}")]
    NotRegistered {
        /// which
        key: Key,
        /// why
        reason: String,
    },
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The rules of a local marketplace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalRules {
    /// time from block to block
    pub block: Duration,
    /// blocks of an epoch
    pub epoch_heights: u64,
    /// what heavy nodes go by
    pub heavy: HeavyRules,
}

/// The marketplace. Stop it with [`LocalMarket::stop`].
#[derive(Debug)]
pub struct LocalMarket {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    rules: LocalRules,
    authority: Secret,
    validator: Validator,
    door: Door,
    client: Client,
    registry: Digest,
}

fn random_seed() -> Result<Zeroizing<[u8; 32]>, LocalMarketError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..]).map_err(LocalMarketError::Random)?;
    Ok(seed)
}

impl LocalMarket {
    /// Founds a registry in a folder, which anybody may join, and runs it.
    ///
    /// # Errors
    /// [`LocalMarketError`].
    pub async fn start(
        dir: &Path,
        disk: Arc<dyn Disk>,
        rules: LocalRules,
    ) -> Result<Self, LocalMarketError> {
        let authority = Secret::from_seed(&*random_seed()?);
        let key = ValidatorKey::from_seed(&*random_seed()?);
        let params = Params {
            permissioned: false,
            epoch_heights: rules.epoch_heights,
            seed_heights: 4,
            proof_heights: 4,
            ..Params::permissioned(authority.key())
        };
        let lake = LakeId(*random_seed()?.first_chunk().expect("16 of 32 bytes"));
        let genesis = Genesis { lake, params, validators: vec![key.public()] };
        let config = LocalConfig { dir: dir.join("registry/blocks"), interval: rules.block };
        let orderer = Arc::new(Local::start(Arc::clone(&disk), &config)?);
        let config = ValidatorConfig {
            dir: dir.join("registry/state"),
            genesis,
            snapshot_heights: SNAPSHOT_HEIGHTS,
        };
        let (copies, runtime) = (Arc::new(NoCopies), Handle::current());
        let validator =
            Validator::start(&config, key, orderer, copies, Arc::clone(&disk), &runtime)?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let door = Door::open(listen, &validator).await.map_err(LocalMarketError::Door)?;
        let client = Client::new([door.address().to_string()]);
        let registry = client.status().await?.registry;
        let dir = dir.to_owned();
        Ok(Self { dir, disk, rules, authority, validator, door, client, registry })
    }

    /// Asks the registry.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Names the registry.
    pub const fn registry(&self) -> &Digest {
        &self.registry
    }

    /// Where the registry answers.
    pub fn addresses(&self) -> Vec<String> {
        vec![self.door.address().to_string()]
    }

    /// Gives a key money, which opens its account.
    ///
    /// # Errors
    /// [`LocalMarketError::Registry`].
    pub async fn deposit(&self, account: Key, amount: u64) -> Result<(), LocalMarketError> {
        let body = Body::Deposit { account, amount: Amount(amount) };
        self.client.send(&self.registry, body, &[&self.authority]).await?;
        Ok(())
    }

    /// Starts a heavy node with some money.
    ///
    /// # Errors
    /// [`LocalMarketError`].
    pub async fn heavy(
        &self,
        seed: [u8; 32],
        money: u64,
        neighbours: Vec<HeavyAddress>,
    ) -> Result<Heavy, LocalMarketError> {
        self.deposit(Secret::from_seed(&seed).key(), money).await?;
        let config = HeavyConfig {
            dir: self.folder("heavies", &seed),
            seed: Zeroizing::new(seed),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            endpoint: None,
            registry: self.addresses(),
            neighbours,
            #[cfg(feature = "iroh")]
            iroh: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            rules: self.rules.heavy,
        };
        Ok(Heavy::start(config, Arc::clone(&self.disk)).await?)
    }

    /// The folder of the participant with the key of a seed.
    fn folder(&self, kind: &str, seed: &[u8; 32]) -> PathBuf {
        let name: String = Secret::from_seed(seed).key().to_string().chars().take(16).collect();
        self.dir.join(kind).join(name)
    }

    /// What a light node of this marketplace begins with; the caller changes what is to be otherwise.
    pub fn light_config(
        &self,
        seed: [u8; 32],
        heavy: HeavyAddress,
        capacity_bytes: u64,
        price: u64,
    ) -> LightConfig {
        LightConfig {
            dir: self.folder("lights", &seed),
            seed: Zeroizing::new(seed),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            endpoint: None,
            capacity_bytes,
            offer_bytes: None,
            price: Amount(price),
            domains: [0; 3],
            is_relayed: false,
            heavies: vec![heavy],
            registry: self.addresses(),
        }
    }

    /// Starts a light node with some money.
    ///
    /// # Errors
    /// [`LocalMarketError`].
    pub async fn light(&self, config: LightConfig, money: u64) -> Result<Light, LocalMarketError> {
        self.deposit(Secret::from_seed(&config.seed).key(), money).await?;
        Ok(Light::start(config, Arc::clone(&self.disk)).await?)
    }

    /// Waits until a light node's capacity was checked and it has joined; its number.
    ///
    /// # Errors
    /// [`LocalMarketError::NotRegistered`].
    pub async fn registered(light: &Light) -> Result<NodeId, LocalMarketError> {
        let mut state = light.state();
        let is_registered = |s: &LightState| matches!(s, LightState::Registered(_));
        let waited = timeout(REGISTERS, state.wait_for(is_registered)).await;
        if let Ok(Ok(state)) = &waited
            && let LightState::Registered(node) = **state
        {
            return Ok(node);
        }
        drop(waited);
        let reason = match &*state.borrow() {
            LightState::Waiting(Some(reason)) => reason.clone(),
            _ => "it took too long".into(),
        };
        Err(LocalMarketError::NotRegistered { key: light.key(), reason })
    }

    /// An owner with the key of a seed, whose account is there.
    ///
    /// # Errors
    /// [`LocalMarketError::Tenant`].
    pub async fn tenant(
        &self,
        seed: &[u8; 32],
        heavy: HeavyAddress,
    ) -> Result<Tenant, LocalMarketError> {
        Ok(Tenant::new(seed, heavy, &self.addresses()).await?)
    }

    /// What every account has.
    pub fn balances(&self) -> BTreeMap<Key, u64> {
        self.validator.with_state(|state| {
            state.bank().accounts.iter().map(|(key, a)| (*key, a.balance.0)).collect()
        })
    }

    /// All money: free, set aside for rents, staked.
    pub fn money(&self) -> u128 {
        self.validator.with_state(prunedb_registry::State::money)
    }

    /// Stops the registry; participants are stopped before.
    pub async fn stop(self) {
        self.door.close().await;
        drop(self.validator);
    }
}

//! All namespaces of a node: opening, making, deleting, changing their settings.

use super::{
    budget::Budget,
    error::ZdbError,
    index::KeyHasher,
    log::Log,
    namespace::{Namespace, State},
    password::{HashError, Password, SealKey, is_equal},
    settings::{Mode, NAME_BYTES_MAX, Settings},
};
use crate::{Damage, OpenReport, state::lock};
use prunedb_disk::{Disk, read_all, write_atomic};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};
use zeroize::Zeroizing;

/// The namespace that every connection begins with.
pub(crate) const DEFAULT: &[u8] = b"default";
/// Most namespaces of a node.
const NAMESPACES_MAX: usize = 4096;

/// The administrator's password: shown to nobody, and wiped when it is dropped.
#[derive(Clone)]
pub struct AdminPassword(Zeroizing<String>);

impl From<String> for AdminPassword {
    fn from(password: String) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword(..)")
    }
}

impl AdminPassword {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// How the 0-db side of a node works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ZdbConfig {
    /// who gives it may do everything; without one, everybody may
    pub admin: Option<AdminPassword>,
    /// the mode of all namespaces; without one, each has its own
    pub mode: Option<Mode>,
    /// answer writes only once they are durable
    pub sync: bool,
    /// keys of all namespaces: each takes up to 40 bytes of memory
    pub keys_max: u64,
    /// a program that is told of events
    pub hook: Option<PathBuf>,
    /// whether `STOP` stops the node; for tests
    pub may_stop: bool,
}

impl Default for ZdbConfig {
    fn default() -> Self {
        let (keys_max, sync) = (50_000_000, true);
        Self { admin: None, mode: None, sync, keys_max, hook: None, may_stop: false }
    }
}

/// All namespaces.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: ZdbConfig,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    mark_seed: [u8; 32],
    pub(crate) budget: Arc<Budget>,
    hasher: KeyHasher,
    seal: Option<SealKey>,
    namespaces: RwLock<BTreeMap<Vec<u8>, Arc<Namespace>>>,
    next_id: Mutex<u32>,
}

/// A setting, and what to make it.
#[derive(Clone)]
pub(crate) enum Change {
    SizeMax(u64),
    Password(Option<Zeroizing<Vec<u8>>>),
    Public(bool),
    Worm(bool),
    Lock(bool),
    Freeze(bool),
    Mode(Mode),
}

impl Store {
    /// Opens the folder of all namespaces.
    ///
    /// # Errors
    /// Those of the disk. Damage is reported, not refused.
    pub(crate) fn open(
        config: ZdbConfig,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        mark_seed: [u8; 32],
        log_bytes: u64,
        report: &mut OpenReport,
    ) -> io::Result<Self> {
        disk.create_dir_all(&dir)?;
        if let Some(above) = dir.parent() {
            disk.sync_dir(above)?;
        }
        let names = disk.list(&dir)?;
        let seal = match &config.admin {
            None => None,
            Some(admin) => {
                let salt = salt(&*disk, &dir)?;
                Some(SealKey::new(admin.as_bytes(), &salt).map_err(io::Error::other)?)
            }
        };
        let budget = Arc::new(Budget::new(config.keys_max, log_bytes));
        let mode = config.mode.unwrap_or_default();
        let mut store = Self {
            config,
            disk,
            dir,
            mark_seed,
            budget,
            hasher: KeyHasher::default(),
            seal,
            namespaces: RwLock::default(),
            next_id: Mutex::new(1),
        };
        let mut known: BTreeSet<u32> =
            names.iter().filter_map(|name| Settings::parse_file_name(name)).collect();
        known.insert(0);
        for name in &names {
            // left-overs: a file that was being written, or logs of a namespace that is deleted
            let log = Log::parse_file_name(name).map(|(namespace, _)| namespace);
            let orphan = log.is_some_and(|namespace| !known.contains(&namespace));
            if orphan || name.ends_with(".rewrite") || name.ends_with(".tmp") {
                store.disk.remove(&store.dir.join(name))?;
            }
        }
        let mut open = BTreeMap::new();
        for id in known {
            *lock(&store.next_id) = id.saturating_add(1);
            let is_there = store.disk.exists(&Settings::path(&store.dir, id))?;
            let settings = if is_there {
                Settings::read(&*store.disk, &store.dir, id).unwrap_or_default()
            } else {
                Some(Settings::new(DEFAULT, mode))
            };
            let Some(settings) = settings else {
                report.damaged(Damage::Settings { namespace: id });
                continue;
            };
            if let (Some(password), Some(seal)) = (&settings.password, &store.seal) {
                password.unseal(seal);
            }
            let namespace = store.namespace(id, settings);
            namespace.load(report)?;
            let name = namespace.settings().name.clone();
            open.insert(name, namespace);
        }
        // whatever is damaged, there is a namespace to begin with; it cannot be written to
        if !open.contains_key(DEFAULT) {
            let mut settings = Settings::new(DEFAULT, mode);
            (settings.lock, settings.freeze) = (true, true);
            open.insert(DEFAULT.to_vec(), store.namespace(0, settings));
        }
        store.namespaces = RwLock::new(open);
        Ok(store)
    }

    fn namespace(&self, id: u32, settings: Settings) -> Arc<Namespace> {
        Arc::new(Namespace {
            id,
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            mark_seed: self.mark_seed,
            budget: Arc::clone(&self.budget),
            hasher: self.hasher.clone(),
            settings: RwLock::new(settings),
            changing: Mutex::default(),
            writer: Mutex::default(),
            state: RwLock::new(State::default()),
            gone: false.into(),
            disk_errors: 0.into(),
        })
    }

    fn names(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Arc<Namespace>>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A namespace by its name.
    pub(crate) fn get(&self, name: &[u8]) -> Result<Arc<Namespace>, ZdbError> {
        self.names().get(name).cloned().ok_or(ZdbError::NoNamespace)
    }

    /// The namespace that connections begin with.
    pub(crate) fn default(&self) -> Arc<Namespace> {
        self.get(DEFAULT).expect("it is never deleted")
    }

    /// All names.
    pub(crate) fn list(&self) -> Vec<Vec<u8>> {
        self.names().keys().cloned().collect()
    }

    /// All namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        self.names().values().cloned().collect()
    }

    /// Makes a namespace, durably.
    pub(crate) fn create(&self, name: &[u8]) -> Result<(), ZdbError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(ZdbError::Argument { want: "a name of at most 128 bytes" });
        }
        if !Settings::is_name(name) {
            return Err(ZdbError::Argument {
                want: "a name of visible characters without slashes",
            });
        }
        let mut next_id = lock(&self.next_id);
        if self.names().contains_key(name) {
            return Err(ZdbError::NamespaceExists);
        }
        if self.names().len() >= NAMESPACES_MAX {
            return Err(ZdbError::Limit { what: "namespaces", max: NAMESPACES_MAX });
        }
        let settings = Settings::new(name, self.config.mode.unwrap_or_default());
        let id = *next_id;
        settings.write(&*self.disk, &self.dir, id).map_err(ZdbError::disk("create a namespace"))?;
        *next_id = id.saturating_add(1);
        let namespace = self.namespace(id, settings);
        let mut names = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_vec(), namespace);
        Ok(())
    }

    /// Deletes a namespace, durably; connections that have it selected learn it with their next command.
    pub(crate) fn delete(&self, name: &[u8]) -> Result<(), ZdbError> {
        if name == DEFAULT {
            return Err(ZdbError::Default);
        }
        let namespace = self.get(name)?;
        let _changing = lock(&namespace.changing);
        if namespace.is_gone() {
            return Err(ZdbError::NoNamespace);
        }
        self.disk
            .remove(&Settings::path(&self.dir, namespace.id))
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(ZdbError::disk("delete a namespace"))?;
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        namespace.delete();
        Ok(())
    }

    /// Changes a setting, durably.
    pub(crate) fn change(&self, name: &[u8], change: &Change) -> Result<(), ZdbError> {
        let for_default = matches!(change, Change::Mode(_) | Change::Lock(_) | Change::Freeze(_));
        if name == DEFAULT && !for_default {
            return Err(ZdbError::Default);
        }
        let namespace = self.get(name)?;
        let password = match change {
            Change::Password(Some(clear)) => {
                Some(Arc::new(Password::new(clear, self.seal.as_ref()).map_err(no_hash)?))
            }
            _ => None,
        };
        let _changing = lock(&namespace.changing);
        if namespace.is_gone() {
            return Err(ZdbError::NoNamespace);
        }
        let writer = lock(&namespace.writer);
        let mut settings = namespace.settings().clone();
        match *change {
            Change::SizeMax(bytes) => settings.size_max = bytes,
            Change::Password(_) => settings.password = password,
            Change::Public(to) => settings.public = to,
            Change::Worm(to) => settings.worm = to,
            Change::Lock(to) => settings.lock = to,
            Change::Freeze(to) => settings.freeze = to,
            Change::Mode(_) if self.config.mode.is_some() => return Err(ZdbError::OneMode),
            Change::Mode(_) if !namespace.state().logs.is_empty() => {
                return Err(ZdbError::NotFresh);
            }
            Change::Mode(to) => settings.mode = to,
        }
        settings
            .write(&*self.disk, &self.dir, namespace.id)
            .map_err(ZdbError::disk("write settings"))?;
        *namespace.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        drop(writer);
        Ok(())
    }

    /// Whether this is the administrator's password.
    pub(crate) fn is_admin(&self, given: &[u8]) -> Result<bool, ZdbError> {
        let admin = self.config.admin.as_ref().ok_or(ZdbError::NoAdmin)?;
        Ok(is_equal(admin.as_bytes(), given))
    }

    /// One step of giving space back; whether there was something to do.
    pub(crate) fn compact(&self) -> bool {
        let mut done = false;
        for namespace in self.all() {
            match namespace.compact() {
                Ok(gave) => done |= gave.is_some(),
                Err(e) => tracing::warn!(namespace = namespace.id, error = %e, "cannot compact"),
            }
            if let Err(e) = namespace.checkpoint() {
                tracing::warn!(namespace = namespace.id, error = %e, "no checkpoint");
            }
        }
        done
    }
}

pub(crate) fn no_hash(e: HashError) -> ZdbError {
    ZdbError::Disk { doing: "hash a password", source: io::Error::other(e) }
}

/// Bytes that make the seal of one node's passwords its own. Made once: with another salt, what is sealed stays so,
/// and passwords must be given in clear once.
fn salt(disk: &dyn Disk, dir: &Path) -> io::Result<[u8; 16]> {
    let path = dir.join("salt");
    if disk.exists(&path)?
        && let Ok(salt) = read_all(disk, &path, 16).unwrap_or_default().try_into()
    {
        return Ok(salt);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    write_atomic(disk, &path, &salt)?;
    Ok(salt)
}

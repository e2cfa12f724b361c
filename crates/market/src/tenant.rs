//! The owner of cells: finds holders, writes, makes contracts, reads back, ends.
//!
//! ```text
//! wish ──lookup──> offer ──tunnel──> cell written ──> root ──> contract, signed by holder and heavy nodes ──> registry
//! ```

use crate::{
    chain::Chain,
    heavy::unix_seconds,
    keys::{HeavyAddress, Keys},
    link::{Link, LinkError},
    lookup::{CELL_BYTES_MIN, Found, Lookup, LookupError, Offer, TTL, WISH_SECONDS, Wish},
    message::{Answer, HeavyStatus, Request, TxSlot},
    relay::Way,
    storage::{CellError, CellStore},
};
use prunedb_access::SIGNATURE_BYTES;
use prunedb_core::Digest;
use prunedb_registry::{
    Amount, Body, CELL_BYTES_MAX, Cell, Endpoint, Key, NodeId, RentedCell,
    canonical::canonical_struct,
};
use prunedb_validator::ClientError;
use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

/// How long a lookup may take: every heavy node on the longest path asks four children.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(240);
/// How long the holder may take to sign and to show what is in the cell.
const SIGN_PATIENCE: Duration = Duration::from_secs(120);
/// How long a short question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a cell is not rented, read or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// A heavy node.
    #[error(transparent)]
    Heavy(#[from] LinkError),
    /// The answer to a lookup is not good.
    #[error("the answer to the lookup: {0}")]
    Answer(#[from] LookupError),
    /// The cell's content.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// The registry.
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    /// More than a cell has room for, or less than one.
    #[error("{bytes} bytes: a cell has {CELL_BYTES_MIN} to {CELL_BYTES_MAX}")]
    Size {
        /// how many
        bytes: u64,
    },
    /// What is to be stored ended early.
    #[error(
        "what is to be stored has {found} bytes, {expected} were announced: was it changed meanwhile?"
    )]
    Short {
        /// announced
        expected: u64,
        /// what came
        found: u64,
    },
    /// Who looks has no place in the registry.
    #[error("the heavy node {0} is no node of this registry")]
    Heavyless(Key),
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// The contract is in the registry, and is not found there.
    #[error("the registry took the contract and does not show it")]
    Missing,
}

/// What somebody wants to rent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rent {
    /// length of the content; the cell is filled up to whole KiB
    pub content_bytes: u64,
    /// most that an epoch may cost
    pub price_max: Amount,
    /// how long
    pub epochs: u32,
    /// holders that are not wanted
    pub except: Vec<NodeId>,
}

/// The number of a contract that the registry has not shown yet.
pub const NOT_NUMBERED: u64 = u64::MAX;

canonical_struct! {
    /// A cell that is rented, as its owner keeps it.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Contract {
        /// its number in the registry, or [`NOT_NUMBERED`]
        pub number: u64,
        /// what is in it
        pub root: Digest,
        /// its size
        pub bytes: u64,
        /// length of what is of use in it
        pub content_bytes: u64,
        /// who holds it, and what lets the owner in
        pub offer: Offer,
        /// the heavy nodes that the lookup passed
        pub path: Vec<Key>,
    }
}

/// A contract that everybody has signed, not yet handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// as the owner keeps it, without its number
    pub contract: Contract,
    slot: TxSlot,
    cell: Cell,
    signatures: Vec<(Key, [u8; SIGNATURE_BYTES])>,
}

/// An owner. To be used within a runtime.
#[derive(Debug)]
pub struct Tenant {
    keys: Arc<Keys>,
    chain: Chain,
    link: Arc<Link>,
    /// the heavy node's number
    heavy: NodeId,
}

impl Tenant {
    /// An owner with this key at a heavy node.
    ///
    /// # Errors
    /// [`TenantError::Registry`], [`TenantError::Heavyless`].
    pub async fn new(
        seed: &[u8; 32],
        heavy: HeavyAddress,
        registry: &[String],
    ) -> Result<Self, TenantError> {
        let keys = Arc::new(Keys::from_seed(seed));
        let chain = Chain::new(registry, Arc::clone(&keys)).await?;
        let number = chain.node_of(heavy.key).await?.ok_or(TenantError::Heavyless(heavy.key))?;
        let link = Arc::new(Link::new(heavy, Arc::clone(&keys)));
        Ok(Self { keys, chain, link, heavy: number })
    }

    /// Its key.
    pub fn key(&self) -> Key {
        self.keys.key()
    }

    /// Finds a holder.
    ///
    /// # Errors
    /// [`TenantError::Heavy`]: nobody has room, or why it was refused; [`TenantError::Answer`].
    pub async fn find(&self, rent: &Rent) -> Result<(Wish, Found), TenantError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(TenantError::Random)?;
        let wish = Wish {
            owner: self.key(),
            nonce,
            bytes: cell_bytes(rent.content_bytes)?,
            price_max: rent.price_max,
            epochs: rent.epochs,
            except: rent.except.clone(),
            ttl: TTL,
            expires: unix_seconds() + WISH_SECONDS,
        };
        let lookup = Lookup::new(wish.clone(), &self.keys.identity);
        match self.link.ask(&Request::Lookup { lookup }, LOOKUP_PATIENCE).await? {
            Answer::Found { found } => {
                found.check(&wish, &[self.link.address().key])?;
                Ok((wish, found))
            }
            _ => Err(self.link.confused().into()),
        }
    }

    /// Finds a holder, writes the content there, and makes the contract. Who is to read the cell after a crash takes
    /// [`Self::place`], keeps what it gives, then takes [`Self::settle`].
    ///
    /// # Errors
    /// [`TenantError`]; without a contract nothing is paid, and the holder drops what was written.
    pub async fn rent(&self, rent: &Rent, content: impl Read) -> Result<Contract, TenantError> {
        self.settle(self.place(rent, content).await?).await
    }

    /// Finds a holder, writes the content there, and has everybody sign the contract. Nothing is paid yet.
    ///
    /// # Errors
    /// [`TenantError`]; the holder drops what was written.
    pub async fn place(&self, rent: &Rent, content: impl Read) -> Result<Placed, TenantError> {
        let (wish, found) = self.find(rent).await?;
        let Found { offer, hops, .. } = found;
        let store = self.open(&offer, offer.heavy).await?;
        let mut content = content.take(rent.content_bytes);
        let root = store.write(&mut content, wish.bytes).await?;
        if content.limit() > 0 {
            let (expected, found) = (rent.content_bytes, rent.content_bytes - content.limit());
            return Err(TenantError::Short { expected, found });
        }
        let cell = Cell {
            holder: offer.holder,
            root,
            bytes: wish.bytes,
            price: offer.price,
            epochs: wish.epochs,
            owner_heavy: Some(self.heavy),
            holder_heavy: Some(offer.heavy),
        };
        let path: Vec<Key> = hops.iter().map(|hop| hop.heavy).collect();
        let slot = self.chain.slot().await?;
        let holder_heavy = *path.last().expect("a path that was checked has hops");
        let mut signatures = self.countersigned(&self.link, &wish, slot, cell).await?;
        if holder_heavy != self.link.address().key {
            let link = self.link_to(holder_heavy, &offer.heavy_endpoint);
            signatures.extend(self.countersigned(&link, &wish, slot, cell).await?);
        }
        let (number, bytes, content_bytes) = (NOT_NUMBERED, wish.bytes, rent.content_bytes);
        let contract = Contract { number, root, bytes, content_bytes, offer, path };
        Ok(Placed { contract, slot, cell, signatures })
    }

    /// Hands a contract in: from now on it is paid.
    ///
    /// # Errors
    /// [`TenantError::Registry`]: with `Rejected` and `NotIncluded` there is no contract, with others there may be one.
    pub async fn settle(&self, placed: Placed) -> Result<Contract, TenantError> {
        let Placed { contract, slot, cell, signatures } = placed;
        self.chain.send_signed(slot, Body::RentCell { cell }, signatures).await?;
        let mine = |rented: &RentedCell| rented.owner == self.key() && rented.cell == cell;
        let cells = self.chain.cells().await?;
        let number = cells.iter().rev().find(|(_, c)| mine(c)).map(|(number, _)| *number);
        Ok(Contract { number: number.ok_or(TenantError::Missing)?, ..contract })
    }

    fn link_to(&self, key: Key, endpoint: &Endpoint) -> Link {
        let address = HeavyAddress { server: endpoint.as_str().into(), key };
        Link::new(address, Arc::clone(&self.keys))
    }

    async fn countersigned(
        &self,
        link: &Link,
        wish: &Wish,
        slot: TxSlot,
        cell: Cell,
    ) -> Result<Vec<(Key, [u8; SIGNATURE_BYTES])>, TenantError> {
        let request = Request::Countersign { wish: wish.digest(), slot, cell };
        match link.ask(&request, SIGN_PATIENCE).await? {
            Answer::Countersigned { signatures } => Ok(signatures),
            _ => Err(link.confused().into()),
        }
    }

    /// A tunnel to a cell: directly, or through the heavy node that the holder has now.
    async fn open(&self, offer: &Offer, heavy: NodeId) -> Result<CellStore, TenantError> {
        let way = if offer.is_relayed {
            let placement = self.chain.client.placement().await?;
            let node = placement.nodes.get(heavy.0 as usize).ok_or(TenantError::Missing)?;
            let is_same = heavy == offer.heavy;
            let endpoint = if is_same { &offer.heavy_endpoint } else { &node.endpoint };
            Some(Way::Link(Arc::new(self.link_to(node.key, endpoint))))
        } else {
            None
        };
        let endpoint = offer.holder_endpoint.as_str();
        let store = CellStore::open(endpoint, way, offer.holder_key, &offer.capability, &self.keys);
        Ok(store.await?)
    }

    /// Reads a cell back; what was given to `take` is only good where this gives no error.
    ///
    /// # Errors
    /// [`TenantError::Cell`]: it is not there, or another one.
    pub async fn read(
        &self,
        contract: &Contract,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), TenantError> {
        let now = self.cell(contract.number).await?;
        let heavy = now.and_then(|cell| cell.cell.holder_heavy).unwrap_or(contract.offer.heavy);
        let store = self.open(&contract.offer, heavy).await?;
        let mut left = contract.content_bytes;
        let of_use = |piece: &[u8]| {
            let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= length as u64;
            take(&piece[..length])
        };
        Ok(store.read_all(contract.bytes, &contract.root, of_use).await?)
    }

    /// Ends a contract; what is not used of the rent comes back.
    ///
    /// # Errors
    /// [`TenantError::Registry`].
    pub async fn end(&self, number: u64) -> Result<(), TenantError> {
        self.chain.send(Body::EndCell { cell: number }).await?;
        Ok(())
    }

    /// A cell, as the registry has it; `None`: there is none of this number.
    ///
    /// # Errors
    /// [`TenantError::Registry`].
    pub async fn cell(&self, number: u64) -> Result<Option<RentedCell>, TenantError> {
        let cells = self.chain.client.cells(number, 1).await?;
        Ok(cells.into_iter().find(|(found, _)| *found == number).map(|(_, cell)| cell))
    }

    /// The contracts of this owner, as the registry has them.
    ///
    /// # Errors
    /// [`TenantError::Registry`].
    pub async fn cells(&self) -> Result<Vec<(u64, RentedCell)>, TenantError> {
        let all = self.chain.cells().await?;
        Ok(all.into_iter().filter(|(_, cell)| cell.owner == self.key()).collect())
    }
}

/// How a heavy node is; `seed`: a key to ask with, of anybody.
///
/// # Errors
/// [`LinkError`].
pub async fn heavy_status(seed: &[u8; 32], heavy: HeavyAddress) -> Result<HeavyStatus, LinkError> {
    let link = Link::new(heavy, Arc::new(Keys::from_seed(seed)));
    match link.ask(&Request::Status {}, PATIENCE).await? {
        Answer::Status { status } => Ok(status),
        _ => Err(link.confused()),
    }
}

/// The cell that some content fills.
fn cell_bytes(content_bytes: u64) -> Result<u64, TenantError> {
    let sample = prunedb_proof::SAMPLE_BYTES as u64;
    let wrong = TenantError::Size { bytes: content_bytes };
    let whole = content_bytes.checked_next_multiple_of(sample);
    whole.map(|bytes| bytes.max(CELL_BYTES_MIN)).filter(|b| *b <= CELL_BYTES_MAX).ok_or(wrong)
}

//! Asking validators: one after another, until one answers. Each is known by its key: what anybody else says at its address
//! is no answer.

use crate::{
    address::{DoorAddress, DoorAddressError},
    frame::{read_answer, write_request},
    message::{Answer, Duty, Outcome, Placement, Proposal, Refused, Request, Status, WAIT_MS_MAX},
};
use prunedb_access::{Identity, PublicKey, tls};
use prunedb_core::Digest;
use prunedb_registry::{
    Account, Batch, Body, CellReport, Epoch, Key, NodeId, OwedSample, Params, RentedCell, Secret,
    SignedTx, canonical::Canonical,
};
use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

/// The seed of the key that clients show.
const ANYBODY: &[u8; 32] = b"prunedb v1: a client of any door";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, beyond a wait that was asked for.
const ANSWER: Duration = Duration::from_secs(30);
/// How long signing a closing may take: a container is coded for it.
const COSIGN: Duration = Duration::from_secs(300);
/// Idle connections that are kept to each validator.
const IDLE_MAX: usize = 4;
/// How often a transaction is signed anew because another one of its sender came first.
const NONCES_MAX: u32 = 8;
/// Heights that a transaction counts for.
const TX_HEIGHTS: u64 = 100;

/// Why there is no answer, or no good one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No validator answers.
    #[error("no validator of the registry answers: {}", failures.join("; "))]
    Unreachable {
        /// what each said
        failures: Vec<String>,
    },
    /// Somebody else answers at a validator's address.
    #[error(
        "what answers at {address} is not that validator ({reason}): check the address and the key with who runs it, and trust \
         nothing that it says"
    )]
    Impostor {
        /// where
        address: String,
        /// what it showed
        reason: String,
    },
    /// The validator refused.
    #[error("{reason}")]
    Refused {
        /// why
        reason: String,
    },
    /// The transaction was in a block, and refused.
    #[error("refused at height {height}: {reason}")]
    Rejected {
        /// height of its block
        height: u64,
        /// why
        reason: String,
    },
    /// The transaction was in no block in time.
    #[error(
        "the transaction was in no block up to height {valid_until}: it does not count any more"
    )]
    NotIncluded {
        /// the last height at which it counted
        valid_until: u64,
    },
    /// Blocks have stopped coming.
    #[error(
        "the registry is at height {height} and makes no blocks: more than two thirds of its validators must run and reach each \
         other (`prunedb registry status`); the transaction may still come into the next block"
    )]
    Stalled {
        /// the last height
        height: u64,
    },
    /// An answer to another question.
    #[error("validator {address} gave an answer to another question")]
    Confused {
        /// which
        address: String,
    },
    /// There is no such account.
    #[error("account {key} is unknown to the registry: a deposit, or joining as a node, opens it")]
    Account {
        /// whose
        key: Key,
    },
}

/// Where a transaction came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Included {
    /// its name
    pub tx: Digest,
    /// height of its block
    pub height: u64,
}

/// Asks the validators of a registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    validators: Vec<Peer>,
    /// who answered last
    preferred: AtomicUsize,
}

struct Peer {
    address: String,
    /// its server, and how its key is checked
    door: Result<(String, TlsConnector), DoorAddressError>,
    idle: Mutex<Vec<Socket>>,
}

type Socket = TlsStream<TcpStream>;

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Peer {
    fn new(address: String) -> Self {
        // a door looks at no client's key
        let anybody = Identity::from_seed((*ANYBODY).into());
        let door = address.parse().map(|DoorAddress { server, key }| {
            (server, TlsConnector::from(tls::client(&anybody, PublicKey(key.0))))
        });
        Self { address, door, idle: Mutex::default() }
    }

    async fn connect(&self) -> io::Result<Socket> {
        let door = self.door.as_ref();
        let (server, tls) = door.map_err(|e| io::Error::new(ErrorKind::InvalidInput, e.clone()))?;
        let connecting = async {
            let socket = TcpStream::connect(server).await?;
            socket.set_nodelay(true)?;
            tls.connect(tls::no_name(), socket).await
        };
        timeout(CONNECT, connecting).await?
    }

    /// Why it gave no answer.
    fn failed(&self, error: &io::Error) -> ClientError {
        let address = self.address.clone();
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return ClientError::Impostor { address, reason: error.to_string() };
        }
        // such an address says itself what is wrong with it
        let failure = match &self.door {
            Ok(_) => format!("{address}: {error}"),
            Err(wrong) => wrong.to_string(),
        };
        ClientError::Unreachable { failures: vec![failure] }
    }

    fn take_idle(&self) -> Option<Socket> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn ask(&self, request: &Request, patience: Duration) -> io::Result<Answer> {
        // an idle one may have been closed meanwhile: a new one tells
        if let Some(socket) = self.take_idle()
            && let Ok(answer) = self.ask_over(socket, request, patience).await
        {
            return Ok(answer);
        }
        let socket = self.connect().await?;
        self.ask_over(socket, request, patience).await
    }

    async fn ask_over(
        &self,
        mut socket: Socket,
        request: &Request,
        patience: Duration,
    ) -> io::Result<Answer> {
        let asked = async {
            write_request(&mut socket, request).await?;
            read_answer(&mut socket).await
        };
        let answer = timeout(patience, asked).await??;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(socket);
        }
        Ok(answer)
    }
}

/// An answer of one kind, or what is wrong with it.
macro_rules! expect_answer {
    ($answer:expr, $kind:ident { $($field:ident),* } => $out:expr) => {
        match $answer {
            Ok((_, Answer::$kind { $($field),* })) => Ok($out),
            Ok((_, Answer::Refused { reason })) => Err(ClientError::Refused { reason }),
            Ok((address, _)) => Err(ClientError::Confused { address }),
            Err(error) => Err(error),
        }
    };
}

impl Client {
    /// Asks these validators, `tls://host:port/key` each ([`DoorAddress`]); one that is written otherwise does not answer, and
    /// says why.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        let validators = addresses.into_iter().map(Peer::new).collect();
        Self { inner: Arc::new(Inner { validators, preferred: AtomicUsize::new(0) }) }
    }

    /// The validators' addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.inner.validators.iter().map(|peer| peer.address.as_str())
    }

    /// Asks one after another, those first who answered last; who answered.
    async fn ask(&self, request: &Request) -> Result<(String, Answer), ClientError> {
        let wait_ms = match request {
            Request::Outcome { wait_ms, .. }
            | Request::History { wait_ms, .. }
            | Request::Height { wait_ms, .. } => *wait_ms,
            _ => 0,
        };
        let patience = ANSWER + Duration::from_millis(wait_ms.into());
        let peers = &self.inner.validators;
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let (mut failures, mut impostor) = (Vec::new(), None);
        for position in (0..peers.len()).map(|n| (first + n) % peers.len()) {
            let peer = &peers[position];
            match peer.ask(request, patience).await {
                Ok(answer) => {
                    self.inner.preferred.store(position, Ordering::Relaxed);
                    return Ok((peer.address.clone(), answer));
                }
                Err(error) => match peer.failed(&error) {
                    ClientError::Unreachable { failures: more } => failures.extend(more),
                    other => impostor = impostor.or(Some(other)),
                },
            }
        }
        Err(impostor.unwrap_or(ClientError::Unreachable { failures }))
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        expect_answer!(self.ask(&Request::Status {}).await, Status { status } => *status)
    }

    /// How things stand at each validator.
    pub async fn statuses(&self) -> Vec<(String, Result<Status, ClientError>)> {
        let asked = self.ask_all(&Request::Status {}, CONNECT).await;
        let status = |(address, asked): (String, Result<Answer, ClientError>)| {
            let asked = asked.map(|answer| (address.clone(), answer));
            (address, expect_answer!(asked, Status { status } => *status))
        };
        asked.into_iter().map(status).collect()
    }

    /// Batches below this may be pruned, by the word of more validators than may lie (`f` of `3f + 1`): of all that they
    /// say, the highest but `f`. `None` where so few answer. One validator's word is enough for nothing that cannot be undone.
    pub async fn agreed_watermark(&self) -> Option<u32> {
        let statuses = self.statuses().await;
        let validators = statuses.len();
        let told = statuses.into_iter().filter_map(|(_, s)| Some(s.ok()?.prunable_up_to));
        reached_by_more_than_lie(told.collect(), validators)
    }

    /// Asks all validators at once; what each of them says, in their order.
    async fn ask_all(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Vec<(String, Result<Answer, ClientError>)> {
        let mut asked = tokio::task::JoinSet::new();
        for position in 0..self.inner.validators.len() {
            let (inner, request) = (Arc::clone(&self.inner), request.clone());
            asked.spawn(async move {
                let peer = &inner.validators[position];
                let answer = peer.ask(&request, patience).await;
                (position, (peer.address.clone(), answer.map_err(|e| peer.failed(&e))))
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_unstable_by_key(|(position, _)| *position);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// A part of a snapshot: its height, the length of all of it, the bytes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn snapshot_part(
        &self,
        height: Option<u64>,
        offset: u64,
    ) -> Result<(u64, u64, Vec<u8>), ClientError> {
        let answer = self.ask(&Request::Snapshot { height, offset }).await;
        expect_answer!(answer, Snapshot { height, total, bytes } => (height, total, bytes))
    }

    /// Blocks from a height on, each with its proof, as bytes.
    ///
    /// # Errors
    /// [`ClientError`]; refused where the first one was pruned.
    pub(crate) async fn blocks(&self, from: u64) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ClientError> {
        expect_answer!(self.ask(&Request::Blocks { from }).await, Blocks { blocks } => blocks)
    }

    /// An account; `None` where there is none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn account(&self, key: Key) -> Result<(u64, Option<Account>), ClientError> {
        let answer = self.ask(&Request::Account { key }).await;
        expect_answer!(answer, Account { height, account } => (height, account))
    }

    /// The rules that hold.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn params(&self) -> Result<Params, ClientError> {
        expect_answer!(self.ask(&Request::Params {}).await, Params { params } => *params)
    }

    /// All nodes and groups.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn placement(&self) -> Result<Placement, ClientError> {
        expect_answer!(self.ask(&Request::Placement {}).await, Placement { placement } => placement)
    }

    /// Closed batches from one on, how many there are, and the one that is closing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn batches(
        &self,
        first: u32,
        count: u32,
    ) -> Result<(Vec<Batch>, u32, Option<Batch>), ClientError> {
        let answer = self.ask(&Request::Batches { first, count }).await;
        expect_answer!(answer, Batches { count, batches, closing } => (batches, count, closing))
    }

    /// The running epoch.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn epoch(&self) -> Result<Epoch, ClientError> {
        expect_answer!(self.ask(&Request::Epoch {}).await, Epoch { epoch } => *epoch)
    }

    /// What the node with a key has to do; `None`: there is no such node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn duty(&self, key: Key) -> Result<Option<Duty>, ClientError> {
        expect_answer!(self.ask(&Request::Duty { key }).await, Duty { duty } => duty)
    }

    /// The samples that a node owes; `shown`: see [`Request::Challenge`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn challenge(
        &self,
        node: NodeId,
        shown: Vec<[u8; 1024]>,
    ) -> Result<Vec<OwedSample>, ClientError> {
        let answer = self.ask(&Request::Challenge { node, shown }).await;
        expect_answer!(answer, Challenge { samples } => samples)
    }

    /// The names of a batch's shards, from the first validator that knows them; empty where none does.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub async fn names(&self, root: Digest) -> Result<Vec<Digest>, ClientError> {
        let mut failures = Vec::new();
        for peer in &self.inner.validators {
            match peer.ask(&Request::Names { root }, ANSWER).await {
                Ok(Answer::Names { names }) if !names.is_empty() => return Ok(names),
                Ok(_) => {}
                Err(error) => failures.push(format!("{}: {error}", peer.address)),
            }
        }
        if failures.len() == self.inner.validators.len() {
            return Err(ClientError::Unreachable { failures });
        }
        Ok(Vec::new())
    }

    /// Tells all validators the names of a batch's shards; how many took them.
    pub async fn offer_names(&self, batch: u32, names: &[Digest]) -> usize {
        let mut taken = 0;
        for peer in &self.inner.validators {
            let request = Request::OfferNames { batch, names: names.to_vec() };
            taken += usize::from(matches!(peer.ask(&request, ANSWER).await, Ok(Answer::Done {})));
        }
        taken
    }

    /// Asks all validators to sign a closing at once: signatures, and what those who refuse or are out of reach said.
    pub async fn cosign(&self, proposal: &Proposal) -> (Vec<(Key, [u8; 64])>, Vec<String>) {
        let request = Request::Cosign { proposal: proposal.clone() };
        let (mut signatures, mut refused) = (Vec::new(), Vec::new());
        for (address, answer) in self.ask_all(&request, COSIGN).await {
            match answer {
                Ok(Answer::Cosigned { key, signature }) => signatures.push((key, signature)),
                Ok(Answer::Refused { reason }) => refused.push(format!("{address}: {reason}")),
                Ok(_) => refused.push(format!("{address}: another answer")),
                Err(error) => refused.push(error.to_string()),
            }
        }
        (signatures, refused)
    }

    /// Events from a number on, and the number of the one that comes next; waits for one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(
        &self,
        from: u64,
        count: u32,
        wait_ms: u32,
    ) -> Result<(Vec<crate::Happened>, u64), ClientError> {
        let answer = self.ask(&Request::History { from, count, wait_ms }).await;
        expect_answer!(answer, History { events, next } => (events, next))
    }

    /// Rented cells from a number on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cells(
        &self,
        first: u64,
        count: u32,
    ) -> Result<Vec<(u64, RentedCell)>, ClientError> {
        expect_answer!(self.ask(&Request::Cells { first, count }).await, Cells { cells } => cells)
    }

    /// The newest report of each heavy node about the cells that it checks, as far as it may be disputed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cell_reports(&self) -> Result<Vec<(NodeId, CellReport)>, ClientError> {
        let answer = self.ask(&Request::CellReports {}).await;
        expect_answer!(answer, CellReports { reports } => reports)
    }

    /// The answers about its cells that a heavy node has to show: epoch and cell.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cell_demands(&self, heavy: NodeId) -> Result<Vec<(u32, u64)>, ClientError> {
        let answer = self.ask(&Request::CellDemands { heavy }).await;
        expect_answer!(answer, CellDemands { demands } => demands)
    }

    /// Waits until a height is applied; the height that was reached.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn height(&self, at_least: u64, wait_ms: u32) -> Result<u64, ClientError> {
        let answer = self.ask(&Request::Height { at_least, wait_ms }).await;
        expect_answer!(answer, Height { height } => height)
    }

    /// Hands in a transaction as it is; its name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, tx: Vec<u8>) -> Result<Digest, ClientError> {
        expect_answer!(self.ask(&Request::Submit { tx }).await, Accepted { tx } => tx)
    }

    /// What became of a transaction; waits for it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn outcome(&self, tx: Digest, wait_ms: u32) -> Result<Option<Outcome>, ClientError> {
        let answer = self.ask(&Request::Outcome { tx, wait_ms }).await;
        expect_answer!(answer, Outcome { outcome } => outcome)
    }

    /// Signs a transaction, hands it in, and waits for its block. Where another one of the sender comes first, it is signed
    /// anew.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Rejected`]: the registry refused it.
    pub async fn send(
        &self,
        registry: &Digest,
        body: Body,
        signers: &[&Secret],
    ) -> Result<Included, ClientError> {
        self.send_all(registry, vec![(body, signers.to_vec())]).await
    }

    /// The same for many transactions of one sender, in their order; where the last one came in.
    ///
    /// # Errors
    /// Those of [`Self::send`]; those before the one that failed are done.
    ///
    /// # Panics
    /// Where there is nothing to send, or nobody signs.
    pub async fn send_all(
        &self,
        registry: &Digest,
        txs: Vec<(Body, Vec<&Secret>)>,
    ) -> Result<Included, ClientError> {
        let key = txs.first().expect("there is something to send").1[0].key();
        let mut left = &txs[..];
        let mut last = None;
        for _ in 0..NONCES_MAX {
            let (height, account) = self.account(key).await?;
            let nonce = account.ok_or(ClientError::Account { key })?.nonce;
            let valid_until = height + TX_HEIGHTS;
            let mut names = Vec::new();
            for (nonce, (body, signers)) in (nonce..).zip(left) {
                let tx = SignedTx::sign(registry, nonce, valid_until, body.clone(), signers);
                names.push(self.submit(tx.to_bytes()).await?);
            }
            for name in names {
                match self.included(name, valid_until).await? {
                    Ok(included) => {
                        last = Some(included);
                        left = &left[1..];
                    }
                    Err((_, refused)) if refused.is_nonce => break,
                    Err((height, refused)) => {
                        return Err(ClientError::Rejected { height, reason: refused.reason });
                    }
                }
            }
            if left.is_empty() {
                return Ok(last.expect("there was something to send"));
            }
        }
        let reason = format!("another sender uses the key {key} at the same time");
        Err(ClientError::Refused { reason })
    }

    /// Waits until a transaction is in a block, or cannot come into one any more.
    async fn included(
        &self,
        tx: Digest,
        valid_until: u64,
    ) -> Result<Result<Included, (u64, Refused)>, ClientError> {
        let mut last = None;
        loop {
            if let Some(outcome) = self.outcome(tx, WAIT_MS_MAX).await? {
                let height = outcome.height;
                return Ok(match outcome.refused {
                    None => Ok(Included { tx, height }),
                    Some(refused) => Err((height, refused)),
                });
            }
            let height = self.height(0, 0).await?;
            if height > valid_until {
                return Err(ClientError::NotIncluded { valid_until });
            }
            // a whole wait without a block
            if last.replace(height) == Some(height) {
                return Err(ClientError::Stalled { height });
            }
        }
    }
}

/// The highest number that is reached by one more than may lie, of so many validators.
fn reached_by_more_than_lie(mut told: Vec<u32>, validators: usize) -> Option<u32> {
    told.sort_unstable_by(|a, b| b.cmp(a));
    told.get(validators.saturating_sub(1) / 3).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_four_raises_no_watermark_and_holds_none_back() {
        for (told, validators, agreed) in [
            (vec![7], 1, Some(7)),
            (vec![], 1, None),
            (vec![u32::MAX, 7, 7, 6], 4, Some(7)),
            (vec![0, 7, 7, 7], 4, Some(7)),
            (vec![u32::MAX, 7], 4, Some(7)),
            (vec![u32::MAX], 4, None),
            (vec![9, 9, 5, 5, 5, 5, 4], 7, Some(5)),
            (vec![3, 5], 3, Some(5)),
        ] {
            assert_eq!(reached_by_more_than_lie(told.clone(), validators), agreed, "{told:?}");
        }
    }
}

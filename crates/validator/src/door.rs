//! The door: answers requests over TLS, one after another on each connection. It shows the validator's own key, which clients know;
//! theirs it does not look at: whoever may do something signs a transaction for it.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, each with one request of at most a transaction's length; a connection that is
//! silent for [`IDLE`] is closed.

use crate::{
    address::DoorAddress,
    catch_up::serve,
    cosign::cosign,
    frame::{read_request, write_answer},
    machine::tx_name,
    message::{Answer, PAGE_MAX, Request, WAIT_MS_MAX},
    validator::{Shared, Validator},
};
use prunedb_access::tls;
use prunedb_registry::{Key, SignedTx};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may be silent between two requests.
const IDLE: Duration = Duration::from_secs(120);
/// How long one may take to send a request, or to take an answer.
const STALL: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open door of a validator. Dropping it closes it soon, [`Self::close`] now.
#[derive(Debug)]
pub struct Door {
    local_addr: SocketAddr,
    key: Key,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Door {
    /// Listens. To be called within a runtime.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn open(listen: SocketAddr, validator: &Validator) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&validator.shared);
        let (key, tls) = (shared.key.public(), tls::server(shared.key.identity()));
        let accepting = tokio::spawn(accept(listener, tls.into(), shared, stopped));
        Ok(Self { local_addr, key, stop, accepting })
    }

    /// Ends every connection; afterwards nobody holds the validator for this door any more.
    pub async fn close(mut self) {
        _ = self.stop.send(true);
        // an error means that it was aborted with the runtime: nothing to wait for
        _ = (&mut self.accepting).await;
    }

    /// Where it listens, and the key that it shows.
    pub fn address(&self) -> DoorAddress {
        DoorAddress { server: self.local_addr.to_string(), key: self.key }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    // they end with this task
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => Some(accepted),
            _ = stopped.wait_for(|&stop| stop) => None,
        };
        let Some(accepted) = accepted else { return connections.shutdown().await };
        while connections.try_join_next().is_some() {}
        match accepted {
            // closed without a word: the client asks another validator
            Ok(_) if connections.len() >= CONNECTIONS_MAX => {}
            Ok((socket, _)) => {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(socket, &tls, &shared).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, tls: &TlsAcceptor, shared: &Arc<Shared>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(timeout(STALL, tls.accept(socket)).await??);
    loop {
        let Ok(begun) = timeout(IDLE, socket.fill_buf()).await else { return Ok(()) };
        begun?;
        let Some(request) = timeout(STALL, read_request(&mut socket)).await?? else {
            return Ok(());
        };
        let answer = match request {
            Ok(request) => answer(shared, request).await,
            Err(refused) => refused,
        };
        timeout(STALL, write_answer(&mut socket, &answer)).await??;
    }
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Answer {
    match request {
        Request::Status {} => {
            let orderer = shared.orderer.status();
            let waiting = u32::try_from(orderer.waiting_txs).unwrap_or(u32::MAX);
            let (unsigned, failure) = (shared.unsigned(), shared.failure());
            let status = shared.machine().status(shared.key.public(), waiting, unsigned, failure);
            Answer::Status { status: Box::new(status) }
        }
        Request::Submit { tx } => submit(shared, tx),
        Request::Outcome { tx, wait_ms } => {
            let found = || shared.machine().outcome(&tx);
            Answer::Outcome { outcome: wait_for(shared, wait_ms, found).await }
        }
        Request::Account { key } => {
            let machine = shared.machine();
            let state = machine.state();
            let account = state.bank().accounts.get(&key).copied();
            Answer::Account { height: state.height(), account }
        }
        Request::Params {} => {
            Answer::Params { params: Box::new(shared.machine().state().params().clone()) }
        }
        Request::Placement {} => Answer::Placement { placement: shared.machine().placement() },
        Request::Batches { first, count } => shared.machine().batches(first, count),
        Request::Epoch {} => {
            Answer::Epoch { epoch: Box::new(shared.machine().state().epoch().clone()) }
        }
        Request::Duty { key } => Answer::Duty { duty: shared.machine().duty(&key) },
        Request::Challenge { node, shown } => {
            let challenge = shared.machine().challenge(node, &shown);
            challenge.unwrap_or_else(|reject| Answer::Refused { reason: reject.to_string() })
        }
        Request::Names { root } => match shared.names.get(&root) {
            Ok(names) => Answer::Names { names },
            Err(error) => Answer::Refused { reason: error.to_string() },
        },
        Request::OfferNames { batch, names } => {
            let root = shared.machine().root_of_names(batch, &names);
            let Some(root) = root else {
                let reason = format!("these are not the shard names of batch {batch}");
                return Answer::Refused { reason };
            };
            match shared.names.put(&root, &names) {
                Ok(()) => Answer::Done {},
                Err(error) => Answer::Refused { reason: error.to_string() },
            }
        }
        Request::History { from, count, wait_ms } => {
            let happened = || (shared.machine().next_event() > from).then_some(());
            wait_for(shared, wait_ms, happened).await;
            shared.machine().events(from, count.min(PAGE_MAX))
        }
        Request::Cosign { proposal } => cosign(shared, proposal).await,
        Request::Cells { first, count } => {
            Answer::Cells { cells: shared.machine().cells(first, count) }
        }
        Request::CellReports {} => {
            let reports = shared.machine().state().market().newest_reports();
            Answer::CellReports { reports: reports.into_iter().collect() }
        }
        Request::CellDemands { heavy } => {
            let demands = shared.machine().state().market().demanded_of(heavy).collect();
            Answer::CellDemands { demands }
        }
        Request::Snapshot { height, offset } => serve::snapshot(shared, height, offset),
        Request::Blocks { from } => serve::blocks(shared, from),
        Request::Height { at_least, wait_ms } => {
            let reached = || Some(()).filter(|()| *shared.applied.borrow() >= at_least);
            wait_for(shared, wait_ms, reached).await;
            Answer::Height { height: *shared.applied.borrow() }
        }
    }
}

/// Looks after each block, until something is found or the time is over.
async fn wait_for<T>(shared: &Shared, wait_ms: u32, look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_millis(wait_ms.min(WAIT_MS_MAX).into());
    let mut heights = shared.applied.subscribe();
    loop {
        heights.mark_unchanged();
        let found = look();
        if found.is_some() {
            return found;
        }
        match timeout_at(deadline, heights.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

/// Takes a transaction that may come to something.
fn submit(shared: &Shared, bytes: Vec<u8>) -> Answer {
    let refused = |reason: String| Answer::Refused { reason };
    let tx = match SignedTx::decode(&bytes) {
        Ok(tx) => tx,
        Err(error) => return refused(error.to_string()),
    };
    let registry = *shared.machine().state().registry();
    let tx = match tx.check(&registry) {
        Ok(tx) => tx,
        Err(error) => return refused(error.to_string()),
    };
    {
        let machine = shared.machine();
        let state = machine.state();
        if tx.valid_until() <= state.height() {
            return refused(format!(
                "it counts up to height {}, the next block has {}",
                tx.valid_until(),
                state.height() + 1
            ));
        }
        let sender = tx.sender();
        if !state.bank().accounts.contains_key(&sender) {
            return refused(format!(
                "account {sender} is unknown: a deposit, or joining as a node, opens it"
            ));
        }
    }
    let name = tx_name(&bytes);
    match shared.orderer.submit(bytes) {
        Ok(()) => Answer::Accepted { tx: name },
        Err(error) => refused(error.to_string()),
    }
}

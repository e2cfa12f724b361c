//! The parts of a validator, put together on any runtime and network.
//!
//! ```text
//! votes, certificates, requests ── Voting: simplex ── Inline(Proposer) ── marshal ── Inbox ─> Delivery ─> journal
//!                                           blocks ── broadcast ────────────┘ │
//!                                         backfill ── resolver ───────────────┘
//! ```
//! Queues have the length that the peers of one round can fill, times a few rounds.

use super::{
    Certificate, Digest, Mailbox, PublicKey, Scheme, VALIDATORS_MAX, Variant,
    application::Proposer,
    chain::Block,
    delivery::{self, Delivery, Inbox},
    gossip,
    shared::Shared,
    sittings::Sittings,
    voting::Voting,
};
use commonware_broadcast::buffered;
use commonware_consensus::{
    marshal::{self, core::Actor},
    simplex,
    types::ViewDelta,
};
use commonware_cryptography::{Digested, Digestible, certificate::Verifier};
use commonware_p2p::{Blocker, Provider, Receiver, Sender, utils::mux::prefixed};
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock, Handle, Metrics, Quota, Spawner, Storage, Supervisor, buffer::paged::CacheRef,
};
use commonware_storage::{archive::prunable, translator::EightCap};
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize};
use rand_core::CryptoRng;
use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Blocks that are delivered ahead of acknowledgements.
const AHEAD: NonZeroUsize = NZUsize!(16);
/// Views behind the last final one that are remembered.
pub(crate) const VIEWS_KEPT: ViewDelta = ViewDelta::new(256);
/// Blocks in a file of the archive.
const ARCHIVE_SECTION: NonZeroU64 = NZU64!(64);
pub(crate) const BUFFER_BYTES: NonZeroUsize = NZUsize!(256 << 10);

/// Numbers of the network's channels, and how many messages a second each peer may send.
pub(crate) const CHANNELS: [(u64, u32); 6] =
    [(0, 256), (1, 256), (2, 128), (3, 128), (4, 64), (5, 2 * gossip::MESSAGES_PER_SECOND)];

/// The network's channels, as [`CHANNELS`] lists them.
pub(crate) struct Channels<S, R> {
    pub(crate) votes: (S, R),
    pub(crate) certificates: (S, R),
    pub(crate) requests: (S, R),
    pub(crate) backfill: (S, R),
    pub(crate) blocks: (S, R),
    pub(crate) txs: (S, R),
}

/// A channel's quota.
pub(crate) fn quota(per_second: u32) -> Quota {
    Quota::per_second(NonZeroU32::new(per_second).expect("no channel has none"))
}

/// Longest message of any channel, whoever votes.
pub(crate) fn message_bytes_max() -> u32 {
    let validators = u32::try_from(VALIDATORS_MAX).expect("255");
    commonware_p2p::max_message_size(&[
        prefixed(simplex::max_payload_size::<Scheme, Digest>(validators)),
        marshal::max_payload_size::<Variant, Scheme>(validators, &()),
        gossip::MESSAGE_BYTES_MAX,
    ])
}

/// What a validator is made of, besides runtime and network.
pub(crate) struct Parts {
    pub(crate) me: PublicKey,
    /// how many validators are connected, this one with them
    pub(crate) peers: usize,
    /// in front of the names of everything stored
    pub(crate) prefix: String,
    pub(crate) interval: Duration,
    /// of a block that the chain begins with here
    pub(crate) floor: Option<Certificate>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) heights: watch::Sender<u64>,
    pub(crate) gossip: mpsc::Receiver<Vec<u8>>,
}

/// An archive of what is final, by height.
fn archive<C>(
    name: String,
    page_cache: &CacheRef,
    codec_config: C,
) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-metadata"),
        key_partition: format!("{name}-keys"),
        key_page_cache: page_cache.clone(),
        value_partition: format!("{name}-values"),
        compression: None,
        codec_config,
        items_per_section: ARCHIVE_SECTION,
        key_write_buffer: BUFFER_BYTES,
        value_write_buffer: BUFFER_BYTES,
        replay_buffer: BUFFER_BYTES,
    }
}

/// Starts it; the handles end when a part does.
pub(crate) async fn start<E, N, B, S, R>(
    context: E,
    parts: Parts,
    peers: N,
    blocker: B,
    channels: Channels<S, R>,
) -> (Mailbox, Vec<Handle<()>>)
where
    E: Clock + CryptoRng + Spawner + Storage + Metrics + Supervisor + Sync,
    N: Provider<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let mailbox_size = NonZeroUsize::new(64 * parts.peers).expect("there are validators");
    let page_cache = CacheRef::new(NZU16!(4084), NZUsize!(256));
    let genesis = Block::genesis(parts.shared.committees.registry());
    let root = genesis.digest();

    let resolver = marshal::resolver::p2p::init(
        context.child("backfill"),
        marshal::resolver::p2p::Config {
            public_key: parts.me.clone(),
            peer_provider: peers.clone(),
            blocker: blocker.clone(),
            mailbox_size,
            fetch_timeout: NZDuration!(Duration::from_secs(1)),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        },
        channels.backfill,
    );
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: parts.me.clone(),
            mailbox_size,
            deque_size: 8,
            priority: true,
            codec_config: (),
            peer_provider: peers,
            strategy: Sequential,
        },
    );
    let mut handles = vec![broadcast.start(channels.blocks)];

    let certificates = Scheme::certificate_codec_config_unbounded();
    let certificates = archive(format!("{}certificates", parts.prefix), &page_cache, certificates);
    let blocks = archive(format!("{}blocks", parts.prefix), &page_cache, ());
    let certificates = prunable::Archive::init(context.child("certificates"), certificates)
        .await
        .expect("storage of certificates");
    let blocks =
        prunable::Archive::init(context.child("blocks"), blocks).await.expect("storage of blocks");

    let start = match parts.floor {
        None => marshal::Start::Genesis(Digested::precomputed(genesis, root)),
        Some(floor) => marshal::Start::Floor(floor),
    };
    let (actor, marshal, _) = Actor::init(
        context.child("marshal"),
        certificates,
        blocks,
        marshal::Config {
            provider: parts.shared.committees.clone(),
            epocher: Sittings,
            start,
            partition_prefix: format!("{}marshal", parts.prefix),
            mailbox_size,
            view_retention: VIEWS_KEPT,
            prunable_items_per_section: ARCHIVE_SECTION,
            page_cache: page_cache.clone(),
            replay_buffer: BUFFER_BYTES,
            key_write_buffer: BUFFER_BYTES,
            value_write_buffer: BUFFER_BYTES,
            block_codec_config: (),
            max_repair: NZUsize!(32),
            max_pending_acks: AHEAD,
            strategy: Sequential,
        },
    )
    .await;
    let heights = parts.heights.subscribe();
    let (inbox, delivery): (Inbox, Delivery) =
        delivery::queue(AHEAD.get(), Arc::clone(&parts.shared), parts.heights);
    handles.push(actor.start(inbox, buffer, resolver));
    let mailbox = marshal.clone();
    handles.push(context.child("delivery").spawn(move |_| delivery.run(mailbox)));

    let proposer = Proposer { shared: Arc::clone(&parts.shared), interval: parts.interval };
    let voting = Voting {
        committees: parts.shared.committees.clone(),
        proposer,
        marshal: marshal.clone(),
        blocker,
        prefix: parts.prefix,
        mailbox_size,
        page_cache,
        heights,
    };
    let (votes, certificates, requests) =
        (channels.votes, channels.certificates, channels.requests);
    let vote = |context| voting.run(context, votes, certificates, requests);
    handles.push(context.child("voting").spawn(vote));

    let (sender, receiver) = channels.txs;
    let gossip = parts.gossip;
    handles.push(context.child("tell").spawn(move |clock| gossip::tell(clock, gossip, sender)));
    let shared = parts.shared;
    handles.push(context.child("hear").spawn(move |_| gossip::hear(shared, receiver)));
    (marshal, handles)
}

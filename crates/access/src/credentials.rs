//! What a client shows to nodes: its key, and a capability where they are closed.

use crate::{Capability, Identity, Operations, Scope, SignedCapability};
use prunedb_core::{LakeId, Term};
use std::{sync::Arc, time::Duration};

/// How long a capability lasts that an owner writes for itself.
const OWN_LIFE: Duration = Duration::from_secs(3600);

/// A client's key, and where its capabilities come from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    identity: Arc<Identity>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// closed nodes refuse
    None,
    /// the owner writes its own, again and again
    Owner { lake: LakeId, key: Arc<Identity>, operations: Operations },
    /// an owner gave one
    Given(Box<SignedCapability>),
}

impl Credentials {
    /// Those of a client that has a key and nothing else: open nodes let it in.
    pub fn anonymous(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), source: Source::None }
    }

    /// Those of a lake's owner, who allows itself these operations.
    pub fn owner(identity: Identity, lake: LakeId, key: Identity, operations: Operations) -> Self {
        let source = Source::Owner { lake, key: Arc::new(key), operations };
        Self { identity: Arc::new(identity), source }
    }

    /// Those of the holder of a capability.
    pub fn given(identity: Identity, capability: SignedCapability) -> Self {
        Self { identity: Arc::new(identity), source: Source::Given(Box::new(capability)) }
    }

    /// The client's key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The capability to show, and after how long to show a new one. `now` is in seconds since 1970.
    pub fn capability(&self, now: u64) -> Option<(SignedCapability, Duration)> {
        match &self.source {
            Source::None => None,
            Source::Given(capability) => {
                let left = capability.claims().expires.saturating_sub(now);
                Some((**capability, Duration::from_secs(left)))
            }
            Source::Owner { lake, key, operations } => {
                let capability = Capability {
                    lake: *lake,
                    holder: self.identity.public(),
                    operations: *operations,
                    scope: Scope::Lake,
                    term: Term(u64::MAX),
                    issued: now,
                    expires: now.saturating_add(OWN_LIFE.as_secs()),
                };
                Some((capability.sign(key), OWN_LIFE / 2))
            }
        }
    }
}

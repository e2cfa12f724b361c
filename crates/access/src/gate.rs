//! What a closed node checks: once that a capability is good, and for each command that it covers it.

use crate::{Operations, PublicKey, Scope, SignedCapability, capability::Capability};
use prunedb_core::{HexError, LakeId, ShardId, Term};
use std::{fmt, str::FromStr, time::Duration};

/// Clocks of owners and nodes may differ by this.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The owner of a lake, as a node knows it; written `LAKE:KEY`, both in hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// its lake
    pub lake: LakeId,
    /// the key that signs its capabilities
    pub key: PublicKey,
}

/// Text that is no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No colon.
    #[error("write LAKE:KEY, as `prunedb access owner` shows it")]
    Form,
    /// The lake or the key is not in hex digits.
    #[error("the {part} is not in hex digits: {source}")]
    Hex {
        /// lake or key
        part: &'static str,
        /// why
        #[source]
        source: HexError,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lake, self.key)
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(s: &str) -> Result<Self, OwnerError> {
        let (lake, key) = s.split_once(':').ok_or(OwnerError::Form)?;
        let lake = lake.parse().map_err(|source| OwnerError::Hex { part: "lake", source })?;
        let key = key.parse().map_err(|source| OwnerError::Hex { part: "key", source })?;
        Ok(Self { lake, key })
    }
}

/// Why somebody may not do something; the first word of each text is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Nothing was shown.
    #[error("closed this node wants a capability first")]
    Closed,
    /// The bytes are no capability.
    #[error("malformed these bytes are no capability")]
    Malformed,
    /// The node does not know an owner of that lake, or it was signed by somebody else.
    #[error("foreign no owner of the lake that this node knows has signed it")]
    Foreign,
    /// It is another's.
    #[error("holder it was given to {holder}")]
    Holder {
        /// to whom
        holder: PublicKey,
    },
    /// It has ended.
    #[error("expired it ended {seconds} s ago")]
    Expired {
        /// how long ago, by the node's clock
        seconds: u64,
    },
    /// It has not begun: a clock is wrong.
    #[error("early it begins in {seconds} s: is a clock wrong?")]
    Early {
        /// in how long, by the node's clock
        seconds: u64,
    },
    /// Another lake.
    #[error("lake it is for lake {lake}")]
    Lake {
        /// its lake
        lake: LakeId,
    },
    /// Another operation.
    #[error("operation it allows to {allowed}")]
    Operation {
        /// what it allows
        allowed: Operations,
    },
    /// Another shard, or more than a shard.
    #[error("shard it is for one other shard")]
    Shard,
    /// A term that it does not reach.
    #[error("term it allows terms up to {max}")]
    Term {
        /// the highest term that it allows
        max: Term,
    },
}

/// The owners that a closed node knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    owners: Vec<Owner>,
}

/// A capability that was found good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    capability: Capability,
}

impl Gate {
    /// A gate for these owners.
    pub fn new(owners: Vec<Owner>) -> Self {
        Self { owners }
    }

    /// Looks at a capability that the holder of a key shows. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Denied`] says why it is not good.
    pub fn admit(&self, bytes: &[u8], holder: PublicKey, now: u64) -> Result<Pass, Denied> {
        let signed = SignedCapability::decode(bytes).ok_or(Denied::Malformed)?;
        let owners = self.owners.iter().filter(|owner| owner.lake == signed.claims().lake);
        let mut verified = owners.filter_map(|owner| signed.verify(&owner.key).ok());
        let capability = verified.next().ok_or(Denied::Foreign)?;
        if capability.holder != holder {
            return Err(Denied::Holder { holder: capability.holder });
        }
        let pass = Pass { capability };
        pass.in_time(now)?;
        Ok(pass)
    }
}

impl Pass {
    /// Whether it allows something, now.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn allows(
        &self,
        operation: Operations,
        lake: LakeId,
        shard: Option<ShardId>,
        term: Option<Term>,
        now: u64,
    ) -> Result<(), Denied> {
        let Capability { lake: own, operations: allowed, scope, term: max, .. } = self.capability;
        self.in_time(now)?;
        if own != lake {
            return Err(Denied::Lake { lake: own });
        }
        if !allowed.contain(operation) {
            return Err(Denied::Operation { allowed });
        }
        match scope {
            Scope::Shard(own) if shard != Some(own) => return Err(Denied::Shard),
            _ => {}
        }
        if term.is_some_and(|term| term > max) { Err(Denied::Term { max }) } else { Ok(()) }
    }

    /// Whether it has begun and not ended.
    ///
    /// # Errors
    /// [`Denied::Early`], [`Denied::Expired`].
    pub fn in_time(&self, now: u64) -> Result<(), Denied> {
        let Capability { issued, expires, .. } = self.capability;
        let skew = CLOCK_SKEW.as_secs();
        if issued > now.saturating_add(skew) {
            return Err(Denied::Early { seconds: issued - now });
        }
        if now >= expires.saturating_add(skew) {
            return Err(Denied::Expired { seconds: now - expires });
        }
        Ok(())
    }
}

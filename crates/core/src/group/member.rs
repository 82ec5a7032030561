//! What a member says of itself, and what a group remembers of an assignment.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::names::{Generation, InstanceId, MemberId};
use crate::machine::WallTime;

/// A way of assigning that a member can do, with what it wants the leader to know for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Name of the way.
    pub name: Arc<str>,
    /// For the leader alone; the group does not look inside.
    pub metadata: Bytes,
}

/// A member, as it described itself when it joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: MemberId,
    /// Its name over restarts, if it is static.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where its client is.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: u32,
    /// What it can do, dearest first.
    pub offered: Vec<Offered>,
}

/// Bytes of what is offered, names included.
pub(super) fn offered_bytes(offered: &[Offered]) -> usize {
    offered
        .iter()
        .map(|o| o.name.len() + o.metadata.len())
        .sum()
}

impl Member {
    /// Bytes that it says of itself, about.
    pub(super) fn bytes(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, |i| i.0.len());
        let names = self.id.0.len() + instance + self.client_id.len();
        names + offered_bytes(&self.offered)
    }

    /// What it wants the leader to know for `protocol`; empty if it never offered that.
    #[must_use]
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.offered.iter().find(|o| &*o.name == protocol);
        found.map_or_else(Bytes::new, |o| o.metadata.clone())
    }
}

/// A member and its share, as the log has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The member.
    pub member: Arc<Member>,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// A finished rebalance: what a restart goes on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Which generation it is.
    pub generation: Generation,
    /// What kind of group it is: `consumer`, `connect` or anything else. `None` before the first member.
    pub protocol_type: Option<Arc<str>>,
    /// The way of assigning that was chosen. `None` without members.
    pub protocol: Option<Arc<str>>,
    /// Who assigned. `None` without members.
    pub leader: Option<MemberId>,
    /// The members and their shares.
    pub members: BTreeMap<MemberId, Settled>,
    /// When it was finished.
    pub at: WallTime,
}

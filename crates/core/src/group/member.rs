//! What a member says of itself, and what a group remembers of an assignment.

use alloc::collections::{BTreeMap, BTreeSet};
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

/// What an offer takes in memory beside its bytes: it may have none.
const OFFER_BYTES: usize = 64;

/// Bytes that a member says of itself, about.
pub(super) fn said_bytes(
    id: &MemberId,
    instance: Option<&InstanceId>,
    client_id: &str,
    offered: &[Offered],
) -> usize {
    let instance = instance.map_or(0, |i| i.0.len());
    id.0.len() + instance + client_id.len() + offered_bytes(offered)
}

/// Bytes of what is offered, names included.
fn offered_bytes(offered: &[Offered]) -> usize {
    offered
        .iter()
        .map(|o| OFFER_BYTES + o.name.len() + o.metadata.len())
        .sum()
}

/// Keeps the first offer of each name: a name that counted twice would be one that more members can do
/// than there are.
pub(super) fn offer_once(offered: &mut Vec<Offered>) {
    let mut names = BTreeSet::new();
    offered.retain(|offer| names.insert(offer.name.clone()));
}

impl Member {
    /// Bytes that it says of itself, about.
    pub(super) fn bytes(&self) -> usize {
        said_bytes(
            &self.id,
            self.instance.as_ref(),
            &self.client_id,
            &self.offered,
        )
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn offer(name: &str, metadata: &'static [u8]) -> Offered {
        Offered {
            name: name.into(),
            metadata: Bytes::from_static(metadata),
        }
    }

    #[test]
    fn a_name_is_offered_once_and_the_first_of_equals_holds() {
        let mut offered = vec![
            offer("range", b"1"),
            offer("sticky", b""),
            offer("range", b"2"),
        ];
        offer_once(&mut offered);
        assert_eq!(offered, [offer("range", b"1"), offer("sticky", b"")]);
    }

    #[test]
    fn offers_without_a_byte_count_for_what_they_take() {
        let offered = vec![offer("", b""); 1000];
        assert_eq!(offered_bytes(&offered), 64_000);
    }
}

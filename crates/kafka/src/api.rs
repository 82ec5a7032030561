//! One file per kind of request: from the decoded message to what is asked of the broker, and from its
//! reply to the answer.
//!
//! A handler is a function from a message to a [`Step`]: the answer, or requests to the broker and a
//! [`Waiting`] that takes their replies. None of them knows of bytes, of order, or of other requests.

mod api_versions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod groups;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod topic_configs;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;
use mulgil_broker::connection::Hangup;
use mulgil_broker::core::machine::Now;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::request::{Reply, Request, VISIT_PARTS_MAX};

use crate::codec::header::Head;
use crate::codec::{answer, decode};
use crate::conn::fetch_sessions::FetchSessions;
use crate::shared::KafkaShared;

/// What a request needs of its connection while it is worked on.
pub(crate) struct Turn<'a> {
    pub(crate) head: &'a Head,
    pub(crate) now: Now,
    pub(crate) shared: &'a KafkaShared,
    pub(crate) sessions: &'a mut FetchSessions,
    /// Where the client is.
    pub(crate) peer: &'a Arc<str>,
}

/// What comes next for a request.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is finished; these bytes are the answer, none at all if there is to be no answer.
    Done(Vec<Bytes>),
    /// The broker is asked; the replies go to whoever waits, in the order of the requests.
    Ask(Vec<Request>, Box<dyn Waiting>),
}

/// A request that the broker works on.
pub(crate) trait Waiting: fmt::Debug + Send {
    /// Goes on with the replies, of which there is one for each request.
    ///
    /// # Errors
    ///
    /// The connection is over.
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup>;
}

impl Turn<'_> {
    /// The newest picture of the topics.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.catalog()
    }

    /// Finishes with `body` as the answer.
    ///
    /// # Errors
    ///
    /// It cannot be encoded in the version that was asked for.
    pub(crate) fn answer<T: Encodable>(&self, body: &T) -> Result<Step, Hangup> {
        Ok(Step::Done(vec![answer::encode(self.head, body)?]))
    }

    /// Whether the version that was asked for is at least `version`.
    pub(crate) const fn since(&self, version: i16) -> bool {
        self.head.version >= version
    }

    /// The end of a connection that sent what its version does not allow.
    pub(crate) fn malformed(&self, what: &str) -> Hangup {
        Hangup {
            why: format!("malformed {:?} request: {what}", self.head.key),
        }
    }
}

/// Begins to work on a request that [`crate::versions::is_supported`].
///
/// # Errors
///
/// The connection is over.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "keys are added to the protocol with every release"
)]
pub(crate) fn start(body: Bytes, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
    let head = turn.head;
    match head.key {
        ApiKey::Produce => produce::start(decode(head, body)?, turn),
        ApiKey::Fetch => fetch::start(decode(head, body)?, turn),
        ApiKey::ListOffsets => list_offsets::start(decode(head, body)?, turn),
        ApiKey::Metadata => metadata::start(decode(head, body)?, turn),
        ApiKey::OffsetCommit => offset_commit::start(decode(head, body)?, turn),
        ApiKey::OffsetFetch => offset_fetch::start(decode(head, body)?, turn),
        ApiKey::FindCoordinator => find_coordinator::start(decode(head, body)?, turn),
        ApiKey::JoinGroup => join_group::start(decode(head, body)?, turn),
        ApiKey::Heartbeat => heartbeat::start(&decode(head, body)?, turn),
        ApiKey::LeaveGroup => leave_group::start(decode(head, body)?, turn),
        ApiKey::SyncGroup => sync_group::start(decode(head, body)?, turn),
        ApiKey::DescribeGroups => describe_groups::start(decode(head, body)?, turn),
        ApiKey::ListGroups => Ok(list_groups::start(&decode(head, body)?)),
        ApiKey::DeleteGroups => delete_groups::start(decode(head, body)?, turn),
        ApiKey::ApiVersions => api_versions::start(body, turn),
        ApiKey::CreateTopics => create_topics::start(decode(head, body)?, turn),
        ApiKey::DeleteTopics => delete_topics::start(decode(head, body)?, turn),
        ApiKey::DeleteRecords => delete_records::start(decode(head, body)?, turn),
        ApiKey::InitProducerId => init_producer_id::start(&decode(head, body)?, turn),
        ApiKey::OffsetForLeaderEpoch => offset_for_leader_epoch::start(decode(head, body)?, turn),
        ApiKey::DescribeCluster => describe_cluster::start(&decode(head, body)?, turn),
        key => Err(Hangup {
            why: format!("api key {key:?} is not taken"),
        }),
    }
}

/// Asks about a long list in several requests, so that none holds up the broker for long.
pub(crate) fn in_pieces<T>(list: Vec<T>, request: fn(Vec<T>) -> Request) -> Vec<Request> {
    let mut rest = list.into_iter();
    let piece = move || {
        let piece: Vec<T> = rest.by_ref().take(VISIT_PARTS_MAX).collect();
        (!piece.is_empty()).then(|| request(piece))
    };
    std::iter::from_fn(piece).collect()
}

/// Joins the replies to what was asked [`in_pieces`].
macro_rules! joined_replies {
    ($replies:expr, $variant:ident) => {{
        let mut joined = Vec::new();
        for reply in $replies {
            match reply {
                Reply::$variant(piece) => joined.extend(piece),
                other => {
                    return Err(Hangup {
                        why: format!("the broker gave an unfitting reply: {other:?}"),
                    });
                }
            }
        }
        joined
    }};
}
pub(crate) use joined_replies;

/// Takes the only reply, which the broker gives in the variant of its request.
macro_rules! only_reply {
    ($replies:expr, $variant:ident) => {
        match $replies.pop() {
            Some(Reply::$variant(reply)) => reply,
            other => {
                return Err(Hangup {
                    why: format!("the broker gave an unfitting reply: {other:?}"),
                })
            }
        }
    };
}
pub(crate) use only_reply;

//! One file per kind of request: from the decoded message to what is asked of the broker, and from its
//! reply to the answer.
//!
//! A handler is a function from a message to a [`Step`]: the answer, or requests to the broker and a
//! [`Waiting`] that takes their replies. None of them knows of bytes, of order, or of other requests.

mod alter_configs;
mod api_versions;
mod client_quotas;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_scram;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod groups;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod reassignments;
mod rows;
mod sync_group;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ListPartitionReassignmentsRequest};
use kafka_protocol::protocol::Encodable;
use mulgil_broker::connection::Hangup;
use mulgil_broker::core::machine::Now;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::quota::Limit;
use mulgil_broker::quota::burst;
use mulgil_broker::request::{Reply, Request, VISIT_PARTS_MAX};

use crate::codec::header::Head;
use crate::codec::{answer, codes, decode};
use crate::conn::fetch_sessions::FetchSessions;
use crate::shared::KafkaShared;
use crate::to_wire::int32;

/// Who a client is that does not say, `KafkaPrincipal.ANONYMOUS`; without authentication, everybody.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";

/// What a request needs of its connection while it is worked on.
pub(crate) struct Turn<'a> {
    pub(crate) head: &'a Head,
    pub(crate) now: Now,
    pub(crate) shared: &'a KafkaShared,
    pub(crate) sessions: &'a mut FetchSessions,
    /// Where the client is.
    pub(crate) peer: &'a Arc<str>,
    /// How long the connection is not read after this, milliseconds.
    pub(crate) wait_ms: &'a Cell<u64>,
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

    /// Counts what the client has asked for, and gives the wait to tell it, milliseconds.
    pub(crate) fn charge(&self, limit: Limit, bytes: usize) -> i32 {
        let catalog = self.catalog();
        let who = (ANONYMOUS, self.head.client_id());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let meters = &self.shared.meters;
        let wait = meters.charge(&catalog.quotas, limit, who, bytes, self.now.elapsed);
        self.wait_ms.set(self.wait_ms.get().max(wait));
        int32(wait)
    }

    /// What the client may ask for at once, if it has a limit.
    pub(crate) fn burst(&self, limit: Limit) -> Option<u64> {
        let catalog = self.catalog();
        let found = catalog.quotas.find(limit, ANONYMOUS, self.head.client_id());
        found.map(|(most, _)| burst(most))
    }

    /// Finishes with `body` as the answer.
    ///
    /// # Errors
    ///
    /// It cannot be encoded in the version that was asked for.
    pub(crate) fn answer<T: Encodable + 'static>(&self, body: &T) -> Result<Step, Hangup> {
        let figures = &self.shared.figures;
        let known = codes::tell(body, |code| figures.told(code));
        debug_assert!(
            known,
            "codec/codes.rs does not know answers to {:?}",
            self.head.key
        );
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
        ApiKey::OffsetDelete => offset_delete::start(decode(head, body)?, turn),
        ApiKey::DescribeConfigs => describe_configs::start(decode(head, body)?, turn),
        ApiKey::AlterConfigs => alter_configs::start(decode(head, body)?, turn),
        ApiKey::IncrementalAlterConfigs => {
            alter_configs::start_incremental(decode(head, body)?, turn)
        }
        ApiKey::CreatePartitions => create_partitions::start(decode(head, body)?, turn),
        ApiKey::ListConfigResources => list_config_resources::start(&decode(head, body)?, turn),
        ApiKey::DescribeTopicPartitions => {
            describe_topic_partitions::start(&decode(head, body)?, turn)
        }
        ApiKey::DescribeLogDirs => Ok(describe_log_dirs::start(decode(head, body)?, turn)),
        ApiKey::DescribeProducers => describe_producers::start(decode(head, body)?, turn),
        ApiKey::ElectLeaders => elect_leaders::start(decode(head, body)?, turn),
        ApiKey::AlterPartitionReassignments => reassignments::alter(decode(head, body)?, turn),
        ApiKey::ListPartitionReassignments => reassignments::list(
            &decode::<ListPartitionReassignmentsRequest>(head, body)?,
            turn,
        ),
        ApiKey::DescribeClientQuotas => client_quotas::describe(&decode(head, body)?, turn),
        ApiKey::AlterClientQuotas => client_quotas::alter(decode(head, body)?, turn),
        ApiKey::DescribeUserScramCredentials => describe_scram::start(decode(head, body)?, turn),
        ApiKey::DescribeCluster => describe_cluster::start(&decode(head, body)?, turn),
        key => Err(Hangup {
            why: format!("api key {key:?} is not taken"),
        }),
    }
}

/// Asks about a long list in several requests, so that none holds up the broker for long.
pub(crate) fn in_pieces<T>(list: Vec<T>, request: impl Fn(Vec<T>) -> Request) -> Vec<Request> {
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

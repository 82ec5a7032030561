//! What consumers read, and old offsets of what they read no longer.
//!
//! The offsets of an empty group expire by themselves. A living one may stop reading a topic, and keeps
//! what it had committed there until somebody looks who understands its members' metadata (KIP-211): a
//! group cannot. Nothing expires while that is not known.

use std::collections::BTreeSet;

use mulgil_broker::group::{
    Command, Effect, GroupName, GroupPicture, GroupReply, GroupRequest, State, Subscribed,
};
use mulgil_broker::meta::catalog::{Catalog, CatalogReader};
use mulgil_broker::request::{Reply, Request};
use mulgil_record::ids::TopicId;

use crate::codec::subscription::topics_of;
use crate::from_wire::topic_name;

/// The kind of group whose metadata says what it reads.
const CONSUMERS: &str = "consumer";

/// Whether this is a group whose members say what they read.
pub(crate) fn says_what_it_reads(picture: &GroupPicture) -> bool {
    picture.protocol_type.as_deref() == Some(CONSUMERS)
}

/// The topics that the members of a group read, of those that there are; none if one of the members
/// does not say it.
pub(crate) fn topics_read(picture: &GroupPicture, catalog: &Catalog) -> Option<BTreeSet<TopicId>> {
    let protocol = picture.protocol.as_deref();
    let mut names = BTreeSet::new();
    for (member, _) in &picture.members {
        names.extend(topics_of(&member.metadata(protocol?))?);
    }
    let topics = names.iter().filter_map(|name| {
        let topic = catalog.topic(&topic_name(name))?;
        Some(topic.id)
    });
    Some(topics.collect())
}

/// Looks over all groups once: offsets that have had their time go, of topics that the members of a
/// stable group do not read. Called from time to time; `ask` reaches the broker.
///
/// Every visit to the lane is short: a group that has many offsets is asked several times. One that
/// changes meanwhile is left for the next look. `None`: the broker stops.
pub async fn expire_unread(
    ask: impl AsyncFn(Request) -> Option<Reply>,
    catalog: &dyn CatalogReader,
) -> Option<()> {
    let list = Request::Group(GroupRequest::List);
    let Reply::Group(GroupReply::Listed(lines)) = ask(list).await? else {
        return None;
    };
    for line in lines {
        let consumers = line.protocol_type.as_deref() == Some(CONSUMERS);
        if consumers && line.state == State::Stable {
            expire_in(&ask, catalog, line.group).await?;
        }
    }
    Some(())
}

async fn expire_in(
    ask: &impl AsyncFn(Request) -> Option<Reply>,
    catalog: &dyn CatalogReader,
    group: GroupName,
) -> Option<()> {
    let describe = GroupRequest::Describe {
        group: GroupName::clone(&group),
    };
    let described = ask(Request::Group(describe)).await?;
    let Reply::Group(GroupReply::Described(Some(picture))) = described else {
        return Some(());
    };
    let topics = topics_read(&picture, &catalog.catalog());
    let Some(topics) = topics.filter(|_| says_what_it_reads(&picture)) else {
        return Some(());
    };
    let mut more = true;
    while more {
        let command = Command::ExpireUnread(Subscribed {
            generation: picture.generation,
            topics: topics.iter().copied().collect(),
        });
        let group = GroupName::clone(&group);
        let reply = ask(Request::Group(GroupRequest::Command { group, command })).await?;
        // Turned down, it is another group than the one that was seen.
        more = matches!(
            reply,
            Reply::Group(GroupReply::Done(Effect::UnreadExpired { more: true }))
        );
    }
    Some(())
}

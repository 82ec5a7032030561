//! Consumer groups for the admin API: who is in them, how far they are, and going on elsewhere.

use std::sync::Arc;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    GroupDetail, GroupList, GroupMember, GroupOffset, GroupSummary, OffsetReset, OffsetsReset,
    Place, ResetOffsets, TopicDetail, TrimTopic,
};
use mulgil_admin::problem::Refusal;
use mulgil_broker::group::{
    Command, CommitOffsets, Committed, Effect, Generation, GroupName, GroupPicture, GroupRefusal,
    GroupReply, GroupRequest, OffsetEntry, OffsetKey, State,
};
use mulgil_broker::request::{Reply, Request, Seek, Trim, TrimRefusal};
use mulgil_meta::schema::{DEFAULT_VHOST, Topic};
use mulgil_record::ids::{Offset, PartitionId};

use super::LocalBackend;
use super::refusals::{stopping, unexpected};

/// The generation of who takes no part in a group.
const NO_GENERATION: Generation = Generation(-1);

/// An offset that is to be set anew.
struct Move {
    key: OffsetKey,
    shown: OffsetReset,
}

impl LocalBackend {
    async fn ask_group(&self, request: GroupRequest) -> Result<GroupReply, Refusal> {
        let Reply::Group(reply) = self.ask(Request::Group(request)).await? else {
            return Err(unexpected());
        };
        match reply {
            GroupReply::Refused(why) => Err(group_refusal(&why)),
            GroupReply::Stopping => Err(stopping()),
            GroupReply::DiskFull => Err(Refusal::new(Code::DiskFull, "the disk is full")),
            GroupReply::Done(_)
            | GroupReply::Offsets(_)
            | GroupReply::Described(_)
            | GroupReply::Listed(_) => Ok(reply),
        }
    }

    pub(super) async fn groups(&self) -> Result<GroupList, Refusal> {
        let GroupReply::Listed(lines) = self.ask_group(GroupRequest::List).await? else {
            return Err(unexpected());
        };
        let groups = lines.into_iter().map(|line| GroupSummary {
            name: line.group.to_string(),
            state: state(line.state).to_owned(),
            protocol_type: line.protocol_type.map(|kind| kind.to_string()),
        });
        let groups = groups.collect();
        Ok(GroupList { groups })
    }

    async fn picture(&self, name: &str) -> Result<Box<GroupPicture>, Refusal> {
        let group = Arc::from(name);
        let described = self.ask_group(GroupRequest::Describe { group }).await?;
        let GroupReply::Described(picture) = described else {
            return Err(unexpected());
        };
        picture.ok_or_else(|| Refusal::new(Code::GroupUnknown, format!("group \"{name}\"")))
    }

    async fn committed(&self, name: &str) -> Result<Vec<(OffsetKey, Committed)>, Refusal> {
        let group = Arc::from(name);
        let keys = None;
        let GroupReply::Offsets(offsets) = self
            .ask_group(GroupRequest::Offsets { group, keys })
            .await?
        else {
            return Err(unexpected());
        };
        Ok(offsets)
    }

    pub(super) async fn group(&self, name: &str) -> Result<GroupDetail, Refusal> {
        let picture = self.picture(name).await?;
        let catalog = self.broker.catalog();
        let mut offsets = Vec::new();
        for (key, committed) in self.committed(name).await? {
            let topic = catalog.topic_by_id(key.topic);
            let found = topic.and_then(|topic| Some((topic, index_of(topic, key.partition)?)));
            let Some((topic, (partition, id))) = found else {
                continue;
            };
            let figures = self.broker.partition_figures(id).unwrap_or_default();
            let (start, end) = (figures.start.0, figures.high_watermark.0);
            let lag = end - committed.offset.0.clamp(start, end.max(start));
            offsets.push(GroupOffset {
                topic: topic.name.name.to_string(),
                partition,
                committed: committed.offset.0,
                start,
                end,
                lag: u64::try_from(lag).unwrap_or(0),
            });
        }
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let members = picture.members.iter().map(|(member, _)| GroupMember {
            id: member.id.0.to_string(),
            instance: member.instance.as_ref().map(|i| i.0.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
        });
        Ok(GroupDetail {
            summary: GroupSummary {
                name: name.to_owned(),
                state: state(picture.state).to_owned(),
                protocol_type: picture.protocol_type.map(|kind| kind.to_string()),
            },
            protocol: picture.protocol.map(|protocol| protocol.to_string()),
            members: members.collect(),
            offsets,
        })
    }

    /// Sets offsets anew. A group with members refuses it: they would not notice, and commit theirs.
    pub(super) async fn reset(
        &self,
        name: &str,
        reset: ResetOffsets,
    ) -> Result<OffsetsReset, Refusal> {
        let committed = self.committed(name).await?;
        if reset.topics.is_empty() || self.has_members(name).await? {
            let picture = self.picture(name).await?;
            if !picture.members.is_empty() {
                let count = picture.members.len();
                let detail = format!("group \"{name}\" has {count} members");
                return Err(Refusal::new(Code::GroupNotEmpty, detail));
            }
        }
        let moves = self.moves(&committed, &reset).await?;
        if !reset.dry_run && !moves.is_empty() {
            self.commit(name, &moves).await?;
        }
        let offsets = moves.into_iter().map(|one| one.shown).collect();
        Ok(OffsetsReset { offsets })
    }

    async fn has_members(&self, name: &str) -> Result<bool, Refusal> {
        match self.picture(name).await {
            Ok(picture) => Ok(!picture.members.is_empty()),
            // Offsets of a group that nobody has been in yet can be set too.
            Err(refusal) if refusal.code == Code::GroupUnknown => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    async fn moves(
        &self,
        committed: &[(OffsetKey, Committed)],
        reset: &ResetOffsets,
    ) -> Result<Vec<Move>, Refusal> {
        let catalog = self.broker.catalog();
        let mut topics: Vec<Arc<Topic>> = Vec::new();
        for name in &reset.topics {
            topics.push(self.topic(name)?);
        }
        let named = !topics.is_empty();
        if !named {
            let own = catalog.topics.values();
            topics.extend(own.filter(|t| &*t.name.vhost == DEFAULT_VHOST).cloned());
        }
        let mut moves = Vec::new();
        for topic in topics {
            for (index, id) in (0..).zip(&topic.partitions) {
                let partition = i32::try_from(index).unwrap_or(i32::MAX);
                let key = OffsetKey {
                    topic: topic.id,
                    partition,
                };
                let from = committed.iter().find(|(k, _)| *k == key);
                let from = from.map(|(_, committed)| committed.offset.0);
                if from.is_none() && !named {
                    continue;
                }
                let to = self.place(*id, from, reset.to).await?;
                let shown = OffsetReset {
                    topic: topic.name.name.to_string(),
                    partition: index,
                    from,
                    to,
                };
                moves.push(Move { key, shown });
            }
        }
        Ok(moves)
    }

    /// The offset that a place means in a partition: never outside of what is there.
    pub(super) async fn place(
        &self,
        id: PartitionId,
        from: Option<i64>,
        place: Place,
    ) -> Result<i64, Refusal> {
        let start = self
            .find(id, Seek::Earliest)
            .await?
            .unwrap_or(Offset::ZERO)
            .0;
        let end = self.find(id, Seek::Latest).await?.unwrap_or(Offset::ZERO).0;
        let wanted = match place {
            Place::Earliest => start,
            Place::Latest => end,
            Place::Offset(offset) => offset,
            Place::Shift(by) => from.unwrap_or(start).saturating_add(by),
            // Nothing is so young: what comes next is.
            Place::Time(time) => self
                .find(id, Seek::Time(time.0))
                .await?
                .map_or(end, |o| o.0),
        };
        Ok(wanted.clamp(start, end.max(start)))
    }

    async fn commit(&self, name: &str, moves: &[Move]) -> Result<(), Refusal> {
        let entries = moves.iter().map(|one| OffsetEntry {
            key: one.key,
            offset: Offset(one.shown.to),
            leader_epoch: None,
            metadata: Box::from(""),
            retention_ms: None,
        });
        let commit = CommitOffsets {
            member: None,
            instance: None,
            generation: NO_GENERATION,
            entries: entries.collect(),
        };
        let command = Command::CommitOffsets(Box::new(commit));
        let group: GroupName = Arc::from(name);
        let done = self
            .ask_group(GroupRequest::Command { group, command })
            .await?;
        let GroupReply::Done(Effect::Committed(outcomes)) = done else {
            return Err(unexpected());
        };
        let (all, done) = (
            outcomes.len(),
            outcomes.iter().filter(|o| o.is_ok()).count(),
        );
        match outcomes.into_iter().find_map(Result::err) {
            // Where there is no room for more, those that were there before are set all the same.
            Some(why) if done > 0 => {
                let refusal = group_refusal(&why);
                let detail = format!("{} ({done} of {all} offsets are set)", refusal.detail);
                Err(Refusal::new(refusal.code, detail))
            }
            Some(why) => Err(group_refusal(&why)),
            None => Ok(()),
        }
    }

    pub(super) async fn drop_group(&self, name: &str) -> Result<(), Refusal> {
        let (group, command) = (Arc::from(name), Command::Delete);
        self.ask_group(GroupRequest::Command { group, command })
            .await
            .map(drop)
    }

    pub(super) async fn trim(&self, name: &str, trim: TrimTopic) -> Result<TopicDetail, Refusal> {
        let topic = self.topic(name)?;
        let partitions: Vec<PartitionId> = match trim.partition {
            None => topic.partitions.clone(),
            Some(index) => {
                let id = topic.partitions.get(index as usize).copied();
                let detail = || format!("partition {index} of topic \"{name}\"");
                vec![id.ok_or_else(|| Refusal::new(Code::PartitionUnknown, detail()))?]
            }
        };
        let to = trim.to.map(Offset);
        let trims = partitions
            .into_iter()
            .map(|partition| Trim { partition, to });
        let request = Request::Trim(trims.collect());
        let Reply::Trim(outcomes) = self.ask(request).await? else {
            return Err(unexpected());
        };
        for outcome in outcomes {
            outcome.map_err(|why| {
                let code = match why {
                    TrimRefusal::UnknownPartition(_) => Code::PartitionUnknown,
                    TrimRefusal::KeepsNewest(_) => Code::CompactedOnly,
                    TrimRefusal::Partition(_) => Code::OffsetOutOfRange,
                };
                Refusal::new(code, format!("topic \"{name}\": {why}"))
            })?;
        }
        Ok(self.detail(&*self.topic(name)?))
    }
}

fn index_of(topic: &Topic, partition: i32) -> Option<(u32, PartitionId)> {
    let index = u32::try_from(partition).ok()?;
    Some((index, *topic.partitions.get(index as usize)?))
}

const fn state(state: State) -> &'static str {
    match state {
        State::Empty => "empty",
        State::PreparingRebalance | State::CompletingRebalance => "rebalancing",
        State::Stable => "stable",
        State::Dead => "dead",
    }
}

fn group_refusal(refusal: &GroupRefusal) -> Refusal {
    let code = match refusal {
        GroupRefusal::NoSuchGroup => Code::GroupUnknown,
        // A commit of somebody who is no member: there are some.
        GroupRefusal::NotEmpty { .. }
        | GroupRefusal::UnknownMember
        | GroupRefusal::IllegalGeneration { .. }
        | GroupRefusal::RebalanceInProgress => Code::GroupNotEmpty,
        GroupRefusal::TooManyGroups { .. } | GroupRefusal::TooMuchHeld { .. } => Code::GroupsFull,
        GroupRefusal::FencedInstance { .. }
        | GroupRefusal::InconsistentProtocol
        | GroupRefusal::SessionTimeout { .. }
        | GroupRefusal::Full { .. }
        | GroupRefusal::Superseded { .. }
        | GroupRefusal::MetadataTooLarge { .. }
        | GroupRefusal::NameTooLong { .. }
        | GroupRefusal::TooLarge { .. }
        | GroupRefusal::TopicInUse => Code::Internal,
    };
    Refusal::new(code, refusal.to_string())
}

//! A member of a consumer group: joins, assigns if it leads, gives signs of life, commits, leaves,
//! vanishes without a word, and comes back, with the name of its instance if it is static.

use std::collections::BTreeMap;

use bytes::Bytes;
use mulgil_broker::group::{
    Claim, Command, CommitOffsets, Effect, Generation, GroupName, GroupRefusal, GroupReply,
    GroupRequest, InstanceId, Join, Joined, JoinedMember, Leaving, MemberId, Offered, OffsetEntry,
    OffsetKey, Sync, Waiter,
};
use mulgil_broker::request::{Reply, Request, Ticket};
use mulgil_record::ids::Offset;

use super::{Scene, odd};
use crate::ledger::Commit;
use crate::violation::Kept;

/// Requests that are under way at once.
const IN_FLIGHT: usize = 4;

/// How far a member is.
#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It has to join.
    #[default]
    Out,
    /// It waits for the next generation.
    Joining(Ticket),
    /// It is in one, and has to fetch its share.
    In,
    /// It waits for its share.
    Syncing(Ticket),
    /// It has a share.
    Working,
}

/// What was asked.
#[derive(Clone, Debug)]
enum Open {
    Join,
    Sync(Claim),
    Beat,
    Commit(Commit, Vec<OffsetKey>),
    Fetch(u64, Vec<OffsetKey>),
    Leave,
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    number: usize,
    group: GroupName,
    instance: Option<InstanceId>,
    session_timeout_ms: u32,
    rebalance_timeout_ms: u32,
    stage: Stage,
    member: Option<MemberId>,
    generation: Generation,
    /// For the leader: whom it assigns to.
    members: Vec<JoinedMember>,
    /// Who it was in the generation before.
    before: Option<Claim>,
    open: BTreeMap<Ticket, Open>,
}

impl Member {
    /// Client number `number`, a member of one of the groups.
    pub fn new(number: usize, dice: &mut mulgil_log::disk::cut::Dice) -> Self {
        let mut pick = |from: &[u32]| {
            let at = usize::try_from(dice.below(from.len() as u64)).unwrap_or(0);
            from.get(at).copied().unwrap_or_default()
        };
        Self {
            number,
            group: group_name(pick(&[0, 0, 1])),
            // Two clients may be given the same instance: one of them is fenced then.
            instance: match pick(&[0, 0, 1, 2]) {
                0 => None,
                instance => Some(InstanceId::from(format!("i{instance}").as_str())),
            },
            session_timeout_ms: pick(&[100, 1_000, 6_000]),
            rebalance_timeout_ms: pick(&[100, 400, 1_000]),
            stage: Stage::Out,
            member: None,
            generation: Generation::default(),
            members: Vec::new(),
            before: None,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.len() >= IN_FLIGHT {
            return None;
        }
        let dice = scene.below(100);
        let (open, command) = match (&self.stage, dice) {
            (_, 0..=2) => return self.vanish(scene),
            (_, 3..=9) => return self.fetch(ticket, scene),
            (Stage::Out, 10..=89) => self.join(ticket, scene),
            (Stage::In, 10..=79) => self.sync(ticket, scene)?,
            (Stage::Working, 10..=44) => (Open::Beat, Command::Heartbeat(self.claim()?)),
            (Stage::Working, 45..=84) => self.commit(false, scene)?,
            (Stage::Working, 85..=88) => self.join(ticket, scene),
            (Stage::Working, 89..=91) => self.sync(ticket, scene)?,
            (Stage::Working, 92..=94) => self.leave()?,
            // Whoever waits gives signs of life, and somebody believes in what was before.
            (Stage::Joining(_) | Stage::Syncing(_) | Stage::In, 80..=94) => {
                (Open::Beat, Command::Heartbeat(self.claim()?))
            }
            (_, 95..) => self.commit(true, scene)?,
            _ => return None,
        };
        let number = self.number;
        scene
            .trace
            .line(|| format!("member {number} of {} asks {command:?}", self.group));
        self.open.insert(ticket, open);
        let group = self.group.clone();
        Some(Request::Group(GroupRequest::Command { group, command }))
    }

    fn claim(&self) -> Option<Claim> {
        Some(Claim {
            member: self.member.clone()?,
            instance: self.instance.clone(),
            generation: self.generation,
        })
    }

    fn join(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> (Open, Command) {
        let who = match &self.instance {
            Some(instance) => instance.to_string(),
            None => format!("m{}", self.number),
        };
        let metadata = Bytes::from(vec![u8::from(scene.below(8) == 0)]);
        let offer = |name: &str| Offered {
            name: name.into(),
            metadata: metadata.clone(),
        };
        let more = scene.below(3) == 0;
        let offered = ["range", "sticky"].iter().take(1 + usize::from(more));
        let known = scene.below(2) == 0;
        let join = Join {
            waiter: Waiter(0),
            member: self.member.clone(),
            new_member: MemberId::from(format!("{who}#{}", ticket.0).as_str()),
            instance: self.instance.clone(),
            client_id: "sim".into(),
            client_host: "here".into(),
            protocol_type: "consumer".into(),
            offered: offered.map(|name| offer(name)).collect(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            require_known_member: known,
            can_skip_assignment: known,
        };
        self.before = self.claim();
        self.stage = Stage::Joining(ticket);
        (Open::Join, Command::Join(Box::new(join)))
    }

    fn sync(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<(Open, Command)> {
        let claim = self.claim()?;
        let mut assignments = Vec::new();
        if !self.members.is_empty() {
            let names = self.members.iter().map(|m| m.member.clone());
            let deal = scene.ledger.groups.deals(claim.generation, names.collect());
            let all = self.members.iter().map(|m| {
                let share = Bytes::from(format!("{deal} {}", m.member));
                (m.member.clone(), share)
            });
            assignments.extend(all);
        }
        self.stage = Stage::Syncing(ticket);
        let sync = Sync {
            waiter: Waiter(0),
            claim: claim.clone(),
            protocol_type: Some("consumer".into()),
            protocol: None,
            assignments,
        };
        Some((Open::Sync(claim), Command::Sync(Box::new(sync))))
    }

    /// Commits as what it is, or as what it was before.
    fn commit(&self, as_before: bool, scene: &mut Scene<'_>) -> Option<(Open, Command)> {
        let claim = if as_before {
            self.before.clone()
        } else {
            self.claim()
        };
        let claim = claim?;
        let entries = roll_entries(scene)?;
        let values: Vec<_> = entries.iter().map(|e| (e.key, e.offset.0)).collect();
        let who = Some((&claim.member, claim.generation));
        let asked = scene.ledger.groups.commits(&self.group, who, &values);
        let keys = entries.iter().map(|e| e.key).collect();
        let commit = CommitOffsets {
            member: Some(claim.member),
            instance: claim.instance,
            generation: claim.generation,
            entries,
        };
        Some((
            Open::Commit(asked, keys),
            Command::CommitOffsets(Box::new(commit)),
        ))
    }

    fn leave(&mut self) -> Option<(Open, Command)> {
        let leaving = Leaving {
            member: Some(self.member.clone()?),
            instance: self.instance.clone(),
        };
        self.before = self.claim();
        self.forget();
        Some((Open::Leave, Command::Leave(vec![leaving])))
    }

    fn fetch(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        let keys: Vec<_> = roll_entries(scene)?.into_iter().map(|e| e.key).collect();
        let asked = scene.ledger.groups.next();
        self.open.insert(ticket, Open::Fetch(asked, keys.clone()));
        let group = self.group.clone();
        let keys = Some(keys);
        Some(Request::Group(GroupRequest::Offsets { group, keys }))
    }

    /// Its process is gone without a word, and another takes its place. What it had asked is answered
    /// to nobody.
    fn vanish(&mut self, scene: &mut Scene<'_>) -> Option<Request> {
        if self.stage != Stage::Out {
            let number = self.number;
            scene.trace.line(|| format!("member {number} vanishes"));
        }
        self.before = self.claim();
        self.forget();
        None
    }

    fn forget(&mut self) {
        self.stage = Stage::Out;
        self.member = None;
        self.members.clear();
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        let Reply::Group(reply) = reply else {
            return Err(odd(&reply));
        };
        let number = self.number;
        scene
            .trace
            .line(|| format!("member {number} is told {reply:?}"));
        let Some(open) = self.open.remove(&ticket) else {
            return Err(odd(&Reply::Group(reply)));
        };
        let groups = &mut scene.ledger.groups;
        match (open, reply) {
            (Open::Join, GroupReply::Done(Effect::Joined(joined))) => {
                groups.told_joined(&self.group, self.instance.as_ref(), &joined)?;
                self.joined(ticket, *joined);
                Ok(())
            }
            (Open::Join, GroupReply::Done(Effect::Named { member, .. })) => {
                if self.stage == Stage::Joining(ticket) {
                    self.stage = Stage::Out;
                    self.member = Some(member);
                }
                Ok(())
            }
            (Open::Sync(claim), GroupReply::Done(Effect::Synced { assignment, .. })) => {
                let of = (&claim.member, claim.generation);
                groups.told_share(&self.group, of, &assignment)?;
                if self.stage == Stage::Syncing(ticket) {
                    self.stage = Stage::Working;
                }
                Ok(())
            }
            (Open::Beat, GroupReply::Done(Effect::Alive { rebalancing })) => {
                if rebalancing && self.stage == Stage::Working {
                    self.stage = Stage::Out;
                }
                Ok(())
            }
            (Open::Commit(asked, keys), GroupReply::Done(Effect::Committed(results))) => {
                for (key, result) in keys.iter().zip(results) {
                    groups.committed(&self.group, asked, &[*key], result.is_ok())?;
                }
                Ok(())
            }
            // Commits are taken from the reserve, so that consumers can work a full disk free.
            (Open::Commit(..), GroupReply::DiskFull) => {
                Err(odd(&Reply::Group(GroupReply::DiskFull)))
            }
            (Open::Commit(asked, keys), refused) => {
                groups.committed(&self.group, asked, &keys, false)?;
                self.refused(None, refused)
            }
            (Open::Fetch(asked, keys), GroupReply::Offsets(found)) => {
                groups.told_offsets(&self.group, asked, Some(&keys), &found)
            }
            (Open::Leave, _) => Ok(()),
            (Open::Join | Open::Sync(_), refused) => self.refused(Some(ticket), refused),
            (Open::Beat, refused) => self.refused(None, refused),
            (Open::Fetch(..), reply) => Err(odd(&Reply::Group(reply))),
        }
    }

    fn joined(&mut self, ticket: Ticket, joined: Joined) {
        if self.stage != Stage::Joining(ticket) {
            return;
        }
        self.stage = Stage::In;
        self.generation = joined.generation;
        self.members = joined.members;
        if joined.skip_assignment {
            self.members.clear();
        }
        self.member = Some(joined.member);
    }

    /// Draws the conclusions that clients draw. `waited`: the join or sync that this answers.
    fn refused(&mut self, waited: Option<Ticket>, reply: GroupReply) -> Kept {
        let mine = match (&self.stage, waited) {
            (Stage::Joining(ticket) | Stage::Syncing(ticket), Some(waited)) => *ticket == waited,
            (Stage::Joining(_) | Stage::Syncing(_) | Stage::Out, None) => false,
            (Stage::In | Stage::Working, None) => true,
            (Stage::Out | Stage::In | Stage::Working, Some(_)) => false,
        };
        if !mine {
            return Ok(());
        }
        match &reply {
            GroupReply::Refused(
                GroupRefusal::UnknownMember
                | GroupRefusal::NoSuchGroup
                | GroupRefusal::FencedInstance { .. }
                | GroupRefusal::Full { .. },
            ) => {
                self.before = self.claim();
                self.forget();
            }
            GroupReply::Refused(_) | GroupReply::Stopping | GroupReply::DiskFull => {
                self.stage = Stage::Out;
            }
            GroupReply::Done(_)
            | GroupReply::Offsets(_)
            | GroupReply::Described(_)
            | GroupReply::Listed(_) => return Err(odd(&Reply::Group(reply))),
        }
        Ok(())
    }

    pub(super) fn disconnected(&mut self) {
        self.open.clear();
        match self.stage {
            Stage::Joining(_) => self.stage = Stage::Out,
            Stage::Syncing(_) => self.stage = Stage::In,
            Stage::Out | Stage::In | Stage::Working => {}
        }
    }

    pub(super) fn waits(&self) -> usize {
        self.open.len()
    }
}

/// The name of a group.
pub(super) fn group_name(number: u32) -> GroupName {
    GroupName::from(format!("g{number}"))
}

/// Offsets to commit for some partitions of any topics. No offset is committed twice.
pub(super) fn roll_entries(scene: &mut Scene<'_>) -> Option<Vec<OffsetEntry>> {
    let topics: Vec<_> = scene.catalog.by_id.values().cloned().collect();
    let mut entries: Vec<OffsetEntry> = Vec::new();
    for _ in 0..=scene.below(3) {
        let topic = scene.one_of(&topics)?.clone();
        let partition = scene.below(topic.partitions.len().max(1));
        let key = OffsetKey {
            topic: topic.id,
            partition: i32::try_from(partition).unwrap_or(0),
        };
        if entries.iter().any(|entry| entry.key == key) {
            continue;
        }
        let offset = i64::try_from(scene.ledger.groups.next()).unwrap_or(0);
        entries.push(OffsetEntry {
            key,
            offset: Offset(offset),
            leader_epoch: None,
            metadata: "sim".into(),
            retention_ms: None,
        });
    }
    Some(entries)
}

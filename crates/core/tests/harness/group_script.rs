//! Scripts of a group. Clients are named in the script; each remembers what it was told last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use mulgil_core::group::wire;
use mulgil_core::group::{
    Change, Claim, Command, CommitOffsets, DeleteOffsets, Effect, Generation, Group, GroupSettings,
    InstanceId, Join, Leaving, MemberId, Offered, OffsetEntry, OffsetKey, Subscribed, Sync, Waiter,
};
use mulgil_core::machine::{Decision, Elapsed, Keep, Machine as _, Now, WallTime};
use mulgil_record::ids::{Offset, TopicId};

use crate::group_print as print;
use crate::law::Twin;
use crate::script::{Line, millis, time};

#[derive(Default)]
struct Client {
    member: Option<MemberId>,
    generation: Generation,
}

/// A group under a script.
pub(crate) struct GroupScript {
    twin: Twin<Group>,
    settings: GroupSettings,
    clients: BTreeMap<String, Client>,
    waiting: BTreeMap<Waiter, String>,
    names: u64,
    elapsed: u64,
    wall: u64,
}

/// A group that does not exist yet.
pub(crate) fn new() -> GroupScript {
    let settings = GroupSettings::default();
    GroupScript {
        twin: Twin::new(Group::new(settings), through_the_log),
        settings,
        clients: BTreeMap::new(),
        waiting: BTreeMap::new(),
        names: 0,
        elapsed: 0,
        wall: 0,
    }
}

fn through_the_log(change: &Change) -> Change {
    let Change::Durable(change) = change else {
        return change.clone();
    };
    let mut bytes = Vec::new();
    wire::encode(change, &mut bytes);
    Change::Durable(wire::decode(wire::VERSION, &bytes).expect("what was just written"))
}

/// Runs one line.
pub(crate) fn run(script: &mut GroupScript, line: &Line<'_>, out: &mut String) {
    let who = line.word();
    let command = match line.verb {
        "set" => return script.set(line),
        "tick" => return script.tick(millis(who), out),
        "restart" => return script.restart(out),
        "show" => return script.say(out, &print::group(&script.twin.live)),
        "offsets" => {
            let offsets = script.twin.live.offsets();
            let offsets = print::list(offsets.map(|(k, c)| print::offset(*k, c)));
            return script.say(out, &offsets);
        }
        "join" => Command::Join(Box::new(script.join(who, line))),
        "sync" => Command::Sync(Box::new(script.sync(who, line))),
        "heartbeat" => Command::Heartbeat(script.claim(who, line)),
        "leave" => Command::Leave(line.words.iter().map(|w| script.leaving(w, line)).collect()),
        "commit" => Command::CommitOffsets(Box::new(script.commit(who, line))),
        "delete-offsets" => Command::DeleteOffsets(script.delete_offsets(line)),
        "forget-topic" => Command::ForgetTopic(TopicId(line.number("topic").expect("topic="))),
        "expire-unread" => Command::ExpireUnread(script.subscribed(line).expect("reads=")),
        "delete" => Command::Delete,
        verb => {
            assert!(verb.is_empty(), "no such command: {verb}");
            return;
        }
    };
    script.decide(command, who, "", out);
}

impl GroupScript {
    fn say(&self, out: &mut String, line: &str) {
        writeln!(out, "{line}").expect("a string");
    }

    fn set(&mut self, line: &Line<'_>) {
        let number = |name: &str| line.get(name).map(millis);
        let to_u32 = |ms: u64| u32::try_from(ms).expect("a short time");
        if let Some(ms) = number("initial-delay") {
            self.settings.initial_delay_ms = to_u32(ms);
        }
        if let Some(max) = line.number("members-max") {
            self.settings.members_max = max;
        }
        self.twin = Twin::new(Group::new(self.settings), through_the_log);
    }

    fn member_of(&self, who: &str, line: &Line<'_>) -> Option<MemberId> {
        match line.get("member") {
            Some("none") => None,
            Some(name) => Some(MemberId::from(name)),
            None => self.clients.get(who).and_then(|c| c.member.clone()),
        }
    }

    fn claim(&self, who: &str, line: &Line<'_>) -> Claim {
        let known = self.clients.get(who).map(|c| c.generation);
        let said = line.number("generation").map(Generation);
        Claim {
            member: self
                .member_of(who, line)
                .unwrap_or_else(|| MemberId::from("")),
            instance: line.get("instance").map(InstanceId::from),
            generation: said.or(known).unwrap_or_default(),
        }
    }

    fn wait(&mut self, who: &str) -> Waiter {
        let waiter = Waiter(self.names);
        self.names += 1;
        self.waiting.insert(waiter, who.to_owned());
        waiter
    }

    fn join(&mut self, who: &str, line: &Line<'_>) -> Join {
        let waiter = self.wait(who);
        let offer = |text: &str| {
            let (name, metadata) = text.split_once(':').unwrap_or((text, ""));
            Offered {
                name: name.into(),
                metadata: Bytes::copy_from_slice(metadata.as_bytes()),
            }
        };
        let offered = line.get("offers").unwrap_or("range");
        let session = line.get("session").map_or(45_000, millis);
        let rebalance = line.get("rebalance").map_or(60_000, millis);
        Join {
            waiter,
            member: self.member_of(who, line),
            new_member: MemberId::from(format!("{who}-{}", waiter.0).as_str()),
            instance: line.get("instance").map(InstanceId::from),
            client_id: who.into(),
            client_host: "here".into(),
            protocol_type: line.get("type").unwrap_or("consumer").into(),
            offered: offered.split(',').map(offer).collect(),
            session_timeout_ms: u32::try_from(session).expect("a short time"),
            rebalance_timeout_ms: u32::try_from(rebalance).expect("a short time"),
            require_known_member: line.says("known"),
            can_skip_assignment: !line.says("old"),
        }
    }

    fn sync(&mut self, who: &str, line: &Line<'_>) -> Sync {
        let waiter = self.wait(who);
        let give = |text: &str| {
            let (to, share) = text.split_once(':').expect("client:share");
            let member = self.clients.get(to).and_then(|c| c.member.clone());
            let member = member.unwrap_or_else(|| MemberId::from(to));
            (member, Bytes::copy_from_slice(share.as_bytes()))
        };
        let gives = line.get("gives").into_iter().flat_map(|g| g.split(','));
        Sync {
            waiter,
            claim: self.claim(who, line),
            protocol_type: line.get("type").map(Into::into),
            protocol: line.get("protocol").map(Into::into),
            assignments: gives.map(give).collect(),
        }
    }

    fn leaving(&self, who: &str, line: &Line<'_>) -> Leaving {
        Leaving {
            member: self.member_of(who, line),
            instance: line.get("instance").map(InstanceId::from),
        }
    }

    fn commit(&self, who: &str, line: &Line<'_>) -> CommitOffsets {
        let claim = self.claim(who, line);
        let simple = who == "simple";
        let key = key(line.get("at").expect("at="));
        let metadata = "x".repeat(line.number("note").unwrap_or(0));
        let entry = OffsetEntry {
            key,
            offset: Offset(line.number("offset").expect("offset=")),
            leader_epoch: None,
            metadata: metadata.into_boxed_str(),
            retention_ms: line.get("retention").map(millis),
        };
        CommitOffsets {
            member: (!simple).then_some(claim.member),
            instance: claim.instance,
            generation: if simple {
                Generation::NONE
            } else {
                claim.generation
            },
            entries: vec![entry],
        }
    }

    fn subscribed(&self, line: &Line<'_>) -> Option<Subscribed> {
        let topics = line.get("reads")?.split(',');
        let said = line.number("generation").map(Generation);
        Some(Subscribed {
            generation: said.unwrap_or_else(|| self.twin.live.generation()),
            topics: topics
                .map(|t| TopicId(t.parse().expect("a topic")))
                .collect(),
        })
    }

    fn delete_offsets(&self, line: &Line<'_>) -> DeleteOffsets {
        DeleteOffsets {
            keys: line.words.iter().map(|w| key(w)).collect(),
            subscribed: self.subscribed(line),
        }
    }

    fn now(&self) -> Now {
        Now {
            elapsed: Elapsed(self.elapsed),
            wall: WallTime(self.wall),
        }
    }

    fn decide(&mut self, command: Command, who: &str, before: &str, out: &mut String) {
        let parks = matches!(command, Command::Join(_) | Command::Sync(_));
        let waiter = Waiter(self.names.saturating_sub(1));
        match self.twin.step(command, self.now()) {
            Ok(decision) => {
                self.print(&decision, before, out);
                if parks && self.waiting.contains_key(&waiter) {
                    self.say(out, &format!("{who} waits"));
                }
            }
            Err(refusal) => {
                self.waiting.remove(&waiter);
                self.say(out, format!("{who} refused: {refusal}").trim_start());
            }
        }
    }

    fn print(&mut self, decision: &Decision<Change, Effect>, before: &str, out: &mut String) {
        for (keep, change) in &decision.changes {
            let Change::Durable(change) = change else {
                continue;
            };
            let riding = match keep {
                Keep::Riding => " (riding)",
                Keep::Waited | Keep::Volatile => "",
            };
            let line = format!("{before}log {}{riding}", print::durable(change));
            self.say(out, &line);
        }
        for (_, effect) in &decision.effects {
            let waiting = &self.waiting;
            let name = |w: Waiter| waiting.get(&w).cloned().expect("someone waits");
            let line = format!("{before}{}", print::effect(effect, name));
            self.say(out, &line);
            self.tell(effect);
        }
    }

    /// What a client learns from an answer.
    fn tell(&mut self, effect: &Effect) {
        let (waiter, member, generation) = match effect {
            Effect::Joined(j) => (j.waiter, Some(j.member.clone()), Some(j.generation)),
            Effect::Named { waiter, member } => (*waiter, Some(member.clone()), None),
            Effect::Synced { waiter, .. } | Effect::Refused { waiter, .. } => (*waiter, None, None),
            Effect::Alive { .. }
            | Effect::Left(_)
            | Effect::Committed(_)
            | Effect::OffsetsDeleted(_)
            | Effect::UnreadExpired { .. }
            | Effect::Deleted => return,
        };
        let who = self.waiting.remove(&waiter).expect("someone waits");
        let client = self.clients.entry(who).or_default();
        client.member = member.or_else(|| client.member.take());
        client.generation = generation.unwrap_or(client.generation);
    }

    /// Lets time pass, and ticks whenever the group wants it.
    fn tick(&mut self, ms: u64, out: &mut String) {
        let (end, wall_ahead) = (self.elapsed + ms, self.wall - self.elapsed);
        for _ in 0..10_000 {
            let (elapsed, wall) = self.twin.live.deadline();
            let wall = wall.map(|w| w.0.saturating_sub(wall_ahead));
            let due = [elapsed.map(|e| e.0), wall].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.elapsed = self.elapsed.max(due);
            self.wall = self.elapsed + wall_ahead;
            let before = format!("at {}: ", time(self.elapsed));
            self.decide(Command::Tick, "", &before, out);
        }
        (self.elapsed, self.wall) = (end, end + wall_ahead);
    }

    fn restart(&mut self, out: &mut String) {
        let mut bytes = Vec::new();
        wire::encode_checkpoint(&self.twin.live, &mut bytes);
        let read = wire::decode_checkpoint(self.settings, wire::VERSION, &bytes);
        self.twin.restart();
        self.waiting.clear();
        let read = read.expect("a checkpoint");
        assert!(self.twin.replays_to(&read), "the checkpoint differs");
        self.say(out, &print::group(&self.twin.live));
    }
}

fn key(text: &str) -> OffsetKey {
    let (topic, partition) = text.split_once('-').expect("topic-partition");
    OffsetKey {
        topic: TopicId(topic.parse().expect("a topic")),
        partition: partition.parse().expect("a partition"),
    }
}

//! What consumer groups were promised: committed offsets, generations, shares.
//!
//! The lane takes commands in the order in which they are asked, so what may be committed for a
//! partition is a list of events in that order: commits, and whatever gives offsets up. Each is known
//! to have happened, known not to have, or neither. What is found must be one of those that are at or
//! behind the last that is known, and is known from then on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mulgil_broker::group::{
    Committed, Generation, GroupName, InstanceId, Joined, MemberId, OffsetKey,
};
use mulgil_record::ids::TopicId;

use crate::violation::{Kept, Rule, Violation};

/// The offsets of a group that were found, by topic and partition.
pub type OffsetsFound = BTreeMap<OffsetKey, i64>;

/// Something that happened to the committed offset of one partition, or may have.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// When it was asked for, in the order of all that was asked.
    number: u64,
    /// The offset; none if it was given up.
    value: Option<i64>,
    /// When it was asked for, in milliseconds that really passed.
    at_ms: u64,
    /// Since which question it is known to have happened.
    known: Option<u64>,
    /// It is known not to have happened, or to be lost.
    void: bool,
}

/// What was told of one generation. Static members count by their instance, whatever their name.
#[derive(Clone, Debug, Default)]
struct Told {
    leader: Option<String>,
    members: Option<BTreeSet<String>>,
    told: BTreeSet<String>,
    /// Which of the leader's assignments holds.
    deal: Option<u64>,
}

/// What a leader assigned.
#[derive(Clone, Debug)]
struct Deal {
    generation: Generation,
    members: BTreeSet<MemberId>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    keys: BTreeMap<OffsetKey, Vec<Event>>,
    told: BTreeMap<Generation, Told>,
    /// The newest generation of which somebody was told a share.
    settled: Generation,
    /// Who has each instance's place, and who had it before.
    holders: BTreeMap<InstanceId, MemberId>,
    superseded: BTreeSet<MemberId>,
    /// Deletions of it that were asked for, and of which nobody knows what came.
    deletions: BTreeSet<u64>,
}

/// A claim that a commit was made under, as it stood when it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its place in the order of all that was asked.
    pub number: u64,
    /// Whether it must not be taken, because its member is known to be fenced.
    pub fenced: bool,
}

/// Everything that was promised to groups.
#[derive(Debug, Default)]
pub struct Groups {
    asked: u64,
    /// Milliseconds that have really passed, whatever the clocks show.
    passed_ms: u64,
    retention_ms: u64,
    /// Empty groups may go by themselves while the run lasts.
    expiring: bool,
    groups: BTreeMap<GroupName, Model>,
    deals: BTreeMap<u64, Deal>,
}

/// Who a member is, whatever name it goes by at the moment: its names begin with it.
fn who(member: &MemberId) -> String {
    match member.0.split_once('#') {
        Some((instance, _)) if instance.starts_with('i') => instance.to_owned(),
        Some(_) | None => member.0.to_string(),
    }
}

impl Model {
    fn begin_anew(&mut self) {
        self.told.clear();
        self.settled = Generation::default();
        self.holders.clear();
        self.superseded.clear();
        self.deletions.clear();
    }

    fn push(&mut self, key: OffsetKey, event: Event) {
        self.keys.entry(key).or_default().push(event);
    }
}

impl Groups {
    /// What holds for offsets of empty groups in this run.
    pub const fn set_retention(&mut self, retention_ms: u64, expiring: bool) {
        self.retention_ms = retention_ms;
        self.expiring = expiring;
    }

    /// Time passes.
    pub const fn pass(&mut self, ms: u64) {
        self.passed_ms += ms;
    }

    /// The next place in the order of all that is asked.
    pub const fn next(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    const fn event(&self, number: u64, value: Option<i64>) -> Event {
        Event {
            number,
            value,
            at_ms: self.passed_ms,
            known: None,
            void: false,
        }
    }

    fn model(&mut self, group: &GroupName) -> &mut Model {
        self.groups.entry(GroupName::clone(group)).or_default()
    }

    /// Offsets are to be committed. Their values are never asked for twice.
    pub fn commits(
        &mut self,
        group: &GroupName,
        claim: Option<(&MemberId, Generation)>,
        entries: &[(OffsetKey, i64)],
    ) -> Commit {
        let number = self.next();
        let expiring = self.expiring;
        let events = entries
            .iter()
            .map(|(key, value)| (*key, self.event(number, Some(*value))));
        let events: Vec<_> = events.collect();
        let model = self.model(group);
        for (key, event) in events {
            model.push(key, event);
        }
        let is_old = |(member, generation): (&MemberId, Generation)| {
            generation < model.settled || model.superseded.contains(member)
        };
        let fenced = !expiring && model.deletions.is_empty() && claim.is_some_and(is_old);
        Commit { number, fenced }
    }

    /// Offsets are to be given up: these, or all.
    pub fn gives_up(&mut self, group: &GroupName, keys: Option<&[OffsetKey]>) -> u64 {
        let number = self.next();
        let event = self.event(number, None);
        let model = self.model(group);
        let all: Vec<OffsetKey> = match keys {
            Some(keys) => keys.to_vec(),
            None => model.keys.keys().copied().collect(),
        };
        if keys.is_none() {
            model.deletions.insert(number);
        }
        for key in all {
            model.push(key, event);
        }
        number
    }

    /// A topic is to be deleted, and its offsets with it.
    pub fn topic_goes(&mut self, topic: TopicId) -> u64 {
        let number = self.next();
        let event = self.event(number, None);
        for model in self.groups.values_mut() {
            let keys: Vec<_> = model.keys.keys().copied().collect();
            for key in keys.into_iter().filter(|key| key.topic == topic) {
                model.push(key, event);
            }
        }
        number
    }

    /// Everything asked for at `number` has happened, or has not.
    pub fn settle(&mut self, number: u64, done: bool) {
        for model in self.groups.values_mut() {
            let keys: Vec<_> = model.keys.keys().copied().collect();
            Self::settle_in(model, self.asked, number, &keys, done);
        }
    }

    fn settle_in(model: &mut Model, now: u64, number: u64, keys: &[OffsetKey], done: bool) {
        for key in keys {
            let events = model.keys.get_mut(key).into_iter().flatten();
            for event in events.filter(|event| event.number == number) {
                if done {
                    event.known.get_or_insert(now);
                } else {
                    event.void = true;
                }
            }
        }
    }

    /// Some of what a commit asked for has happened, or has not.
    ///
    /// # Errors
    ///
    /// If it must not have.
    pub fn committed(
        &mut self,
        group: &GroupName,
        asked: Commit,
        keys: &[OffsetKey],
        done: bool,
    ) -> Kept {
        if done && asked.fenced {
            let what = format!("group {group} takes a commit of a member that is fenced");
            return Err(Violation::new(Rule::Fenced, what));
        }
        let now = self.asked;
        Self::settle_in(self.model(group), now, asked.number, keys, done);
        Ok(())
    }

    /// A group was deleted, or was not.
    pub fn deleted(&mut self, group: &GroupName, number: u64, done: bool) {
        self.settle(number, done);
        let model = self.model(group);
        model.deletions.remove(&number);
        if done {
            model.begin_anew();
        }
    }

    /// An answer, to what was asked as number `asked`, said what is committed: of `keys`, or all there is.
    ///
    /// # Errors
    ///
    /// If that cannot be.
    pub fn told_offsets(
        &mut self,
        group: &GroupName,
        asked: u64,
        keys: Option<&[OffsetKey]>,
        found: &[(OffsetKey, Committed)],
    ) -> Kept {
        let found: OffsetsFound = found.iter().map(|(k, c)| (*k, c.offset.0)).collect();
        let mut all: BTreeSet<OffsetKey> = found.keys().copied().collect();
        match keys {
            Some(keys) => all.extend(keys),
            None => all.extend(self.model(group).keys.keys()),
        }
        for key in all {
            let value = found.get(&key).copied();
            let _matched = self.saw(group, key, asked, value)?;
        }
        Ok(())
    }

    /// Which event a value that was found stands for, if anything was ever asked for.
    fn possible(
        &self,
        group: &GroupName,
        key: OffsetKey,
        asked: u64,
        value: Option<i64>,
    ) -> Result<Possible, Violation> {
        let model = self.groups.get(group);
        let events = model.and_then(|model| model.keys.get(&key));
        let events = events.map_or(&[][..], Vec::as_slice);
        let was_known = |event: &&Event| event.known.is_some_and(|known| known <= asked);
        let floor = events.iter().filter(was_known).map(|e| e.number).max();
        let may = events
            .iter()
            .filter(|e| e.number < asked && !e.void && floor.is_none_or(|floor| e.number >= floor));
        if let Some(event) = may.clone().find(|e| e.value == value) {
            return Ok(Possible::Event(event.number));
        }
        if value.is_none() && floor.is_none() {
            return Ok(Possible::Never);
        }
        let has_expired = |e: &Event| e.at_ms + self.retention_ms <= self.passed_ms;
        if value.is_none() && may.clone().any(has_expired) {
            return Ok(Possible::Expired);
        }
        let OffsetKey { topic, partition } = key;
        let may: Vec<_> = may.map(|e| e.value).collect();
        let what = format!(
            "group {group} has committed {value:?} for partition {partition} of topic {}; it may be \
             one of {may:?}",
            topic.0
        );
        Err(Violation::new(Rule::Committed, what))
    }

    fn saw(
        &mut self,
        group: &GroupName,
        key: OffsetKey,
        asked: u64,
        value: Option<i64>,
    ) -> Result<Possible, Violation> {
        let possible = self.possible(group, key, asked, value)?;
        let now = self.asked;
        let mut expired = self.event(asked, None);
        expired.known = Some(now);
        let model = self.model(group);
        match possible {
            Possible::Event(number) => Self::settle_in(model, now, number, &[key], true),
            Possible::Expired => model.push(key, expired),
            Possible::Never => {}
        }
        Ok(possible)
    }

    /// Compares the offsets of all groups with what they may be after an outage.
    ///
    /// # Errors
    ///
    /// If one is something else.
    pub fn check_view(&self, view: &BTreeMap<GroupName, OffsetsFound>) -> Kept {
        let none = OffsetsFound::new();
        let asked = self.asked + 1;
        let names: BTreeSet<_> = view.keys().chain(self.groups.keys()).collect();
        for name in names {
            let found = view.get(name).unwrap_or(&none);
            let known = self.groups.get(name).into_iter();
            let keys = known.flat_map(|m| m.keys.keys()).chain(found.keys());
            let keys: BTreeSet<_> = keys.collect();
            for key in keys {
                self.possible(name, *key, asked, found.get(key).copied())?;
            }
        }
        Ok(())
    }

    /// What is there after a start holds from here on; what was under way is lost.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn believe(&mut self, view: &BTreeMap<GroupName, OffsetsFound>) -> Kept {
        let asked = self.next();
        let names: BTreeSet<_> = view.keys().chain(self.groups.keys()).cloned().collect();
        for name in names {
            let keys: Vec<_> = self.model(&name).keys.keys().copied().collect();
            for key in keys {
                let value = view.get(&name).and_then(|found| found.get(&key).copied());
                let last = match self.saw(&name, key, asked, value)? {
                    Possible::Event(number) => number,
                    Possible::Expired => asked,
                    Possible::Never => 0,
                };
                let events = self.model(&name).keys.get_mut(&key).into_iter().flatten();
                for event in events.filter(|e| e.number > last && e.known.is_none()) {
                    event.void = true;
                }
            }
        }
        Ok(())
    }

    /// A member was told that it belongs to a generation.
    ///
    /// # Errors
    ///
    /// If the same number was told to other members before.
    pub fn told_joined(
        &mut self,
        group: &GroupName,
        instance: Option<&InstanceId>,
        joined: &Joined,
    ) -> Kept {
        let lenient = self.expiring;
        let model = self.model(group);
        let mut told = model
            .told
            .get(&joined.generation)
            .cloned()
            .unwrap_or_default();
        if let Err(what) = told.hear(joined) {
            if !lenient && model.deletions.is_empty() {
                let (number, member) = (joined.generation, &joined.member);
                let what = format!("group {group}, generation {number}, told to {member}: {what}");
                return Err(Violation::new(Rule::GenerationOnce, what));
            }
            model.begin_anew();
            told = Told::default();
            // It is the first that is told of it.
            let _first = told.hear(joined);
        }
        model.told.insert(joined.generation, told);
        if let Some(instance) = instance {
            let before = model
                .holders
                .insert(instance.clone(), joined.member.clone());
            model
                .superseded
                .extend(before.filter(|before| *before != joined.member));
        }
        Ok(())
    }

    /// A leader assigns; the number names this assignment in every share.
    pub fn deals(&mut self, generation: Generation, members: BTreeSet<MemberId>) -> u64 {
        let number = self.next();
        let deal = Deal {
            generation,
            members,
        };
        self.deals.insert(number, deal);
        number
    }

    /// A member was told its share of a generation.
    ///
    /// # Errors
    ///
    /// If that is not what one leader gave it.
    pub fn told_share(
        &mut self,
        group: &GroupName,
        (member, generation): (&MemberId, Generation),
        share: &Bytes,
    ) -> Kept {
        let model = self.groups.entry(GroupName::clone(group)).or_default();
        model.settled = model.settled.max(generation);
        if share.is_empty() {
            return Ok(());
        }
        let bad = |what: &str| {
            let share = String::from_utf8_lossy(share);
            let what =
                format!("group {group}, generation {generation}, {member}: {what} ({share})");
            Err(Violation::new(Rule::OneOwner, what))
        };
        let text = std::str::from_utf8(share).unwrap_or_default();
        let parts = text.split_once(' ');
        let parts = parts.and_then(|(number, of)| Some((number.parse().ok()?, MemberId::from(of))));
        let Some((number, of)) = parts else {
            return bad("a share that nobody gave");
        };
        let Some(deal) = self.deals.get(&number) else {
            return bad("a share that nobody gave");
        };
        if deal.generation != generation || !deal.members.contains(&of) {
            return bad("a share of another generation");
        }
        if who(&of) != who(member) {
            return bad("the share of another member");
        }
        let lenient = self.expiring || !model.deletions.is_empty();
        let told = model.told.entry(generation).or_default();
        if lenient {
            // The same number may have come anew, with another set that looks like it.
            told.deal = Some(number);
        }
        if *told.deal.get_or_insert(number) != number {
            return bad("two assignments of one generation");
        }
        Ok(())
    }
}

/// What a value that was found stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Possible {
    /// What was asked for then.
    Event(u64),
    /// It has had its time.
    Expired,
    /// Nothing was ever committed, as far as anybody knows.
    Never,
}

impl Told {
    /// Takes what one member was told.
    fn hear(&mut self, joined: &Joined) -> Result<(), String> {
        let leader = joined.leader.as_ref().map(who);
        if self.leader.is_some() && self.leader != leader {
            return Err(format!(
                "the leader is {leader:?}, and was {:?}",
                self.leader
            ));
        }
        self.leader = leader;
        if !joined.members.is_empty() {
            let members: BTreeSet<_> = joined.members.iter().map(|m| who(&m.member)).collect();
            match &self.members {
                Some(before) if *before != members => {
                    return Err(format!("the members are {members:?}, and were {before:?}"));
                }
                Some(_) | None => self.members = Some(members),
            }
        }
        self.told.insert(who(&joined.member));
        match &self.members {
            Some(members) if !self.told.is_subset(members) => Err(format!(
                "it was told to {:?}, and has the members {members:?}",
                self.told
            )),
            Some(_) | None => Ok(()),
        }
    }
}

//! A round: kill, start anew, and wait until every group is whole again and has done all its work.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::events::{Event, Place, What};
use super::judge::{Judge, Source};
use super::members::{GROUPS, Process, Programs, Slot, TOPICS};
use crate::brokers::{Broker, Kind};
use crate::crash::Random;

/// A session is 6 s and a rebalance may wait for one; the rest is for a slow machine.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const KILL_AFTER_MS: Range<u64> = 100..1_500;
const BROKER_AWAY_MS: Range<u64> = 0..300;
const MEMBER_AWAY_MS: Range<u64> = 0..1_000;
/// One in so many killed members stays away until its session is over, and the others take its work.
const LONG_ONE_IN: u64 = 6;
const MEMBER_LONG_AWAY_MS: Range<u64> = 6_500..8_000;

/// What is killed, when, and how long it stays away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    after: Duration,
    /// Which member.
    member: Option<usize>,
    broker: bool,
    member_away: Duration,
    broker_away: Duration,
}

impl Plan {
    /// Half of the rounds kill a member, a quarter the broker, a quarter both.
    pub(super) fn draw(random: &mut Random, members: usize) -> Self {
        let mut ms = |range| Duration::from_millis(random.within(range));
        let after = ms(KILL_AFTER_MS);
        let broker_away = ms(BROKER_AWAY_MS);
        let (short, long) = (ms(MEMBER_AWAY_MS), ms(MEMBER_LONG_AWAY_MS));
        let stays = random.within(0..LONG_ONE_IN) == 0;
        let kind = random.within(0..4);
        let members = u64::try_from(members).expect("usize has at most 64 bits");
        let member = usize::try_from(random.within(0..members)).expect("it is below one");
        Self {
            after,
            member: (kind != 0).then_some(member),
            broker: kind < 2,
            member_away: if stays { long } else { short },
            broker_away,
        }
    }
}

/// How often something was killed.
#[derive(Debug, Default)]
pub(super) struct Killed {
    pub(super) members: u32,
    pub(super) brokers: u32,
}

/// The broker, all processes, and what was heard of them.
#[derive(Debug)]
pub(super) struct World {
    broker: Broker,
    programs: Programs,
    slots: Vec<Slot>,
    watcher: Process,
    producer: Process,
    judge: Judge,
    /// What was read and not judged yet.
    waiting: Vec<(Source, Event)>,
    looks: u64,
    pub(super) killed: Killed,
}

impl World {
    /// Starts everything, and waits until every group is whole.
    pub(super) fn start(kind: &Kind) -> Result<Self> {
        let broker = Broker::start(kind, "groups")?;
        let programs = Programs::new(broker.address())?;
        let mut watcher = programs.watcher()?;
        let mut waiting = Vec::new();
        let end = Instant::now() + ROUND_LIMIT;
        while watcher.last_ns == 0 {
            waiting.extend(watcher.events()?);
            ensure!(Instant::now() < end, "the topics are not made");
            std::thread::sleep(LOOK_EVERY);
        }
        let producer = programs.producer()?;
        let mut slots = Slot::all();
        slots
            .iter_mut()
            .try_for_each(|slot| slot.start(&programs))?;
        let mut world = Self {
            broker,
            programs,
            slots,
            watcher,
            producer,
            judge: Judge::default(),
            waiting,
            looks: 0,
            killed: Killed::default(),
        };
        world.settle().context("before the first round")?;
        Ok(world)
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.slots.len()
    }

    /// Carries out a plan; gives what to tell of it.
    pub(super) fn round(&mut self, plan: &Plan) -> Result<String> {
        self.rest(plan.after)?;
        let mut who = Vec::new();
        if plan.broker {
            self.broker.kill();
            self.killed.brokers += 1;
            who.push("the broker".to_owned());
        }
        if let Some(slot) = plan.member.and_then(|member| self.slots.get_mut(member)) {
            self.waiting.extend(slot.kill()?);
            self.killed.members += 1;
            who.push(slot.name.clone());
        }
        let since = Instant::now();
        let who = who.join(" and ");
        self.start_anew(plan)
            .with_context(|| format!("after kill -9 of {who}"))?;
        self.settle()
            .with_context(|| format!("after kill -9 of {who}"))?;
        let seconds = since.elapsed().as_secs_f32();
        Ok(format!("{who} killed, whole again after {seconds:.1} s"))
    }

    fn start_anew(&mut self, plan: &Plan) -> Result<()> {
        if plan.broker {
            self.rest(plan.broker_away)?;
            self.broker.restart()?;
        }
        if let Some(member) = plan.member {
            self.rest(plan.member_away)?;
            let slot = self.slots.get_mut(member).context("no such member")?;
            slot.start(&self.programs)?;
        }
        Ok(())
    }

    /// Lets time go by, and reads meanwhile.
    fn rest(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.gather()
    }

    /// Waits until every group has processed and committed what is acknowledged by now, and is divided
    /// among its living members. All that is heard meanwhile must be right.
    fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + ROUND_LIMIT;
        self.look(end)?;
        let target = self.target();
        let mut why = "nothing was heard yet".to_owned();
        loop {
            self.look(end).with_context(|| why.clone())?;
            why = match self.whole(&target) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            let late = Instant::now() > end;
            ensure!(!late, "not in {} s: {why}", ROUND_LIMIT.as_secs());
        }
    }

    /// How far each partition is acknowledged; one of which nothing is acknowledged counts too.
    fn target(&self) -> BTreeMap<Place, i64> {
        let partitions = TOPICS.iter().flat_map(|(topic, count)| {
            (0..*count).map(move |number| (format!("{topic}/{number}"), 0))
        });
        let mut target: BTreeMap<Place, i64> = partitions.collect();
        target.extend(self.judge.acknowledged());
        target
    }

    fn whole(&self, target: &BTreeMap<Place, i64>) -> Result<(), String> {
        for manner in &GROUPS {
            let group = manner.group;
            let slots = self.slots.iter().filter(|slot| slot.manner.group == group);
            let living: BTreeSet<String> = slots
                .filter_map(|slot| slot.process.as_ref())
                .map(|process| process.name.clone())
                .collect();
            self.judge
                .whole(group, &living, target)
                .map_err(|why| format!("{group}: {why}"))?;
        }
        Ok(())
    }

    /// Asks the broker once, and judges all that was said until it had answered. A process writes its
    /// lines in the order of their times, so whoever has said something later has said all before.
    fn look(&mut self, end: Instant) -> Result<()> {
        self.looks += 1;
        let number = self.looks;
        self.watcher.tell(&number.to_string())?;
        let until = loop {
            self.gather()?;
            let missing = match self.answered(number) {
                None => "the watcher",
                Some(at_ns) => match self.behind(at_ns) {
                    None => break at_ns,
                    Some(silent) => silent,
                },
            };
            ensure!(Instant::now() < end, "{missing} says nothing any more");
            std::thread::sleep(LOOK_EVERY);
        };
        let waiting = std::mem::take(&mut self.waiting);
        let (mut due, later) = waiting
            .into_iter()
            .partition::<Vec<_>, _>(|(_, event)| event.at_ns <= until);
        self.waiting = later;
        due.sort_by_key(|(_, event)| event.at_ns);
        for (source, event) in due {
            self.judge.take(&source, event);
        }
        if let Some(fault) = self.judge.faults().first() {
            bail!("{fault} ({} faults in all)", self.judge.faults().len());
        }
        Ok(())
    }

    /// When the watcher had its answers.
    fn answered(&self, number: u64) -> Option<u64> {
        let mut waiting = self.waiting.iter();
        let (_, answer) = waiting.find(|(_, event)| event.what == What::Looked(number))?;
        Some(answer.at_ns)
    }

    /// One who has said nothing after `at_ns` yet.
    fn behind(&self, at_ns: u64) -> Option<&str> {
        let members = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let mut all = members.chain([&self.producer]);
        let silent = all.find(|process| process.last_ns <= at_ns);
        silent.map(|process| process.name.as_str())
    }

    /// Reads what all processes have said since.
    fn gather(&mut self) -> Result<()> {
        let members = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.process.as_mut());
        for process in members.chain([&mut self.producer, &mut self.watcher]) {
            self.waiting.extend(process.events()?);
        }
        Ok(())
    }

    /// What came of it all, in words.
    pub(super) fn told(&self) -> String {
        let (records, repeated) = self.judge.records();
        let acknowledged: i64 = self.judge.acknowledged().values().sum();
        let Killed { members, brokers } = self.killed;
        format!(
            "{members} members and {brokers} brokers killed; {acknowledged} records acknowledged, \
             {records} processed by {} groups, {repeated} of them more than once; {} times librdkafka \
             went back by the record before a cooperative rebalance",
            GROUPS.len(),
            self.judge.raced()
        )
    }

    /// Prints the last words of everybody, after a failure.
    pub(super) fn show(&self) {
        crate::run::show("the broker", &self.broker.logged());
        println!(
            "every line of every process lies in {}",
            self.programs.folder().display()
        );
    }

    /// Ends all, the broker in order.
    pub(super) fn stop(self) -> Result<()> {
        drop((self.slots, self.producer, self.watcher));
        self.broker.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_kill_everything_and_a_seed_repeats_them() {
        let draw = |seed| {
            let mut random = Random(seed);
            (0..200)
                .map(|_| Plan::draw(&mut random, 9))
                .collect::<Vec<_>>()
        };
        let plans = draw(7);
        assert_eq!(plans, draw(7));
        assert_ne!(plans, draw(8));
        let members: BTreeSet<usize> = plans.iter().filter_map(|plan| plan.member).collect();
        assert_eq!(members.len(), 9);
        assert!(
            plans
                .iter()
                .all(|plan| plan.broker || plan.member.is_some())
        );
        for (broker, member) in [(true, true), (true, false), (false, true)] {
            let there = |plan: &Plan| plan.broker == broker && plan.member.is_some() == member;
            assert!(plans.iter().any(there), "{broker} {member}");
        }
    }
}

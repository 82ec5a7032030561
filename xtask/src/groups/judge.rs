//! What must be true of groups whatever is killed, judged from what the members, the producer and the
//! broker's own answers say.
//!
//! Events come in the order of the clock that all processes share. Between the moment at which a commit is
//! sent and the one at which its answer is heard, the committed offset is the old or the new one; without an
//! answer it stays either. So where reading begins again must be the last acknowledged commit, or one that
//! was sent later:
//!
//! ```text
//!   sent 40 ... told 40     sent 55 ... killed        assigned ... first record
//!   -------------------------------------------------------------> 40 or 55
//! ```
//!
//! Below it a commit was forgotten; anywhere else records are skipped. Offsets are those of topics that lose
//! nothing and that one idempotent producer fills, so record `k` of a partition must lie at offset `k`.

use std::collections::{BTreeMap, BTreeSet};

use super::events::{Described, Event, Offsets, Place, What};

#[cfg(test)]
mod tests;

/// Owners of a partition that are remembered; those of far older generations cannot come back.
const HOLDINGS_MAX: usize = 32;

/// Who says something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Member(Life),
    Producer,
    Watcher,
}

/// A member from its start to its end. A static member that comes back is to the group the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) group: String,
    /// Its client id.
    pub(super) name: String,
    /// The name over restarts, if it is static.
    pub(super) instance: Option<String>,
    /// Whether its client may go back by one record in a cooperative rebalance, as `Member::raced` says.
    pub(super) races: bool,
}

impl Life {
    fn identity(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.name)
    }
}

/// All that is known of a run, and what was found wrong.
#[derive(Debug, Default)]
pub(super) struct Judge {
    groups: BTreeMap<String, Book>,
    /// The number after the last acknowledged one of each partition.
    acknowledged: BTreeMap<Place, i64>,
    faults: Vec<String>,
    records: u64,
    repeated: u64,
    raced: u64,
}

/// One group.
#[derive(Debug, Default)]
struct Book {
    places: BTreeMap<Place, Partition>,
    members: BTreeMap<String, Member>,
    /// As the broker described it last.
    described: Option<Described>,
}

/// One partition as a group sees it.
#[derive(Debug, Default)]
struct Partition {
    /// Every record below is processed.
    processed: i64,
    /// The committed offset is not below this.
    sure: i64,
    /// Every offset that anybody has asked to commit.
    asked: BTreeSet<i64>,
    /// What was sure when the broker was asked for offsets, and what it told the last time.
    looked: i64,
    told: i64,
    holdings: Vec<Holding>,
}

/// The generations in which somebody has held a partition.
#[derive(Debug)]
struct Holding {
    identity: String,
    first: i64,
    last: i64,
}

/// A member that lives.
#[derive(Debug, Default)]
struct Member {
    identity: String,
    held: BTreeMap<Place, Reading>,
    /// The commit that is under way, with what was sure when it was sent.
    commit: Vec<(Place, i64, i64)>,
    /// The record that it processed last.
    last: Option<(Place, i64)>,
    /// The record right before a cooperative rebalance, which librdkafka may hand out once more.
    ///
    /// It takes a record from its queue in one thread and moves the position behind it a moment later;
    /// if the thread that begins a rebalance pauses the partition in between, it saves the position
    /// before the record, and reading goes on from there once the rebalance is over
    /// (`rd_kafka_toppar_pause_resume` and `rd_kafka_fetch_op_app_prepare` of librdkafka 2.16).
    raced: Option<(Place, i64)>,
}

/// An assignment: what was sure when it came, and the offset that must be read next.
#[derive(Debug)]
struct Reading {
    from: i64,
    next: Option<i64>,
}

impl Judge {
    /// Takes in what `source` says. Events must come in the order of their times.
    pub(super) fn take(&mut self, source: &Source, event: Event) {
        let found = match source {
            Source::Member(life) => {
                if let What::Record { .. } = event.what {
                    self.records += 1;
                }
                let book = self.groups.entry(life.group.clone()).or_default();
                let (faults, heard) = book.hear(life, event.what);
                self.repeated += u64::from(heard.repeated);
                self.raced += u64::from(heard.raced);
                let tell = |fault| format!("{}: {fault}", life.group);
                faults.into_iter().map(tell).collect()
            }
            Source::Producer => self.produced(&event.what),
            Source::Watcher => self.watched(event.what),
        };
        self.faults.extend(found);
    }

    /// What was found wrong until now.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Records that members processed, and how many of them had been processed before.
    pub(super) fn records(&self) -> (u64, u64) {
        (self.records, self.repeated)
    }

    /// How often a client went back by the one record before a cooperative rebalance.
    pub(super) fn raced(&self) -> u64 {
        self.raced
    }

    /// How far each partition is acknowledged.
    pub(super) fn acknowledged(&self) -> BTreeMap<Place, i64> {
        self.acknowledged.clone()
    }

    /// Whether `group` has processed and committed all below `target`, and is divided among exactly the
    /// members of `living`, as the broker and as they themselves say; if not, why.
    pub(super) fn whole(
        &self,
        group: &str,
        living: &BTreeSet<String>,
        target: &BTreeMap<Place, i64>,
    ) -> Result<(), String> {
        let book = self.groups.get(group).ok_or("nothing was heard of it")?;
        let none = Partition::default();
        for (place, end) in target {
            let partition = book.places.get(place).unwrap_or(&none);
            let (processed, told) = (partition.processed, partition.told);
            if processed < *end {
                return Err(format!("{place} is processed up to {processed} of {end}"));
            }
            if told < *end {
                return Err(format!("{place} is committed up to {told} of {end}"));
            }
        }
        let described = book.described.as_ref().ok_or("it was not described")?;
        if described.state != "STABLE" {
            return Err(format!("it is {}", described.state));
        }
        let members: BTreeSet<&String> = described.members.iter().map(|(life, _)| life).collect();
        let wanted: BTreeSet<&String> = living.iter().collect();
        if members != wanted || described.members.len() != living.len() {
            return Err(format!("its members are {members:?}"));
        }
        let mut given = BTreeSet::new();
        for (life, places) in &described.members {
            let of_broker: BTreeSet<&Place> = places.iter().collect();
            let own = book.members.get(life);
            let of_member: BTreeSet<&Place> = own.into_iter().flat_map(|m| m.held.keys()).collect();
            if of_broker != of_member {
                return Err(format!(
                    "{life} holds {of_member:?}, its group says {of_broker:?}"
                ));
            }
            given.extend(of_broker);
        }
        match target.keys().find(|place| !given.contains(place)) {
            Some(place) => Err(format!("nobody holds {place}")),
            None => Ok(()),
        }
    }

    fn produced(&mut self, what: &What) -> Vec<String> {
        match what {
            What::Acknowledged {
                place,
                number,
                offset,
            } => {
                let next = self.acknowledged.entry(place.clone()).or_default();
                let mut faults = Vec::new();
                // A batch that is sent again may be acknowledged without its offset.
                if *offset >= 0 && offset != number {
                    faults.push(format!(
                        "{place}: record {number} was acknowledged at {offset}"
                    ));
                }
                if *number != *next {
                    faults.push(format!(
                        "{place}: record {number} was acknowledged, not {next}"
                    ));
                }
                *next = (*next).max(number + 1);
                faults
            }
            What::Refused(why) => vec![format!("the producer gave up: {why}")],
            What::Assigned(..)
            | What::Gone(..)
            | What::Record { .. }
            | What::Commit(..)
            | What::Committed
            | What::Uncommitted
            | What::Tick(_)
            | What::Trouble
            | What::Killed
            | What::Look
            | What::Offsets(..)
            | What::Group(_)
            | What::Busy
            | What::Looked(_) => Vec::new(),
        }
    }

    fn watched(&mut self, what: What) -> Vec<String> {
        match what {
            What::Look => {
                let books = self.groups.values_mut();
                for partition in books.flat_map(|book| book.places.values_mut()) {
                    partition.looked = partition.sure;
                }
                Vec::new()
            }
            What::Offsets(group, offsets) => {
                let book = self.groups.entry(group.clone()).or_default();
                book.told(&offsets)
                    .into_iter()
                    .map(|fault| format!("{group}: {fault}"))
                    .collect()
            }
            What::Group(described) => {
                let book = self.groups.entry(described.group.clone()).or_default();
                let faults = shared(&described);
                book.described = Some(described);
                faults
            }
            What::Assigned(..)
            | What::Gone(..)
            | What::Record { .. }
            | What::Commit(..)
            | What::Committed
            | What::Uncommitted
            | What::Tick(_)
            | What::Trouble
            | What::Killed
            | What::Acknowledged { .. }
            | What::Refused(_)
            | What::Busy
            | What::Looked(_) => Vec::new(),
        }
    }
}

/// Partitions that a settled group has given to two members.
fn shared(described: &Described) -> Vec<String> {
    let mut owners: BTreeMap<&Place, &String> = BTreeMap::new();
    let mut faults = Vec::new();
    let settled = described.state == "STABLE";
    for (life, places) in described.members.iter().filter(|_| settled) {
        for place in places {
            if let Some(other) = owners.insert(place, life) {
                let group = &described.group;
                faults.push(format!(
                    "{group}: {place} is assigned to {other} and to {life}"
                ));
            }
        }
    }
    faults
}

/// What is counted of a record.
#[derive(Debug, Default)]
struct Heard {
    /// Somebody had processed it before.
    repeated: bool,
    /// It is the one that the client may go back by.
    raced: bool,
}

impl Member {
    /// A rebalance began or ended for it.
    fn rebalanced(&mut self, life: &Life) {
        if let Some(last) = self.last.take().filter(|_| life.races) {
            self.raced = Some(last);
        }
    }

    /// Takes in that it processes a record. Says whether it goes back to it in the one allowed way: then
    /// the record is the one that has to come.
    fn processes(&mut self, place: &Place, offset: i64) -> bool {
        self.last = Some((place.clone(), offset));
        let Some(raced) = self.raced.take_if(|(raced, _)| raced == place) else {
            return false;
        };
        let reading = self.held.get_mut(place);
        match reading.filter(|r| raced.1 == offset && r.next == Some(offset + 1)) {
            Some(reading) => {
                reading.next = Some(offset);
                true
            }
            None => false,
        }
    }
}

impl Book {
    /// What a member says; gives the faults, and what is to be counted.
    fn hear(&mut self, life: &Life, what: What) -> (Vec<String>, Heard) {
        let member = self.members.entry(life.name.clone()).or_default();
        life.identity().clone_into(&mut member.identity);
        let mut heard = Heard::default();
        let faults = match what {
            What::Assigned(generation, places) => {
                member.rebalanced(life);
                for place in places {
                    let partition = self.places.entry(place.clone()).or_default();
                    partition.hold(life.identity(), generation);
                    let reading = Reading {
                        from: partition.sure,
                        next: None,
                    };
                    member.held.insert(place, reading);
                }
                self.at_generation(&life.name, generation)
            }
            What::Gone(_, places) => {
                member.rebalanced(life);
                for place in &places {
                    member.held.remove(place);
                }
                Vec::new()
            }
            What::Record {
                place,
                offset,
                number,
            } => {
                let partition = self.places.entry(place.clone()).or_default();
                heard.repeated = offset < partition.processed;
                heard.raced = member.processes(&place, offset);
                let faults = partition.process(member.held.get_mut(&place), offset, number);
                let tell = |fault| format!("{}: {place}: {fault}", life.name);
                faults.into_iter().map(tell).collect()
            }
            What::Commit(generation, offsets) => {
                for (place, offset) in offsets {
                    let partition = self.places.entry(place.clone()).or_default();
                    partition.asked.insert(offset);
                    member.commit.push((place, offset, partition.sure));
                }
                self.at_generation(&life.name, generation)
            }
            What::Committed => self.committed(&life.name),
            What::Uncommitted => {
                member.commit.clear();
                Vec::new()
            }
            What::Tick(generation) => self.at_generation(&life.name, generation),
            What::Killed => {
                self.members.remove(&life.name);
                Vec::new()
            }
            What::Trouble
            | What::Acknowledged { .. }
            | What::Refused(_)
            | What::Look
            | What::Offsets(..)
            | What::Group(_)
            | What::Busy
            | What::Looked(_) => Vec::new(),
        };
        (faults, heard)
    }

    fn committed(&mut self, name: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let commit = self
            .members
            .get_mut(name)
            .map(|member| std::mem::take(&mut member.commit));
        for (place, offset, before) in commit.unwrap_or_default() {
            if offset < before {
                faults.push(format!(
                    "{name}: {place}: the commit of {offset} was taken after {before}"
                ));
            }
            let partition = self.places.entry(place).or_default();
            partition.sure = partition.sure.max(offset);
        }
        faults
    }

    /// A member says in which generation it is: it holds there all that it has. Looks for others that do.
    fn at_generation(&mut self, name: &str, generation: i64) -> Vec<String> {
        let Some(member) = self.members.get(name).filter(|_| generation >= 0) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for place in member.held.keys() {
            let partition = self.places.entry(place.clone()).or_default();
            for other in partition.reach(&member.identity, generation) {
                let who = format!("{name} and {other}");
                faults.push(format!(
                    "{who} both hold {place} at generation {generation}"
                ));
            }
        }
        faults
    }

    /// Committed offsets as the broker tells them.
    fn told(&mut self, offsets: &Offsets) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, offset) in offsets {
            let partition = self.places.entry(place.clone()).or_default();
            // Nothing committed is -1, and reading then begins at 0.
            let offset = (*offset).max(0);
            if let Some(fault) = partition.observe(offset, partition.looked) {
                faults.push(format!("{place}: the group's offset is {offset}, {fault}"));
            }
            partition.told = offset;
        }
        faults
    }
}

impl Partition {
    /// A committed offset was seen after `from` was sure. Says what is wrong with it.
    fn observe(&mut self, offset: i64, from: i64) -> Option<String> {
        let asked = offset == from || self.asked.contains(&offset);
        self.sure = self.sure.max(offset);
        if offset < from {
            Some(format!("below the commit {from}: a commit was forgotten"))
        } else if !asked {
            Some(format!(
                "where {from} is committed: nobody has committed that"
            ))
        } else {
            None
        }
    }

    fn process(&mut self, reading: Option<&mut Reading>, offset: i64, number: i64) -> Vec<String> {
        let mut faults = Vec::new();
        if number != offset {
            faults.push(format!("offset {offset} holds record {number}"));
        }
        if offset > self.processed {
            let processed = self.processed;
            faults.push(format!(
                "{processed} to {} are skipped by everybody",
                offset - 1
            ));
        }
        self.processed = self.processed.max(offset + 1);
        let Some(reading) = reading else {
            faults.push(format!(
                "offset {offset} is processed by one who does not hold it"
            ));
            return faults;
        };
        match reading.next {
            Some(next) if next != offset => {
                faults.push(format!("offset {offset} came where {next} should be"));
            }
            None => {
                let fault = self.observe(offset, reading.from);
                faults.extend(fault.map(|fault| format!("begins at {offset}, {fault}")));
            }
            Some(_) => {}
        }
        reading.next = Some(offset + 1);
        faults
    }

    /// Somebody has the partition from `generation` on.
    fn hold(&mut self, identity: &str, generation: i64) {
        if self.holdings.len() == HOLDINGS_MAX {
            self.holdings.remove(0);
        }
        self.holdings.push(Holding {
            identity: identity.to_owned(),
            first: generation,
            last: generation,
        });
    }

    /// Whoever has held the partition last as `identity` does so at `generation` too. Gives the others
    /// that have held it in one of its generations.
    fn reach(&mut self, identity: &str, generation: i64) -> Vec<String> {
        let own = self
            .holdings
            .iter_mut()
            .rfind(|holding| holding.identity == identity);
        let Some(own) = own else {
            return Vec::new();
        };
        let before = own.last;
        own.last = own.last.max(generation);
        let (first, last) = (own.first.max(before), own.last);
        let others = self
            .holdings
            .iter()
            .filter(|holding| holding.identity != identity);
        others
            .filter(|other| other.first <= last && first <= other.last)
            .map(|other| other.identity.clone())
            .collect()
    }
}

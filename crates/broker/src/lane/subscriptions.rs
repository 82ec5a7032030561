//! Subscriptions in the lane: a machine for each (subscription, partition), its changes in the log, and
//! its pages in checkpoints.
//!
//! An entry of a subscription carries its id as object and the partition as base. Appended records have
//! none: replay feeds them from the batch's own entry, as the lane does in the frame that carries it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use mulgil_core::machine::{Decision, Elapsed, Machine, Now, WallTime};
use mulgil_core::queue::snapshot::Loader;
use mulgil_core::queue::{
    Append, Change, Command, Durable, Effect, Overflow, QueueRefusal, Retry, Settings, Settled,
    Span, Subscription as Queue, wire,
};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::position::Position;
use mulgil_meta::schema::Durability;
use mulgil_meta::state::SubscriptionChange;
use mulgil_meta::subscription::{
    Filter, OverflowPolicy, RetryPolicy, Subscription, SubscriptionSettings,
};
use mulgil_record::facts::{Columns, Facts};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId, TopicId};

pub use self::bury::{Burial, BuryTask};
pub(super) use self::consume::settle_command;
use self::consumers::Consumers;
use super::{Due, Lane, ReplyTo, Turn};
use crate::request::{AppendRefusal, Reply};
use crate::subscription::{SubscriptionReply, SubscriptionRequest};

mod bury;
mod consume;
mod consumers;
mod manage;
mod rewind;
mod upkeep;

/// One machine: a subscription's reading of one partition.
pub(super) type Key = (SubscriptionId, PartitionId);

/// A machine that lives here.
#[derive(Debug)]
struct HostedQueue {
    machine: Queue,
    /// What an answer about it waits for.
    newest: Due,
    /// When it wants its next tick, as it stands in the list of deadlines.
    armed: Option<Elapsed>,
    /// When something last happened to it.
    stirred: Elapsed,
    /// When it is looked at whether it rests, as it stands in that list.
    rests: Option<Elapsed>,
    /// Changes below are in the checkpoint that the machine came from.
    good_for: Position,
    /// Records that are being packed for the dead-letter target, in the order in which they go there:
    /// the threads that pack them keep none.
    burials: VecDeque<(Offset, Option<Burial>)>,
}

/// All machines, and who reads from them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    hosted: BTreeMap<Key, HostedQueue>,
    by_partition: BTreeSet<(PartitionId, SubscriptionId)>,
    deadlines: BTreeSet<(Elapsed, Key)>,
    /// Machines that hold memory for what may come, by when they may have rested for long enough.
    rests: BTreeSet<(Elapsed, Key)>,
    consumers: Consumers,
}

impl Subscriptions {
    /// The subscriptions of a partition.
    fn of_partition(&self, partition: PartitionId) -> Vec<SubscriptionId> {
        if self.by_partition.is_empty() {
            return Vec::new();
        }
        let all = (partition, SubscriptionId(0))..=(partition, SubscriptionId(u64::MAX));
        let all = self.by_partition.range(all);
        all.map(|(_, subscription)| *subscription).collect()
    }

    /// Whether anybody reads a partition.
    fn reads(&self, partition: PartitionId) -> bool {
        let all = (partition, SubscriptionId(0))..=(partition, SubscriptionId(u64::MAX));
        !self.by_partition.is_empty() && self.by_partition.range(all).next().is_some()
    }

    /// The partitions of a subscription, as far as they are hosted.
    fn of_subscription(
        &self,
        id: SubscriptionId,
    ) -> impl Iterator<Item = (PartitionId, &HostedQueue)> {
        let all = (id, PartitionId(0))..=(id, PartitionId(u64::MAX));
        let all = self.hosted.range(all);
        all.map(|((_, partition), hosted)| (*partition, hosted))
    }

    fn host(&mut self, key: Key, machine: Queue, good_for: Position) {
        let (subscription, partition) = key;
        self.by_partition.insert((partition, subscription));
        let hosted = HostedQueue {
            machine,
            newest: Due::NOW,
            armed: None,
            stirred: Elapsed(0),
            rests: None,
            good_for,
            burials: VecDeque::new(),
        };
        self.hosted.insert(key, hosted);
    }

    fn unhost(&mut self, key: Key) {
        let (subscription, partition) = key;
        if let Some(hosted) = self.hosted.remove(&key) {
            self.by_partition.remove(&(partition, subscription));
            if let Some(due) = hosted.armed {
                self.deadlines.remove(&(due, key));
            }
            if let Some(due) = hosted.rests {
                self.rests.remove(&(due, key));
            }
        }
    }

    /// Takes down all machines of a subscription; those who wait for records of it are told at the next
    /// tick.
    fn drop_subscription(&mut self, id: SubscriptionId) {
        let keys: Vec<_> = self.of_subscription(id).map(|(at, _)| (id, at)).collect();
        for key in keys {
            self.unhost(key);
        }
        self.consumers.drop_subscription(id);
    }

    /// A partition is gone, and all who read it with it.
    pub(super) fn drop_partition(&mut self, partition: PartitionId) {
        for id in self.of_partition(partition) {
            self.unhost((id, partition));
            self.consumers.drop_subscription(id);
        }
    }

    /// Metadata was loaded from a checkpoint: each machine comes from a page of its own. One without a
    /// page was deleted while the checkpoint was taken, and nothing in the log is for it any more.
    pub(super) fn await_pages(&mut self) {
        for hosted in self.hosted.values_mut() {
            hosted.good_for = Position(u64::MAX);
        }
    }

    /// Whether each subscription of a partition has settled something from `start` on.
    pub(super) fn all_settled_some(&self, partition: PartitionId, start: Offset) -> bool {
        let all = self.of_partition(partition);
        let mut machines = { all.iter() }.filter_map(|id| self.hosted.get(&(*id, partition)));
        let some =
            |hosted: &HostedQueue| hosted.machine.has_gaps() || hosted.machine.start() > start;
        !all.is_empty() && machines.all(some)
    }

    /// What all subscriptions of a partition have settled.
    pub(super) fn settled_by_all(&self, partition: PartitionId, span: Span) -> Option<Settled> {
        let mut common: Option<Settled> = None;
        for id in self.of_partition(partition) {
            let hosted = self.hosted.get(&(id, partition))?;
            let settled = hosted.machine.settled(span);
            match &mut common {
                None => common = Some(settled),
                Some(common) => common.keep_common(&settled),
            }
            if common.as_ref().is_some_and(Settled::is_empty) {
                return None;
            }
        }
        common
    }

    /// The machine of a subscription for a partition.
    pub(super) fn machine(&self, key: Key) -> Option<&Queue> {
        self.hosted.get(&key).map(|hosted| &hosted.machine)
    }

    /// How many machines there are.
    pub(super) fn len(&self) -> usize {
        self.hosted.len()
    }
}

impl Lane {
    pub(super) fn subscription(
        &mut self,
        to: ReplyTo,
        ask: SubscriptionRequest,
        now: Now,
        turn: &mut Turn,
    ) {
        let (due, reply) = match ask {
            SubscriptionRequest::Create(ask) => self.create_subscription(*ask, now),
            SubscriptionRequest::CreateQueue(ask) => self.create_queue(*ask, now),
            SubscriptionRequest::Alter {
                subscription,
                settings,
            } => self.alter_subscription(&subscription, settings, now, turn),
            SubscriptionRequest::Delete(which) => self.delete_subscription(&which),
            SubscriptionRequest::DeleteQueue(which) => self.delete_queue(&which, now, turn),
            SubscriptionRequest::List(list) => self.list_subscriptions(&list),
            SubscriptionRequest::Describe(which) => self.describe_subscription(&which),
            SubscriptionRequest::Browse(browse) => self.browse(&browse),
            SubscriptionRequest::Attach(attach) => self.attach(to, &attach, now, turn),
            SubscriptionRequest::Grant(grant) => self.grant(to, grant, now, turn),
            SubscriptionRequest::Revoke(consumer) => self.revoke(to, consumer, now, turn),
            SubscriptionRequest::Detach { consumer, failed } => {
                self.detach(to, consumer, failed, now, turn)
            }
            SubscriptionRequest::Settle(settle) => self.settle(settle, now, turn),
            SubscriptionRequest::Purge { subscription, held } => {
                self.purge(&subscription, held, now, turn)
            }
            SubscriptionRequest::Seek { subscription, to } => {
                self.seek(&subscription, &to, now, turn)
            }
            SubscriptionRequest::Next { consumer, wait_ms } => {
                return self.next_records(to, consumer, wait_ms, now, turn);
            }
            SubscriptionRequest::Receive(receive) => {
                return self.receive(to, &receive, now, turn);
            }
        };
        self.answer_subscription(to, due, reply, turn);
    }

    fn answer_subscription(
        &mut self,
        to: ReplyTo,
        due: Due,
        reply: SubscriptionReply,
        turn: &mut Turn,
    ) {
        self.answer(to, due, Reply::Subscription(reply), turn);
    }

    /// All machines, for the simulation: replaying the log must lead to the same ones.
    pub fn queue_machines(&self) -> impl Iterator<Item = (SubscriptionId, PartitionId, &Queue)> {
        let hosted = self.subscriptions.hosted.iter();
        hosted.map(|((id, partition), hosted)| (*id, *partition, &hosted.machine))
    }

    /// Makes a change of subscriptions in metadata so, decided now or replayed.
    pub(super) fn apply_subscription(&mut self, change: &SubscriptionChange) {
        match change {
            SubscriptionChange::Created(subscription) => {
                let topic = self.metadata.topic_by_id(subscription.topic);
                let partitions = topic.map(|topic| topic.partitions.clone());
                for partition in partitions.unwrap_or_default() {
                    self.host_queue(subscription, partition);
                }
            }
            SubscriptionChange::Altered { id, settings } => {
                let all = (*id, PartitionId(0))..=(*id, PartitionId(u64::MAX));
                for (_, hosted) in self.subscriptions.hosted.range_mut(all) {
                    hosted.machine.set_settings(machine_settings(settings));
                }
            }
            SubscriptionChange::Deleted { id } => self.subscriptions.drop_subscription(*id),
            SubscriptionChange::IdsTaken { .. } => {}
        }
    }

    /// Begins to read a partition that was added to the topic of subscriptions.
    pub(super) fn host_queues(&mut self, topic: TopicId, partition: PartitionId) {
        let all = self.metadata.subscriptions().of_topic(topic);
        let all: Vec<_> = all.cloned().collect();
        for subscription in all {
            self.host_queue(&subscription, partition);
        }
    }

    fn host_queue(&mut self, subscription: &Subscription, partition: PartitionId) {
        let key = (subscription.id, partition);
        let settings = machine_settings(&subscription.settings);
        if let Some((good_for, loaded)) = self.loaded.queues.remove(&key)
            && let Some(machine) = loaded_queue(settings, &loaded)
        {
            self.subscriptions.host(key, machine, good_for);
            return;
        }
        let begin = subscription.beginnings.iter();
        let begin = begin.clone().find(|begin| begin.partition == partition);
        let (first, end) = begin.map_or((Offset::ZERO, Offset::ZERO), |b| (b.first, b.end));
        let mut machine = Queue::new(settings, first);
        if first < end {
            machine.apply(&Change::Appended(Append {
                span: Span { first, end },
                at: WallTime(subscription.created_ms),
                facts: None,
                filter: None,
            }));
        }
        self.subscriptions.host(key, machine, Position::ZERO);
    }

    /// What the subscriptions of a partition are told of a batch; none if there are none.
    pub(super) fn fed(
        &self,
        partition: PartitionId,
        span: Span,
        facts: &[u8],
        now: Now,
    ) -> Option<Append> {
        self.subscriptions.reads(partition).then(|| Append {
            span,
            at: self.log.frame_time(now).wall,
            facts: decoded(facts),
            filter: None,
        })
    }

    /// Whether none of a partition's subscriptions refuses a batch.
    ///
    /// # Errors
    ///
    /// One that refuses more than may wait has that many.
    pub(super) fn check_queues(
        &mut self,
        partition: PartitionId,
        fed: Option<&Append>,
        now: Now,
    ) -> Result<(), AppendRefusal> {
        let Some(fed) = fed else {
            return Ok(());
        };
        let date = self.log.dates.stamp(now);
        for id in self.subscriptions.of_partition(partition) {
            let known = self.metadata.subscriptions().get(id);
            let hosted = self.subscriptions.hosted.get(&(id, partition));
            let (Some(known), Some(hosted)) = (known, hosted) else {
                continue;
            };
            if known.settings.overflow != OverflowPolicy::Refuse {
                continue;
            }
            let mut tried = Decision::default();
            let command = Command::Append(for_one(known, fed));
            if let Err(why) = hosted.machine.decide(command, date, &mut tried) {
                let subscription = known.name.clone();
                return Err(AppendRefusal::QueueFull { subscription, why });
            }
        }
        Ok(())
    }

    /// Records of a batch whose id came before, by their places, for the first subscription that knows ids.
    pub(super) fn again(
        &self,
        partition: PartitionId,
        fed: Option<&Append>,
    ) -> Vec<(usize, Offset)> {
        let ids = fed.and_then(|fed| Some((fed, fed.facts.as_ref()?)));
        let Some((fed, _)) = ids.filter(|(_, facts)| !facts.deduplication.is_empty()) else {
            return Vec::new();
        };
        for id in self.subscriptions.of_partition(partition) {
            let hosted = self.subscriptions.hosted.get(&(id, partition));
            let knows = hosted.filter(|hosted| hosted.machine.deduplicates().is_some());
            if let Some(hosted) = knows {
                let again = hosted.machine.again(fed).into_iter();
                return again.map(|one| (one.index, one.first)).collect();
            }
        }
        Vec::new()
    }

    /// Tells the subscriptions of a partition of a batch, in the frame that carries it.
    pub(super) fn feed(&mut self, partition: PartitionId, fed: &Append, now: Now) {
        for id in self.subscriptions.of_partition(partition) {
            let key = (id, partition);
            let Some(known) = self.metadata.subscriptions().get(id) else {
                continue;
            };
            // Those that refuse were asked before, and offsets only rise.
            let command = Command::Append(for_one(known, fed));
            if let Err(why) = self.decide_queue(key, command, now) {
                tracing::error!(%why, subscription = id.0, "a record was stored though it was refused");
            }
            self.arm_queue(key, now);
        }
    }

    /// Tells them of a batch that was read back.
    pub(super) fn refeed(
        &mut self,
        at: Position,
        (partition, span): (PartitionId, Span),
        wall: u64,
        payload: &[u8],
    ) {
        if !self.subscriptions.reads(partition) {
            return;
        }
        let facts = super::append::split_payload(payload).map_or(&[][..], |(facts, _)| facts);
        let fed = Append {
            span,
            at: WallTime(wall),
            facts: decoded(facts),
            filter: None,
        };
        for id in self.subscriptions.of_partition(partition) {
            let Some(hosted) = self.subscriptions.hosted.get_mut(&(id, partition)) else {
                continue;
            };
            if let Some(known) = self.metadata.subscriptions().get(id)
                && at >= hosted.good_for
                && span.first >= hosted.machine.end()
            {
                let fed = for_one(known, &fed);
                hosted.machine.apply(&Change::Appended(fed));
            }
        }
    }

    /// Lets the machines of a subscription keep what its settings need to know of records that come from
    /// here on.
    pub(super) fn track(&mut self, id: SubscriptionId, now: Now) {
        let Some(known) = self.metadata.subscriptions().get(id) else {
            return;
        };
        let (wanted, window_ms) = (known.settings.tracked(), known.settings.deduplicate_ms);
        let keys = self.subscriptions.of_subscription(id);
        let other =
            |machine: &Queue| machine.tracked() != wanted || machine.deduplicates() != window_ms;
        let keys = keys.filter(|(_, hosted)| other(&hosted.machine));
        let keys: Vec<_> = keys.map(|(partition, _)| (id, partition)).collect();
        for key in keys {
            for command in [Command::Track(wanted), Command::Deduplicate { window_ms }] {
                // Orders exclude each other already in the settings.
                if let Err(why) = self.decide_queue(key, command, now) {
                    tracing::error!(%why, subscription = id.0, "what is needed of records is not kept");
                }
            }
        }
    }

    /// Decides a command, writes and applies what follows, and gives the effects.
    fn decide_queue(
        &mut self,
        key: Key,
        command: Command,
        now: Now,
    ) -> Result<Vec<Effect>, QueueRefusal> {
        let Some(hosted) = self.subscriptions.hosted.get_mut(&key) else {
            return Ok(Vec::new());
        };
        // What is given up by a date is given up by one that is believed.
        let date = if matches!(command, Command::Tick) {
            self.log.dates.believed(now)
        } else {
            self.log.dates.stamp(now)
        };
        let mut decision = Decision::default();
        hosted.machine.decide(command, date, &mut decision)?;
        let partition = self.partitions.get(&key.1);
        let level = partition.map_or(Durability::Fsync, |partition| partition.durability);
        let mut payload = Vec::new();
        for (keep, change) in &decision.changes {
            if let Change::Durable(durable) = change {
                payload.clear();
                wire::encode(durable, &mut payload);
                let waited = matches!(keep, mulgil_core::machine::Keep::Waited);
                let at = if waited && level == Durability::Fsync {
                    self.log.push(queue_entry(key), &[&payload])
                } else {
                    self.log.push_unsynced(queue_entry(key), &[&payload])
                };
                if waited {
                    hosted.newest = hosted.newest.and(Due::at(at, level));
                }
            }
            hosted.machine.apply(change);
        }
        if !decision.changes.is_empty() {
            self.subscriptions.stir(key, now.elapsed);
        }
        let effects = decision.effects.into_iter();
        Ok(effects.map(|(_, effect)| effect).collect())
    }

    /// What an answer about a machine and its records waits for.
    pub(super) fn queue_due(&self, key: Key) -> Due {
        let hosted = self.subscriptions.hosted.get(&key);
        let records = self.partitions.get(&key.1);
        let machine = hosted.map_or(Due::NOW, |hosted| hosted.newest);
        machine.and(records.map_or(Due::NOW, |records| records.newest))
    }

    /// Applies an entry of a subscription that was read back.
    pub(super) fn replay_queue(
        &mut self,
        at: Position,
        header: &EntryHeader,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let key = (
            SubscriptionId(header.object),
            PartitionId(header.base.cast_unsigned()),
        );
        let change = wire::decode(header.version, payload).map_err(|error| {
            let what = format!("change of subscription {} at {at}: {error}", key.0);
            Fault::new(FaultKind::Corrupt, what)
        })?;
        // Those that no longer exist were deleted later in the log, or before the checkpoint.
        if let Some(hosted) = self.subscriptions.hosted.get_mut(&key)
            && at >= hosted.good_for
        {
            hosted.machine.apply(&Change::Durable(change));
        }
        Ok(())
    }

    /// The log was replayed: a leadership begins, and what was only in memory is gone.
    pub(super) fn lead_queues(&mut self, epoch: LeaderEpoch) {
        let keys: Vec<_> = self.subscriptions.hosted.keys().copied().collect();
        for key in keys {
            // What an earlier start discarded is not in the log, and need not be of a topic in memory any more.
            let partition = self.partitions.get(&key.1);
            let from = partition.map(|partition| partition.machine.start);
            let Some(hosted) = self.subscriptions.hosted.get_mut(&key) else {
                continue;
            };
            if let Some(to) = from.filter(|from| *from > hosted.machine.start()) {
                hosted
                    .machine
                    .apply(&Change::Durable(Durable::Trimmed { to }));
            }
            let led = mulgil_core::queue::Volatile::Led(epoch);
            hosted.machine.apply(&Change::Volatile(led));
        }
    }

    /// All machines of a subscription as one page of a checkpoint: for each u64 partition, u32 length and
    /// bytes of the head, u32 number of pages, u32 length and bytes of each.
    pub(super) fn queue_pages(
        &mut self,
        from: SubscriptionId,
        max: usize,
    ) -> impl Iterator<Item = (u64, Vec<u8>)> + use<> {
        let mut pages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        // Whole subscriptions until there is enough: what a visit may make.
        let mut bytes = 0;
        for ((id, partition), hosted) in self
            .subscriptions
            .hosted
            .range_mut((from, PartitionId(0))..)
        {
            let full = bytes >= super::checkpoint::SLICE_BYTES || pages.len() >= max;
            if full && !pages.contains_key(&id.0) {
                break;
            }
            let page = pages.entry(id.0).or_default();
            let before = page.len();
            page.put_u64_le(partition.0);
            write_queue(&mut hosted.machine, page);
            bytes += page.len() - before;
        }
        pages.into_iter()
    }

    /// Takes the machines of a subscription from a page of a checkpoint.
    pub(super) fn load_queues(
        &mut self,
        id: SubscriptionId,
        good_for: Position,
        mut page: &[u8],
    ) -> Option<()> {
        while !page.is_empty() {
            let partition = PartitionId(page.try_get_u64_le().ok()?);
            let mut loaded = vec![take(&mut page)?.to_vec()];
            for _ in 0..page.try_get_u32_le().ok()? {
                loaded.push(take(&mut page)?.to_vec());
            }
            let key = (id, partition);
            // Damage shows now, whether or not the subscription is there yet.
            let machine = loaded_queue(Settings::default(), &loaded)?;
            if let Some(hosted) = self.subscriptions.hosted.get_mut(&key) {
                let known = self.metadata.subscriptions().get(id)?;
                hosted.machine = machine;
                hosted
                    .machine
                    .set_settings(machine_settings(&known.settings));
                hosted.good_for = good_for;
            } else {
                self.loaded.queues.insert(key, (good_for, loaded));
            }
        }
        Some(())
    }
}

fn write_queue(machine: &mut Queue, page: &mut Vec<u8>) {
    let mut part = Vec::new();
    let put = |part: &[u8], page: &mut Vec<u8>| {
        page.put_u32_le(u32::try_from(part.len()).expect("a part of a machine is far below 4 GiB"));
        page.put_slice(part);
    };
    machine.write_head(&mut part);
    put(&part, page);
    machine.all_changed();
    let count_at = page.len();
    page.put_u32_le(0);
    let mut count = 0_u32;
    for id in machine.changed_pages() {
        part.clear();
        if machine.write_page(id, &mut part) {
            put(&part, page);
            count += 1;
        }
    }
    machine.all_written();
    if let Some(place) = page.get_mut(count_at..count_at + 4) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = from.try_get_u32_le().ok()? as usize;
    let (part, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(part)
}

fn loaded_queue(settings: Settings, parts: &[Vec<u8>]) -> Option<Queue> {
    let (head, pages) = parts.split_first()?;
    let mut loader = Loader::new(settings, head).ok()?;
    for page in pages {
        loader.page(page).ok()?;
    }
    Some(loader.finish())
}

/// What one subscription is told of a batch. Its filter's place never changes, so that a replay judges as
/// it was judged.
fn for_one(subscription: &Subscription, fed: &Append) -> Append {
    let filter = subscription.filter.as_ref().map(Filter::slot);
    Append {
        filter,
        ..fed.clone()
    }
}

/// Facts as machines take them. Bytes that are none say nothing: their entry's checksum was right.
fn decoded(facts: &[u8]) -> Option<Arc<Facts>> {
    let facts = Facts::decode(facts).ok()?;
    (facts.columns() != Columns(0)).then(|| Arc::new(facts))
}

const fn queue_entry((subscription, partition): Key) -> EntryHeader {
    EntryHeader {
        kind: EntryKind::Subscription,
        version: wire::VERSION,
        flags: 0,
        length: 0,
        object: subscription.0,
        base: partition.0.cast_signed(),
        count: 0,
    }
}

/// What metadata says, in the machine's words.
fn machine_settings(settings: &SubscriptionSettings) -> Settings {
    let mut made = Settings {
        failed_max: settings.failed_max,
        acquired_max: settings.acquired_max,
        retry: match settings.retry {
            RetryPolicy::AtOnce => Retry::AtOnce,
            RetryPolicy::Fixed { ms } => Retry::Fixed { ms },
            RetryPolicy::Linear { ms, ms_max } => Retry::Linear { ms, ms_max },
            RetryPolicy::Exponential {
                ms,
                ms_max,
                jitter_percent,
            } => Retry::Exponential {
                ms,
                ms_max,
                jitter_percent,
            },
        },
        age_ms_max: settings.age_ms_max,
        ttl_ms: settings.ttl_ms,
        length_max: settings.length_max,
        bytes_max: settings.bytes_max,
        single_active: settings.single_active,
        paused: settings.paused,
        overflow: match settings.overflow {
            OverflowPolicy::DropOldest => Overflow::DropOldest,
            OverflowPolicy::DeadLetterOldest => Overflow::DeadLetterOldest,
            OverflowPolicy::Refuse => Overflow::Refuse,
        },
        ..Settings::default()
    };
    made.dead_letter = settings.dead_letter.is_some();
    made
}

//! Redriving: a task that takes what waits in a queue of dead letters and appends it where it was given up,
//! or elsewhere.
//!
//! ```text
//! look at some that wait --> filter, find where to --> one frame: appended there, taken here
//!        ^                                                  | somebody has one by now: the others one by one
//!        '-- no faster than asked for ----------------------'
//! ```
//!
//! A task ends at the records that were there when it began, so that what dies again is not moved in a
//! circle. It is not written down: after a start of the broker what was moved is moved, and the rest waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mulgil_admin::backend::Publish;
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    BrowsedRecord, PlannedRecords, Record, Redrive, RedriveList, RedrivePlan, RedriveState,
    RedriveTask, Redriven,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::{Browse, Which};
use mulgil_broker::death::{self, DeathRecord};
use mulgil_broker::facts::work_out_moved;
use mulgil_broker::publish::Batches;
use mulgil_broker::request::{
    AppendPartition, AppendRefusal, Atomic, AtomicRefusal, Reply, Request, Take,
};
use mulgil_broker::subscription::{
    QueueRefusal, Selector, SettleRefusal, Span, SubscriptionPicture, SubscriptionRef,
    SubscriptionReply, SubscriptionRequest,
};
use mulgil_meta::schema::{Topic, TopicName};
use mulgil_record::batch::{Batch, DecodeLimits};
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId, TopicId};
use mulgil_record::partition_for_key;

use super::LocalBackend;
use super::deliver::seen;
use crate::backend::refusals::{append_refusal, subscription_refusal, unexpected};
use crate::backend::timestamp;

/// Most records of one frame.
const GROUP: u32 = 100;
/// Redrives that run at one time.
const RUNNING_MAX: usize = 16;
/// Redrives that are known, those that have ended among them.
const KNOWN_MAX: usize = 100;
/// How long a target that takes nothing is asked again, and how often.
const BUSY: Duration = Duration::from_millis(100);
const BUSY_TRIES: u32 = 300;

/// All redrives that are known.
#[derive(Default)]
pub(in crate::backend) struct Redrives {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    newest: u64,
    tasks: BTreeMap<u64, Arc<Task>>,
}

struct Task {
    subscription: SubscriptionId,
    cancelled: AtomicBool,
    shown: Mutex<RedriveTask>,
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Task {
    fn shown(&self) -> RedriveTask {
        lock(&self.shown).clone()
    }

    fn runs(&self) -> bool {
        lock(&self.shown).state == RedriveState::Running
    }

    fn count(&self, change: impl FnOnce(&mut RedriveTask)) {
        change(&mut lock(&self.shown));
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Redrives {
    pub(in crate::backend) fn list(&self) -> RedriveList {
        let known = lock(&self.known);
        RedriveList {
            redrives: known.tasks.values().map(|task| task.shown()).collect(),
        }
    }

    pub(in crate::backend) fn cancel(&self, id: u64) -> Result<RedriveTask, Refusal> {
        let known = lock(&self.known);
        let task = known.tasks.get(&id);
        let unknown = || Refusal::new(Code::RedriveUnknown, format!("redrive {id}"));
        let task = task.ok_or_else(unknown)?;
        task.cancelled.store(true, Ordering::Relaxed);
        Ok(task.shown())
    }

    fn begin(
        &self,
        subscription: SubscriptionId,
        mut shown: RedriveTask,
    ) -> Result<Arc<Task>, Refusal> {
        let mut known = lock(&self.known);
        let mut running = known.tasks.values().filter(|task| task.runs());
        let same = running.find(|task| task.subscription == subscription);
        if let Some(same) = same {
            let detail = format!("redrive {} of \"{}\"", same.shown().id, shown.subscription);
            return Err(Refusal::new(Code::RedriveRuns, detail));
        }
        let count = known.tasks.values().filter(|task| task.runs()).count();
        if count >= RUNNING_MAX {
            let detail = format!("{count} redrives run, more are not possible");
            return Err(Refusal::new(Code::RedriveRuns, detail));
        }
        while known.tasks.len() >= KNOWN_MAX {
            let ended = known.tasks.iter().find(|(_, task)| !task.runs());
            let Some(oldest) = ended.map(|(id, _)| *id) else {
                break;
            };
            known.tasks.remove(&oldest);
        }
        known.newest += 1;
        shown.id = known.newest;
        let id = shown.id;
        let task = Arc::new(Task {
            subscription,
            cancelled: AtomicBool::new(false),
            shown: Mutex::new(shown),
        });
        known.tasks.insert(id, Arc::clone(&task));
        Ok(task)
    }
}

/// What is to be done, and of what.
struct Job {
    name: String,
    subscription: SubscriptionId,
    topic: Arc<Topic>,
    /// By partition, where it ends.
    ends: Vec<(PartitionId, i64)>,
    to: Option<TopicId>,
    filter: Option<Selector>,
    rate: Option<u32>,
    records_max: u64,
}

/// What becomes of a record that was looked at.
enum Fate {
    Goes(Going),
    Unselected,
    Stays,
}

/// A record on its way.
struct Going {
    offset: i64,
    topic: TopicId,
    partition: u32,
    reason: String,
    record: Publish,
}

impl Job {
    /// Where a record goes.
    fn fate(&self, one: BrowsedRecord, backend: &LocalBackend, now_ms: u64) -> Fate {
        if !matches!(one.state.as_str(), "available" | "scheduled") {
            return Fate::Stays;
        }
        let selected = |filter: &Selector| seen(&one.record).is_selected(filter);
        if !self.filter.as_ref().is_none_or(selected) {
            return Fate::Unselected;
        }
        let deaths = deaths(&one.record);
        let catalog = backend.broker.catalog();
        let last = deaths.first();
        let target = match (self.to, last) {
            (Some(id), _) => catalog.topic_by_id(id),
            (None, Some(last)) => catalog.topic(&TopicName::in_default(&last.topic)),
            (None, None) => None,
        };
        let Some(target) = target.filter(|target| target.id != self.topic.id) else {
            return Fate::Stays;
        };
        let count = u32::try_from(target.partitions.len())
            .unwrap_or(u32::MAX)
            .max(1);
        let (offset, record) = (one.record.offset, published(one.record, now_ms));
        if target.settings.cleanup.compact && record.key.is_none() {
            return Fate::Stays;
        }
        let home = last.filter(|last| self.to.is_none() && last.partition < count);
        let partition = match (home, &record.key) {
            (Some(home), _) => home.partition,
            (None, Some(key)) => {
                let partitions = i32::try_from(count).unwrap_or(i32::MAX);
                partition_for_key(key, partitions).cast_unsigned()
            }
            (None, None) => backend.publisher.next_of(count),
        };
        Fate::Goes(Going {
            offset,
            topic: target.id,
            partition,
            reason: last.map(|last| last.reason.clone()).unwrap_or_default(),
            record,
        })
    }
}

/// What a record died of, the last death first.
fn deaths(record: &Record) -> Vec<DeathRecord> {
    let headers = record.headers.iter();
    let deaths = headers.filter(|header| header.name == death::HEADER);
    let deaths = deaths.filter_map(|header| DeathRecord::read(&header.value.as_ref()?.0));
    deaths.take(death::DEATHS_MAX).collect()
}

/// The record as it is sent once more. Its deaths stay, with a note that somebody had it taken back.
fn published(record: Record, now_ms: u64) -> Publish {
    let headers = record.headers.into_iter().map(|header| {
        let value = header.value.map(|value| value.0);
        let is_death = header.name == death::HEADER;
        let death = value.as_deref().filter(|_| is_death);
        let told = death.and_then(DeathRecord::read).map(|mut death| {
            death.redriven_ms = Some(now_ms);
            Bytes::from(death.write())
        });
        (header.name, told.or(value))
    });
    Publish {
        partition: None,
        headers: headers.collect(),
        key: record.key.map(|key| key.0),
        value: record.value.map(|value| value.0),
        timestamp_ms: None,
    }
}

/// Offsets in stretches.
fn spans(offsets: impl Iterator<Item = i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for offset in offsets {
        match spans.last_mut() {
            Some(last) if last.end.0 == offset => last.end = Offset(offset + 1),
            _ => spans.push(Span::one(Offset(offset))),
        }
    }
    spans
}

/// Why a frame was not made.
enum Not {
    /// Not of these records together, but perhaps one by one.
    Together,
    /// Not at all.
    Ever(Refusal),
}

impl LocalBackend {
    pub(in crate::backend) async fn redrive_one(
        &self,
        which: Which<'_>,
        ask: Redrive,
    ) -> Result<Redriven, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let filter = ask.filter.as_deref().map(Selector::parse).transpose();
        let filter = filter.map_err(|why| Refusal::new(Code::Filter, why.to_string()))?;
        let to = ask.to.as_deref().map(|to| self.topic(to)).transpose()?;
        if to.as_ref().is_some_and(|to| to.id == topic.id) {
            let detail = format!("\"{}\" reads topic \"{}\" itself", which.name, topic.name);
            return Err(Refusal::new(Code::Malformed, detail));
        }
        let id = subscription.id;
        let picture = self.how_it_stands(which, id).await?;
        let partitions = picture.partitions.iter();
        let job = Job {
            name: which.name.to_owned(),
            subscription: id,
            ends: partitions.map(|one| (one.partition, one.end.0)).collect(),
            topic,
            to: to.map(|to| to.id),
            filter,
            rate: ask.rate,
            records_max: ask.records_max.unwrap_or(u64::MAX),
        };
        if ask.dry_run {
            return Ok(Redriven::Plan(self.plan(&job).await?));
        }
        let waiting = picture.partitions.iter().map(|one| one.counts);
        let total = waiting
            .map(|counts| counts.available + counts.scheduled)
            .sum();
        let shown = RedriveTask {
            id: 0,
            subscription: which.name.to_owned(),
            redrive: ask,
            state: RedriveState::Running,
            total,
            moved: 0,
            unselected: 0,
            skipped: 0,
            started: timestamp(self.broker.now().wall.0),
            ended: None,
            error: None,
        };
        let task = self.redrives.begin(id, shown)?;
        let begun = task.shown();
        let me = self.me.upgrade().ok_or_else(unexpected)?;
        tokio::spawn(async move {
            let outcome = me.carry_out(&job, &task).await;
            let ended = timestamp(me.broker.now().wall.0);
            task.count(|shown| {
                shown.ended = Some(ended);
                shown.state = match (&outcome, task.is_cancelled()) {
                    (Err(_), _) => RedriveState::Failed,
                    (Ok(()), true) => RedriveState::Cancelled,
                    (Ok(()), false) => RedriveState::Done,
                };
                shown.error = outcome.err().map(|why| why.detail);
            });
        });
        Ok(Redriven::Task(begun))
    }

    async fn how_it_stands(
        &self,
        which: Which<'_>,
        id: SubscriptionId,
    ) -> Result<Box<SubscriptionPicture>, Refusal> {
        let ask = SubscriptionRequest::Describe(SubscriptionRef::Id(id));
        let SubscriptionReply::Described(picture) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        picture.map_err(|why| subscription_refusal(&why, which.name))
    }

    /// The next that wait, from an offset on; and where to go on, if there may be more.
    async fn some(
        &self,
        job: &Job,
        (index, end): (u32, i64),
        from: i64,
        most: u32,
    ) -> Result<(Vec<BrowsedRecord>, Option<i64>), Refusal> {
        let which = Which {
            kind: mulgil_admin::queues::Kind::Subscription,
            name: &job.name,
        };
        // Another one may have its name by now.
        let (found, _) = self.find_queue(which)?;
        if found.id != job.subscription {
            return Err(super::unknown(&job.name));
        }
        let browse = Browse {
            partition: index,
            from,
            records_max: most,
        };
        let page = self.browse_page(which, browse).await?;
        let records = page.records.into_iter();
        let records: Vec<_> = records.take_while(|one| one.record.offset < end).collect();
        Ok((records, page.next.filter(|next| *next < end)))
    }

    /// What would be done.
    async fn plan(&self, job: &Job) -> Result<RedrivePlan, Refusal> {
        let mut plan = RedrivePlan::default();
        let mut planned: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut left = job.records_max;
        for (index, (_, end)) in (0_u32..).zip(&job.ends) {
            let mut from = Some(0);
            while let Some(at) = from.filter(|_| left > 0) {
                let (records, next) = self.some(job, (index, *end), at, GROUP).await?;
                from = next;
                for one in records {
                    match job.fate(one, self, 0) {
                        Fate::Unselected => plan.unselected += 1,
                        Fate::Stays => plan.skipped += 1,
                        Fate::Goes(_) if left == 0 => {}
                        Fate::Goes(going) => {
                            left -= 1;
                            let catalog = self.broker.catalog();
                            let to = catalog.topic_by_id(going.topic);
                            let to = to.map(|to| to.name.name.to_string());
                            let key = (to.unwrap_or_default(), going.reason);
                            *planned.entry(key).or_default() += 1;
                        }
                    }
                }
            }
        }
        plan.records = { planned.into_iter() }
            .map(|((to, reason), records)| PlannedRecords {
                to,
                reason,
                records,
            })
            .collect();
        Ok(plan)
    }

    async fn carry_out(&self, job: &Job, task: &Task) -> Result<(), Refusal> {
        let began = self.broker.now().elapsed.0;
        let group = job.rate.map_or(GROUP, |rate| (rate / 5).clamp(1, GROUP));
        let mut left = job.records_max;
        for (index, (partition, end)) in (0_u32..).zip(&job.ends) {
            let mut from = Some(0);
            while let Some(at) = from.filter(|_| left > 0 && !task.is_cancelled()) {
                let most = u32::try_from(left).unwrap_or(u32::MAX).min(group);
                let (records, next) = self.some(job, (index, *end), at, most).await?;
                from = next;
                let now_ms = self.broker.now().wall.0;
                let mut going = Vec::new();
                for one in records {
                    match job.fate(one, self, now_ms) {
                        Fate::Goes(one) => going.push(one),
                        Fate::Unselected => task.count(|shown| shown.unselected += 1),
                        Fate::Stays => task.count(|shown| shown.skipped += 1),
                    }
                }
                let count = u64::try_from(going.len()).unwrap_or(u64::MAX);
                let moved = self.move_all(job, *partition, going).await?;
                left = left.saturating_sub(moved);
                task.count(|shown| {
                    shown.moved += moved;
                    shown.skipped += count - moved;
                });
                if let Some(rate) = job.rate {
                    let due = began + task.shown().moved * 1_000 / u64::from(rate);
                    let early = due.saturating_sub(self.broker.now().elapsed.0);
                    tokio::time::sleep(Duration::from_millis(early)).await;
                }
            }
        }
        Ok(())
    }

    /// Moves records, all in one frame if that can be; how many went.
    async fn move_all(
        &self,
        job: &Job,
        partition: PartitionId,
        going: Vec<Going>,
    ) -> Result<u64, Refusal> {
        match self.move_together(job, partition, &going).await {
            Ok(()) => return Ok(u64::try_from(going.len()).unwrap_or(u64::MAX)),
            Err(Not::Ever(why)) => return Err(why),
            Err(Not::Together) if going.len() == 1 => return Ok(0),
            Err(Not::Together) => {}
        }
        let mut moved = 0;
        for one in going {
            match self.move_together(job, partition, &[one]).await {
                Ok(()) => moved += 1,
                Err(Not::Together) => {}
                Err(Not::Ever(why)) => return Err(why),
            }
        }
        Ok(moved)
    }

    async fn move_together(
        &self,
        job: &Job,
        partition: PartitionId,
        going: &[Going],
    ) -> Result<(), Not> {
        if going.is_empty() {
            return Ok(());
        }
        for _ in 0..BUSY_TRIES {
            let atomic = Atomic {
                append: self.batches(going)?,
                settle: Vec::new(),
                take: vec![Take {
                    subscription: SubscriptionRef::Id(job.subscription),
                    partition,
                    spans: spans(going.iter().map(|one| one.offset)),
                }],
            };
            let reply = self.ask(Request::Atomic(Box::new(atomic))).await;
            let Reply::Atomic(done) = reply.map_err(Not::Ever)? else {
                return Err(Not::Ever(unexpected()));
            };
            match done {
                Ok(_) => return Ok(()),
                Err(AtomicRefusal::Settle(SettleRefusal::Queue(
                    QueueRefusal::NotWaiting { .. } | QueueRefusal::Nothing,
                ))) => return Err(Not::Together),
                Err(AtomicRefusal::Append(
                    AppendRefusal::FactsOwed
                    | AppendRefusal::Overloaded
                    | AppendRefusal::DiskFull
                    | AppendRefusal::QueueFull { .. },
                )) => tokio::time::sleep(BUSY).await,
                Err(AtomicRefusal::Append(why)) => return Err(Not::Ever(append_refusal(&why))),
                Err(why) => {
                    let detail = format!("\"{}\": {why}", job.name);
                    return Err(Not::Ever(Refusal::new(Code::SubscriptionUnknown, detail)));
                }
            }
        }
        let detail = "where records are to go nothing was taken for half a minute";
        Err(Not::Ever(Refusal::new(Code::QueueFull, detail)))
    }

    /// The records in batches, one for each partition.
    fn batches(&self, going: &[Going]) -> Result<Vec<AppendPartition>, Not> {
        let catalog = self.broker.catalog();
        let now = i64::try_from(self.broker.now().wall.0).unwrap_or(i64::MAX);
        let mut by_topic: BTreeMap<TopicId, Vec<&Going>> = BTreeMap::new();
        for one in going {
            by_topic.entry(one.topic).or_default().push(one);
        }
        let mut append = Vec::new();
        for (id, records) in by_topic {
            let topic = catalog.topic_by_id(id).ok_or(Not::Together)?;
            let needed = catalog.needed(topic);
            let mut batches = Batches::new(&topic.settings, now);
            for one in records {
                batches.add(one.partition, &one.record);
            }
            let mut before = None;
            let mut batches: Vec<(u32, Batch)> = batches.finish();
            batches.sort_by_key(|(partition, _)| *partition);
            for (partition, batch) in batches {
                let most = usize::try_from(topic.settings.message_bytes_max).unwrap_or(usize::MAX);
                let to = topic.partitions.get(partition as usize).copied();
                let (Some(to), true) = (to, batch.bytes.len() <= most) else {
                    return Err(Not::Together);
                };
                // What does not fit one batch does not fit one frame.
                if before.replace(partition) == Some(partition) {
                    return Err(Not::Together);
                }
                let records = batch.records(DecodeLimits::default());
                let records = records.map_err(|_unreadable| Not::Together)?;
                append.push(AppendPartition {
                    partition: to,
                    facts: work_out_moved(&records, &needed).encode().into(),
                    batch,
                });
            }
        }
        Ok(append)
    }
}

//! Subscriptions as a broker has them, and their machines before and after a replay.

use std::collections::{BTreeMap, BTreeSet};

use mulgil_broker::request::{Reply, Request};
use mulgil_broker::subscription::{
    BROWSE_MAX, Browse, PartitionPicture, SubscriptionName, SubscriptionPicture, SubscriptionRef,
    SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
};
use mulgil_core::machine::Now;
use mulgil_core::queue::Subscription as Queue;
use mulgil_meta::schema::Durability;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId};

use crate::ledger::{Ledger, PartitionView, QueueView, Standing};
use crate::process::Process;
use crate::violation::{Kept, Rule, Violation};

fn unreadable(name: &SubscriptionName, what: &str) -> Violation {
    let what = format!("subscription {name:?} cannot be looked at: {what}");
    Violation::new(Rule::QueueKept, what)
}

/// All subscriptions that anybody was told of.
///
/// # Errors
///
/// If they cannot be looked at.
pub(super) fn view(
    process: &mut Process,
    ledger: &Ledger,
    (parts, now): (&BTreeMap<PartitionId, PartitionView>, Now),
) -> Result<BTreeMap<SubscriptionName, QueueView>, Violation> {
    let mut all = BTreeMap::new();
    for name in ledger.queues.names() {
        let ask = SubscriptionRequest::Describe(SubscriptionRef::Name(name.clone()));
        let described = match process.ask_now(Request::Subscription(ask), now) {
            Some(Reply::Subscription(SubscriptionReply::Described(described))) => described,
            other => return Err(unreadable(name, &format!("{other:?}"))),
        };
        match described {
            Ok(picture) => {
                all.insert(
                    name.clone(),
                    unsettled(process, name, &picture, (parts, now))?,
                );
            }
            Err(SubscriptionRefusal::Unknown) => {}
            Err(other) => return Err(unreadable(name, &other.to_string())),
        }
    }
    Ok(all)
}

/// Offsets that a look at all of a partition takes one by one. A topic that did not sync once may have
/// millions of offsets that hold nothing.
const OFFSETS_MAX: i64 = 50_000;

/// The stretches of offsets to look at, each with its end.
fn stretches(
    one: &PartitionPicture,
    parts: &BTreeMap<PartitionId, PartitionView>,
) -> Vec<(Offset, Offset)> {
    if one.end.0 - one.start.0 <= OFFSETS_MAX {
        return vec![(one.start, one.end)];
    }
    let found = parts.get(&one.partition).map(|part| &part.found);
    let batches = found.into_iter().flatten();
    let batches = batches.map(|batch| (batch.base.max(one.start.0), batch.last + 1));
    batches
        .map(|(from, end)| (Offset(from), Offset(end)))
        .collect()
}

fn unsettled(
    process: &mut Process,
    name: &SubscriptionName,
    picture: &SubscriptionPicture,
    (parts, now): (&BTreeMap<PartitionId, PartitionView>, Now),
) -> Result<QueueView, Violation> {
    let mut unsettled = BTreeMap::new();
    for one in &picture.partitions {
        for (mut from, end) in stretches(one, parts) {
            while from < end {
                let most = u32::try_from(end.0 - from.0).unwrap_or(BROWSE_MAX);
                let ask = SubscriptionRequest::Browse(Browse {
                    subscription: SubscriptionRef::Name(name.clone()),
                    partition: Some(one.partition),
                    from,
                    most: most.min(BROWSE_MAX),
                });
                let browsed = match process.ask_now(Request::Subscription(ask), now) {
                    Some(Reply::Subscription(SubscriptionReply::Browsed(Ok(browsed)))) => browsed,
                    other => return Err(unreadable(name, &format!("{other:?}"))),
                };
                let records = browsed.records.iter();
                unsettled.extend(records.map(|record| {
                    let standing = Standing {
                        state: record.state,
                        tries: record.tries,
                    };
                    ((one.partition, record.offset), standing)
                }));
                from = browsed.next.unwrap_or(end);
            }
        }
    }
    Ok(QueueView {
        subscription: picture.subscription.clone(),
        unsettled,
    })
}

type Machines<'a> = BTreeMap<(SubscriptionId, PartitionId), &'a Queue>;

/// The machines of partitions that sync.
fn machines(process: &Process) -> Machines<'_> {
    let catalog = process.lane().catalog();
    let topics = catalog.by_id.values();
    let synced = topics.filter(|topic| topic.settings.durability == Durability::Fsync);
    let synced: BTreeSet<_> = synced.flat_map(|topic| topic.partitions.clone()).collect();
    let all = process.lane().queue_machines();
    let all = all.filter(|(_, partition, _)| synced.contains(partition));
    all.map(|(id, partition, machine)| ((id, partition), machine))
        .collect()
}

/// The law of restart for subscriptions.
pub(super) fn law_of_restart(before: &Process, after: &Process) -> Kept {
    let (was, is) = (machines(before), machines(after));
    if was == is {
        return Ok(());
    }
    let differ = was
        .iter()
        .find(|(key, machine)| is.get(*key) != Some(*machine));
    let what = match differ {
        Some((key, machine)) => format!("{key:?} was {machine:?} and is {:?}", is.get(key)),
        None => "there are machines that were not there".to_owned(),
    };
    Err(Violation::new(Rule::LawOfRestart, what))
}

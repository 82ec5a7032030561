//! Reads all that a broker has, and compares it with what the ledger knows.

use mulgil_broker::request::{
    FindOffset, Isolation, Read, ReadOut, ReadPartition, ReadRefusal, Reply, Request, Seek,
};
use mulgil_core::machine::{Machine, Now};
use mulgil_core::partition::{Change, Partition};
use mulgil_meta::schema::Durability;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId};

use crate::ledger::{Found, GRAVEYARD, Ledger, PartitionView, View};
use crate::planted::Planted;
use crate::process::Process;
use crate::violation::{Kept, Rule, Violation};

mod graves;
mod groups;
mod queues;

/// Most reads of one partition: a partition that never ends is a bug too.
const READS_MAX: usize = 100_000;

/// Whether topics have the levels that were asked for.
#[must_use]
pub fn levels_are_real(planted: Option<Planted>) -> bool {
    planted != Some(Planted::WatermarkAtWrite)
}

/// Reads everything that `process` has.
///
/// # Errors
///
/// If something is not as it was produced, or a read does not work. Damage is no error here.
pub fn view(
    process: &mut Process,
    ledger: &Ledger,
    now: Now,
    levels: bool,
) -> Result<View, Violation> {
    let catalog = process.catalog.clone();
    let mut view = View {
        levels,
        ..View::default()
    };
    for topic in catalog.by_id.values() {
        for partition in &topic.partitions {
            if topic.id == GRAVEYARD {
                view.graves = graves::view(process, ledger, *partition, now)?;
                continue;
            }
            let all = read_all(process, ledger, *partition, now)?;
            check_times(process, *partition, &all, now)?;
            view.partitions.insert(*partition, all);
        }
    }
    view.catalog = catalog;
    view.elapsed = now.elapsed.0;
    view.groups = groups::offsets(process, now)?;
    view.queues = queues::view(process, ledger, (&view.partitions, now))?;
    Ok(view)
}

fn unreadable(partition: PartitionId, what: &str) -> Violation {
    Violation::new(
        Rule::ReadsAll,
        format!("partition {partition} cannot be read: {what}"),
    )
}

fn read_at(
    process: &mut Process,
    partition: PartitionId,
    offset: i64,
    now: Now,
) -> Result<Result<ReadOut, ReadRefusal>, Violation> {
    let part = ReadPartition {
        partition,
        offset: Offset(offset),
        bytes_max: 64 << 10,
        leader_epoch: None,
        last_epoch: None,
    };
    let read = Read {
        partitions: vec![part],
        bytes_min: 0,
        wait_ms: 0,
        bytes_max: 64 << 10,
        isolation: Isolation::Uncommitted,
    };
    match process.ask_now(Request::Read(read), now) {
        Some(Reply::Read(mut outcomes)) if outcomes.len() == 1 => outcomes
            .pop()
            .ok_or_else(|| unreadable(partition, "no answer")),
        other => Err(unreadable(partition, &format!("{other:?}"))),
    }
}

fn read_all(
    process: &mut Process,
    ledger: &Ledger,
    partition: PartitionId,
    now: Now,
) -> Result<PartitionView, Violation> {
    let figures = process.lane().partition_figures(partition);
    let figures = figures.ok_or_else(|| unreadable(partition, "it does not live here"))?;
    let mut all = PartitionView {
        start: figures.start.0,
        high_watermark: figures.high_watermark.0,
        ..PartitionView::default()
    };
    let mut next = all.start;
    for _ in 0..READS_MAX {
        match read_at(process, partition, next, now)? {
            Ok(out) => {
                if (out.log_start.0, out.high_watermark.0) != (all.start, all.high_watermark) {
                    return Err(unreadable(
                        partition,
                        "its ends move while nobody moves them",
                    ));
                }
                let Some(last) = take(ledger, partition, next, &out, &mut all.found)? else {
                    return Ok(all);
                };
                next = last + 1;
            }
            Err(ReadRefusal::Damaged { base, last }) if last.0 >= next => {
                all.damaged.push((base.0, last.0));
                next = last.0 + 1;
            }
            Err(refusal) => return Err(unreadable(partition, &refusal.to_string())),
        }
    }
    Err(unreadable(partition, "it never ends"))
}

/// Takes the batches of one read; the last offset among them, if there are any.
fn take(
    ledger: &Ledger,
    partition: PartitionId,
    from: i64,
    out: &ReadOut,
    into: &mut Vec<Found>,
) -> Result<Option<i64>, Violation> {
    let mut next = from;
    for bytes in &out.batches {
        let found = ledger.recognise(partition, bytes)?;
        if found.last < next || found.last >= out.high_watermark.0 {
            let what = format!(
                "{found:?} where {next} was next, below {}",
                out.high_watermark
            );
            return Err(unreadable(partition, &what));
        }
        next = found.last + 1;
        into.push(found);
    }
    Ok((!out.batches.is_empty()).then_some(next - 1))
}

/// Finding offsets by their ends and by time gives what reading gives.
fn check_times(process: &mut Process, id: PartitionId, all: &PartitionView, now: Now) -> Kept {
    if !all.damaged.is_empty() {
        return Ok(());
    }
    let mut wanted = vec![
        (Seek::Earliest, Some(all.start)),
        (Seek::Latest, Some(all.high_watermark)),
    ];
    let middle = all.found.get(all.found.len() / 2);
    if let Some(middle) = middle {
        let time = middle.name.timestamp();
        let there = |found: &Found| found.records();
        let records = || {
            all.found
                .iter()
                .flat_map(there)
                .filter(|(_, offset, _)| *offset >= all.start)
        };
        let mut first = records().filter(|(.., timestamp)| *timestamp >= time);
        let at = first.next().map(|(_, offset, _)| offset);
        wanted.push((Seek::Time(time), at));
        let newest = records().max_by_key(|(_, offset, timestamp)| (*timestamp, -offset));
        wanted.push((Seek::MaxTimestamp, newest.map(|(_, offset, _)| offset)));
    }
    let find = wanted.iter().map(|(seek, _)| FindOffset {
        partition: id,
        seek: *seek,
        isolation: Isolation::Uncommitted,
        leader_epoch: None,
    });
    let find = find.collect();
    let Some(Reply::FindOffsets(outcomes)) = process.ask_now(Request::FindOffsets(find), now)
    else {
        return Err(unreadable(id, "offsets cannot be found"));
    };
    for ((seek, wanted), outcome) in wanted.iter().zip(&outcomes) {
        let found = outcome
            .as_ref()
            .ok()
            .and_then(|found| found.offset)
            .map(|offset| offset.0);
        if outcome.is_err() || found != *wanted {
            let what = format!("{seek:?} is found at {outcome:?}, and is at {wanted:?}");
            return Err(unreadable(id, &what));
        }
    }
    Ok(())
}

/// What a start makes of a machine whose changes are all in the log.
fn restarted(machine: &Partition, level: Durability, epoch: LeaderEpoch) -> Partition {
    let mut machine = machine.clone();
    let next = machine.next.max(machine.ceiling);
    machine.apply(&Change::Resumed { next, epoch });
    if level == Durability::Memory {
        machine.apply(&Change::Trimmed { to: next });
    }
    machine
}

/// The fields in which two machines differ.
fn difference(was: &Partition, is: &Partition) -> String {
    let ends = |m: &Partition| (m.start, m.next, m.ceiling, m.leader_epoch, m.max_timestamp);
    let mut parts = Vec::new();
    if ends(was) != ends(is) {
        parts.push(format!("ends were {:?} and are {:?}", ends(was), ends(is)));
    }
    if was.epochs != is.epochs {
        parts.push(format!(
            "epochs were {:?} and are {:?}",
            was.epochs, is.epochs
        ));
    }
    for (id, producer) in &was.producers {
        if is.producers.get(id) != Some(producer) {
            let now = is.producers.get(id);
            parts.push(format!("producer {} was {producer:?} and is {now:?}", id.0));
        }
    }
    parts.join("; ")
}

/// The law of restart: `after`, which replayed the log of `before`, has the same machines.
///
/// # Errors
///
/// If it has others.
pub fn law_of_restart(before: &Process, after: &Process) -> Kept {
    let broken = |what: String| Err(Violation::new(Rule::LawOfRestart, what));
    let (was, is) = (before.lane().catalog(), after.lane().catalog());
    if was.by_id != is.by_id {
        return broken(format!(
            "topics were {:?} and are {:?}",
            was.by_id, is.by_id
        ));
    }
    for topic in was.by_id.values() {
        for id in &topic.partitions {
            let machines = (before.lane().machine(*id), after.lane().machine(*id));
            let (Some(live), Some(replayed)) = machines else {
                return broken(format!("partition {id} does not live in both"));
            };
            let expected = restarted(live, topic.settings.durability, is.leader_epoch);
            if expected != *replayed {
                return broken(format!(
                    "partition {id}: {}",
                    difference(&expected, replayed)
                ));
            }
        }
    }
    queues::law_of_restart(before, after)?;
    groups::law_of_restart(before, after)
}

//! What lies in the dead-letter topic, and what it tells of its death.

use mulgil_broker::death::{DeathRecord, HEADER};
use mulgil_broker::request::ReadRefusal;
use mulgil_core::machine::Now;
use mulgil_record::batch::{Batch, DecodeLimits, Record};
use mulgil_record::ids::PartitionId;

use super::{READS_MAX, read_at, unreadable};
use crate::ledger::{Grave, Ledger};
use crate::process::Process;
use crate::violation::{Rule, Violation};

/// All records of a dead-letter partition that are not damaged, in order.
///
/// # Errors
///
/// If they can't be read, or one does not tell of its death, or is not what was sent.
pub(super) fn view(
    process: &mut Process,
    ledger: &Ledger,
    partition: PartitionId,
    now: Now,
) -> Result<Vec<Grave>, Violation> {
    let figures = process.lane().partition_figures(partition);
    let figures = figures.ok_or_else(|| unreadable(partition, "it does not live here"))?;
    let mut next = figures.start.0;
    let mut graves = Vec::new();
    for _ in 0..READS_MAX {
        let out = match read_at(process, partition, next, now)? {
            Ok(out) => out,
            Err(ReadRefusal::Damaged { last, .. }) if last.0 >= next => {
                next = last.0 + 1;
                continue;
            }
            Err(refusal) => return Err(unreadable(partition, &refusal.to_string())),
        };
        if out.batches.is_empty() {
            return Ok(graves);
        }
        for bytes in out.batches {
            let batch = Batch::check(bytes).map_err(|why| odd(next, &why))?;
            let records = batch.records(DecodeLimits::default());
            let records = records.map_err(|why| odd(next, &why))?;
            for index in 0..records.len() {
                let record = records.get(index).ok_or_else(|| odd(next, &"no record"))?;
                graves.push(grave(ledger, next, &record)?);
            }
            next = batch.header.last_offset().0 + 1;
        }
    }
    Err(unreadable(partition, "it never ends"))
}

fn odd(at: i64, why: &dyn core::fmt::Display) -> Violation {
    let what = format!("record {at} of the dead-letter topic: {why}");
    Violation::new(Rule::OneGrave, what)
}

fn grave(ledger: &Ledger, at: i64, record: &Record) -> Result<Grave, Violation> {
    let mut deaths = record.headers.iter();
    let death = match (deaths.next(), deaths.next()) {
        (Some((key, Some(value))), None) if key.as_ref() == HEADER.as_bytes() => {
            DeathRecord::read(value)
        }
        _ => None,
    };
    let death = death.ok_or_else(|| odd(at, &"it does not tell of one death"))?;
    if !ledger.was_sent(death.timestamp_ms, record) {
        return Err(odd(at, &format!("it is not what was sent: {death:?}")));
    }
    Ok(Grave { death })
}

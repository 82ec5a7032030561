//! Scripts of a partition.

use std::fmt::Write as _;

use mulgil_core::machine::{Elapsed, Keep, Now, WallTime};
use mulgil_core::partition::{Change, Command, Effect, Partition, Refusal, Sequence};
use mulgil_record::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::law::Twin;
use crate::script::{Line, millis};

/// A partition under a script.
pub(crate) struct PartitionScript {
    twin: Twin<Partition>,
    elapsed: u64,
}

/// An empty partition.
pub(crate) fn new() -> PartitionScript {
    PartitionScript {
        twin: Twin::new(Partition::new(LeaderEpoch(0)), |change| *change),
        elapsed: 0,
    }
}

/// Runs one line.
pub(crate) fn run(script: &mut PartitionScript, line: &Line<'_>, out: &mut String) {
    match line.verb {
        "append" => decide(script, append(line), out),
        "trim" => {
            let to = Offset(line.number("to").expect("to="));
            decide(script, Command::Trim { to }, out);
        }
        "wait" => script.elapsed += millis(line.word()),
        "expire-producers" => {
            let age = millis(line.get("silent").expect("silent="));
            let before = Elapsed(script.elapsed - age);
            decide(script, Command::ExpireProducers { before }, out);
        }
        "resume" => {
            let next = Offset(line.number("next").expect("next="));
            let epoch = LeaderEpoch(line.number("epoch").expect("epoch="));
            let change = Change::Resumed { next, epoch };
            script.twin.apply(Keep::Riding, &change);
        }
        "restart" => script.twin.restart(),
        "end-of-epoch" => {
            let epoch = LeaderEpoch(line.word().parse().expect("an epoch"));
            match script.twin.live.end_of_epoch(epoch) {
                Some((epoch, end)) => writeln!(out, "epoch {} ends at {end}", epoch.0),
                None => writeln!(out, "unknown"),
            }
            .expect("a string");
        }
        "show" => show(&script.twin.live, out),
        verb => panic_on(verb),
    }
}

fn panic_on(verb: &str) {
    assert!(verb.is_empty(), "no such command: {verb}");
}

fn append(line: &Line<'_>) -> Command {
    let records: u32 = line.number("records").unwrap_or(1);
    let sequence = line.number("producer").map(|producer| {
        let first: i32 = line.number("first").expect("first=");
        Sequence {
            producer: ProducerId(producer),
            epoch: ProducerEpoch(line.number("epoch").unwrap_or(0)),
            first,
            last: first + i32::try_from(records).expect("few records") - 1,
        }
    });
    Command::Append {
        records,
        max_timestamp: line.number("timestamp").unwrap_or(-1),
        sequence,
    }
}

fn decide(script: &mut PartitionScript, command: Command, out: &mut String) {
    let now = Now {
        elapsed: Elapsed(script.elapsed),
        // Nothing of a partition hangs on dates.
        wall: WallTime(0),
    };
    let printed = match script.twin.step(command, now) {
        Ok(decision) => {
            for (_, change) in &decision.changes {
                if let Change::ProducerExpired { producer } = change {
                    writeln!(out, "log producer {} forgotten", producer.0).expect("a string");
                }
            }
            let effects = decision.effects.iter().map(|(_, effect)| effect);
            effects.map(print).collect::<String>()
        }
        Err(refusal) => refused(refusal),
    };
    out.push_str(&printed);
}

fn refused(refusal: Refusal) -> String {
    format!("refused: {refusal}\n")
}

fn print(effect: &Effect) -> String {
    match effect {
        Effect::Taken { base } => format!("taken base={base}\n"),
        Effect::Duplicate { base } => format!("duplicate base={base}\n"),
        Effect::Started { at } => format!("starts at {at}\n"),
    }
}

fn show(partition: &Partition, out: &mut String) {
    let (start, next) = (partition.start, partition.next);
    let epochs: Vec<String> = partition
        .epochs
        .iter()
        .map(|(epoch, at)| format!("{}@{at}", epoch.0))
        .collect();
    let epochs = epochs.join(" ");
    writeln!(out, "start={start} next={next} epochs=[{epochs}]").expect("a string");
}

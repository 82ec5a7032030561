//! Append here and settle there, in one frame.
//!
//! Everything is asked first and done then, within one visit and one frame that is not cut in between: so
//! nothing of it can be refused half-way, and a crash leaves all of it or nothing.

use std::collections::BTreeSet;

use mulgil_core::machine::{Decision, Machine, Now};
use mulgil_core::queue::{Command, Span};
use mulgil_record::ids::PartitionId;

use super::append::sequence_of;
use super::subscriptions::{Key, settle_command};
use super::{Due, Lane, Turn};
use crate::request::{Appended, Atomic, AtomicRefusal, Reply};
use crate::subscription::{SETTLEMENTS_MAX, SettleRefusal, SubscriptionRefusal};

/// What is said to one machine.
struct Said {
    key: Key,
    span: Span,
    command: Command,
}

impl Lane {
    pub(super) fn atomic(&mut self, ask: &Atomic, now: Now, turn: &mut Turn) -> (Due, Reply) {
        self.log.cut(now);
        let done = match self.check_atomic(ask, now) {
            Ok(said) => self.do_atomic(ask, said, now, turn),
            // What it was refused for may be on its way to the disk.
            Err(why) => {
                let due = self.unknown_due();
                return (due, Reply::Atomic(Err(why)));
            }
        };
        let (due, appended) = done;
        (due, Reply::Atomic(Ok(appended)))
    }

    /// Asks everybody.
    fn check_atomic(&mut self, ask: &Atomic, now: Now) -> Result<Vec<Said>, AtomicRefusal> {
        let mut partitions = BTreeSet::new();
        for part in &ask.append {
            if !partitions.insert(part.partition) {
                return Err(AtomicRefusal::Mixed("two batches for one partition"));
            }
            if sequence_of(&part.batch).is_some() {
                let why = "a batch of an idempotent producer";
                return Err(AtomicRefusal::Mixed(why));
            }
            self.check_append(part.partition, &part.batch, &part.facts, now)?;
        }
        let said = self.said(ask)?;
        let records = said.iter().map(|one| one.span.count().max(1));
        let records = records.fold(0, u64::saturating_add);
        if records > SETTLEMENTS_MAX as u64 {
            let (asked, most) = (records, SETTLEMENTS_MAX as u64);
            let what = "records settled at once";
            return Err(SubscriptionRefusal::Amount { what, asked, most }.into());
        }
        let mut places: Vec<_> = { said.iter() }
            .map(|one| (one.key, one.span.first, one.span.end))
            .collect();
        places.sort_unstable();
        let twice = |pair: &[(Key, _, _)]| matches!(pair, [(one, _, end), (other, first, _)] if one == other && first < end);
        if places.windows(2).any(twice) {
            return Err(AtomicRefusal::Mixed("a record twice"));
        }
        for one in &said {
            self.check_said(one, now)?;
        }
        Ok(said)
    }

    fn said(&self, ask: &Atomic) -> Result<Vec<Said>, AtomicRefusal> {
        let mut said = Vec::new();
        for settle in &ask.settle {
            let id = self.find_subscription(&settle.subscription)?.id;
            for item in &settle.items {
                said.push(Said {
                    key: (id, item.partition),
                    span: item.span,
                    command: settle_command(item.clone())?,
                });
            }
        }
        for take in &ask.take {
            let id = self.find_subscription(&take.subscription)?.id;
            said.extend(take.spans.iter().map(|span| Said {
                key: (id, take.partition),
                span: *span,
                command: Command::Take(*span),
            }));
        }
        Ok(said)
    }

    fn check_said(&mut self, said: &Said, now: Now) -> Result<(), AtomicRefusal> {
        let date = self.log.dates.stamp(now);
        let machine = self.subscriptions.machine(said.key);
        let unknown = || SettleRefusal::UnknownPartition(said.key.1);
        let machine = machine.ok_or_else(unknown)?;
        let mut tried = Decision::default();
        let decided = machine.decide(said.command.clone(), date, &mut tried);
        decided.map_err(|why| SettleRefusal::Queue(why).into())
    }

    /// Does what nobody minds.
    fn do_atomic(
        &mut self,
        ask: &Atomic,
        said: Vec<Said>,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, Vec<Appended>) {
        let (mut due, mut appended) = (Due::NOW, Vec::with_capacity(ask.append.len()));
        let mut turned: BTreeSet<Key> = BTreeSet::new();
        for one in said {
            self.command_queue(one.key, one.command, now, turn);
            turned.insert(one.key);
        }
        for part in &ask.append {
            match self.append_checked(part.partition, &part.batch, &part.facts, now) {
                Ok((at, waits)) => {
                    due = due.and(waits);
                    appended.push(at);
                }
                Err(why) => self.never_refused(part.partition, &why),
            }
        }
        for key in turned {
            due = due.and(self.queue_due(key));
        }
        (due, appended)
    }

    /// A batch that was checked within the same visit is taken; another one would be lost here.
    fn never_refused(&self, partition: PartitionId, why: &dyn std::fmt::Display) {
        debug_assert!(false, "{why}");
        tracing::error!(%why, partition = partition.0, "a batch that was checked is refused");
    }
}

//! How fast the machine of subscriptions is by itself: `cargo run --release -p mulgil-core --example
//! queue_speed`. One thread, no broker, no disk. Not a test: its figures are for people.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for people measures time and prints"
)]

use std::time::Instant;

use mulgil_core::machine::{Decision, Elapsed, Machine as _, Now, WallTime};
use mulgil_core::queue::{
    Append, Attach, Change, Claim, Command, ConsumerId, Effect, Grant, LockTerm, Outcome, Settings,
    Settle, Span, Subscription,
};
use mulgil_record::ids::Offset;

const RECORDS: u32 = 4_000_000;

struct Bench {
    queue: Subscription,
    decision: Decision<Change, Effect>,
    settled: i64,
}

impl Bench {
    fn ask(&mut self, command: Command) {
        self.decision.changes.clear();
        self.decision.effects.clear();
        let now = Now {
            elapsed: Elapsed(1),
            wall: WallTime(1),
        };
        let result = self.queue.decide(command, now, &mut self.decision);
        result.expect("nothing is refused here");
        for (_, change) in &self.decision.changes {
            self.queue.apply(change);
        }
    }

    /// `batch` records are appended, handed out and accepted; `behind` stay in flight.
    fn turn(&mut self, batch: u32, behind: i64, consumers: u64) {
        let span = Span::new(self.queue.end(), batch);
        let at = WallTime(1);
        self.ask(Command::Append(Append {
            span,
            at,
            facts: None,
            filter: None,
        }));
        let consumer = ConsumerId(1 + u64::try_from(span.first.0).unwrap_or(0) % consumers);
        self.ask(Command::Grant(Grant {
            consumer,
            credit: batch,
            once_until: None,
        }));
        self.ask(Command::Tick);
        let delivered = core::mem::take(&mut self.decision.effects);
        if span.first.0 - self.settled >= behind {
            let first = Offset(self.settled);
            let by = ConsumerId(1 + u64::try_from(first.0).unwrap_or(0) % consumers);
            self.ask(Command::Settle(Settle {
                claim: Claim::Holder(by),
                span: Span::new(first, batch),
                outcome: Outcome::Accept,
            }));
            self.settled += i64::from(batch);
        }
        self.decision.effects = delivered;
    }
}

fn run(name: &str, batch: u32, behind: i64, consumers: u64, lock: LockTerm) {
    let mut bench = Bench {
        queue: Subscription::new(Settings::default(), Offset(0)),
        decision: Decision::default(),
        settled: 0,
    };
    for consumer in 1..=consumers {
        bench.ask(Command::Attach(Attach {
            consumer: ConsumerId(consumer),
            priority: 0,
            exclusive: false,
            lock,
        }));
    }
    let started = Instant::now();
    for _ in 0..RECORDS / batch {
        bench.turn(batch, behind, consumers);
    }
    let took = started.elapsed();
    let each = took.as_nanos() / u128::from(RECORDS);
    let rate = f64::from(RECORDS) / took.as_secs_f64() / 1e6;
    println!("{name:<48} {each:>5} ns a record, {rate:>6.2} M a second");
}

fn main() {
    let bound = LockTerm::Attached;
    let timed = LockTerm::AttachedFor(30_000);
    let outliving = LockTerm::Outliving(30_000);
    run("one by one, nothing in flight", 1, 0, 1, bound);
    run("one by one, 1,000 in flight", 1, 1_000, 1, bound);
    run("one by one, 100,000 in flight", 1, 100_000, 1, bound);
    run(
        "one by one, 1,000 in flight, 100 consumers",
        1,
        1_000,
        100,
        bound,
    );
    run(
        "one by one, 1,000 in flight, timed locks",
        1,
        1_000,
        1,
        timed,
    );
    run(
        "one by one, 1,000 in flight, outliving locks",
        1,
        1_000,
        1,
        outliving,
    );
    run("batches of 100, 1,000 in flight", 100, 1_000, 1, bound);
}

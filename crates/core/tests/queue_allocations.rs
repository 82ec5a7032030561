//! In steady state a subscription allocates nothing, and what waits costs next to nothing.
//!
//! The allocator of this test counts what is allocated and what is held. Everything runs in one test, so
//! that no other thread is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mulgil_core::machine::{Decision, Elapsed, Machine as _, Now, WallTime};
use mulgil_core::queue::{
    Append, Attach, Change, Claim, Command, ConsumerId, Effect, Grant, LockEpoch, LockTerm,
    Outcome, Settings, Settle, Span, Subscription,
};
use mulgil_record::facts::{Columns, Facts};
use mulgil_record::ids::{LeaderEpoch, Offset};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(unsafe_code, reason = "the only way to see allocations")]
// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CONSUMER: ConsumerId = ConsumerId(1);

/// A subscription and its shell, which hands the same decision in again and again.
struct Shell {
    queue: Subscription,
    decision: Decision<Change, Effect>,
    ms: u64,
}

impl Shell {
    fn new(lock: LockTerm) -> Self {
        let mut shell = Self {
            queue: Subscription::new(Settings::default(), Offset(0)),
            decision: Decision::default(),
            ms: 0,
        };
        shell.ask(Command::Attach(Attach {
            consumer: CONSUMER,
            priority: 0,
            exclusive: false,
            lock,
        }));
        shell
    }

    fn ask(&mut self, command: Command) {
        self.decision.changes.clear();
        self.decision.effects.clear();
        self.decision.again = false;
        self.ms += 1;
        let now = Now {
            elapsed: Elapsed(self.ms / 64),
            wall: WallTime(self.ms / 64),
        };
        let result = self.queue.decide(command, now, &mut self.decision);
        assert_eq!(result, Ok(()));
        for (_, change) in &self.decision.changes {
            self.queue.apply(change);
        }
    }

    fn append(&mut self, count: u32) {
        self.append_with(count, None);
    }

    fn append_with(&mut self, count: u32, facts: Option<Arc<Facts>>) {
        let span = Span::new(self.queue.end(), count);
        let at = WallTime(0);
        self.ask(Command::Append(Append { span, at, facts }));
    }

    fn grant(&mut self, credit: u32) {
        self.ask(Command::Grant(Grant {
            consumer: CONSUMER,
            credit,
            once_until: None,
        }));
    }

    /// Hands out all that credit reaches.
    fn deliver(&mut self) {
        self.ask(Command::Tick);
        while self.decision.again {
            self.ask(Command::Tick);
        }
    }

    fn settle(&mut self, first: i64, count: u32, outcome: Outcome) {
        let span = Span::new(Offset(first), count);
        self.ask(Command::Settle(Settle {
            claim: Claim::Holder(CONSUMER),
            span,
            outcome,
        }));
    }
}

/// One record at a time, with a hundred in flight, settled out of order by pairs.
fn steady(shell: &mut Shell, records: i64) {
    for _ in 0..records / 2 {
        shell.append(1);
        shell.append(1);
        shell.grant(2);
        shell.deliver();
        let oldest = shell.queue.end().0 - 100;
        if oldest >= 0 {
            shell.settle(oldest + 1, 1, Outcome::Accept);
            shell.settle(oldest, 1, Outcome::Accept);
        }
    }
}

fn no_allocation(what: &str, work: impl FnOnce()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    let more = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(more, 0, "{what} allocates {more} times");
}

fn held_by<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Ordering::Relaxed);
    let made = make();
    (made, HELD.load(Ordering::Relaxed) - before)
}

fn steady_state_allocates_nothing() {
    let terms = [
        LockTerm::Attached,
        LockTerm::AttachedFor(30_000),
        LockTerm::Outliving(30_000),
    ];
    for lock in terms {
        let mut shell = Shell::new(lock);
        // Longer than two blocks of offsets, so that every kind of block was there once.
        steady(&mut shell, 200_000);
        no_allocation("steady state", || steady(&mut shell, 200_000));
    }
}

/// Ten million wait.
fn what_waits_costs_nothing() {
    const RECORDS: u32 = 10_000_000;
    let (_waiting, bytes) = held_by(|| {
        let mut shell = Shell::new(LockTerm::Attached);
        (0..RECORDS / 1_000).for_each(|_| shell.append(1_000));
        shell
    });
    assert!(bytes < 100_000, "{bytes} bytes for plain records");
    let (mut shell, bytes) = held_by(|| {
        let mut shell = Shell::new(LockTerm::Attached);
        let records = i64::from(RECORDS);
        (0..RECORDS / 1_000).for_each(|_| shell.append(1_000));
        let epoch = LockEpoch {
            leader: LeaderEpoch(0),
            number: 0,
        };
        for at in (0..records).step_by(2) {
            shell.ask(Command::Settle(Settle {
                claim: Claim::OldReceipt(epoch),
                span: Span::one(Offset(at)),
                outcome: Outcome::Accept,
            }));
        }
        shell
    });
    // Two sets of bits.
    let bits = usize::try_from(RECORDS).expect("fits") / 4;
    assert!(
        bytes < bits + 200_000,
        "{bytes} bytes, every second accepted"
    );
    let (first, last) = (Offset(0), Offset(i64::from(RECORDS) - 1));
    shell.ask(Command::Trim { to: last });
    assert!(shell.queue.start() > first);
}

/// A million wait whose facts differ from record to record. Columns and indexes grow with their number.
fn what_is_tracked_costs_little() {
    const RECORDS: u32 = 1 << 20;
    const BATCH: u32 = 1 << 12;
    let cases = [
        (Columns::PRIORITY, 10),
        (Columns::PRIORITY, 60),
        (Columns::PRIORITY, 256),
        (Columns::PRIORITY.with(Columns::SIZE), 2),
    ];
    for (columns, levels) in cases {
        let (shell, bytes) = held_by(|| {
            let mut shell = Shell::new(LockTerm::Attached);
            shell.ask(Command::Track(columns));
            for batch in 0..RECORDS / BATCH {
                let mixed = |index: u32| (batch * BATCH + index).wrapping_mul(0x9e37_79b9) >> 7;
                let mut facts = Facts::new(1, BATCH);
                let level = |index| u8::try_from(mixed(index) % levels).expect("small");
                facts.priorities = (0..BATCH).map(level).collect();
                facts.sizes = (0..BATCH).map(mixed).collect();
                shell.append_with(BATCH, Some(Arc::new(facts)));
            }
            shell.decision = Decision::default();
            shell
        });
        let counts = shell.queue.counts();
        assert_eq!(counts.available, u64::from(RECORDS));
        let most = usize::try_from(RECORDS).expect("fits") * 12;
        assert!(bytes < most, "{bytes} bytes with {levels} priorities");
    }
}

fn an_idle_subscription_is_small() {
    let (idle, bytes) = held_by(|| {
        let mut shell = Shell::new(LockTerm::Attached);
        shell.grant(100);
        shell.append(10);
        shell.deliver();
        shell.settle(0, 10, Outcome::Accept);
        shell.queue.all_written();
        shell.queue.shrink();
        shell.queue
    });
    let bytes = bytes + size_of::<Subscription>();
    assert!(
        bytes <= 2_048,
        "{bytes} bytes, {} by its own account",
        idle.memory_bytes()
    );
}

#[test]
fn a_subscription_costs_by_what_is_held_and_by_holes() {
    steady_state_allocates_nothing();
    an_idle_subscription_is_small();
    what_waits_costs_nothing();
    what_is_tracked_costs_little();
}

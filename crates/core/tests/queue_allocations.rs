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
    Outcome, RecordState, Settings, Settle, Span, Subscription,
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
        self.ask(Command::Append(Append {
            span,
            at,
            facts,
            filter: None,
        }));
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

/// How many wait where facts differ from record to record. What that costs grows with their number.
const TRACKED: u32 = 1 << 19;

fn mixed(index: u32) -> u32 {
    index.wrapping_mul(0x9e37_79b9) >> 7
}

/// So many records, of each of which `describe` says something.
fn tracking(columns: Columns, describe: impl Fn(&mut Facts, std::ops::Range<u32>)) -> Shell {
    const BATCH: u32 = 1 << 12;
    let mut shell = Shell::new(LockTerm::Attached);
    shell.ask(Command::Track(columns));
    for first in (0..TRACKED).step_by(1 << 12) {
        let mut facts = Facts::new(1, BATCH);
        describe(&mut facts, first..first + BATCH);
        shell.append_with(BATCH, Some(Arc::new(facts)));
    }
    shell
}

fn below_12_bytes_each(what: &str, make: impl FnOnce() -> Shell) -> Shell {
    let (shell, bytes) = held_by(|| {
        let mut shell = make();
        shell.decision = Decision::default();
        shell
    });
    let most = usize::try_from(TRACKED).expect("fits") * 12;
    assert!(bytes < most, "{bytes} bytes for {TRACKED} with {what}");
    shell
}

fn what_has_a_priority_costs_little() {
    for levels in [10, 60, 256] {
        let shell = below_12_bytes_each("priorities", || {
            tracking(Columns::PRIORITY, |facts, records| {
                let level = |index| u8::try_from(mixed(index) % levels).expect("small");
                facts.priorities = records.map(level).collect();
            })
        });
        assert_eq!(shell.queue.counts().available, u64::from(TRACKED));
    }
    below_12_bytes_each("priorities and sizes", || {
        tracking(Columns::PRIORITY.with(Columns::SIZE), |facts, records| {
            let level = |index| u8::try_from(mixed(index) % 10).expect("small");
            facts.priorities = records.clone().map(level).collect();
            facts.sizes = records.map(mixed).collect();
        })
    });
}

/// All of them wait behind others of their key; then all are handed out, one of each key at a time.
fn what_waits_for_its_key_costs_little() {
    const KEYS: u32 = 64;
    let keyed = |keys: u32| {
        tracking(Columns::ORDERING_KEY, |facts, records| {
            let key = |index| u64::from(mixed(index) % keys) + 1;
            facts.ordering_keys = records.map(key).collect();
        })
    };
    below_12_bytes_each("keys of their own", || keyed(u32::MAX));
    let mut shell = below_12_bytes_each("few keys", || {
        let mut shell = keyed(KEYS);
        shell.grant(TRACKED);
        shell.deliver();
        shell
    });
    assert_eq!(shell.queue.counts().acquired, u64::from(KEYS));
    let mut first = 0;
    for _ in 0..10_000 {
        while shell.queue.record(Offset(first)) != RecordState::Acquired {
            first += 1;
        }
        shell.settle(first, 1, Outcome::Accept);
        shell.deliver();
        assert_eq!(shell.queue.counts().acquired, u64::from(KEYS));
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
    what_has_a_priority_costs_little();
    what_waits_for_its_key_costs_little();
}

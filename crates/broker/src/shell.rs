//! The broker under threads: the lane behind its lock, the store, the read pool, the ticker.
//!
//! ```text
//! connection's runtime --enter--> lane (lock) --group--> store's writer thread: write, sync
//!        ^                                                       |
//!        '---- mailbox, one wake-up a runtime <-- lane (lock) <--'
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak};
use std::time::Duration;

use mulgil_core::machine::Now;
use mulgil_log::fault::Fault;
use mulgil_log::store::{ChunkStore, Completion};
use mulgil_meta::catalog::Catalog;
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::figures::{Alarms, KeeperFigures, StoreFigures};
use crate::keeper::KeeperOptions;
use crate::lane::{
    Burial, FindFurther, Lane, LaneFigures, Origin, PartitionFigures, ReplyTo, Turn,
};
use crate::mailbox::{Mailbox, Posted, lock};
use crate::pool::{PoolFigures, ReadPool};
use crate::pulse::{BEAT, Pulse, Turning};
use crate::request::{Reply, Request, Ticket};

/// Between two looks whether the lane is free. Visits take microseconds.
const REACH_EVERY: Duration = Duration::from_millis(1);

/// The runtime number of who asks without a connection, see [`Broker::ask`].
const NO_RUNTIME: u16 = u16::MAX;

/// What the shell does when the store has failed and nobody knows what is on disk.
pub type OnFatal = Box<dyn Fn(&Fault) + Send + Sync>;

/// A broker that runs.
pub struct Broker {
    lane: Mutex<Lane>,
    store: Arc<dyn ChunkStore>,
    clock: Clock,
    mailboxes: Vec<Arc<Mailbox>>,
    catalog: RwLock<Arc<Catalog>>,
    pool: ReadPool,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Reply>>>,
    next_ticket: AtomicU64,
    next_connection: AtomicU64,
    /// When the ticker will wake, running milliseconds.
    armed: AtomicU64,
    rearm: Notify,
    settled: Notify,
    stopping: AtomicBool,
    /// Held from a completion's visit until what it brought is posted.
    completing: Mutex<()>,
    on_fatal: OnFatal,
    alarms: Alarms,
    pulse: Pulse,
    store_figures: StoreFigures,
    keeper_figures: KeeperFigures,
    /// Bytes of answers that wait in the doors to be sent.
    unsent: AtomicUsize,
    /// Bytes of requests that the doors have received in part.
    received: AtomicUsize,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// The way from the store, which exists first, to the broker, which needs it.
#[derive(Clone, Debug, Default)]
pub struct CompletionPort(Arc<OnceLock<Weak<Broker>>>);

impl CompletionPort {
    /// Hands a completion to the broker, if there is one.
    pub fn complete(&self, completion: Completion) {
        if let Some(broker) = self.0.get().and_then(Weak::upgrade) {
            broker.completed(completion);
        }
    }
}

/// What a broker is made of.
pub struct Parts {
    /// The lane, after all was replayed.
    pub lane: Lane,
    /// The store, whose completions go to the broker's port.
    pub store: Arc<dyn ChunkStore>,
    /// The clock, which goes on from the highest running time in the log.
    pub clock: Clock,
    /// How many runtimes have connections.
    pub runtimes: usize,
    /// How the store is kept in order.
    pub keeper: KeeperOptions,
    /// What to do when nobody knows what is on disk.
    pub on_fatal: OnFatal,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Broker {
    /// Puts a lane and its store to work.
    ///
    /// # Panics
    ///
    /// If the port serves a broker already, or the process may not start threads.
    #[must_use]
    pub fn start(parts: Parts, port: &CompletionPort) -> Arc<Self> {
        let Parts {
            lane,
            store,
            clock,
            runtimes,
            keeper,
            on_fatal,
        } = parts;
        let catalog = RwLock::new(lane.catalog());
        let pulse = Pulse::new(runtimes, clock.now().elapsed);
        let broker = Arc::new_cyclic(|weak| Self {
            lane: Mutex::new(lane),
            pool: ReadPool::start(Arc::clone(&store), weak),
            store,
            clock,
            mailboxes: (0..runtimes).map(|_| Arc::default()).collect(),
            catalog,
            waiting: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
            armed: AtomicU64::new(u64::MAX),
            rearm: Notify::new(),
            settled: Notify::new(),
            stopping: AtomicBool::new(false),
            completing: Mutex::default(),
            on_fatal,
            alarms: Alarms::default(),
            pulse,
            store_figures: StoreFigures::default(),
            keeper_figures: KeeperFigures::default(),
            unsent: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
        });
        port.0
            .set(Arc::downgrade(&broker))
            .expect("a port serves one broker");
        // The first frame says that a new leadership has begun.
        let ((), turn) = broker.visit(|lane, now, _| lane.begin(now));
        broker.post(turn);
        let weak = Arc::downgrade(&broker);
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || crate::keeper::run(&weak, keeper))
            .expect("the process may start a thread");
        broker
    }

    /// Visits the lane for something that answers nobody.
    pub(crate) fn visit_quietly<T>(&self, visit: impl FnOnce(&mut Lane, Now) -> T) -> T {
        let (result, turn) = self.visit(|lane, now, _| visit(lane, now));
        self.post(turn);
        result
    }

    pub(crate) fn store(&self) -> &dyn ChunkStore {
        &*self.store
    }

    pub(crate) const fn pool(&self) -> &ReadPool {
        &self.pool
    }

    /// What an operator should know at once.
    #[must_use]
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Whether the threads that serve still turn. Waits for none of them.
    #[must_use]
    pub fn turning(&self) -> Vec<Turning> {
        self.pulse
            .turning(self.clock.now().elapsed, self.is_stopping())
    }

    pub(crate) const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// How the store does.
    #[must_use]
    pub const fn store_figures(&self) -> &StoreFigures {
        &self.store_figures
    }

    /// For how long the store has had its present group of frames; `None` if it has none.
    #[must_use]
    pub fn store_busy_for(&self) -> Option<Duration> {
        let busy = self.store_figures.busy_for(self.clock.micros());
        busy.map(Duration::from_micros)
    }

    /// What the keeper has done.
    #[must_use]
    pub const fn keeper_figures(&self) -> &KeeperFigures {
        &self.keeper_figures
    }

    /// What the read pool has to do.
    #[must_use]
    pub fn pool_figures(&self) -> PoolFigures {
        self.pool.figures()
    }

    /// Waits, without holding the thread, until the lane can be entered; whether it can within `patience`.
    pub async fn reachable(&self, patience: Duration) -> bool {
        let free = async {
            while !self.is_free() {
                tokio::time::sleep(REACH_EVERY).await;
            }
        };
        tokio::time::timeout(patience, free).await.is_ok()
    }

    /// Whether the lane could be entered just now. Who must not hang with it asks before.
    #[must_use]
    pub fn is_free(&self) -> bool {
        !matches!(
            self.lane.try_lock(),
            Err(std::sync::TryLockError::WouldBlock)
        )
    }

    /// Visits the lane, hands what it wrote to the store, and carries out what follows.
    fn visit<T>(&self, visit: impl FnOnce(&mut Lane, Now, &mut Turn) -> T) -> (T, Turn) {
        self.visit_as(false, visit)
    }

    /// As [`Self::visit`]; the ticker notes when it will wake.
    fn visit_as<T>(
        &self,
        is_ticker: bool,
        visit: impl FnOnce(&mut Lane, Now, &mut Turn) -> T,
    ) -> (T, Turn) {
        let now = self.clock.now();
        let mut turn = Turn::default();
        let mut lane = self.lane();
        let result = visit(&mut lane, now, &mut turn);
        while let Some(group) = lane.take_group(now) {
            self.store_figures
                .submitted(group.bytes(), self.clock.micros());
            self.store.submit(group);
        }
        // While the lane is held, so that who removes a chunk knows of all reads that go there.
        for work in turn.cold.drain(..) {
            self.pool.submit(work);
        }
        let due = lane.deadline().map_or(u64::MAX, |due| due.0);
        if is_ticker {
            // While the lane is held: whatever becomes due earlier is compared with this.
            self.armed.store(due, Ordering::Relaxed);
        }
        drop(lane);
        if due < self.armed.load(Ordering::Relaxed) {
            self.rearm.notify_one();
        }
        if let Some(catalog) = turn.catalog.take() {
            *self
                .catalog
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = catalog;
        }
        (result, turn)
    }

    pub(crate) fn lane(&self) -> MutexGuard<'_, Lane> {
        lock(&self.lane)
    }

    /// Posts answers and retries to the runtimes they belong to, and wakes each once.
    fn post(&self, turn: Turn) {
        let mut rung = vec![false; self.mailboxes.len()];
        for (to, reply) in turn.replies {
            self.post_reply(to, reply, &mut rung);
        }
        for (to, id) in turn.retries {
            let runtime = if to.origin.runtime == NO_RUNTIME {
                0
            } else {
                to.origin.runtime
            };
            self.put(runtime, Posted::Retry(id), &mut rung);
        }
        for (mailbox, _) in self.mailboxes.iter().zip(rung).filter(|(_, rung)| *rung) {
            mailbox.ring();
        }
    }

    fn post_reply(&self, to: ReplyTo, reply: Reply, rung: &mut [bool]) {
        if to.origin.runtime == NO_RUNTIME {
            if let Some(waiting) = lock(&self.waiting).remove(&to.ticket.0) {
                // Whoever asked may have gone; then nobody wants the answer.
                let _gone = waiting.send(reply);
            }
        } else {
            self.put(to.origin.runtime, Posted::Reply(to, reply), rung);
        }
    }

    fn put(&self, runtime: u16, posted: Posted, rung: &mut [bool]) {
        let runtime = usize::from(runtime);
        if let (Some(mailbox), Some(rung)) = (self.mailboxes.get(runtime), rung.get_mut(runtime)) {
            mailbox.put(posted);
            *rung = true;
        }
    }

    /// Carries out what a connection asks; gives back the answers that it may have at once.
    pub(crate) fn enter(
        &self,
        from: Origin,
        asks: impl IntoIterator<Item = (Ticket, Request)>,
    ) -> Vec<(Ticket, Reply)> {
        let unsent = self.unsent.load(Ordering::Relaxed);
        let ((), mut turn) = self.visit(|lane, now, turn| {
            lane.set_unsent(unsent);
            lane.enter(from, asks, now, turn);
        });
        let mut own = Vec::new();
        let mut others = Vec::new();
        for (to, reply) in turn.replies.drain(..) {
            if to.origin == from {
                own.push((to.ticket, reply));
            } else {
                others.push((to, reply));
            }
        }
        turn.replies = others;
        self.post(turn);
        own
    }

    /// Comes back for reads that have waited long enough.
    pub(crate) fn resume(&self, reads: &[u64]) {
        let ((), turn) = self.visit(|lane, now, turn| {
            for id in reads {
                lane.resume(*id, now, turn);
            }
        });
        self.post(turn);
    }

    /// Nobody knows what is on disk: the process must end.
    pub(crate) fn fatal(&self, fault: &Fault) {
        self.pulse.failed();
        (self.on_fatal)(fault);
    }

    /// Takes what the store says of a group.
    fn completed(&self, completion: Completion) {
        let synced = match &completion {
            Completion::Failed(fault) => {
                self.fatal(fault);
                return;
            }
            Completion::Written { .. } => false,
            Completion::Synced { .. } => true,
        };
        let now_us = self.clock.micros();
        if synced {
            self.store_figures.synced(now_us);
        } else {
            self.store_figures.written(now_us);
        }
        let completing = lock(&self.completing);
        let (settled, turn) = self.visit(|lane, now, turn| {
            lane.completed(completion, now, turn);
            if !lane.is_storing() {
                self.store_figures.idle();
            }
            lane.is_settled()
        });
        self.post(turn);
        drop(completing);
        if !synced {
            self.store_figures.goes_on(self.clock.micros());
        }
        if settled {
            self.settled.notify_waiters();
        }
    }

    /// Answers a request that the read pool has finished.
    pub(crate) fn answer(&self, to: ReplyTo, reply: Reply) {
        self.post(Turn {
            replies: vec![(to, reply)],
            ..Turn::default()
        });
    }

    /// Goes on with a search by time for which the read pool has looked in vain.
    pub(crate) fn find_further(&self, further: FindFurther) {
        let ((), turn) = self.visit(|lane, _, turn| lane.find_further(further, turn));
        self.post(turn);
    }

    /// Brings a record that the read pool has packed to its dead-letter target.
    pub(crate) fn bury(&self, burial: Burial) {
        let ((), turn) = self.visit(|lane, now, turn| lane.bury(burial, now, turn));
        self.post(turn);
    }

    /// Asks without a connection, for the admin API and tools in the process.
    ///
    /// The answer never comes if the broker stops before.
    pub async fn ask(&self, request: Request) -> Option<Reply> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(ticket, sender);
        let from = Origin {
            runtime: NO_RUNTIME,
            connection: 0,
        };
        for (ticket, reply) in self.enter(from, [(Ticket(ticket), request)]) {
            self.answer(
                ReplyTo {
                    origin: from,
                    ticket,
                },
                reply,
            );
        }
        receiver.await.ok()
    }

    /// The picture of metadata that is durable.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(
            &self
                .catalog
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Both times.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Nanoseconds that the clock has run, for how long something took.
    pub(crate) fn ran_ns(&self) -> u64 {
        self.clock.ran_ns()
    }

    /// Figures for operators.
    #[must_use]
    pub fn figures(&self) -> LaneFigures {
        self.lane().figures()
    }

    /// How much room there is.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn space(&self) -> Result<mulgil_log::disk::Space, Fault> {
        self.store.space()
    }

    /// Figures of one partition.
    #[must_use]
    pub fn partition_figures(
        &self,
        partition: mulgil_record::ids::PartitionId,
    ) -> Option<PartitionFigures> {
        self.lane().partition_figures(partition)
    }

    /// Bytes of answers that wait in the doors to be sent, for operators.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Bytes of answers that wait in the doors to be sent.
    pub(crate) const fn unsent(&self) -> &AtomicUsize {
        &self.unsent
    }

    /// Bytes of requests that the doors have received in part.
    pub(crate) const fn received(&self) -> &AtomicUsize {
        &self.received
    }

    /// A number for a new connection.
    pub(crate) fn new_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&self, origin: Origin) {
        let ((), turn) = self.visit(|lane, _, _| lane.forget(origin));
        self.pool.forget_origin(origin);
        self.post(turn);
    }

    pub(crate) fn mailbox(&self, runtime: u16) -> Option<&Arc<Mailbox>> {
        self.mailboxes.get(usize::from(runtime))
    }

    /// Whether the broker is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Wakes the lane whenever something in it is due. Runs for as long as the broker.
    pub async fn tick_forever(self: Arc<Self>) {
        loop {
            let ((), turn) = self.visit_as(true, |lane, now, turn| lane.tick(now, turn));
            self.post(turn);
            let now = self.clock.now().elapsed;
            self.pulse.lane(now);
            let due = self.armed.load(Ordering::Relaxed);
            let wait = Duration::from_millis(due.saturating_sub(now.0)).min(BEAT);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.rearm.notified() => {}
            }
        }
    }

    /// Waits until all that was written is synced and answered.
    pub async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            if self.lane().is_settled() {
                return;
            }
            settled.await;
        }
    }

    /// Refuses new work, writes down where everything ends, and waits until all of it is synced, and
    /// the mailboxes have all answers that waited for that.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let ((), turn) = self.visit(|lane, _, _| {
            lane.stop();
            lane.write_true_ends();
        });
        self.post(turn);
        loop {
            let settled = self.settled.notified();
            let (done, turn) = self.visit(|lane, _, _| lane.finish_stop());
            self.post(turn);
            if done {
                // Another thread may be about to post what it was told of the last sync.
                drop(lock(&self.completing));
                return;
            }
            settled.await;
        }
    }
}

impl mulgil_meta::catalog::CatalogReader for Broker {
    fn catalog(&self) -> Arc<Catalog> {
        Self::catalog(self)
    }
}

//! One life of a broker process, driven by hand: what the shell does under threads.
//!
//! Start follows the order of the real node: replay the log, take over its head, submit the first
//! frame. What waits between visits (completions, cold reads, reads to come back for) waits here, and
//! the world decides when it is carried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mulgil_broker::lane::{
    ColdWork, Lane, LaneOptions, LogHead, Origin, ReplyTo, Turn, max_timestamp,
};
use mulgil_broker::pool::{self, Carried, OpenChunks};
use mulgil_broker::request::{Reply, Request, Ticket};
use mulgil_broker::start::{self, Found};
use mulgil_core::group::GroupSettings;
use mulgil_core::machine::{Elapsed, Now, WallTime};
use mulgil_log::disk::Disk;
use mulgil_log::disk::cut::Dice;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::position::ChunkId;
use mulgil_log::recovery::{self, Recovered};
use mulgil_log::store::{
    Bucket, ChunkStore, Completion, HeadStore, ObjectStoreMem, OnCompletion, StepStore,
    StoreOptions,
};
use mulgil_meta::catalog::Catalog;

use crate::disk::SimDisk;
use crate::planted::Planted;

mod keeper;
mod twist;

pub use keeper::KeeperSizes;
use twist::Twisted;

/// Sizes of lane and store, small enough that everything happens often.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The lane's.
    pub lane: LaneOptions,
    /// The store's.
    pub store: StoreOptions,
    /// The keeper's.
    pub keeper: KeeperSizes,
}

impl Sizes {
    /// Sizes for one run.
    #[must_use]
    pub fn roll(dice: &mut Dice) -> Self {
        let mut pick = |from: &[usize]| {
            let at = usize::try_from(dice.below(from.len() as u64)).unwrap_or(0);
            from.get(at).copied().unwrap_or_default()
        };
        let chunk = pick(&[6 << 10, 16 << 10, 64 << 10, 256 << 10]);
        let lane = LaneOptions {
            tail_bytes_max: pick(&[0, 2 << 10, 16 << 10, 1 << 20]),
            frame_bytes_max: pick(&[300, 1 << 10, 8 << 10, 64 << 10]),
            group_bytes_max: pick(&[1 << 10, 8 << 10, 256 << 10]),
            chunk_bytes_max: u32::try_from(chunk).unwrap_or(u32::MAX),
            partitions_default: 2,
            read_bytes_max: u32::try_from(pick(&[2 << 10, 1 << 20])).unwrap_or(u32::MAX),
            groups: groups(&mut pick),
            ..LaneOptions::default()
        };
        let store = StoreOptions {
            grow_first: pick(&[1 << 10, 16 << 10]) as u64,
            grow_most: 64 << 10,
            fill_bytes: pick(&[0, 64 << 10]) as u64,
            join_bytes: 8 << 20,
            unsynced_bytes: pick(&[2 << 10, 1 << 20]) as u64,
        };
        let keeper = KeeperSizes {
            checkpoint_bytes: pick(&[4 << 10, 24 << 10, 1 << 20]) as u64,
            regroup_bytes: pick(&[4 << 10, 40 << 10]) as u64,
            sorted_bytes: pick(&[8 << 10, 1 << 20]) as u64,
            // Of 32 slots or so that 24 keys are many for, or more than enough.
            keys_bytes: pick(&[400, 1 << 20]),
            reserve_bytes: 2 * chunk as u64 + (1 << 20),
        };
        Self {
            lane,
            store,
            keeper,
        }
    }
}

/// Waits of groups, short enough that many end within a run.
fn groups(pick: &mut impl FnMut(&[usize]) -> usize) -> GroupSettings {
    let short = pick(&[0, 0, 1]) == 1;
    GroupSettings {
        session_timeout_min_ms: 50,
        initial_delay_ms: u32::try_from(pick(&[0, 20, 200])).unwrap_or(0),
        new_member_timeout_ms: u32::try_from(pick(&[800, 300_000])).unwrap_or(0),
        members_max: pick(&[3, 100]),
        offsets_retention_ms: if short { 2_000 } else { OFFSETS_RETENTION_MS },
        expiry_check_ms: if short { 100 } else { 600_000 },
        ..GroupSettings::default()
    }
}

/// How long offsets of empty groups stay where a run does not see them go.
const OFFSETS_RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

impl Sizes {
    /// Whether empty groups and their offsets go by themselves while a run lasts.
    #[must_use]
    pub const fn groups_expire(&self) -> bool {
        self.lane.groups.offsets_retention_ms < OFFSETS_RETENTION_MS
    }
}

/// The hand-moved clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Running time of this life, milliseconds.
    pub elapsed: u64,
    /// Milliseconds since 1970.
    pub wall: u64,
}

impl Clock {
    /// Both times.
    #[must_use]
    pub const fn now(self) -> Now {
        Now {
            elapsed: Elapsed(self.elapsed),
            wall: WallTime(self.wall),
        }
    }
}

/// What came of a visit.
#[derive(Debug, Default)]
pub struct Came {
    /// Answers that leave.
    pub replies: Vec<(ReplyTo, Reply)>,
    /// Why the store has ended the process.
    pub ended: Option<Fault>,
}

type Inbox = Arc<Mutex<VecDeque<Completion>>>;

/// A callback that puts what it is told into `inbox`.
fn into(inbox: &Inbox) -> OnCompletion {
    let completions = Arc::clone(inbox);
    Arc::new(move |completion| {
        let mut inbox = completions.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.push_back(completion);
    })
}

/// What is made to go on by hand.
#[derive(Debug)]
enum Steps {
    /// Files.
    Files(Arc<StepStore>, SimDisk),
    /// Whole objects, and what decides what becomes of them.
    Objects(Arc<ObjectStoreMem>, Dice),
}

/// What a life is begun with, beside what was found.
struct Life {
    incarnation: u32,
    store: Arc<dyn ChunkStore>,
    steps: Steps,
    inbox: Inbox,
    planted: Option<Planted>,
}

/// A broker process.
#[derive(Debug)]
pub struct Process {
    lane: Lane,
    store: Arc<dyn ChunkStore>,
    steps: Steps,
    chunks: OpenChunks,
    sizes: KeeperSizes,
    job: keeper::Job,
    compacting: keeper::Compacting,
    /// Whether the keeper looks how much room the disk has.
    watches: bool,
    full: bool,
    /// Whether it found nothing to do when it last looked.
    rests: bool,
    /// Wall minus running time, as the keeper last believed it.
    believed: Option<i128>,
    planted: Option<Planted>,
    inbox: Inbox,
    /// Reads that need the store, each with its number.
    cold: Vec<(u64, ColdWork)>,
    cold_given: u64,
    /// Chunks that do not count any more, and which reads go before their removal.
    going: VecDeque<(u64, ChunkId)>,
    retries: VecDeque<u64>,
    /// Appends whose answers a planted bug has to hold back.
    late: BTreeMap<ReplyTo, Reply>,
    /// Commits that a planted bug has answered already.
    told_early: BTreeSet<ReplyTo>,
    /// The share that a planted bug gives to the next.
    last_share: Bytes,
    /// What recovery found.
    pub recovered: Recovered,
    /// The picture of metadata that doors have.
    pub catalog: Arc<Catalog>,
}

impl Process {
    /// Recovers the log on `disk` and begins a life; running time goes on in `clock`.
    ///
    /// # Errors
    ///
    /// Whatever recovery says.
    pub fn start(
        disk: &SimDisk,
        sizes: &Sizes,
        clock: &mut Clock,
        planted: Option<Planted>,
    ) -> Result<Self, Fault> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.set_recovering(true);
        let found = start::read_back_by(&shared, &sizes.lane, |replayer, from| {
            recovery::recover(&shared, &mut Twisted::new(replayer, planted), from)
        });
        disk.set_recovering(false);
        let found = found?;
        let inbox = Inbox::default();
        let store = Arc::new(StepStore::new(shared, sizes.store, into(&inbox)));
        let kept = planted == Some(Planted::EpochKept) && found.recovered.incarnation > 0;
        let life = Life {
            incarnation: found.recovered.incarnation + u32::from(!kept),
            store: Arc::clone(&store) as Arc<dyn ChunkStore>,
            steps: Steps::Files(store, disk.clone()),
            inbox,
            planted,
        };
        Self::begin(found, life, sizes, clock)
    }

    /// Takes the log in `bucket` over and begins a life; `meanwhile` happens between the takeover and
    /// the start.
    ///
    /// # Errors
    ///
    /// Whatever the takeover and recovery say.
    pub fn take_over(
        bucket: &Bucket,
        heads: &HeadStore,
        (sizes, seed): (&Sizes, u64),
        clock: &mut Clock,
        meanwhile: impl FnOnce(),
    ) -> Result<Self, Fault> {
        let inbox = Inbox::default();
        let store = ObjectStoreMem::take_over(bucket, heads, max_timestamp, into(&inbox))?;
        let store = Arc::new(store);
        meanwhile();
        let found = start::read_back(&store.disk(), &sizes.lane)?;
        let life = Life {
            incarnation: store.incarnation(),
            store: Arc::clone(&store) as Arc<dyn ChunkStore>,
            steps: Steps::Objects(store, Dice::new(seed)),
            inbox,
            planted: None,
        };
        Self::begin(found, life, sizes, clock)
    }

    fn begin(found: Found, life: Life, sizes: &Sizes, clock: &mut Clock) -> Result<Self, Fault> {
        let Found {
            replayer,
            mut recovered,
        } = found;
        if recovered.cluster == 0 {
            recovered.cluster = 7;
        }
        clock.elapsed = recovered.elapsed_ms;
        let head = LogHead {
            chunk: recovered.next_chunk,
            lsn: recovered.next_lsn,
            incarnation: life.incarnation,
            previous_end: recovered.end,
            checkpoint: recovered.checkpoint,
            cluster: recovered.cluster,
            secret: u64::from(recovered.incarnation),
        };
        let lane = replayer.finish(head, clock.now());
        let catalog = lane.catalog();
        let mut process = Self {
            lane,
            chunks: OpenChunks::new(Arc::clone(&life.store)),
            store: life.store,
            steps: life.steps,
            sizes: sizes.keeper,
            job: keeper::Job::None,
            compacting: keeper::Compacting::default(),
            watches: false,
            full: false,
            rests: false,
            believed: Some(keeper::wall_offset(clock.now())),
            planted: life.planted,
            inbox: life.inbox,
            cold: Vec::new(),
            cold_given: 0,
            going: VecDeque::new(),
            retries: VecDeque::new(),
            late: BTreeMap::new(),
            told_early: BTreeSet::new(),
            last_share: Bytes::new(),
            recovered,
            catalog,
        };
        process.first_sync(*clock)?;
        Ok(process)
    }

    /// Nobody is let in before the new leadership is synced: it must never be begun twice.
    fn first_sync(&mut self, clock: Clock) -> Result<(), Fault> {
        let now = clock.now();
        let _nothing_to_answer = self.visit(now, |lane, _| lane.begin(now));
        while self.step_store(1) {
            while let Some(came) = self.deliver(clock.now()) {
                if let Some(fault) = came.ended {
                    return Err(fault);
                }
            }
        }
        if self.lane.is_settled() {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Fatal,
            "the first frame is not synced",
        ))
    }

    /// The lane, to look at.
    #[must_use]
    pub const fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Visits the lane.
    pub fn visit(&mut self, now: Now, visit: impl FnOnce(&mut Lane, &mut Turn)) -> Came {
        let mut turn = Turn::default();
        visit(&mut self.lane, &mut turn);
        self.finish_turn(turn, now)
    }

    fn finish_turn(&mut self, turn: Turn, now: Now) -> Came {
        while let Some(group) = self.lane.take_group(now) {
            self.store.submit(group);
        }
        if let Some(catalog) = turn.catalog {
            self.catalog = catalog;
        }
        for work in turn.cold {
            self.cold.push((self.cold_given, work));
            self.cold_given += 1;
        }
        if self.planted != Some(Planted::WakeUpLost) {
            self.retries
                .extend(turn.retries.into_iter().map(|(_, id)| id));
        }
        let mut replies = turn.replies;
        if self.planted == Some(Planted::WatermarkAtWrite) {
            twist::hold_appends(&mut replies, &mut self.late);
        }
        replies.retain(|(to, _)| !self.told_early.remove(to));
        twist::groups::replies(&mut replies, self.planted, &mut self.last_share);
        twist::queues::replies(&mut replies, self.planted);
        Came {
            replies,
            ended: None,
        }
    }

    /// Asks for a client.
    pub fn enter(&mut self, from: Origin, ticket: Ticket, request: Request, now: Now) -> Came {
        let mut request = twist::request(request, self.planted);
        twist::groups::request(&mut request, self.planted, &self.lane);
        twist::queues::request(&mut request, self.planted);
        let early = twist::groups::early(&mut request, self.planted);
        let settled = twist::queues::early(&request, self.planted);
        let mut came = self.visit(now, |lane, turn| {
            lane.enter(from, [(ticket, request)], now, turn);
        });
        let to = ReplyTo {
            origin: from,
            ticket,
        };
        if let Some(reply) = early.and_then(|early| early.reply(&self.lane))
            && came.replies.iter().all(|(other, _)| *other != to)
        {
            self.told_early.insert(to);
            came.replies.push((to, reply));
        }
        if let Some(reply) = settled.and_then(|settled| settled.reply(&self.lane))
            && came.replies.iter().all(|(other, _)| *other != to)
        {
            self.told_early.insert(to);
            came.replies.push((to, reply));
        }
        came
    }

    /// Asks and is answered at once, cold reads included; none if the answer has to wait.
    pub fn ask_now(&mut self, request: Request, now: Now) -> Option<Reply> {
        let origin = Origin {
            runtime: u16::MAX,
            connection: 0,
        };
        let mut came = self.enter(origin, Ticket(0), request, now);
        if let Some((_, reply)) = came.replies.pop() {
            return Some(reply);
        }
        loop {
            // Dead letters may wait to be read, too.
            let mut cold = self.cold.iter();
            let at = cold.position(|(_, work)| work.to.origin == origin);
            let Some(at) = at else {
                return self.ask_store(origin, now);
            };
            let next = self.cold.remove(at);
            let mut came = self.carry_out(next, now);
            if let Some((_, reply)) = came.replies.pop() {
                return Some(reply);
            }
        }
    }

    /// Waits for an answer that waits for the store: what is asked of a subscription may be the first to
    /// find that a record is not to be had. Nobody else is there.
    fn ask_store(&mut self, origin: Origin, now: Now) -> Option<Reply> {
        while self.step_store(1) {
            while let Some(came) = self.deliver(now) {
                let mut replies = came.replies.into_iter();
                if let Some((_, reply)) = replies.find(|(to, _)| to.origin == origin) {
                    return Some(reply);
                }
            }
        }
        None
    }

    /// Lets the store write up to `groups` groups, or one thing happen to objects. Says whether there
    /// was anything to do.
    pub fn step_store(&mut self, groups: usize) -> bool {
        match &mut self.steps {
            Steps::Files(store, _) => store.step_joined(groups),
            Steps::Objects(store, dice) => store.step(dice.roll()),
        }
    }

    /// How much waits: groups, completions, cold reads, reads to come back for.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize, usize, usize) {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = match &self.steps {
            Steps::Files(store, _) => store.queued(),
            Steps::Objects(store, _) => store.outstanding(),
        };
        (groups, inbox.len(), self.cold.len(), self.retries.len())
    }

    /// Tells the lane the oldest completion, if there is one.
    pub fn deliver(&mut self, now: Now) -> Option<Came> {
        let completion = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            let completion = inbox.pop_front()?;
            if self.planted == Some(Planted::ReplyBeforeSync)
                && let Completion::Written { frames } = &completion
                && let Some((at, bytes)) = frames.last()
            {
                inbox.push_front(Completion::Synced {
                    through: at.plus(bytes.len()),
                });
            }
            completion
        };
        if let Completion::Failed(fault) = completion {
            let out = matches!(&self.steps, Steps::Files(_, disk) if disk.is_out());
            return Some(Came {
                ended: (!out).then_some(fault),
                ..Came::default()
            });
        }
        let synced = matches!(completion, Completion::Synced { .. });
        let mut came = self.visit(now, |lane, turn| lane.completed(completion, now, turn));
        if synced {
            came.replies.extend(std::mem::take(&mut self.late));
        }
        Some(came)
    }

    /// Carries out one of the cold reads that wait.
    pub fn read_cold(&mut self, dice: &mut Dice, now: Now) -> Option<Came> {
        if self.cold.is_empty() {
            return None;
        }
        let at = usize::try_from(dice.below(self.cold.len() as u64)).unwrap_or(0);
        let next = self.cold.remove(at);
        Some(self.carry_out(next, now))
    }

    fn carry_out(&mut self, (number, mut work): (u64, ColdWork), now: Now) -> Came {
        // A bucket that does not answer for a while excuses what is read at that moment: over objects
        // all of it is.
        let at_once = matches!(self.steps, Steps::Objects(..));
        let carried = loop {
            match pool::carry_out(work, &self.chunks, u32::MAX) {
                Carried::More(more) if at_once => work = more,
                carried @ (Carried::More(_)
                | Carried::Answer(..)
                | Carried::Buried(_)
                | Carried::Further(_)) => {
                    break carried;
                }
            }
        };
        match carried {
            Carried::More(work) => {
                self.cold.push((number, work));
                Came::default()
            }
            Carried::Answer(to, mut reply) => {
                twist::reply(&mut reply, self.planted);
                Came {
                    replies: vec![(to, reply)],
                    ..Came::default()
                }
            }
            Carried::Buried(mut burial) => {
                twist::queues::burial(&mut burial, self.planted);
                self.visit(now, |lane, turn| lane.bury(burial, now, turn))
            }
            Carried::Further(further) => {
                self.visit(now, |lane, turn| lane.find_further(further, turn))
            }
        }
    }

    /// Comes back for one read that has enough or has waited long enough.
    pub fn resume(&mut self, now: Now) -> Option<Came> {
        let id = self.retries.pop_front()?;
        Some(self.visit(now, |lane, turn| lane.resume(id, now, turn)))
    }

    /// What the ticker does when it wakes.
    pub fn tick(&mut self, now: Now) -> Came {
        if self.lane.deadline().is_none_or(|due| now.elapsed < due) {
            return Came::default();
        }
        self.visit(now, |lane, turn| lane.tick(now, turn))
    }
}

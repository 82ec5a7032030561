//! The world over whole objects: brokers that take over from each other, and some that do not notice.
//!
//! ```text
//! clients --> zombie  --PUT, commit--> bucket, head <--PUT, commit-- leader <-- clients
//!               |  what it can still tell: what was committed before the takeover
//! ```
//!
//! The same clients, lane, log, recovery and keeper as in [`crate::world`], over a bucket that loses,
//! delays and doubles PUTs and a head whose answers get lost. There is one clock on the wall, and each
//! broker has its own running time. Clients go from an older broker to a newer one, and never back.

use std::collections::BTreeMap;

use mulgil_broker::lane::{Origin, ReplyTo};
use mulgil_broker::request::{Reply, Ticket};
use mulgil_log::disk::cut::Dice;
use mulgil_log::store::{Bucket, HeadStore, ObjectLie, Weather};

use crate::client::{Admin, Client, Producer, Reader, Scene};
use crate::ledger::Ledger;
use crate::process::{Came, Clock, Process, Sizes};
use crate::trace::Trace;
use crate::violation::{Kept, Rule, Violation};

mod life;
mod run;
mod trouble;

pub use run::{Outcome, run, story};

/// A run: everything else follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// How many steps.
    pub steps: u64,
    /// A mistake made on purpose.
    pub planted: Option<ObjectLie>,
    /// Whether to look after every step what a crash would leave.
    pub look_always: bool,
    /// Whether to keep the trace.
    pub trace: bool,
}

impl Options {
    /// The usual run of a seed.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            steps: 1_200,
            planted: None,
            look_always: false,
            trace: false,
        }
    }
}

/// What a run did, to see that it did something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Starts of a broker.
    pub starts: u64,
    /// Of those, with another one that goes on.
    pub takeovers: u64,
    /// Brokers that found that they were taken over.
    pub fenced: u64,
    /// Answers.
    pub answers: u64,
    /// Of those, from brokers that were taken over.
    pub stale: u64,
    /// PUTs and commits that arrived late.
    pub late: u64,
    /// Looks at what a crash would leave.
    pub looks: u64,
    /// Pieces of work that keepers did.
    pub kept: u64,
}

/// A broker that runs.
#[derive(Debug)]
struct Broker {
    incarnation: u32,
    process: Process,
    /// Its running time.
    elapsed: u64,
}

/// Where a client is connected.
#[derive(Clone, Copy, Debug)]
struct Seat {
    client: usize,
    broker: u32,
}

/// The world of one run.
#[derive(Debug)]
pub struct World {
    options: Options,
    dice: Dice,
    trace: Trace,
    wall: u64,
    sizes: Sizes,
    bucket: Bucket,
    heads: HeadStore,
    /// The newest one may commit; the others were taken over.
    brokers: Vec<Broker>,
    ledger: Ledger,
    clients: Vec<Client>,
    /// Which connection belongs to whom.
    seats: BTreeMap<u64, Seat>,
    next_connection: u64,
    next_ticket: u64,
    /// Steps left until a bucket that is down works again.
    down: u64,
    /// What a run did.
    pub tally: Tally,
}

impl World {
    /// The world before its first step.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut dice = Dice::new(options.seed);
        let mut sizes = Sizes::roll(&mut dice);
        sizes.lane.chunk_bytes_max = 0;
        sizes.lane.groups_under_way_max = if dice.below(3) == 0 { 1 } else { 4 };
        sizes.keeper.checkpoint_bytes = if dice.below(2) == 0 {
            12 << 10
        } else {
            100 << 10
        };
        let mut clients = vec![Client::Admin(Admin::default())];
        for number in 1..=2 + dice.below(4) {
            let number = usize::try_from(number).unwrap_or(0);
            clients.push(Client::Producer(Producer::new(number, dice.below(3) > 0)));
        }
        for _ in 0..1 + dice.below(3) {
            clients.push(Client::Reader(Reader::new(clients.len())));
        }
        let mut trace = Trace::new(options.trace);
        trace.line(|| {
            let (seed, clients) = (options.seed, clients.len());
            format!("seed {seed}: {clients} clients, {sizes:?}")
        });
        Self {
            trace,
            wall: 1_700_000_000_000,
            bucket: Bucket::new(dice.roll(), options.planted),
            heads: HeadStore::lying(options.planted),
            brokers: Vec::new(),
            ledger: Ledger::default(),
            clients,
            seats: BTreeMap::new(),
            next_connection: 1,
            next_ticket: 0,
            down: 0,
            tally: Tally::default(),
            sizes,
            dice,
            options,
        }
    }

    /// Takes all steps, and a last look at everything.
    ///
    /// # Errors
    ///
    /// The first broken promise.
    pub fn run(&mut self) -> Kept {
        self.take_over()?;
        for _ in 0..self.options.steps {
            self.trace.next_step();
            self.step()?;
            if self.options.look_always {
                self.look()?;
            }
        }
        self.trace.line(|| "the end".to_owned());
        self.end_of_run()
    }

    /// The story so far.
    #[must_use]
    pub fn into_trace(self) -> Vec<String> {
        self.trace.into_lines()
    }

    fn step(&mut self) -> Kept {
        if self.down > 0 {
            self.down -= 1;
            if self.down == 0 {
                self.bucket.set_weather(Weather::Rough);
                self.trace.line(|| "the bucket answers again".to_owned());
            }
        }
        match self.dice.below(1000) {
            0..=339 => self.client_acts(),
            340..=409 => self.keep(),
            410..=599 => self.step_store(),
            600..=769 => self.deliver(),
            770..=819 => self.read_cold(),
            820..=869 => self.resume(),
            870..=944 => {
                let ms = 1 + self.dice.below(12);
                self.pass(ms)
            }
            945..=954 => {
                let ms = self.dice.below(1500);
                self.pass(ms)
            }
            955..=974 => {
                self.land();
                Ok(())
            }
            _ => self.trouble(),
        }
    }

    /// Whose turn it is: mostly that of the one that leads.
    fn pick(&mut self) -> usize {
        let zombies = self.brokers.len().saturating_sub(1);
        if zombies == 0 || self.dice.below(3) > 0 {
            return zombies;
        }
        usize::try_from(self.dice.below(zombies as u64)).unwrap_or(0)
    }

    fn broker(&mut self, at: usize) -> Result<&mut Broker, Violation> {
        let none = || Violation::new(Rule::Starts, "no broker runs");
        self.brokers.get_mut(at).ok_or_else(none)
    }

    const fn clock(&self, elapsed: u64) -> Clock {
        Clock {
            elapsed,
            wall: self.wall,
        }
    }

    /// Lets a broker do something, and hands what came of it to whom it concerns.
    fn visit(
        &mut self,
        at: usize,
        visit: impl FnOnce(&mut Process, Clock, &mut Dice) -> Option<Came>,
    ) -> Result<bool, Violation> {
        let wall = self.wall;
        let mut dice = self.dice.clone();
        let broker = self.broker(at)?;
        let incarnation = broker.incarnation;
        let elapsed = broker.elapsed;
        let came = visit(&mut broker.process, Clock { elapsed, wall }, &mut dice);
        self.dice = dice;
        let Some(came) = came else {
            return Ok(false);
        };
        self.take(incarnation, came)?;
        Ok(true)
    }

    fn client_acts(&mut self) -> Kept {
        let at = usize::try_from(self.dice.below(self.clients.len() as u64)).unwrap_or(0);
        let seat = self.seats.iter().find(|(_, seat)| seat.client == at);
        let Some((connection, seat)) = seat.map(|(connection, seat)| (*connection, *seat)) else {
            return Ok(());
        };
        let Some(place) = self.place(seat.broker) else {
            return Ok(());
        };
        if place + 1 < self.brokers.len() && self.dice.below(20) == 0 {
            self.trace.line(|| format!("client {at} moves on"));
            return self.reconnect(connection, true);
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let broker = self.broker(place)?;
        let (catalog, elapsed) = (broker.process.catalog.clone(), broker.elapsed);
        self.ledger.listen_to(seat.broker);
        let now = self.clock(elapsed).now();
        let mut scene = Scene {
            dice: &mut self.dice,
            ledger: &mut self.ledger,
            trace: &mut self.trace,
            catalog: &catalog,
            now,
        };
        let Some(client) = self.clients.get_mut(at) else {
            return Ok(());
        };
        let Some(request) = client.act(ticket, &mut scene) else {
            return Ok(());
        };
        let from = Origin {
            runtime: 0,
            connection,
        };
        self.visit(place, |process, clock, _| {
            Some(process.enter(from, ticket, request, clock.now()))
        })?;
        Ok(())
    }

    /// Where the broker of this incarnation stands, if it runs.
    fn place(&self, incarnation: u32) -> Option<usize> {
        let mut all = self.brokers.iter();
        all.position(|broker| broker.incarnation == incarnation)
    }

    /// Hands what came of a visit to whom it concerns.
    fn take(&mut self, incarnation: u32, came: Came) -> Kept {
        self.ledger.listen_to(incarnation);
        self.ledger
            .set_store_down(self.bucket.weather() == Weather::Down);
        let stale = self.ledger.is_fenced();
        let Some(at) = self.place(incarnation) else {
            return Ok(());
        };
        let catalog = self.broker(at)?.process.catalog.clone();
        if !stale {
            self.ledger.shown(&catalog, true)?;
        }
        let any = !came.replies.is_empty();
        for (to, reply) in came.replies {
            self.tally.answers += 1;
            self.tally.stale += u64::from(stale);
            self.answer(at, to, reply)?;
        }
        if let Some(fault) = came.ended {
            return self.ended_by_itself(incarnation, &fault);
        }
        if any && !stale && self.dice.below(40) == 0 {
            return self.look();
        }
        Ok(())
    }

    fn answer(&mut self, at: usize, to: ReplyTo, reply: Reply) -> Kept {
        let Some(seat) = self.seats.get(&to.origin.connection).copied() else {
            return Ok(());
        };
        let broker = self.broker(at)?;
        let (catalog, elapsed) = (broker.process.catalog.clone(), broker.elapsed);
        let now = self.clock(elapsed).now();
        let mut scene = Scene {
            dice: &mut self.dice,
            ledger: &mut self.ledger,
            trace: &mut self.trace,
            catalog: &catalog,
            now,
        };
        match self.clients.get_mut(seat.client) {
            Some(client) => client.answered(to.ticket, reply, &mut scene),
            None => Ok(()),
        }
    }

    /// Lets a keeper do some pieces of its work: each object is a chunk to it, so there is much.
    fn keep(&mut self) -> Kept {
        let at = self.pick();
        for _ in 0..=self.dice.below(30) {
            self.keep_one(at)?;
        }
        Ok(())
    }

    fn keep_one(&mut self, at: usize) -> Kept {
        let last = at + 1 == self.brokers.len();
        let (failed, wall) = (self.bucket.failed(), self.wall);
        let broker = self.broker(at)?;
        let (incarnation, elapsed) = (broker.incarnation, broker.elapsed);
        match broker.process.keep(Clock { elapsed, wall }.now()) {
            Ok("") => {}
            Ok(what) => {
                self.tally.kept += 1;
                self.trace
                    .line(|| format!("keeper of {incarnation}: {what}"));
            }
            Err(fault) => {
                self.trace
                    .line(|| format!("the keeper of {incarnation} is interrupted: {fault}"));
                if last && failed == self.bucket.failed() {
                    let what = format!("the keeper failed: {fault} ({:?})", fault.source);
                    return Err(Violation::new(Rule::Starts, what));
                }
            }
        }
        Ok(())
    }

    fn step_store(&mut self) -> Kept {
        let at = self.pick();
        let times = 1 + self.dice.below(4);
        let process = &mut self.broker(at)?.process;
        for _ in 0..times {
            process.step_store(1);
        }
        Ok(())
    }

    fn deliver(&mut self) -> Kept {
        let at = self.pick();
        self.visit(at, |process, clock, _| process.deliver(clock.now()))?;
        Ok(())
    }

    fn read_cold(&mut self) -> Kept {
        let at = self.pick();
        self.visit(at, |process, now, dice| process.read_cold(dice, now.now()))?;
        Ok(())
    }

    fn resume(&mut self) -> Kept {
        let at = self.pick();
        self.visit(at, |process, clock, _| process.resume(clock.now()))?;
        Ok(())
    }

    fn pass(&mut self, ms: u64) -> Kept {
        self.wall += ms;
        self.ledger.time_ms += ms;
        self.trace.line(|| format!("{ms} ms pass"));
        for broker in &mut self.brokers {
            broker.elapsed += ms;
        }
        let all: Vec<u32> = self.brokers.iter().map(|b| b.incarnation).collect();
        for incarnation in all {
            if let Some(at) = self.place(incarnation) {
                self.visit(at, |process, clock, _| Some(process.tick(clock.now())))?;
            }
        }
        Ok(())
    }

    /// Something that nobody waits for any more arrives.
    fn land(&mut self) {
        if self.dice.below(2) == 0 {
            if let Some(name) = self.bucket.land(self.dice.roll()) {
                self.tally.late += 1;
                self.trace.line(|| format!("a late PUT of {name} arrives"));
            }
        } else if self.heads.land(self.dice.roll()) {
            self.tally.late += 1;
            self.trace.line(|| "a late commit arrives".to_owned());
        }
    }

    /// Lets the one that leads do everything that waits, until nothing does.
    fn settle(&mut self) -> Kept {
        loop {
            let at = self.brokers.len().saturating_sub(1);
            let process = &mut self.broker(at)?.process;
            let (groups, completions, cold, retries) = process.waiting();
            if groups + completions + cold + retries == 0 {
                return Ok(());
            }
            process.step_store(1);
            self.visit(at, |process, clock, _| process.deliver(clock.now()))?;
            self.visit(at, |process, now, dice| process.read_cold(dice, now.now()))?;
            self.visit(at, |process, clock, _| process.resume(clock.now()))?;
        }
    }
}

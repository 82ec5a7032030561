//! One run: clients, one broker after the other, one disk, a clock moved by hand, and dice.
//!
//! Each step is one of many small things, chosen by the dice. When the power is planned to go at an
//! operation of the disk, the world goes on for a few steps after it: that is a sync that takes long,
//! while answers still leave. They count as given, and what the cut leaves must stand by them.

use std::collections::BTreeMap;

use mulgil_broker::lane::{Origin, ReplyTo};
use mulgil_broker::request::{Reply, Ticket};
use mulgil_log::disk::MemDisk;
use mulgil_log::disk::cut::Dice;

use crate::audit;
use crate::client::{Admin, Client, Member, Overseer, Producer, Reader, Scene, Worker};
use crate::disk::SimDisk;
use crate::ledger::Ledger;
use crate::planted::Planted;
use crate::process::{Came, Clock, Process, Sizes};
use crate::trace::Trace;
use crate::violation::{Kept, Rule, Violation};

mod full;
mod life;
mod trouble;

/// A run: everything else follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// How many steps.
    pub steps: u64,
    /// A bug put in on purpose.
    pub planted: Option<Planted>,
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
            trace: false,
        }
    }
}

/// What a run did, to see that it did something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Starts of a broker.
    pub starts: u64,
    /// Answers.
    pub answers: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Looks at what a power cut would leave.
    pub looks: u64,
    /// Bits turned around.
    pub flips: u64,
    /// Full disks that were worked free.
    pub freed: u64,
}

/// The world of one run.
#[derive(Debug)]
pub struct World {
    options: Options,
    dice: Dice,
    trace: Trace,
    clock: Clock,
    sizes: Sizes,
    disk: SimDisk,
    process: Option<Process>,
    ledger: Ledger,
    clients: Vec<Client>,
    /// The connection of each client, and which client has a connection.
    connections: BTreeMap<u64, usize>,
    next_connection: u64,
    next_ticket: u64,
    /// What a right wall clock would show.
    right_wall: u64,
    /// There are groups, whose offsets expire by date.
    dated: bool,
    /// Steps left between a power cut and its end.
    doomed: u64,
    full: bool,
    /// What a run did.
    pub tally: Tally,
}

impl World {
    /// The world before its first step.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut dice = Dice::new(options.seed);
        let sizes = Sizes::roll(&mut dice);
        let mut clients = vec![Client::Admin(Admin::default())];
        for number in 1..=2 + dice.below(4) {
            let number = usize::try_from(number).unwrap_or(0);
            clients.push(Client::Producer(Producer::new(number, dice.below(3) > 0)));
        }
        for _ in 0..1 + dice.below(3) {
            clients.push(Client::Reader(Reader::new(clients.len())));
        }
        let members = dice.below(6);
        for _ in 0..members {
            let number = clients.len();
            clients.push(Client::Member(Member::new(number, &mut dice)));
        }
        if members > 0 {
            clients.push(Client::Overseer(Overseer::default()));
        }
        for _ in 0..dice.below(5) {
            let kind = dice.below(5);
            clients.push(Client::Worker(Worker::new(clients.len(), kind)));
        }
        let mut ledger = Ledger::default();
        let retention_ms = sizes.lane.groups.offsets_retention_ms;
        ledger
            .groups
            .set_retention(retention_ms, sizes.groups_expire());
        let mut trace = Trace::new(options.trace);
        trace.line(|| {
            format!(
                "seed {}: {} clients, {sizes:?}",
                options.seed,
                clients.len()
            )
        });
        let connections = (0..clients.len()).map(|at| (at as u64 + 1, at)).collect();
        Self {
            trace,
            clock: Clock {
                elapsed: 0,
                wall: 1_700_000_000_000,
            },
            disk: SimDisk::new(MemDisk::new(dice.roll()), options.planted),
            process: None,
            ledger,
            next_connection: clients.len() as u64 + 1,
            clients,
            connections,
            next_ticket: 0,
            right_wall: 1_700_000_000_000,
            dated: members > 0,
            doomed: 0,
            full: false,
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
        self.start()?;
        for _ in 0..self.options.steps {
            self.trace.next_step();
            self.step()?;
        }
        self.trace.line(|| "the end".to_owned());
        self.quiesce()?;
        self.end_of_run()
    }

    /// The story so far.
    #[must_use]
    pub fn into_trace(self) -> Vec<String> {
        self.trace.into_lines()
    }

    pub(crate) const fn options(&self) -> Options {
        self.options
    }

    pub(crate) const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub(crate) const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(crate) const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn line(&mut self, line: impl FnOnce() -> String) {
        self.trace.line(line);
    }

    fn step(&mut self) -> Kept {
        if self.disk.is_out() {
            if self.doomed == 0 {
                return self.power_is_out();
            }
            self.doomed -= 1;
        }
        match self.dice.below(1000) {
            0..=359 => self.client_acts(),
            360..=419 => self.keep(),
            420..=579 => {
                let groups = if self.dice.below(3) == 0 { 4 } else { 1 };
                if self.process()?.step_store(groups) {
                    self.trace
                        .line(|| format!("the store writes up to {groups} groups"));
                }
                Ok(())
            }
            580..=769 => self.deliver(),
            770..=829 => self.read_cold(),
            830..=889 => self.resume(),
            890..=969 => {
                let ms = 1 + self.dice.below(12);
                self.pass(ms)
            }
            970..=981 => {
                let ms = self.dice.below(1500);
                self.pass(ms)
            }
            _ => self.trouble(),
        }
    }

    fn process(&mut self) -> Result<&mut Process, Violation> {
        let none = || Violation::new(Rule::Starts, "no broker runs");
        self.process.as_mut().ok_or_else(none)
    }

    fn client_acts(&mut self) -> Kept {
        let now = self.clock.now();
        let count = self.clients.len() as u64;
        let at = usize::try_from(self.dice.below(count)).unwrap_or(0);
        let connection = self.connections.iter().find(|(_, client)| **client == at);
        let Some((connection, _)) = connection.map(|(c, at)| (*c, *at)) else {
            return Ok(());
        };
        let catalog = self.process()?.catalog.clone();
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
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
        let came = self.process()?.enter(from, ticket, request, now);
        self.take(came)
    }

    /// Hands what came of a visit to whom it concerns.
    fn take(&mut self, came: Came) -> Kept {
        let levels = audit::levels_are_real(self.options.planted);
        let catalog = self.process()?.catalog.clone();
        self.ledger.shown(&catalog, levels)?;
        let any = !came.replies.is_empty();
        for (to, reply) in came.replies {
            self.tally.answers += 1;
            self.answer(to, reply)?;
        }
        if let Some(why) = came.ended {
            self.trace.line(|| format!("the process ends: {why}"));
            return self.ended_by_itself();
        }
        if any && self.dice.below(40) == 0 {
            return self.look();
        }
        Ok(())
    }

    fn answer(&mut self, to: ReplyTo, reply: Reply) -> Kept {
        let Some(at) = self.connections.get(&to.origin.connection).copied() else {
            return Ok(());
        };
        let catalog = self.process()?.catalog.clone();
        let mut scene = Scene {
            dice: &mut self.dice,
            ledger: &mut self.ledger,
            trace: &mut self.trace,
            catalog: &catalog,
            now: self.clock.now(),
        };
        match self.clients.get_mut(at) {
            Some(client) => client.answered(to.ticket, reply, &mut scene),
            None => Ok(()),
        }
    }

    /// Lets the keeper do a piece of its work.
    fn keep(&mut self) -> Kept {
        let now = self.clock.now();
        match self.process()?.keep(now) {
            Ok("") => {}
            Ok(what) => self.trace.line(|| format!("keeper: {what}")),
            Err(fault) => {
                let expected = self.disk.is_out() || self.disk.has_failed();
                self.trace
                    .line(|| format!("the keeper is interrupted: {fault}"));
                if !expected {
                    let what = format!("the keeper failed: {fault} ({:?})", fault.source);
                    return Err(Violation::new(Rule::Starts, what));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self) -> Kept {
        let now = self.clock.now();
        match self.process()?.deliver(now) {
            Some(came) => {
                self.trace
                    .line(|| "the lane hears from the store".to_owned());
                self.take(came)
            }
            None => Ok(()),
        }
    }

    fn read_cold(&mut self) -> Kept {
        let now = self.clock.now();
        let Some(process) = self.process.as_mut() else {
            return Ok(());
        };
        match process.read_cold(&mut self.dice, now) {
            Some(came) => {
                self.trace.line(|| "a cold read is done".to_owned());
                self.take(came)
            }
            None => Ok(()),
        }
    }

    fn resume(&mut self) -> Kept {
        let now = self.clock.now();
        match self.process()?.resume(now) {
            Some(came) => self.take(came),
            None => Ok(()),
        }
    }

    fn pass(&mut self, ms: u64) -> Kept {
        self.ledger.time_ms += ms;
        self.clock.elapsed += ms;
        self.clock.wall += ms;
        self.right_wall += ms;
        self.ledger.groups.pass(ms);
        let reached = self.ledger.queues.elapsed.max(self.clock.elapsed);
        self.ledger.queues.elapsed = reached;
        let now = self.clock.now();
        self.trace.line(|| format!("{ms} ms pass"));
        let came = self.process()?.tick(now);
        self.take(came)
    }

    /// Does everything that waits, until nothing does.
    fn settle(&mut self) -> Kept {
        loop {
            if self.disk.is_out() {
                return Ok(());
            }
            let (groups, completions, cold, retries) = self.process()?.waiting();
            if groups + completions + cold + retries == 0 {
                return Ok(());
            }
            self.process()?.step_store(2);
            self.deliver()?;
            self.read_cold()?;
            self.resume()?;
        }
    }

    /// Brings everything to rest: nobody waits then who need not.
    fn quiesce(&mut self) -> Kept {
        self.disk.calm();
        if self.disk.is_out() {
            self.power_is_out()?;
        }
        let watches = self.process()?.watches_space() && !self.disk.has_failed();
        if watches {
            self.settle()?;
            self.work_free()?;
        }
        self.disk.mem().set_capacity(None);
        self.settle()?;
        self.check_waits(false)?;
        // Longer than any wait of a client, and then what the end of one such wait begins.
        for ms in [1_500, 300, 5] {
            self.pass(ms)?;
            self.settle()?;
        }
        self.check_waits(true)
    }

    fn check_waits(&self, long: bool) -> Kept {
        for (at, client) in self.clients.iter().enumerate() {
            let (waits, ready) = client.waits(&self.ledger);
            let may = !long;
            if (waits > 0 && !may) || ready {
                let what = format!("client {at} waits for {waits} answers while nothing happens");
                return Err(Violation::new(Rule::Answered, what));
            }
        }
        Ok(())
    }
}

//! How brokers take over and end, and what is looked at then.

use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::store::Weather;

use super::{Broker, World};
use crate::audit;
use crate::ledger::Outage;
use crate::process::{Clock, Process};
use crate::violation::{Kept, Rule, Violation};

/// Starts that may fail one after the other because the bucket does.
const STARTS_MAX: u64 = 4;

impl World {
    /// Another broker takes over, as often as it takes; the ones there are go on if they are left.
    pub(super) fn take_over(&mut self) -> Kept {
        let newest = self.brokers.last().map(|broker| broker.incarnation);
        // One that was taken over before is none that leads.
        let old = newest.filter(|newest| !self.ledger.was_taken_over(*newest));
        if let Some(old) = old {
            self.ledger.freeze(old);
            self.tally.takeovers += 1;
        }
        self.down = 0;
        for again in 0.. {
            let weather = match self.dice.below(8) {
                _ if again >= STARTS_MAX => Weather::Rough,
                0 => Weather::Down,
                1 | 2 => Weather::RoughReads,
                _ => Weather::Rough,
            };
            self.bucket.set_weather(weather);
            let failed = self.bucket.failed();
            self.ledger.ended(Outage::Kill);
            let started = self.begin();
            self.bucket.set_weather(Weather::Rough);
            match started {
                Ok(broker) => {
                    let crashes = again < STARTS_MAX && self.dice.below(8) == 0;
                    if !crashes {
                        self.brokers.push(broker);
                        break;
                    }
                    let incarnation = broker.incarnation;
                    self.trace
                        .line(|| format!("broker {incarnation} crashes as soon as it has begun"));
                }
                Err(fault) if self.bucket.failed() > failed || weather == Weather::Down => {
                    self.trace.line(|| format!("the start fails: {fault}"));
                }
                Err(fault) => {
                    let what = format!("{fault} ({:?})", fault.source);
                    return Err(Violation::new(Rule::Starts, what));
                }
            }
        }
        self.tally.starts += 1;
        self.begun(old)
    }

    /// One start; brokers that are taken over go on before and after that.
    fn begin(&mut self) -> Result<Broker, Fault> {
        self.heads.look_before_takeover();
        let mut steps = [self.dice.below(12), self.dice.below(12)];
        let brokers = &mut self.brokers;
        let mut go_on = |steps: u64| {
            for _ in 0..steps {
                for broker in brokers.iter_mut() {
                    broker.process.step_store(1);
                }
            }
        };
        if self.dice.below(2) == 0 {
            steps = [0, 0];
        }
        go_on(steps[0]);
        let mut clock = Clock {
            elapsed: 0,
            wall: self.wall,
        };
        let seed = self.dice.roll();
        let sizes = (&self.sizes, seed);
        let (bucket, heads) = (&self.bucket, &self.heads);
        let process = Process::take_over(bucket, heads, sizes, &mut clock, || go_on(steps[1]))?;
        let epoch = process.catalog.leader_epoch.0;
        Ok(Broker {
            incarnation: u32::try_from(epoch).unwrap_or_default(),
            process,
            elapsed: clock.elapsed,
        })
    }

    /// Reads all that a fresh broker has: it must be all that was promised.
    fn begun(&mut self, old: Option<u32>) -> Kept {
        let Some(broker) = self.brokers.last_mut() else {
            return Ok(());
        };
        let incarnation = broker.incarnation;
        let recovered = &broker.process.recovered;
        self.trace.line(|| {
            format!(
                "broker {incarnation} begins after {} and {}: end {}, clean {}",
                recovered.incarnation,
                old.map_or_else(
                    || "nobody goes on".to_owned(),
                    |old| format!("{old} goes on")
                ),
                recovered.end,
                recovered.clean
            )
        });
        self.ledger.listen_to(incarnation);
        self.ledger.epoch(broker.process.catalog.leader_epoch.0)?;
        let now = Clock {
            elapsed: broker.elapsed,
            wall: self.wall,
        };
        let view = audit::view(&mut broker.process, &self.ledger, now.now(), true)?;
        self.ledger.check_view(&view, Outage::Kill)?;
        self.ledger.believe(&view)?;
        if let Some(old) = old {
            self.ledger.taken_over(old, &view);
        }
        self.reseat();
        let seats = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.broker != incarnation);
        let seats: Vec<_> = seats
            .map(|(connection, seat)| (*connection, seat.client))
            .collect();
        for (connection, client) in seats {
            // Who changes topics is the first; it goes where changes are taken.
            if client == 0 || self.dice.below(2) == 0 {
                self.reconnect(connection, true)?;
            }
        }
        Ok(())
    }

    /// A process has ended because of what its store said.
    pub(super) fn ended_by_itself(&mut self, incarnation: u32, fault: &Fault) -> Kept {
        self.trace
            .line(|| format!("broker {incarnation} ends: {fault}"));
        let Some(at) = self.place(incarnation) else {
            return Ok(());
        };
        if at + 1 < self.brokers.len() {
            self.tally.fenced += u64::from(fault.kind == FaultKind::Fenced);
            self.retire(at);
            return Ok(());
        }
        if fault.kind == FaultKind::Fenced {
            let what = format!("broker {incarnation}, which nobody took over from, ends: {fault}");
            return Err(Violation::new(Rule::ZombieSilent, what));
        }
        if self.bucket.failed() == 0 && self.bucket.weather() != Weather::Down {
            let what = format!("the process ended, and nothing had failed: {fault}");
            return Err(Violation::new(Rule::Starts, what));
        }
        self.brokers.pop();
        self.ledger.ended(Outage::Kill);
        self.take_over()
    }

    /// Stops in order, as the shell does.
    pub(super) fn stop(&mut self) -> Kept {
        self.trace.line(|| "the broker stops".to_owned());
        self.down = 0;
        self.bucket.set_weather(Weather::Calm);
        let at = self.brokers.len().saturating_sub(1);
        let incarnation = self.broker(at)?.incarnation;
        self.visit(at, |process, clock, _| {
            Some(process.visit(clock.now(), |lane, _| {
                lane.stop();
                lane.write_true_ends();
            }))
        })?;
        for _ in 0..1000 {
            let mut done = false;
            self.visit(at, |process, clock, _| {
                Some(process.visit(clock.now(), |lane, _| done = lane.finish_stop()))
            })?;
            if done {
                self.brokers
                    .retain(|broker| broker.incarnation != incarnation);
                self.ledger.ended(Outage::Clean);
                return self.take_over();
            }
            self.broker(at)?.process.step_store(1);
            self.visit(at, |process, clock, _| process.deliver(clock.now()))?;
        }
        let what = "a clean stop does not come to its end";
        Err(Violation::new(Rule::Answered, what))
    }

    /// Looks at what a crash at this moment would leave, without one.
    pub(super) fn look(&mut self) -> Kept {
        self.tally.looks += 1;
        self.trace.line(|| "what would a crash leave?".to_owned());
        let lands = self.dice.below(3);
        let mut process = self.shadow(lands)?;
        let now = Clock {
            elapsed: process.recovered.elapsed_ms,
            wall: self.wall,
        };
        let leader = self.brokers.last().map_or(0, |broker| broker.incarnation);
        self.ledger.listen_to(leader);
        let view = audit::view(&mut process, &self.ledger, now.now(), true)?;
        self.ledger.check_view(&view, Outage::Kill)
    }

    /// A broker of its own on a copy of everything, in which some of what is late has arrived.
    fn shadow(&mut self, lands: u64) -> Result<Process, Violation> {
        let (bucket, heads) = (self.bucket.fork(), self.heads.fork());
        bucket.set_weather(Weather::Calm);
        for _ in 0..lands {
            bucket.land(self.dice.roll());
            heads.land(self.dice.roll());
        }
        let mut clock = Clock {
            elapsed: 0,
            wall: self.wall,
        };
        let sizes = (&self.sizes, self.dice.roll());
        Process::take_over(&bucket, &heads, sizes, &mut clock, || ())
            .map_err(|fault| Violation::new(Rule::Starts, fault.to_string()))
    }

    /// Brings everything to rest: nobody waits then who need not.
    fn quiesce(&mut self) -> Kept {
        while self.brokers.len() > 1 {
            self.retire(0);
        }
        self.down = 0;
        self.bucket.set_weather(Weather::Calm);
        self.settle()?;
        self.check_waits(false)?;
        self.pass(1_500)?;
        self.settle()?;
        self.check_waits(true)?;
        self.bucket.set_weather(Weather::Rough);
        Ok(())
    }

    fn check_waits(&self, long: bool) -> Kept {
        for (at, client) in self.clients.iter().enumerate() {
            let (waits, ready) = client.waits(&self.ledger);
            if (waits > 0 && long) || ready {
                let what = format!("client {at} waits for {waits} answers while nothing happens");
                return Err(Violation::new(Rule::Answered, what));
            }
        }
        Ok(())
    }

    /// At rest, replaying the log must give the machines that run.
    pub(super) fn law(&mut self) -> Kept {
        self.trace.line(|| "at rest, the law of restart".to_owned());
        self.quiesce()?;
        let after = self.shadow(0)?;
        match self.brokers.last() {
            Some(before) => audit::law_of_restart(&before.process, &after),
            None => Ok(()),
        }
    }

    /// The last looks of a run.
    pub(super) fn end_of_run(&mut self) -> Kept {
        self.law()?;
        self.look()?;
        self.take_over()?;
        self.quiesce()
    }
}

//! How lives of the broker begin and end, and what is looked at then.

use mulgil_broker::lane::Origin;
use mulgil_log::disk::FaultPlan;

use super::World;
use crate::audit;
use crate::disk::{SimDisk, Trouble};
use crate::ledger::Outage;
use crate::process::{Clock, Process};
use crate::violation::{Kept, Rule, Violation};

/// Starts that may fail one after the other because something was planned to go wrong in them.
const STARTS_MAX: u64 = 4;

/// Each so many-th seed compacts all in the end: it takes longer than all the rest of a run.
const COMPACTING_SEEDS: u64 = 4;

/// Pieces of work after which everything is compacted that was there.
const COMPACT_STEPS: u32 = 6_000;

impl World {
    /// Starts a broker on the disk as it is, as often as it takes, and reads all that it has.
    pub(super) fn start(&mut self) -> Kept {
        self.start_after(Outage::Clean)
    }

    fn start_after(&mut self, mut outage: Outage) -> Kept {
        self.disk.mem().set_capacity(None);
        self.right_wall = self.right_wall.min(self.clock.wall);
        self.clock = self.clock_of_start();
        for again in 0.. {
            self.plan_for_start(again);
            let (sizes, planted) = (self.sizes.clone(), self.options.planted);
            let started = Process::start(&self.disk, &sizes, &mut self.clock, planted);
            let troubled = self.disk.has_failed() || self.disk.is_out();
            match started {
                Ok(process) if !troubled => {
                    self.disk.calm();
                    self.process = Some(process);
                    break;
                }
                // The first group is not written yet, so the process can't know.
                Ok(_) => {}
                Err(_) if troubled && again < STARTS_MAX => {}
                Err(fault) => {
                    let what = format!("{fault} ({:?})", fault.source);
                    return Err(Violation::new(Rule::Starts, what));
                }
            }
            self.trace.line(|| "the start fails, as planned".to_owned());
            if self.disk.is_out() || self.dice.below(2) == 0 {
                self.cut_power();
                outage = Outage::Power;
            } else {
                self.disk = SimDisk::new(self.disk.mem().clone(), planted);
            }
            // A clean stop has synced everything, and a power cut adds nothing to a kill then.
            self.ledger.ended(outage);
        }
        self.tally.starts += 1;
        self.started(outage)
    }

    fn plan_for_start(&mut self, again: u64) {
        if again >= STARTS_MAX || self.tally.starts == 0 || self.dice.below(5) > 0 {
            return;
        }
        let trouble = match self.dice.below(3) {
            0 => Trouble::PowerBefore,
            1 => Trouble::PowerAfter,
            _ => Trouble::Broken,
        };
        let after = self.dice.below(12);
        self.trace
            .line(|| format!("{trouble:?} is planned for operation {after} of the start"));
        self.disk.plan(after, trouble);
    }

    /// Reads all that a fresh broker has: it must be all that was promised.
    fn started(&mut self, outage: Outage) -> Kept {
        let levels = audit::levels_are_real(self.options.planted);
        let now = self.clock.now();
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let recovered = &process.recovered;
        self.trace.line(|| {
            format!(
                "start {} after {outage:?}: end {}, synced {}, clean {}, {} frames copied, {} in \
                 quarantine",
                recovered.incarnation + 1,
                recovered.end,
                recovered.synced,
                recovered.clean,
                recovered.copied,
                recovered.quarantined.len()
            )
        });
        self.ledger.epoch(process.catalog.leader_epoch.0)?;
        let view = audit::view(process, &self.ledger, now, levels)?;
        self.ledger.check_view(&view, outage)?;
        self.ledger.believe(&view)?;
        process.visit(now, |lane, _| lane.set_full(false));
        self.full = false;
        Ok(())
    }

    /// Takes the process away and tells everybody.
    fn end(&mut self, outage: Outage) {
        self.process = None;
        self.ledger.ended(outage);
        for client in &mut self.clients {
            client.disconnected();
        }
        self.connections.clear();
        for at in 0..self.clients.len() {
            self.connect(at);
        }
    }

    fn connect(&mut self, at: usize) {
        self.connections.insert(self.next_connection, at);
        self.next_connection += 1;
    }

    /// One client comes back with another connection.
    pub(super) fn reconnect(&mut self) -> Kept {
        let count = self.clients.len() as u64;
        let at = usize::try_from(self.dice.below(count)).unwrap_or(0);
        let connection = self.connections.iter().find(|(_, client)| **client == at);
        let Some(connection) = connection.map(|(c, _)| *c) else {
            return Ok(());
        };
        self.trace
            .line(|| format!("client {at} loses its connection"));
        self.connections.remove(&connection);
        if let Some(client) = self.clients.get_mut(at) {
            client.disconnected();
        }
        self.ledger.queue_left(at);
        self.connect(at);
        let now = self.clock.now();
        let origin = Origin {
            runtime: 0,
            connection,
        };
        let came = self.process()?.visit(now, |lane, _| lane.forget(origin));
        self.take(came)
    }

    /// The disk becomes what a power cut leaves of it.
    fn cut_power(&mut self) {
        let seed = self.dice.roll();
        let plan = match self.dice.below(6) {
            0 => FaultPlan {
                seed,
                ..FaultPlan::drop_all()
            },
            1 => FaultPlan {
                seed,
                ..FaultPlan::keep_all()
            },
            _ => FaultPlan::mixed(seed),
        };
        self.tally.cuts += 1;
        self.trace.line(|| format!("the power is cut: {plan:?}"));
        self.disk = SimDisk::new(self.disk.mem().crash(plan), self.options.planted);
    }

    /// The power went at its planned operation, and the steps after it are over.
    pub(super) fn power_is_out(&mut self) -> Kept {
        self.end(Outage::Power);
        self.cut_power();
        self.start_after(Outage::Power)
    }

    /// The process ended because a write or sync failed: nobody knows what is on disk.
    pub(super) fn ended_by_itself(&mut self) -> Kept {
        if !self.disk.has_failed() {
            return Err(Violation::new(
                Rule::Starts,
                "the process ended, and nothing had failed",
            ));
        }
        self.disk.mem().set_capacity(None);
        self.end(Outage::Power);
        self.cut_power();
        self.start_after(Outage::Power)
    }

    /// Kills the process. What it wrote is in the page cache.
    pub(super) fn kill(&mut self) -> Kept {
        self.trace.line(|| "the process is killed".to_owned());
        self.end(Outage::Kill);
        self.disk = SimDisk::new(self.disk.mem().clone(), self.options.planted);
        self.start_after(Outage::Kill)
    }

    /// Stops in order, as the shell does.
    pub(super) fn stop(&mut self) -> Kept {
        self.trace.line(|| "the broker stops".to_owned());
        let now = self.clock.now();
        self.disk.calm();
        let came = self.process()?.visit(now, |lane, _| {
            lane.stop();
            lane.write_true_ends();
        });
        self.take(came)?;
        for _ in 0..1000 {
            if self.process.is_none() || self.disk.is_out() {
                return Ok(());
            }
            let mut done = false;
            let came = self
                .process()?
                .visit(now, |lane, _| done = lane.finish_stop());
            self.take(came)?;
            if done {
                self.end(Outage::Clean);
                self.disk = SimDisk::new(self.disk.mem().clone(), self.options.planted);
                if self.dice.below(2) == 0 {
                    self.cut_power();
                }
                return self.start_after(Outage::Clean);
            }
            self.process()?.step_store(1);
            self.deliver()?;
        }
        Err(Violation::new(
            Rule::Answered,
            "a clean stop does not come to its end",
        ))
    }

    /// Looks at what a power cut at this moment would leave, without one.
    pub(super) fn look(&mut self) -> Kept {
        self.tally.looks += 1;
        self.trace
            .line(|| "what would a power cut leave?".to_owned());
        let (_, mut process) = self.shadow(FaultPlan::drop_all())?;
        let levels = audit::levels_are_real(self.options.planted);
        let now = self.clock.now();
        let view = audit::view(&mut process, &self.ledger, now, levels)?;
        self.ledger.check_view(&view, Outage::Power)
    }

    /// What the clocks show at a start. A wall clock that is ahead then cannot be told from a long time
    /// without power, in which the offsets of groups expire: where there are groups it is right, or was
    /// set back for good. Nothing else goes by it, so that elsewhere it stays as it was set.
    const fn clock_of_start(&self) -> Clock {
        if !self.dated {
            return self.clock;
        }
        let (right, shown) = (self.right_wall, self.clock.wall);
        Clock {
            wall: if right < shown { right } else { shown },
            ..self.clock
        }
    }

    /// A broker of its own on a copy of the disk.
    pub(super) fn shadow(&self, plan: FaultPlan) -> Result<(SimDisk, Process), Violation> {
        let disk = SimDisk::new(self.disk.mem().crash(plan), self.options.planted);
        let mut clock = self.clock_of_start();
        let started = Process::start(&disk, &self.sizes, &mut clock, self.options.planted);
        let process = started.map_err(|fault| Violation::new(Rule::Starts, fault.to_string()))?;
        Ok((disk, process))
    }

    /// At rest, replaying the log must give the machines that run.
    pub(super) fn law(&mut self) -> Kept {
        self.trace.line(|| "at rest, the law of restart".to_owned());
        self.quiesce()?;
        let (_, after) = self.shadow(FaultPlan::keep_all())?;
        let Some(before) = &self.process else {
            return Ok(());
        };
        audit::law_of_restart(before, &after)
    }

    /// In the end all is compacted that was there, if the clock is believed.
    fn compact(&mut self) -> Kept {
        let mut done = false;
        for _ in 0..COMPACT_STEPS {
            let now = self.clock.now();
            if !self.process()?.believes(now) {
                return Ok(());
            }
            done = self.process()?.clean(now).1;
            if done {
                break;
            }
            self.keep()?;
            self.settle()?;
            self.pass(3)?;
            self.settle()?;
        }
        if !done {
            let what = "what is to be compacted waits in vain";
            return Err(Violation::new(Rule::Compacted, what));
        }
        let now = self.clock.now();
        let levels = audit::levels_are_real(self.options.planted);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let view = audit::view(process, &self.ledger, now, levels)?;
        for (id, clean_to) in process.clean(now).0 {
            if let Some(partition) = view.partitions.get(&id) {
                self.ledger.check_clean(id, partition, clean_to)?;
            }
        }
        Ok(())
    }

    /// The last looks of a run.
    pub(super) fn end_of_run(&mut self) -> Kept {
        self.law()?;
        if self.options.seed.is_multiple_of(COMPACTING_SEEDS) {
            // Again and again: what a pass leaves for its time must outlive the next.
            for _ in 0..2 {
                self.compact()?;
                self.burst()?;
                self.quiesce()?;
            }
            self.compact()?;
        }
        self.look()?;
        self.flip_bits()?;
        self.flip_while_running()?;
        self.kill()
    }
}

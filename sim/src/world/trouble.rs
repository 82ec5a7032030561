//! What goes wrong, or is at least rare.

use super::World;
use crate::disk::Trouble;
use crate::violation::Kept;

/// A year, by which a wall clock that was wrong may step.
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

impl World {
    /// One rare thing.
    pub(super) fn trouble(&mut self) -> Kept {
        match self.dice.below(21) {
            0..=3 => {
                self.plan_power();
                Ok(())
            }
            4 => self.kill(),
            5 => self.stop(),
            6 => {
                let after = self.dice.below(20);
                self.trace
                    .line(|| format!("operation {after} from here on will fail"));
                self.disk.plan(after, Trouble::Broken);
                Ok(())
            }
            7 => {
                self.fill_disk();
                Ok(())
            }
            8 | 9 => self.toggle_full(),
            10 | 11 => self.reconnect(),
            12 => {
                self.ledger.queues.clock_stepped = true;
                let forward = self.dice.below(2) == 0;
                self.trace
                    .line(|| "the wall clock steps by a year".to_owned());
                self.clock.wall = if forward {
                    self.clock.wall + YEAR_MS
                } else {
                    self.clock.wall.saturating_sub(YEAR_MS)
                };
                Ok(())
            }
            13 => self.law(),
            14 => self.look(),
            15 => self.flip_bits(),
            16 | 17 => self.fill_or_free(),
            18 => self.flip_while_running(),
            _ => self.burst(),
        }
    }

    /// Plans a power cut at one of the next operations, and how long the process goes on after it.
    fn plan_power(&mut self) {
        let after = self.dice.below(15);
        let late = self.dice.below(2) == 0;
        let trouble = if late {
            Trouble::PowerAfter
        } else {
            Trouble::PowerBefore
        };
        self.doomed = self.dice.below(30);
        self.trace
            .line(|| format!("{trouble:?} is planned for operation {after} from here on"));
        self.disk.plan(after, trouble);
    }

    /// Lets the disk hold only a little more.
    fn fill_disk(&mut self) {
        let more = self.dice.below(40_000);
        self.trace
            .line(|| format!("the disk has room for {more} bytes more"));
        self.disk.mem().set_capacity(Some(self.disk.used() + more));
        self.disk.set_limited();
    }

    /// Tells the lane that the disk is full, or that it has room again.
    fn toggle_full(&mut self) -> Kept {
        if self.process()?.watches_space() {
            return Ok(());
        }
        self.full = !self.full;
        let (full, now) = (self.full, self.clock.now());
        self.trace
            .line(|| format!("the lane is told that the disk is full: {full}"));
        let came = self.process()?.visit(now, |lane, _| lane.set_full(full));
        self.take(came)
    }

    /// Many requests before the store gets to do anything.
    pub(super) fn burst(&mut self) -> Kept {
        for _ in 0..40 {
            self.client_acts()?;
        }
        Ok(())
    }
}

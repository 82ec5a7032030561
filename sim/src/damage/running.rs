//! Bits that turn around under a broker that runs: what is damaged is reported and never served, all
//! else is served, and neither regrouping nor a start forgets the report.

use mulgil_log::disk::FaultPlan;
use mulgil_log::disk::cut::Dice;

use super::lost;
use crate::audit;
use crate::disk::SimDisk;
use crate::ledger::{QUEUE, View, is_compacted, keeps_newest};
use crate::process::{Clock, Process};
use crate::violation::{Kept, Rule, Violation};
use crate::world::World;

/// Pieces of work in which a keeper surely comes to rest.
const PIECES_MAX: usize = 3_000;

/// What was read, or none if what says where records lie is damaged itself, which is said.
type Looked = Result<Option<View>, Violation>;

impl World {
    /// Turns a bit around on a copy of the disk, on which a broker of its own runs, reads, regroups and
    /// starts again.
    pub(crate) fn flip_while_running(&mut self) -> Kept {
        let planted = self.options().planted;
        let mut sizes = self.sizes().clone();
        sizes.keeper.regroup_bytes = 1;
        let mut clock = Clock {
            elapsed: 0,
            wall: 1_700_000_000_000,
        };
        let copy = self.disk().mem().crash(FaultPlan::keep_all());
        let disk = SimDisk::new(copy.clone(), planted);
        let refused = |fault| Violation::new(Rule::Starts, format!("{fault} without damage"));
        let mut process = Process::start(&disk, &sizes, &mut clock, planted).map_err(refused)?;
        let Some(before) = self.look_into(&mut process, clock)? else {
            return Ok(());
        };
        let Some((name, at)) = self.place(&copy) else {
            return Ok(());
        };
        let bit = u8::try_from(self.dice().below(8)).unwrap_or(0);
        if name.ends_with("checkpoint") || !copy.flip(&name, at, bit) {
            return Ok(());
        }
        self.tally.flips += 1;
        let place = format!("bit {bit} of byte {at} of {name}, while the broker runs");
        self.line(|| format!("{place}, turns around"));
        self.compare_with(&before, &mut process, clock, &place)?;
        if keep_until_rest(&mut process, clock, &place)? {
            let place = format!("{place}, after regrouping");
            self.compare_with(&before, &mut process, clock, &place)?;
        }
        drop(process);
        // The same disk, with the bit turned back if what it lies in is still there.
        let twin = copy.crash(FaultPlan::keep_all());
        let _turned_back = twin.flip(&name, at, bit);
        let mut other = Process::start(&SimDisk::new(twin, planted), &sizes, &mut clock, planted);
        let whole = match &mut other {
            Ok(process) => self.look_into(process, clock)?,
            Err(_) => None,
        };
        // A start that is refused has reported it, and so has one that put the end of the log aside.
        let started = Process::start(&SimDisk::new(copy, planted), &sizes, &mut clock, planted);
        if let (Some(mut whole), Ok(mut process)) = (whole, started)
            && process.recovered.quarantined.is_empty()
            && process.recovered.mended.is_empty()
        {
            keep_found(&mut whole, &before);
            let place = format!("{place}, after a start");
            self.compare_with(&whole, &mut process, clock, &place)?;
        }
        Ok(())
    }

    fn look_into(&self, process: &mut Process, clock: Clock) -> Looked {
        let levels = audit::levels_are_real(self.options().planted);
        match audit::view(process, self.ledger(), clock.now(), levels) {
            Ok(view) => Ok(Some(view)),
            Err(violation) if violation.what.contains("of its footer is damaged") => Ok(None),
            Err(violation) => Err(violation),
        }
    }

    fn compare_with(&self, whole: &View, process: &mut Process, clock: Clock, place: &str) -> Kept {
        let damage = |what: String| Violation::new(Rule::Damage, format!("{place}: {what}"));
        let view = self.look_into(process, clock);
        let Some(view) = view.map_err(|violation| damage(violation.to_string()))? else {
            return Ok(());
        };
        match lost(&retained(whole, &view), &view) {
            Some(lost) => Err(damage(lost)),
            None => Ok(()),
        }
    }
}

/// What was there `before` the bit turned has to be there, or reported, after any number of passes and
/// starts: the twin starts behind the passes too, and knows no more than they left. The ends are its own.
fn keep_found(whole: &mut View, before: &View) {
    for (id, there) in &mut whole.partitions {
        if let Some(before) = before.partitions.get(id) {
            there.found.clone_from(&before.found);
            there.found.retain(|found| found.last >= there.start);
        }
    }
}

/// What retention by size and compaction leave of `whole`, as far as they have gone in `view`. What
/// compaction may give up is looked at elsewhere (`Rule::Compacted`, `Rule::KeptRecords`).
fn retained(whole: &View, view: &View) -> View {
    let mut left = whole.clone();
    for topic in whole.catalog.by_id.values() {
        for id in topic
            .partitions
            .iter()
            .filter(|_| keeps_newest(topic.id) || topic.id == QUEUE)
        {
            if let (Some(all), Some(there)) = (left.partitions.get_mut(id), view.partitions.get(id))
            {
                all.start = all.start.max(there.start);
                all.found.retain(|found| found.last >= there.start);
            }
        }
    }
    for topic in whole
        .catalog
        .by_id
        .values()
        .filter(|t| is_compacted(t.id) || t.id == QUEUE)
    {
        for id in &topic.partitions {
            if let (Some(all), Some(there)) = (left.partitions.get_mut(id), view.partitions.get(id))
            {
                all.found.retain(|found| there.found.contains(found));
            }
        }
    }
    left
}

/// Lets the keeper do all that it finds to do; says whether it could.
fn keep_until_rest(process: &mut Process, clock: Clock, place: &str) -> Result<bool, Violation> {
    // Dead letters may be on their way, in whatever order.
    let mut dice = Dice::new(0);
    for _ in 0..PIECES_MAX {
        while process.step_store(1) {}
        while process.deliver(clock.now()).is_some() {}
        while process.read_cold(&mut dice, clock.now()).is_some() {}
        if process.keep(clock.now()).is_err() {
            return Ok(false);
        }
        if process.keeper_rests() && process.waiting() == (0, 0, 0, 0) {
            return Ok(true);
        }
    }
    let what = format!("{place}: the keeper never rests");
    Err(Violation::new(Rule::Damage, what))
}

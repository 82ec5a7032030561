//! Bits that turn around on disk: reported, or refused, or an error on that range; never served, and
//! nothing else is lost.

use mulgil_log::disk::{FaultPlan, MemDisk, QUARANTINE};

use crate::audit;
use crate::disk::SimDisk;
use crate::ledger::View;
use crate::process::{Clock, Process};
use crate::violation::{Kept, Rule, Violation};
use crate::world::World;

mod running;

/// What a flip led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The start was refused.
    Refused,
    /// The broker runs and says what is damaged or was put aside.
    Reported,
    /// Nothing came of it: the bit says nothing.
    Harmless,
}

impl World {
    /// Turns bits around in copies of the disk, one at a time, and starts on each.
    pub(crate) fn flip_bits(&mut self) -> Kept {
        for _ in 0..3 {
            let plan = match self.dice().below(3) {
                0 => FaultPlan::keep_all(),
                1 => FaultPlan::drop_all(),
                _ => FaultPlan::mixed(self.dice().roll()),
            };
            let copy = self.disk().mem().crash(plan);
            let Some((name, at)) = self.place(&copy) else {
                return Ok(());
            };
            let bit = u8::try_from(self.dice().below(8)).unwrap_or(0);
            let verdict = self.flip(&copy, (&name, at, bit))?;
            self.tally.flips += 1;
            self.line(|| format!("bit {bit} of byte {at} of {name} turns around: {verdict:?}"));
        }
        Ok(())
    }

    /// A byte of a chunk that holds something, mostly.
    fn place(&mut self, disk: &MemDisk) -> Option<(String, u64)> {
        let files: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|(n, _)| !n.starts_with(QUARANTINE))
            .collect();
        let count = u64::try_from(files.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(self.dice().below(count)).unwrap_or(0);
        let (name, bytes) = files.into_iter().nth(at)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let part = self.dice().below(8);
        let header = part == 0;
        let limit = if header { 4096.min(used) } else { used };
        let from = if header || used <= 4096 { 0 } else { 4096 };
        let mut places: Vec<_> = (from..limit.max(from + 1)).collect();
        if part <= 2 && !header {
            // What names the parts of a chunk lies in its last page, between zeroes.
            let said = |at: &usize| *at + 4096 >= used && bytes.get(*at).is_some_and(|b| *b != 0);
            places.retain(said);
        }
        let at = self.dice().below(places.len().max(1) as u64);
        let at = places.get(usize::try_from(at).unwrap_or(0)).copied();
        Some((name, at.unwrap_or(from) as u64))
    }

    fn flip(&self, disk: &MemDisk, (name, at, bit): (&str, u64, u8)) -> Result<Verdict, Violation> {
        let before = disk.crash(FaultPlan::keep_all());
        if !disk.flip(name, at, bit) {
            return Ok(Verdict::Harmless);
        }
        let found = self.look_at(disk);
        let place = format!("bit {bit} of byte {at} of {name}");
        let (view, reported) = match found {
            Ok(found) => found,
            Err(None) => {
                // A start that is refused changes nothing that matters: with the bit turned back,
                // everything is there.
                if !disk.flip(name, at, bit) {
                    let what = format!("{place}: the refused start removed the file");
                    return Err(Violation::new(Rule::Damage, what));
                }
                self.compare(disk, &before, &place)?;
                if name.ends_with(".sorted") || name.ends_with(".compacted") {
                    let what = format!("{place}: a start is refused for what can be told again");
                    return Err(Violation::new(Rule::Damage, what));
                }
                return Ok(Verdict::Refused);
            }
            Err(Some(violation)) => {
                let what = format!("{place}: {violation}");
                return Err(Violation::new(Rule::Damage, what));
            }
        };
        let undamaged = self.look_at(&before);
        let Ok((whole, _)) = undamaged else {
            return Err(Violation::new(
                Rule::Damage,
                format!("{place}: no start without it"),
            ));
        };
        let lost = lost(&whole, &view);
        match (lost, reported) {
            (Some(lost), false) => {
                let what = format!("{place}: {lost}, and nothing is reported");
                Err(Violation::new(Rule::Damage, what))
            }
            (_, true) => Ok(Verdict::Reported),
            (None, false) => Ok(Verdict::Harmless),
        }
    }

    /// Starts on `disk` and reads everything. `Err(None)`: the start is refused.
    fn look_at(&self, disk: &MemDisk) -> Result<(View, bool), Option<Violation>> {
        let planted = self.options().planted;
        let sizes = self.sizes().clone();
        let mut clock = Clock {
            elapsed: 0,
            wall: 1_700_000_000_000,
        };
        let disk = SimDisk::new(disk.clone(), planted);
        let started = Process::start(&disk, &sizes, &mut clock, planted);
        let mut process = started.map_err(|_refused| None)?;
        let levels = audit::levels_are_real(planted);
        let view = audit::view(&mut process, self.ledger(), clock.now(), levels).map_err(Some)?;
        let recovered = &process.recovered;
        let damaged = view.partitions.values().any(|p| !p.damaged.is_empty());
        let reported = damaged || !recovered.quarantined.is_empty() || !recovered.mended.is_empty();
        Ok((view, reported))
    }

    fn compare(&self, disk: &MemDisk, before: &MemDisk, place: &str) -> Kept {
        let pair = (self.look_at(disk), self.look_at(before));
        let (Ok((after, _)), Ok((before, _))) = pair else {
            let what = format!("{place}: turned back, and still no start");
            return Err(Violation::new(Rule::Damage, what));
        };
        match lost(&before, &after) {
            Some(lost) => {
                let what = format!("{place}: after a refused start, {lost}");
                Err(Violation::new(Rule::Damage, what))
            }
            None => Ok(()),
        }
    }
}

/// What is in `whole` and neither in `view` nor reported there as damaged.
fn lost(whole: &View, view: &View) -> Option<String> {
    if whole.groups != view.groups {
        return Some("the committed offsets are others".to_owned());
    }
    if whole.catalog.by_id != view.catalog.by_id {
        return Some("the topics are others".to_owned());
    }
    for (id, all) in &whole.partitions {
        let Some(there) = view.partitions.get(id) else {
            return Some(format!("partition {id} is gone"));
        };
        if (all.start, all.high_watermark) != (there.start, there.high_watermark) {
            let (was, is) = (
                (all.start, all.high_watermark),
                (there.start, there.high_watermark),
            );
            return Some(format!(
                "the ends of partition {id} are {is:?}, and were {was:?}"
            ));
        }
        let gone = all.found.iter().find(|found| {
            let damaged = there
                .damaged
                .iter()
                .any(|(f, l)| *f <= found.last && *l >= found.base);
            !damaged && !there.found.contains(found)
        });
        if let Some(gone) = gone {
            return Some(format!("{gone:?} of partition {id} is gone"));
        }
    }
    None
}

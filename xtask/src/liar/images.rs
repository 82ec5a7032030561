//! Which disks are built from a recording: where the power is cut, and what is left of the unsynced.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use mulgil_log::disk::cut::Dice;
use mulgil_log::disk::{DiskOp, FaultPlan};

use super::session::Session;

/// What a power cut does to that which is not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything arrived, as after a kill.
    Kept,
    /// Nothing arrived.
    Dropped,
    /// Each write arrived whole or not at all, whatever came before it.
    Reordered,
    /// Of each write some sectors arrived.
    Torn,
    /// Each write arrived, or did not, or in part.
    Mixed,
}

const PLANS: [(&str, Plan); 5] = [
    ("kept", Plan::Kept),
    ("dropped", Plan::Dropped),
    ("reordered", Plan::Reordered),
    ("torn", Plan::Torn),
    ("mixed", Plan::Mixed),
];

/// One disk: where the power was cut, how, and the seed of what was left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Image {
    pub(super) cut: usize,
    pub(super) plan: Plan,
    pub(super) seed: u64,
}

impl Image {
    pub(super) fn faults(self) -> FaultPlan {
        let of = |keep, tear, keep_names| FaultPlan {
            seed: self.seed,
            keep,
            tear,
            keep_names,
        };
        match self.plan {
            Plan::Kept => FaultPlan::keep_all(),
            Plan::Dropped => FaultPlan::drop_all(),
            Plan::Reordered => of(128, 0, 128),
            Plan::Torn => of(0, 256, 192),
            Plan::Mixed => FaultPlan::mixed(self.seed),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PLANS
            .iter()
            .find_map(|(name, plan)| (*plan == self.plan).then_some(*name))
            .unwrap_or_default();
        write!(f, "{}/{name}/{}", self.cut, self.seed)
    }
}

impl FromStr for Image {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let [cut, name, seed] = text.split('/').collect::<Vec<_>>()[..] else {
            bail!("must be OPERATION/PLAN/SEED");
        };
        let plan = PLANS
            .iter()
            .find_map(|(known, plan)| (*known == name).then_some(*plan))
            .with_context(|| format!("there is no plan {name}"))?;
        Ok(Self {
            cut: cut.parse()?,
            plan,
            seed: seed.parse()?,
        })
    }
}

/// The places of a recording around which something may go wrong.
struct Places {
    end: usize,
    /// Where acknowledgements came.
    answers: Vec<usize>,
    syncs: Vec<usize>,
    /// The first syncs of each file: its header, its first frames.
    first_syncs: Vec<usize>,
    /// Creations, renames, removals, syncs of the directory.
    names: Vec<usize>,
}

impl Places {
    fn of(session: &Session) -> Self {
        let ops = session.recording.ops();
        let mut seen = std::collections::BTreeMap::new();
        let mut places = Self {
            end: ops.len(),
            answers: session.noted.answers(),
            syncs: Vec::new(),
            first_syncs: Vec::new(),
            names: Vec::new(),
        };
        for (at, op) in ops.iter().enumerate() {
            match op {
                DiskOp::Sync { file } => {
                    places.syncs.push(at);
                    let before = seen.entry(*file).or_insert(0);
                    *before += 1;
                    places.first_syncs.extend((*before <= 2).then_some(at));
                }
                DiskOp::Create { .. }
                | DiskOp::Rename { .. }
                | DiskOp::Remove { .. }
                | DiskOp::SyncNames => places.names.push(at),
                DiskOp::Base { .. }
                | DiskOp::Write { .. }
                | DiskOp::SetLen { .. }
                | DiskOp::Allocate { .. } => {}
            }
        }
        places
    }
}

fn one_of(from: &[usize], dice: &mut Dice) -> Option<usize> {
    let at = dice.below(from.len().max(1) as u64);
    from.get(usize::try_from(at).ok()?).copied()
}

/// `count` disks; the same seed chooses the same from one recording.
pub(super) fn choose(session: &Session, seed: u64, count: u32) -> Vec<Image> {
    let places = Places::of(session);
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|number| one(&places, number, &mut dice))
        .collect()
}

fn one(places: &Places, number: u32, dice: &mut Dice) -> Image {
    use Plan::{Dropped, Kept, Mixed, Reordered, Torn};
    let any = usize::try_from(dice.below(places.end as u64 + 1)).unwrap_or(places.end);
    let some = |plans: [Plan; 4], dice: &mut Dice| {
        let at = usize::try_from(dice.below(4)).unwrap_or_default();
        plans.get(at).copied().unwrap_or(Mixed)
    };
    let near = usize::try_from(dice.below(5)).unwrap_or_default();
    let (cut, plan) = match number % 10 {
        0 => (one_of(&places.answers, dice), Dropped),
        1 => (one_of(&places.syncs, dice), Torn),
        2 => (
            one_of(&places.names, dice).map(|at| at + near),
            some([Dropped, Reordered, Torn, Mixed], dice),
        ),
        3 => (one_of(&places.answers, dice), Mixed),
        // Before the sync, so that what it is for is not synced.
        4 => (one_of(&places.first_syncs, dice), Reordered),
        5 => (Some(any), Reordered),
        6 => (one_of(&places.syncs, dice).map(|at| at + 1), Dropped),
        7 => (Some(any), Mixed),
        8 => (
            one_of(&places.first_syncs, dice),
            some([Mixed, Reordered, Torn, Kept], dice),
        ),
        _ => (Some(places.end), some([Kept, Dropped, Torn, Mixed], dice)),
    };
    Image {
        cut: cut.unwrap_or(any).min(places.end),
        plan,
        seed: dice.below(1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_written_and_read() {
        for (name, plan) in PLANS {
            let image = Image {
                cut: 17,
                plan,
                seed: 4,
            };
            assert_eq!(image.to_string(), format!("17/{name}/4"));
            assert_eq!(image.to_string().parse::<Image>().unwrap(), image);
        }
        assert!("17/gone/4".parse::<Image>().is_err());
        assert!("17/kept".parse::<Image>().is_err());
    }
}

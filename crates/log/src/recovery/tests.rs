//! Power cuts at every operation, rotten bits at every place, and bugs that these must find.

use std::sync::Arc;

use super::*;
use crate::disk::cut::Dice;
use crate::disk::{Disk, FaultPlan, MemDisk};
use crate::scripted::{Broker, Known, compare, hear, mem, synced_by};

mod cuts;
mod damage;
mod planted;
mod proof;
mod repairs;

/// A broker's life of `actions` actions on an empty disk that `wrap` may spoil.
fn life(
    seed: u64,
    actions: usize,
    wrap: impl Fn(Arc<dyn Disk>) -> Arc<dyn Disk>,
) -> (MemDisk, Known) {
    let disk = MemDisk::new(seed).with_history();
    let seen = wrap(mem(&disk));
    let (recovered, _) = hear(&seen).unwrap();
    let counted = disk.clone();
    let mut broker = Broker::start(seen, &recovered, Known::default(), move || counted.ops());
    let mut dice = Dice::new(seed);
    for _ in 0..actions {
        broker.act(&mut dice);
    }
    let known = broker.known.lock().unwrap().clone();
    (disk, known)
}

/// Recovers from one image and compares.
fn check(image: &MemDisk, known: &Known, synced: Lsn) -> Result<Recovered, String> {
    let (recovered, heard) = hear(&mem(image)).map_err(|fault| fault.to_string())?;
    compare(known, synced, &recovered, &heard)?;
    Ok(recovered)
}

/// Cuts the power after every operation, once for every plan; says what went wrong first.
fn cut_everywhere(disk: &MemDisk, known: &Known, plans: &[FaultPlan]) -> Result<(), String> {
    for ops in 0..=disk.ops() {
        for plan in plans {
            let image = disk.crash_after(ops, *plan);
            check(&image, known, synced_by(known, ops))
                .map_err(|wrong| format!("cut after {ops}, {plan:?}: {wrong}"))?;
        }
    }
    Ok(())
}

fn plans() -> [FaultPlan; 4] {
    [
        FaultPlan::drop_all(),
        FaultPlan::keep_all(),
        FaultPlan::mixed(1),
        FaultPlan::mixed(2),
    ]
}

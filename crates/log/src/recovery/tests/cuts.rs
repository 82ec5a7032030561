//! Power cuts where the disk does what it says.

use super::*;
use crate::store::ChunkStore as _;

#[test]
fn what_was_synced_survives_a_cut_at_every_operation() {
    for seed in 0..24 {
        let (disk, known) = life(seed, 18, |disk| disk);
        assert!(known.synced.len() > 1, "the script syncs something");
        cut_everywhere(&disk, &known, &plans()).unwrap();
    }
}

#[test]
fn recovering_twice_gives_the_same() {
    let (disk, known) = life(3, 14, |disk| disk);
    for ops in 0..=disk.ops() {
        let image = disk.crash_after(ops, FaultPlan::mixed(9));
        let synced = synced_by(&known, ops);
        let first = check(&image, &known, synced).unwrap();
        let second = check(&image, &known, Lsn(first.next_lsn.0 - 1)).unwrap();
        assert_eq!(
            (second.next_lsn, second.clean),
            (first.next_lsn, first.clean)
        );
        assert!(second.quarantined.len() <= first.quarantined.len());
        assert_eq!(second.copied, 0, "a copied tail is known to be synced");
        assert_eq!(second.end, first.end);
    }
}

#[test]
fn a_cut_during_recovery_loses_nothing() {
    (0..4).for_each(cut_recovery_of);
}

fn cut_recovery_of(seed: u64) {
    let (disk, known) = life(seed, 12, |disk| disk);
    for ops in 0..=disk.ops() {
        let image = disk.crash_after(ops, FaultPlan::mixed(4)).with_history();
        let synced = synced_by(&known, ops);
        let first = check(&image, &known, synced).unwrap();
        for again in 0..=image.ops() {
            for plan in [FaultPlan::drop_all(), FaultPlan::mixed(again as u64)] {
                let image = image.crash_after(again, plan);
                let whole = check(&image, &known, synced);
                whole.unwrap_or_else(|wrong| panic!("{ops}, then {again}, {plan:?}: {wrong}"));
            }
        }
        let after = image.crash(FaultPlan::drop_all());
        check(&after, &known, Lsn(first.next_lsn.0 - 1)).unwrap();
    }
}

#[test]
fn what_recovery_served_after_a_kill_survives_a_cut() {
    for seed in 0..300 {
        // The process is killed and the page cache lives on; recovery reads it; then the power goes.
        let (disk, known) = life(seed, 1 + usize::try_from(seed % 9).unwrap(), |disk| disk);
        let recovered = check(&disk, &known, synced_by(&known, usize::MAX)).unwrap();
        for plan in plans() {
            let whole = check(&disk.crash(plan), &known, Lsn(recovered.next_lsn.0 - 1));
            whole.unwrap_or_else(|wrong| panic!("seed {seed}, {plan:?}: {wrong}"));
        }
        let counted = disk.clone();
        let mut next = Broker::start(mem(&disk), &recovered, known, move || counted.ops());
        next.act(&mut Dice::new(seed));
        let known = next.known.lock().unwrap().clone();
        for plan in plans() {
            let synced = synced_by(&known, usize::MAX).max(Lsn(recovered.next_lsn.0 - 1));
            let whole = check(&disk.crash(plan), &known, synced);
            whole.unwrap_or_else(|wrong| panic!("seed {seed}, {plan:?}, later: {wrong}"));
        }
    }
}

#[test]
fn many_lives_with_cuts_between_them() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut disk = MemDisk::new(seed);
        let mut known = Known::default();
        let mut synced = Lsn(0);
        for _ in 0..5 {
            let (recovered, heard) = hear(&mem(&disk)).unwrap();
            let whole = compare(&known, synced, &recovered, &heard);
            whole.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            // What was recovered has been served, and stays.
            synced = Lsn(recovered.next_lsn.0 - 1);
            let counted = disk.clone();
            let mut broker = Broker::start(mem(&disk), &recovered, known, move || counted.ops());
            for _ in 0..dice.below(8) {
                broker.act(&mut dice);
            }
            known = broker.known.lock().unwrap().clone();
            synced = synced.max(synced_by(&known, usize::MAX));
            disk = disk.crash(FaultPlan::mixed(dice.roll()));
            known.synced.clear();
        }
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_copy() {
    let disk = MemDisk::new(1);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    let mut dice = Dice::new(1);
    for _ in 0..4 {
        broker.act(&mut dice);
    }
    broker.store.submit(crate::store::Group::sync_only());
    broker.mark(true);
    broker.step_all();
    let image = disk.crash(FaultPlan::drop_all());
    for _ in 0..2 {
        let (recovered, _) = hear(&mem(&image)).unwrap();
        assert!(recovered.clean);
        assert_eq!((recovered.copied, recovered.quarantined.len()), (0, 0));
    }
    let (recovered, _) = hear(&mem(&image)).unwrap();
    let known = broker.known.lock().unwrap().clone();
    let mut next = Broker::start(mem(&image), &recovered, known, || 0);
    next.act(&mut Dice::new(4));
    let (recovered, _) = hear(&mem(&image)).unwrap();
    assert!(!recovered.clean, "the second broker did not stop");
}

#[test]
fn an_empty_disk_is_an_empty_log() {
    let (recovered, _) = hear(&mem(&MemDisk::new(0))).unwrap();
    let start = (recovered.next_chunk, recovered.next_lsn, recovered.end);
    assert_eq!(start, (ChunkId(1), Lsn(1), Position::ZERO));
    assert!(!recovered.clean);
}

//! Every planted bug is found, by a rule that speaks of it, within a bounded number of seeds.

use mulgil_sim::planted::Planted;
use mulgil_sim::run::run;
use mulgil_sim::violation::Rule;
use mulgil_sim::world::Options;

/// Seeds after which a planted bug must have been found.
const SEEDS: u64 = 150;

/// The rules that a planted bug may break first.
const fn rules(planted: Planted) -> &'static [Rule] {
    use Rule::{
        Answered, AsProduced, Committed, Compacted, Damage, EpochRises, Fenced, FirstInOrder,
        GenerationOnce, KeptRecords, LawOfRestart, LockHolds, NeverBack, NoDuplicate, NotEarly,
        OffsetOnce, OneGrave, OneOwner, OnlyTrimmed, Order, ProducerIdOnce, QueueKept, ReadsAll,
        Reclaimed, RoomAgain, Sequence, SettledOnce, Starts, Topics, TriesKept,
    };
    match planted {
        Planted::ReplyBeforeSync => &[
            KeptRecords,
            NeverBack,
            OffsetOnce,
            Topics,
            Committed,
            GenerationOnce,
        ],
        Planted::SyncSkipped | Planted::SyncOfWrongFile | Planted::NamesNotSynced => &[
            KeptRecords,
            NeverBack,
            OffsetOnce,
            Topics,
            Starts,
            Damage,
            EpochRises,
            Committed,
            GenerationOnce,
        ],
        Planted::TailTrusted => &[
            KeptRecords,
            NeverBack,
            OffsetOnce,
            Topics,
            Starts,
            Damage,
            EpochRises,
            Committed,
            GenerationOnce,
        ],
        Planted::FrameTooManyCut => &[
            KeptRecords,
            NeverBack,
            Topics,
            LawOfRestart,
            Committed,
            OffsetOnce,
            OnlyTrimmed,
        ],
        Planted::DuplicatesForgotten => &[NoDuplicate, LawOfRestart, Sequence],
        Planted::CeilingsForgotten => &[NeverBack, OffsetOnce, LawOfRestart],
        Planted::WatermarkAtWrite => &[KeptRecords, NeverBack, OffsetOnce],
        Planted::IndexOffByOne => &[KeptRecords, ReadsAll, Order, Damage, AsProduced],
        Planted::DamageServed => &[AsProduced],
        Planted::ProducerIdsForgotten => &[ProducerIdOnce],
        Planted::TrimsForgotten => &[NeverBack, LawOfRestart],
        Planted::DeletionsForgotten => &[Topics, LawOfRestart],
        Planted::EpochKept => &[EpochRises],
        Planted::WakeUpLost | Planted::JoinForgotten => &[Answered],
        Planted::NewestCompacted | Planted::DeletionsHurried => &[KeptRecords, ReadsAll],
        Planted::OlderLeft => &[Compacted],
        Planted::CommitToldEarly | Planted::CommitsForgotten => &[Committed],
        Planted::GenerationsReused => &[GenerationOnce, LawOfRestart],
        Planted::FencedCommitTaken => &[Fenced],
        Planted::GroupDeletionsForgotten => &[Committed, LawOfRestart],
        Planted::SharesMixed => &[OneOwner],
        Planted::SettlementsForgotten => &[SettledOnce, LawOfRestart],
        Planted::SettledToldEarly => &[SettledOnce, TriesKept, LockHolds, OneGrave],
        Planted::LocksForgotten => &[LockHolds, TriesKept, LawOfRestart],
        Planted::FailuresForgotten => &[TriesKept, LawOfRestart],
        Planted::LocksCutShort => &[LockHolds],
        Planted::DelayIgnored => &[NotEarly],
        Planted::DeliveriesMixed => &[FirstInOrder, LockHolds],
        Planted::BurialsForgotten => &[OneGrave, LawOfRestart],
        Planted::DeadLettersDropped => &[QueueKept],
        Planted::DeathUntold => &[OneGrave],
        Planted::ReclaimedTooFar => &[Reclaimed],
        Planted::RoomNotMade => &[RoomAgain],
    }
}

#[test]
fn every_planted_bug_is_found() {
    for planted in Planted::ALL {
        let found = (0..SEEDS).find_map(|seed| {
            let planted = Some(planted);
            let options = Options {
                planted,
                ..Options::of_seed(seed)
            };
            run(options).kept.err().map(|violation| (seed, violation))
        });
        let Some((seed, violation)) = found else {
            panic!("{planted:?} was not found in {SEEDS} seeds");
        };
        assert!(
            rules(planted).contains(&violation.rule),
            "{planted:?}, seed {seed}: {violation}"
        );
    }
}

//! Every planted bug is found, by a rule that speaks of it, within a bounded number of seeds.

use mulgil_sim::planted::Planted;
use mulgil_sim::run::run;
use mulgil_sim::violation::Rule;
use mulgil_sim::world::Options;

/// Seeds after which a planted bug must have been found.
const SEEDS: u64 = 150;

/// The same of bugs about queues.
const OF_QUEUES: &[(Planted, &[Rule])] = &[
    (
        Planted::SettledToldEarly,
        &[
            Rule::SettledOnce,
            Rule::TriesKept,
            Rule::LockHolds,
            Rule::OneGrave,
        ],
    ),
    (
        Planted::LocksForgotten,
        &[Rule::LockHolds, Rule::TriesKept, Rule::LawOfRestart],
    ),
    (
        Planted::FailuresForgotten,
        &[Rule::TriesKept, Rule::LawOfRestart],
    ),
    (Planted::LocksCutShort, &[Rule::LockHolds]),
    (Planted::DelayIgnored, &[Rule::NotEarly]),
    (
        Planted::DeliveriesMixed,
        &[Rule::FirstInOrder, Rule::LockHolds],
    ),
    (
        Planted::BurialsForgotten,
        &[Rule::OneGrave, Rule::LawOfRestart],
    ),
    (Planted::DeadLettersDropped, &[Rule::QueueKept]),
    (Planted::DeathUntold, &[Rule::OneGrave]),
    (Planted::ReclaimedTooFar, &[Rule::Reclaimed]),
];

/// The rules that a planted bug may break first.
const fn rules(planted: Planted) -> &'static [Rule] {
    use Rule::{
        Answered, AsProduced, Committed, Compacted, Damage, EpochRises, Fenced, GenerationOnce,
        KeptRecords, LawOfRestart, NeverBack, NoDuplicate, OffsetOnce, OneOwner, OnlyTrimmed,
        Order, ProducerIdOnce, QueueKept, ReadsAll, Reclaimed, RoomAgain, Sequence, SettledOnce,
        Starts, Topics,
    };
    match planted {
        Planted::ReplyBeforeSync => &[
            KeptRecords,
            NeverBack,
            OffsetOnce,
            Topics,
            Committed,
            GenerationOnce,
            SettledOnce,
        ],
        Planted::SyncSkipped
        | Planted::SyncOfWrongFile
        | Planted::NamesNotSynced
        | Planted::TailTrusted => &[
            KeptRecords,
            NeverBack,
            OffsetOnce,
            Topics,
            Starts,
            Damage,
            EpochRises,
            Committed,
            GenerationOnce,
            SettledOnce,
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
        Planted::WatermarkAtWrite => &[KeptRecords, NeverBack, OffsetOnce, OnlyTrimmed],
        Planted::IndexOffByOne => &[Reclaimed, KeptRecords, ReadsAll, Order, Damage, AsProduced],
        Planted::DamageServed => &[AsProduced],
        Planted::ProducerIdsForgotten => &[ProducerIdOnce],
        Planted::TrimsForgotten => &[QueueKept, NeverBack, LawOfRestart],
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
        Planted::SettledToldEarly
        | Planted::LocksForgotten
        | Planted::FailuresForgotten
        | Planted::LocksCutShort
        | Planted::DelayIgnored
        | Planted::DeliveriesMixed
        | Planted::BurialsForgotten
        | Planted::DeadLettersDropped
        | Planted::DeathUntold
        | Planted::ReclaimedTooFar => &[],
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
        let of_queues = OF_QUEUES.iter().find(|(of, _)| *of == planted);
        let rules = of_queues.map_or_else(|| rules(planted), |(_, rules)| *rules);
        assert!(
            rules.contains(&violation.rule),
            "{planted:?}, seed {seed}: {violation}"
        );
    }
}

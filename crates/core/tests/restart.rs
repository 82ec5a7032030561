//! The law of restart, under random commands: dropping all volatile state equals replaying the
//! durable changes. Also what must hold of a group whatever happens to it.

#[path = "harness/group_chaos.rs"]
mod group_chaos;
#[path = "harness/law.rs"]
mod law;

use mulgil_core::machine::{Elapsed, Keep, Now, WallTime};
use mulgil_core::partition::{self, Partition, Sequence};
use mulgil_core::producer_ids::{self, ProducerIds};
use mulgil_record::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use proptest::collection::vec;
use proptest::prelude::*;

use law::Twin;

fn at(ms: u64) -> Now {
    Now {
        elapsed: Elapsed(ms),
        wall: WallTime(ms),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Decide(partition::Command),
    Resume { lost: i64 },
    RaiseCeiling { by: i64 },
    Restart,
}

fn sequence() -> impl Strategy<Value = Option<Sequence>> {
    let one =
        (0i64..3, 0i16..3, 0i32..6, 0i32..3).prop_map(|(producer, epoch, first, more)| Sequence {
            producer: ProducerId(producer),
            epoch: ProducerEpoch(epoch),
            first,
            last: first + more,
        });
    prop::option::weighted(0.8, one)
}

fn append() -> impl Strategy<Value = Step> {
    (1u32..4, sequence(), -1i64..50).prop_map(|(records, sequence, max_timestamp)| {
        let spanned = sequence.map(|s| u32::try_from(s.last - s.first + 1).expect("few records"));
        Step::Decide(partition::Command::Append {
            records: spanned.unwrap_or(records),
            max_timestamp,
            sequence,
        })
    })
}

fn step() -> impl Strategy<Value = Step> {
    let trim = (0i64..60).prop_map(|to| Step::Decide(partition::Command::Trim { to: Offset(to) }));
    let expire = (0u64..50).prop_map(|ms| {
        let before = Elapsed(ms);
        Step::Decide(partition::Command::ExpireProducers { before })
    });
    prop_oneof![
        10 => append(),
        1 => trim,
        1 => expire,
        1 => (0i64..10).prop_map(|lost| Step::Resume { lost }),
        1 => (0i64..100).prop_map(|by| Step::RaiseCeiling { by }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn partition(steps in vec(step(), 1..120)) {
        let mut twin = Twin::new(Partition::new(LeaderEpoch(0)), |change| *change);
        for (ms, step) in (0u64..).zip(steps) {
            let next = twin.live.next;
            match step {
                Step::Decide(command) => drop(twin.step(command, at(ms))),
                Step::Resume { lost } => {
                    let epoch = LeaderEpoch(twin.live.leader_epoch.0 + 1);
                    let next = next.plus(lost);
                    twin.apply(Keep::Riding, &partition::Change::Resumed { next, epoch });
                }
                Step::RaiseCeiling { by } => {
                    let to = next.plus(by);
                    twin.apply(Keep::Waited, &partition::Change::CeilingRaised { to });
                }
                Step::Restart => twin.restart(),
            }
            twin.check();
            prop_assert!(twin.live.next >= next, "an offset is given twice");
            prop_assert!(twin.live.start <= twin.live.next);
            let epochs = &twin.live.epochs;
            let rises = |w: &[(LeaderEpoch, Offset)]| w.first() < w.last() ;
            prop_assert!(epochs.windows(2).all(rises), "epochs do not rise: {epochs:?}");
        }
    }

    #[test]
    fn producer_ids(restarts in vec(prop::bool::weighted(0.01), 1..3_000)) {
        let mut twin = Twin::new(ProducerIds::default(), |change| *change);
        let mut last = -1;
        let command = producer_ids::Command::Give { current: None };
        for restart in restarts {
            if restart {
                twin.restart();
            }
            let decision = twin.step(command, at(0)).expect("there are ids");
            for (_, producer_ids::Effect::Given { producer, .. }) in decision.effects {
                prop_assert!(producer.0 > last, "an id is given twice");
                last = producer.0;
            }
        }
    }

    #[test]
    fn group(actions in vec(group_chaos::action(), 1..150)) {
        group_chaos::run(&actions);
    }
}

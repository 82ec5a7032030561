//! The set beside a `BTreeSet`, and what it takes.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(i64, i64),
    Remove(i64, i64),
    DropBelow(i64),
}

/// Offsets around the edges of blocks, where mistakes live.
fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![0i64..200, 65_400i64..65_700, 131_000i64..131_200]
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 1i64..6, 1 => 1i64..400, 1 => Just(70_000i64)];
    prop_oneof![
        6 => (offset(), length.clone()).prop_map(|(at, n)| Step::Insert(at, at + n)),
        5 => (offset(), length).prop_map(|(at, n)| Step::Remove(at, at + n)),
        1 => offset().prop_map(Step::DropBelow),
    ]
}

fn compare(set: &OffsetSet, model: &BTreeSet<i64>, probes: &[i64]) {
    assert_eq!(set.len(), u64::try_from(model.len()).unwrap());
    for &at in probes {
        assert_eq!(set.contains(at), model.contains(&at), "{at}");
        assert_eq!(set.next_in(at), model.range(at..).next().copied(), "{at}");
        let mut out = at;
        while model.contains(&out) {
            out += 1;
        }
        assert_eq!(set.next_out(at), out, "{at}");
    }
    assert!(set.runs().flat_map(|(a, b)| a..b).eq(model.iter().copied()));
}

proptest! {
    #[test]
    fn it_is_as_naive_as_a_tree(steps in vec(step(), 1..40), probes in vec(offset(), 10)) {
        let mut set = OffsetSet::default();
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Insert(first, end) => {
                    let before = model.len();
                    model.extend(first..end);
                    let added = u64::try_from(model.len() - before).unwrap();
                    prop_assert_eq!(set.insert(first, end), added);
                }
                Step::Remove(first, end) => {
                    let before = model.len();
                    model.retain(|at| !(first..end).contains(at));
                    let removed = u64::try_from(before - model.len()).unwrap();
                    prop_assert_eq!(set.remove(first, end), removed);
                }
                Step::DropBelow(at) => {
                    model = model.split_off(&at);
                    set.drop_below(at);
                }
            }
        }
        compare(&set, &model, &probes);
    }

    #[test]
    fn scattered_offsets_become_bits_and_come_back(every in 2i64..9, shift in 0i64..70_000) {
        let mut set = OffsetSet::default();
        let mut model = BTreeSet::new();
        for at in (shift..shift + 30_000).step_by(usize::try_from(every).unwrap()) {
            set.insert(at, at + 1);
            model.insert(at);
        }
        compare(&set, &model, &[0, shift, shift + 1, shift + 29_990, 65_536]);
        let first = model.first().copied().unwrap();
        set.remove(first + 1, i64::MAX >> 1);
        model.retain(|at| *at == first);
        compare(&set, &model, &[0, shift, shift + 1]);
    }
}

#[test]
fn it_costs_by_its_holes() {
    let ten_million = 10_000_000;
    let mut set = OffsetSet::default();
    for at in (0..ten_million).step_by(2) {
        set.insert(at, at + 1);
    }
    assert!(set.heap_bytes() < 1_300_000, "{}", set.heap_bytes());
    let mut set = OffsetSet::default();
    set.insert(1, ten_million);
    assert!(set.heap_bytes() < 10_000, "{}", set.heap_bytes());
    set.remove(0, ten_million);
    assert_eq!(set.len(), 0);
}

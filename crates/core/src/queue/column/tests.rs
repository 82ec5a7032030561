//! A column beside a plain list.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_is_as_naive_as_a_list(start in 0i64..600, batches in vec((1usize..300, 0u32..3), 1..12)) {
        let mut column = Column::default();
        let mut list: Vec<u32> = Vec::new();
        for (count, value) in batches {
            let first = start + i64::try_from(list.len()).unwrap();
            let end = first + i64::try_from(count).unwrap();
            column.fill(first, end, value, start);
            list.resize(list.len() + count, value);
            for (offset, value) in (start..).zip(&list) {
                prop_assert_eq!(column.get(offset), *value);
            }
            let sum: u32 = list.iter().sum();
            let pieces = column.stretches(start, end);
            let each = pieces.map(|(from, to, value)| u32::try_from(to - from).unwrap() * value);
            prop_assert_eq!(each.sum::<u32>(), sum);
        }
    }
}

#[test]
fn what_is_alike_is_kept_once() {
    let mut column: Column<u32> = Column::default();
    for offset in 0..10_000 {
        column.fill(offset, offset + 1, 7, 0);
    }
    assert!(column.heap_bytes() < 10_000 / 4, "{}", column.heap_bytes());
    assert!(column.drop_chunks(0, 5));
    assert_eq!((column.get(0), column.get(1_280)), (0, 7));
    assert!(!column.drop_chunks(0, 5));
}

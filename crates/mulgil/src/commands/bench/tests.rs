//! Schedules, values and what a run is told as.

use std::time::Duration;

use super::load::{Schedule, Values};
use super::report::{Hdr, Report, histogram, note};
use super::shared::Shared;
use crate::clock;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn threads_share_a_rate() {
    let begin = clock::running();
    let mut all: Vec<Duration> = Vec::new();
    for thread in 0..3 {
        let mut schedule = Schedule::new(begin, Some(1500), thread, 3);
        all.extend(schedule.take(500).flatten());
    }
    all.sort_unstable();
    assert_eq!(all.len(), 1500);
    assert_eq!(all.first(), Some(&Duration::ZERO));
    assert!(
        all.last()
            .is_some_and(|last| *last < Duration::from_secs(1))
    );
    all.dedup();
    assert_eq!(all.len(), 1500);
}

#[test]
fn what_is_late_is_due_at_once_and_nothing_after_the_end() {
    let begin = clock::running()
        .checked_sub(Duration::from_secs(2))
        .unwrap();
    let mut schedule = Schedule::new(begin, Some(100), 0, 1);
    assert_eq!(schedule.count_due(1000, Duration::from_secs(1)), 100);
    assert!(schedule.count_due(1000, LONG) >= 200);
    assert_eq!(schedule.count_due(7, LONG), 7);
    assert_eq!(schedule.take(100).count(), 100);
    assert!(schedule.is_over(Duration::from_secs(1)) && !schedule.is_over(LONG));
    let free = Schedule::new(begin, None, 0, 1);
    assert_eq!(free.count_due(9, LONG), 9);
    assert_eq!(free.count_due(9, Duration::from_secs(1)), 0);
}

#[test]
fn no_more_is_claimed_than_was_asked_for() {
    let shared = Shared::new(Some(10));
    assert_eq!(
        [shared.claim(6), shared.claim(6), shared.claim(6)],
        [6, 4, 0]
    );
    assert_eq!(Shared::new(None).claim(u64::MAX), u64::MAX);
}

#[test]
fn values_have_their_size_and_differ() {
    let mut values = Values::new(20);
    let first = values.next().to_vec();
    assert_eq!(first.len(), 20);
    assert_ne!(values.next(), first);
    assert_eq!(Values::new(70_000).next().len(), 70_000);
}

#[test]
fn a_report_tells_raw_numbers_and_what_is_missing() {
    let shared = Shared::new(None);
    shared.count(2000, 4096);
    let mut report = Report::new("e2e", "t", &shared, Duration::from_secs(2));
    assert!(report.complete().is_ok());
    let mut latencies = histogram().unwrap();
    note(&mut latencies, Duration::from_millis(3));
    report.latencies = Some(latencies);
    report.missing = Some(1);
    let json = report.view().json;
    assert_eq!(json["messages_per_second"], 1000.0);
    assert_eq!(json["bytes_per_second"], 2048.0);
    assert_eq!(
        json["latency_seconds"]["p99"]
            .as_f64()
            .map(|s| (s * 1e3).round()),
        Some(3.0)
    );
    assert!(report.complete().is_err());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.hdr");
    Hdr::create(&path).unwrap().write(&report).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().any(|line| line.contains("HIST")), "{text}");
}

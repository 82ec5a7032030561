//! kill -9 at random under load: nothing acknowledged may be lost, and an idempotent producer's
//! records are there once and in order.
//!
//! A producer that is not idempotent runs beside them. Over a failure it promises neither order nor
//! that a record comes once, so of its records only the loss is looked for.
//!
//! The page cache outlives the process, so this says nothing of fsync; the lying disk does. What it
//! tests is everything else: replies that come too early, producer state over a restart, offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::brokers::{Broker, Kind};
use crate::kcat::Kcat;
use crate::producers::{Pace, Producer, Promise};
use crate::run::{Heartbeat, show};
use crate::tally::Tally;

/// Filler, so that a record is as long as a usual one.
const BODY: &str =
    "the water finds its way down and wears the stone that it meets on it, a little every day";
const KILL_AFTER_MS: std::ops::Range<u64> = 100..1500;

/// One topic of one partition with its producer's promise, and where the next round starts in it.
struct Line {
    topic: String,
    promise: Promise,
    start: i64,
}

/// `cargo xtask crash`.
pub(crate) fn run(rounds: u32, against: &Kind, seed: Option<u64>) -> Result<Tally> {
    let clock = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map(|t| t.as_micros())
    };
    let seed = match seed {
        Some(seed) => seed,
        None => u64::try_from(clock()? % 1_000_000_007)?,
    };
    println!("{rounds} crash rounds with seed {seed}");
    let mut random = Random(seed);
    let mut broker = Broker::start(against, "crash")?;
    let kcat = Kcat::new(broker.address())?;
    let mut lines = Vec::new();
    for (name, promise) in [
        ("crash-a", Promise::ExactlyOnce),
        ("crash-b", Promise::ExactlyOnce),
        ("crash-c", Promise::AtLeastOnce),
    ] {
        let topic = kcat.topic(name);
        kcat.produce(&topic, &[], b"first\n")?;
        lines.push(Line {
            topic,
            promise,
            start: 1,
        });
    }
    let mut tally = Tally::default();
    let mut heartbeat = Heartbeat::new("crash", Instant::now());
    for number in 1..=rounds {
        let after = Duration::from_millis(random.within(KILL_AFTER_MS));
        match round(&mut broker, &kcat, &mut lines, number, after) {
            Ok(told) => {
                tally.add(Tally::passed());
                heartbeat.beat(|| format!("round {number}: {told}"));
            }
            Err(error) => {
                heartbeat.clear();
                show("the broker", &broker.logged());
                tally.add(Tally::failed(format!(
                    "crash round {number}, seed {seed}: {error:#}"
                )));
                return Ok(tally);
            }
        }
    }
    heartbeat.clear();
    tally.add(match broker.stop() {
        Ok(()) => Tally::passed(),
        Err(error) => Tally::failed(format!("crash: {error:#}")),
    });
    println!("ok crash: {rounds} rounds");
    Ok(tally)
}

/// Loads the broker, kills it after a time, starts it again, lets the producers finish, and reads back.
fn round(
    broker: &mut Broker,
    kcat: &Kcat,
    lines: &mut [Line],
    number: u32,
    after: Duration,
) -> Result<String> {
    let mut producers = Vec::new();
    for line in lines.iter() {
        let text = move |k| Some(format!("{number} {k} {BODY}\n").into_bytes());
        let manner = (line.promise, Pace::Steady);
        producers.push(Producer::start(kcat, &line.topic, manner, &[], text)?);
    }
    std::thread::sleep(after);
    broker.kill();
    let mut before = 0;
    for producer in &producers {
        before += producer.acknowledged()?.len();
    }
    let ready = broker.restart().context("after kill -9")?;
    let mut all = 0;
    for (producer, line) in producers.iter_mut().zip(lines) {
        let fed = producer.finish(false).with_context(|| line.topic.clone())?;
        all += fed;
        let acknowledged = producer.acknowledged()?;
        let got = kcat.consume(&line.topic, &line.start.to_string(), &["-f", "%o %s\n"])?;
        line.start =
            verify(&got, number, fed, &acknowledged, line).with_context(|| line.topic.clone())?;
    }
    Ok(format!(
        "killed after {} ms, {before} acknowledged by then, {all} in all, ready again in {} ms",
        after.as_millis(),
        ready.as_millis()
    ))
}

/// Checks what was read against what was sent and acknowledged; gives the offset behind it.
fn verify(got: &str, round: u32, fed: u64, acknowledged: &[i64], line: &Line) -> Result<i64> {
    let mut at = BTreeMap::new();
    let mut order = Vec::new();
    let mut last_offset = line.start - 1;
    for record in got.lines() {
        let mut words = record.split(' ');
        let mut word = || words.next().unwrap_or_default().parse::<i64>();
        let (offset, of_round, k) = (
            word().context("offset")?,
            word().context("round")?,
            word().context("number")?,
        );
        ensure!(
            offset > last_offset,
            "offset {offset} came after {last_offset}"
        );
        ensure!(
            of_round == i64::from(round),
            "a record of round {of_round} at offset {offset}"
        );
        last_offset = offset;
        at.insert(offset, k);
        order.push(k);
    }
    let there: BTreeSet<i64> = order.iter().copied().collect();
    let lost: Vec<i64> = (0..i64::try_from(fed)?)
        .filter(|k| !there.contains(k))
        .collect();
    ensure!(
        lost.is_empty(),
        "{} of {fed} records are lost, the first is {:?}",
        lost.len(),
        lost.first()
    );
    ensure!(
        u64::try_from(there.len())? == fed,
        "there are records that were never sent"
    );
    let answers = acknowledged.len();
    ensure!(
        u64::try_from(answers)? == fed,
        "{answers} of {fed} were acknowledged"
    );
    match line.promise {
        Promise::ExactlyOnce => in_place(&order, acknowledged, &at)?,
        Promise::AtLeastOnce => somewhere(acknowledged, &at)?,
    }
    Ok(last_offset + 1)
}

/// Every record once, in order, at the offset that was told.
fn in_place(order: &[i64], acknowledged: &[i64], at: &BTreeMap<i64, i64>) -> Result<()> {
    for (expected, k) in (0..).zip(order) {
        ensure!(
            *k >= expected,
            "record {k} came twice or late, where {expected} should be"
        );
        ensure!(
            *k == expected,
            "record {k} came early, where {expected} should be"
        );
    }
    for (k, offset) in (0..).zip(acknowledged) {
        // A repeated batch of an idempotent producer may be answered without its offset.
        let found = at.get(offset).copied();
        let right = *offset < 0 || found == Some(k);
        ensure!(
            right,
            "record {k} was acknowledged at {offset}, there is {found:?}"
        );
    }
    Ok(())
}

/// Every acknowledgement names an offset of its own that is there. Which record it was for is not
/// known: this client may send a failed batch again after a later one, even with one request in flight.
fn somewhere(acknowledged: &[i64], at: &BTreeMap<i64, i64>) -> Result<()> {
    let offsets: BTreeSet<i64> = acknowledged.iter().copied().collect();
    ensure!(
        offsets.len() == acknowledged.len(),
        "one offset was acknowledged for two records"
    );
    let gone = offsets.iter().find(|offset| !at.contains_key(offset));
    ensure!(
        gone.is_none(),
        "offset {gone:?} was acknowledged and is not there"
    );
    Ok(())
}

/// xorshift: enough to choose moments.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// One of `range`.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(promise: Promise) -> Line {
        Line {
            topic: "t".to_owned(),
            promise,
            start: 1,
        }
    }

    fn once(got: &str, fed: u64, acknowledged: &[i64]) -> Result<i64> {
        verify(got, 7, fed, acknowledged, &line(Promise::ExactlyOnce))
    }

    fn loose(got: &str, fed: u64, acknowledged: &[i64]) -> Result<i64> {
        verify(got, 7, fed, acknowledged, &line(Promise::AtLeastOnce))
    }

    #[test]
    fn a_whole_round_passes() {
        assert_eq!(
            once("1 7 0 x\n2 7 1 x\n5 7 2 x\n", 3, &[1, 2, 5]).unwrap(),
            6
        );
        assert_eq!(once("1 7 0 x\n2 7 1 x\n", 2, &[1, -1]).unwrap(), 3);
    }

    #[test]
    fn a_lost_record_is_found() {
        assert!(once("1 7 0 x\n3 7 2 x\n", 3, &[1, 2, 3]).is_err());
        assert!(once("1 7 0 x\n2 7 1 x\n", 3, &[1, 2, 3]).is_err());
    }

    #[test]
    fn a_duplicate_is_found_where_it_may_not_be() {
        let got = "1 7 0 x\n2 7 0 x\n3 7 1 x\n";
        assert!(once(got, 2, &[1, 3]).is_err());
        assert!(loose(got, 2, &[1, 3]).is_ok());
    }

    #[test]
    fn without_idempotence_order_is_free_but_loss_is_found() {
        assert!(loose("1 7 1 x\n2 7 0 x\n", 2, &[1, 2]).is_ok());
        assert!(loose("1 7 1 x\n2 7 1 x\n", 2, &[1, 2]).is_err());
        assert!(loose("1 7 0 x\n2 7 1 x\n", 2, &[1, 1]).is_err());
        assert!(loose("1 7 0 x\n2 7 1 x\n", 2, &[1, 9]).is_err());
        assert!(loose("1 7 0 x\n2 7 1 x\n3 7 2 x\n", 2, &[1, 2]).is_err());
    }

    #[test]
    fn a_reorder_is_not_called_a_loss() {
        let told = once("1 7 1 x\n2 7 0 x\n", 2, &[1, 2])
            .unwrap_err()
            .to_string();
        assert!(told.contains("early"), "{told}");
        let told = once("1 7 0 x\n3 7 2 x\n", 3, &[1, 2, 3])
            .unwrap_err()
            .to_string();
        assert!(told.contains("lost"), "{told}");
    }

    #[test]
    fn a_wrong_place_is_found() {
        assert!(once("1 7 0 x\n2 7 1 x\n", 2, &[2, 1]).is_err());
        assert!(once("1 7 1 x\n2 7 0 x\n", 2, &[1, 2]).is_err());
        assert!(once("2 7 0 x\n1 7 1 x\n", 2, &[2, 1]).is_err());
        assert!(once("1 6 0 x\n", 1, &[1]).is_err());
    }
}

//! Consumer groups under kill -9 of members and of the broker: nothing that was acknowledged goes
//! unprocessed, no commit is forgotten, no partition has two owners.
//!
//! Three groups read the same topics: one with the range assignor, one that is cooperative, one with static
//! members. Each has a member of Java's client and two of librdkafka. After each kill the groups must come
//! to rest again by themselves; `judge` says what must be true all the time, `round` how a round ends.

mod events;
mod judge;
mod members;
mod round;

use std::time::{Instant, SystemTime};

use anyhow::{Result, ensure};

use self::round::{Plan, World};
use crate::brokers::Kind;
use crate::crash::Random;
use crate::run::Heartbeat;
use crate::tally::Tally;

/// `cargo xtask groups`.
pub(crate) fn run(rounds: u32, against: &Kind, seed: Option<u64>) -> Result<Tally> {
    let foreign = matches!(against, Kind::Running(_));
    ensure!(!foreign, "a broker that was not started here is not killed");
    let seed = match seed {
        Some(seed) => seed,
        None => {
            let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            u64::try_from(time.as_micros() % 1_000_000_007)?
        }
    };
    println!("{rounds} rounds of groups with seed {seed}");
    let mut random = Random(seed);
    let mut tally = Tally::default();
    let mut heartbeat = Heartbeat::new("groups", Instant::now());
    let mut world = World::start(against)?;
    for number in 1..=rounds {
        let plan = Plan::draw(&mut random, world.members());
        match world.round(&plan) {
            Ok(told) => {
                tally.add(Tally::passed());
                heartbeat.beat(|| format!("round {number}: {told}"));
            }
            Err(error) => {
                heartbeat.clear();
                world.show();
                println!("after {} rounds: {}", number - 1, world.told());
                let what = format!("groups round {number}, seed {seed}: {error:#}");
                tally.add(Tally::failed(what));
                return Ok(tally);
            }
        }
    }
    heartbeat.clear();
    let told = world.told();
    tally.add(match world.stop() {
        Ok(()) => Tally::passed(),
        Err(error) => Tally::failed(format!("groups: {error:#}")),
    });
    println!("ok groups: {rounds} rounds; {told}");
    Ok(tally)
}

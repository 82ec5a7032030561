//! Hostile peers against the real process, with a well-behaved client beside each of them.
//!
//! Whatever a peer sends, or does not send, ends in an error of the protocol or a closed connection;
//! the process keeps within bounds of memory, and the neighbour's produce and fetch go on. One test,
//! one broker: what one attack leaves behind is there when the next begins.
#![expect(clippy::print_stderr, reason = "figures are worth seeing")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what fails here is the test"
)]

#[path = "bad_input/batches.rs"]
mod batches;
#[path = "bad_input/broker.rs"]
mod broker;
#[path = "bad_input/client.rs"]
mod client;
#[path = "bad_input/crowds.rs"]
mod crowds;
#[path = "bad_input/neighbour.rs"]
mod neighbour;
#[path = "bad_input/strangers.rs"]
mod strangers;

use std::time::{Duration, Instant};

use broker::Broker;
use neighbour::Neighbour;

const MIB: u64 = 1 << 20;
/// The longest that one round trip of the neighbour may take, on a machine that does other things.
const SLOWEST: Duration = Duration::from_secs(3);

/// An attack: its name, what it does, and how much memory the broker may take beyond what it had.
type Attack = (&'static str, fn(&Broker), u64);

const ATTACKS: &[Attack] = &[
    ("strangers", strangers::all, 16 * MIB),
    ("bad batches", batches::bad, 32 * MIB),
    // Each of two threads opens a batch up to 256 MiB, in a buffer that doubles.
    ("bombs", batches::bombs, 1024 * MIB),
    // 8 MiB wait for each, and one answer of 55 MiB more; there are four.
    ("who never reads", crowds::never_read, 300 * MIB),
    ("half-open", crowds::half_open, 32 * MIB),
    ("one byte at a time", crowds::drip, 16 * MIB),
    ("flood", crowds::flood, 32 * MIB),
    ("idle", crowds::idle, 256 * MIB),
];

#[test]
fn nobody_is_disturbed_by_bad_input() {
    let only = std::env::var("BAD_INPUT").ok();
    crowds::raise_open_files();
    let broker = Broker::start();
    let neighbour = Neighbour::start(broker.kafka());
    for (name, attack, bytes_max) in ATTACKS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let before = broker.memory();
        broker.forget_peak();
        neighbour.forget();
        let started = Instant::now();
        attack(&broker);
        let (peak, after) = (broker.peak(), broker.memory());
        let (rounds, slowest) = neighbour.rounds();
        eprintln!(
            "{name}: {:.1} s, memory {} MiB before, {} at most, {} after; neighbour {rounds} rounds, \
             slowest {} ms",
            started.elapsed().as_secs_f32(),
            before / MIB,
            peak / MIB,
            after / MIB,
            slowest.as_millis()
        );
        assert!(
            peak <= before + bytes_max,
            "{name} made the broker take {peak} bytes"
        );
        assert!(rounds > 0, "{name} stopped the neighbour");
        assert!(
            slowest < SLOWEST,
            "{name} made the neighbour wait {slowest:?}"
        );
    }
    neighbour.stop();
    broker.stop();
}

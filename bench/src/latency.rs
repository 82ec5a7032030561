//! One message in flight, and beside it what the disk itself needs.
//!
//! Messages and bare writes take turns on the same file system, a few each, because a shared disk is
//! ten times slower in some seconds than in others; turns of equal time would let the fast seconds of
//! one side hide its slow ones. The disk is asked in two ways: with a file that grows, whose sync also
//! writes its length, and with one that was filled before.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::frames::{Frames, Shape};
use crate::meter::{Moment, Moved, histogram, note, put_quantiles};
use crate::produce;
use crate::results::Figures;
use crate::wire::Wire;

/// How many messages or writes a turn has.
const TURN: usize = 4;
/// Not measured at the beginning.
const WARMUP: usize = 1000;
const BLOCK_BYTES: usize = 4096;
const FILLED_BYTES: u64 = 16 << 20;

/// The messages.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LatencyOptions {
    /// Bytes of each message's value
    #[arg(long, default_value_t = 300)]
    record_bytes: usize,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    durability: String,
    /// Pause after each message, milliseconds
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// How long in all
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// A file whose writes are timed.
struct Probe {
    file: File,
    at: u64,
    wraps: bool,
}

impl Probe {
    fn growing(path: &Path) -> Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            at: 0,
            wraps: false,
        })
    }

    fn filled(path: &Path) -> Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![1; usize::try_from(FILLED_BYTES)?], 0)?;
        file.sync_all()?;
        Ok(Self {
            file,
            at: 0,
            wraps: true,
        })
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all_at(&[2; BLOCK_BYTES], self.at)?;
        self.file.sync_data()?;
        self.at += BLOCK_BYTES as u64;
        if self.wraps {
            self.at %= FILLED_BYTES;
        }
        Ok(())
    }
}

/// Times messages and writes in turns.
pub(crate) fn run(broker: &Broker, options: &LatencyOptions) -> Result<Figures> {
    let topic = "latency";
    let setting = produce::setting(broker, &options.durability)?;
    let mut wire = Wire::connect(&broker.address)?;
    wire.create_topic(topic, 1, setting)?;
    let shape = Shape {
        record_bytes: options.record_bytes,
        batch_records: 1,
        acks: -1,
    };
    let frames = Frames::build(topic, 0..1, shape)?;
    let probes = broker.home.with_extension("probe");
    std::fs::create_dir_all(&probes)?;
    let mut growing = Probe::growing(&probes.join("growing"))?;
    let mut filled = Probe::filled(&probes.join("filled"))?;
    let (mut published, mut grown, mut rewritten) = (histogram()?, histogram()?, histogram()?);
    let mut publish = || -> Result<()> {
        frames.send(&mut wire.out, 0)?;
        produce::accepted(&mut wire.input)?;
        Ok(())
    };
    take_turn(&mut histogram()?, (WARMUP, Duration::ZERO), &mut publish)?;
    let (begin, until) = (
        Moment::take(broker.pid)?,
        Duration::from_secs(options.seconds),
    );
    let turn = (TURN, Duration::from_millis(options.pause_ms));
    let started = Instant::now();
    while started.elapsed() < until {
        take_turn(&mut published, turn, &mut publish)?;
        take_turn(&mut grown, turn, &mut || growing.write())?;
        take_turn(&mut rewritten, turn, &mut || filled.write())?;
    }
    let requests = published.len();
    let moved = Moved {
        records: requests,
        bytes: requests * frames.batch_bytes() as u64,
        requests,
    };
    let mut figures = begin.until(Moment::take(broker.pid)?, broker.pid, moved)?;
    // The disk's turns lie between: only what the broker used for a message says something.
    figures.retain(|name, _| name == "server_us_per_message");
    put_quantiles(&mut figures, "answer", &published);
    put_quantiles(&mut figures, "disk_growing", &grown);
    put_quantiles(&mut figures, "disk_filled", &rewritten);
    std::fs::remove_dir_all(&probes)?;
    Ok(figures)
}

fn take_turn(
    into: &mut Histogram<u64>,
    (count, pause): (usize, Duration),
    once: &mut impl FnMut() -> Result<()>,
) -> Result<()> {
    for _ in 0..count {
        let at = Instant::now();
        once()?;
        note(into, at.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

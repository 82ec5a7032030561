//! One message in flight, and beside it what the disk itself needs.
//!
//! Stretches of messages and stretches of bare writes take turns on the same file system, because a
//! shared disk is ten times slower in some minutes than in others. The disk is asked in two ways: with
//! a file that grows, whose sync also writes its length, and with one that was filled before.

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

/// How long each side has its turn.
const STRETCH: Duration = Duration::from_millis(500);
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
    let pause = Duration::from_millis(options.pause_ms);
    let mut publish = || -> Result<()> {
        frames.send(&mut wire.out, 0)?;
        produce::accepted(&mut wire.input)?;
        Ok(())
    };
    stretch(&mut histogram()?, pause, &mut publish)?;
    let begin = Instant::now();
    let mut figures = Figures::new();
    while begin.elapsed() < Duration::from_secs(options.seconds) {
        let (from, before) = (Moment::take(broker.pid)?, published.len());
        stretch(&mut published, pause, &mut publish)?;
        let requests = published.len() - before;
        let bytes = requests * frames.batch_bytes() as u64;
        let moved = Moved {
            records: requests,
            bytes,
            requests,
        };
        for (name, value) in from.until(Moment::take(broker.pid)?, broker.pid, moved)? {
            *figures.entry(name).or_default() += value;
        }
        stretch(&mut grown, pause, &mut || growing.write())?;
        stretch(&mut rewritten, pause, &mut || filled.write())?;
    }
    let turns = STRETCH.as_secs_f64() / begin.elapsed().as_secs_f64() * 3.0;
    figures.values_mut().for_each(|sum| *sum *= turns);
    figures.retain(|name, _| name == "server_us_per_message" || name == "messages_per_s");
    put_quantiles(&mut figures, "answer", &published);
    put_quantiles(&mut figures, "disk_growing", &grown);
    put_quantiles(&mut figures, "disk_filled", &rewritten);
    std::fs::remove_dir_all(&probes)?;
    Ok(figures)
}

fn stretch(
    into: &mut Histogram<u64>,
    pause: Duration,
    once: &mut impl FnMut() -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < STRETCH {
        let at = Instant::now();
        once()?;
        note(into, at.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

//! `cargo xtask liar`: a lying disk under the real process.
//!
//! The broker serves a real client while every operation on its disk is written down. From that
//! recording disks are built as a power cut at some operation leaves them, with unsynced writes dropped,
//! reordered and torn. The broker must start on each and have all that was acknowledged by then. A kill
//! alone proves nothing of this kind, since the page cache survives it.
//!
//! Bytes are also flipped, in synced and in unsynced places; and mistakes are planted under the broker,
//! each of which this run must find.

mod flips;
mod images;
mod judge;
mod noted;
mod session;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use mulgil_log::disk::Planted;

use crate::run::{self, Heartbeat};
use crate::tally::Tally;
use crate::{repo, tools};

use images::Image;
use session::Session;

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// From one recording so many images are built; then a new one is made.
const IMAGES_OF_ONE: u32 = 50;
/// A planted mistake that so many images do not show is not found.
const IMAGES_PLANTED: u32 = 150;

/// What is to be done.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// On how many disks the broker is started
    #[arg(long, default_value_t = 10)]
    images: u32,
    /// Decides when the broker is killed and the power cut; taken from the clock if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Plant each known mistake under the broker, and fail if one is not found
    #[arg(long)]
    planted: bool,
    /// Plant only this one
    #[arg(long, value_name = "NAME", requires = "planted")]
    only: Option<String>,
    /// Use the kept recording in this folder: one image, or flipped bits with --seed
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    /// Which image: OPERATION/PLAN/SEED
    #[arg(long, value_name = "IMAGE", requires = "replay")]
    image: Option<Image>,
}

impl Options {
    /// So many images, no mistakes.
    pub(crate) fn images(images: u32) -> Self {
        Self {
            images,
            seed: None,
            planted: false,
            only: None,
            replay: None,
            image: None,
        }
    }

    /// All planted mistakes.
    pub(crate) fn planted() -> Self {
        Self {
            planted: true,
            ..Self::images(0)
        }
    }
}

/// What all parts need: the broker and the client.
#[derive(Debug)]
struct Kit {
    broker: PathBuf,
    python: PathBuf,
}

impl Kit {
    fn new() -> Result<Self> {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "-p", "mulgil", "--features", "recording"]);
        cargo.current_dir(repo::root());
        run::must("cargo build recording", &mut cargo, BUILD_LIMIT)?;
        // The next build without the feature puts its own program in this place.
        let broker = repo::scratch("liar")?.join("mulgil");
        std::fs::remove_file(&broker).ok();
        std::fs::copy(repo::target().join("debug/mulgil"), &broker)?;
        let python = tools::python()?;
        Ok(Self { broker, python })
    }

    /// The client, doing `what`.
    fn client(&self, what: &str) -> Command {
        let mut client = Command::new(&self.python);
        client.arg(repo::root().join("interop/python/liar.py"));
        client.arg(what);
        client
    }
}

/// `cargo xtask liar`.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    let kit = Kit::new()?;
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::try_from(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)?
                .as_micros()
                % 1_000_000_007,
        )?,
    };
    if let Some(folder) = &options.replay {
        let session = Session::open(folder)?;
        println!("{}", session.told());
        return match options.image {
            Some(image) => Ok(replay(&kit, &session, image)),
            None => flips::run(&kit, &session, seed),
        };
    }
    if options.planted {
        return planted(&kit, seed, options.only.as_deref());
    }
    println!("{} disks with seed {seed}", options.images);
    let mut tally = Tally::default();
    let mut left = options.images;
    let mut part_seed = seed;
    while left > 0 && tally.good() {
        let session = Session::record(&kit, part_seed, None)?;
        println!("  {}", session.told());
        let count = left.min(IMAGES_OF_ONE);
        let (checked, found) = power_cuts(&kit, &session, part_seed, count);
        tally.passed += u64::from(checked);
        tally.failures.extend(found);
        tally.add(flips::run(&kit, &session, part_seed)?);
        left -= count;
        part_seed += 1;
    }
    let word = if tally.good() { "ok" } else { "FAILED" };
    println!("{word} liar: {}", tally.line());
    Ok(tally)
}

/// Starts the broker on `count` disks, or until something is wrong; gives how many were right, and what
/// was wrong.
fn power_cuts(kit: &Kit, session: &Session, seed: u64, count: u32) -> (u32, Option<String>) {
    let mut heartbeat = Heartbeat::new("liar", Instant::now());
    for (number, image) in (0..).zip(images::choose(session, seed, count)) {
        if let Err(wrong) = session.check(kit, image) {
            heartbeat.clear();
            let folder = session.folder.display();
            let again = format!("cargo xtask liar --replay {folder} --image {image}");
            return (number, Some(format!("liar: {wrong:#}; again: {again}")));
        }
        heartbeat.beat(|| format!("disk {number}"));
    }
    heartbeat.clear();
    (count, None)
}

fn replay(kit: &Kit, session: &Session, image: Image) -> Tally {
    match session.check(kit, image) {
        Ok(()) => Tally::passed(),
        Err(wrong) => Tally::failed(format!("{image}: {wrong:#}")),
    }
}

/// Each mistake must show on some disk.
fn planted(kit: &Kit, seed: u64, only: Option<&str>) -> Result<Tally> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    if !Planted::ALL.iter().any(|(name, _)| wanted(name)) {
        let names: Vec<&str> = Planted::ALL.iter().map(|(name, _)| *name).collect();
        bail!("no such mistake, only {}", names.join(", "));
    }
    let mut tally = Tally::default();
    for (name, _) in Planted::ALL.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        let session = Session::record(kit, seed, Some(name)).with_context(|| (*name).to_owned())?;
        let (images, found) = power_cuts(kit, &session, seed, IMAGES_PLANTED);
        let seconds = started.elapsed().as_secs();
        tally.add(if let Some(wrong) = found {
            println!(
                "ok {name}: found on disk {} ({seconds} s): {wrong}",
                images + 1
            );
            Tally::passed()
        } else {
            Tally::failed(format!(
                "liar: {name} was not found on {images} disks, seed {seed}"
            ))
        });
    }
    Ok(tally)
}

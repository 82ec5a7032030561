//! One recorded run of the broker under load, and the disks that are built from it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mulgil_log::disk::Recording;
use mulgil_log::disk::cut::{Dice, write_directory};

use super::Kit;
use super::images::Image;
use super::judge::{Found, judge};
use super::noted::Noted;
use crate::brokers::{Broker, Special};
use crate::repo;
use crate::run::Talking;

/// Small chunks, so that many begin and end in a short run.
const CHUNK_BYTES: &str = "400000";
const LIMIT: Duration = Duration::from_secs(60);
/// The second burst lasts so long before the kill.
const BURST_MS: std::ops::Range<u64> = 200..1200;

/// A recording, and what the client noted meanwhile.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) folder: PathBuf,
    pub(super) recording: Recording,
    pub(super) noted: Noted,
}

/// What became of a start on a built disk.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What a reader got; nothing if the broker refused to start.
    pub(super) found: Option<Found>,
    /// What the broker logged.
    pub(super) logged: String,
}

impl Session {
    /// Loads a broker, with a mistake planted under it, until it is killed.
    pub(super) fn record(kit: &Kit, seed: u64, planted: Option<&str>) -> Result<Self> {
        let name = format!("liar/{}-{seed}", planted.unwrap_or("sound"));
        let folder = repo::fresh(&name)?;
        let recording = folder.join("recording");
        let mut environment: Vec<(&'static str, OsString)> = vec![
            ("MULGIL_RECORDING", recording.clone().into()),
            ("MULGIL_CHUNK_BYTES", CHUNK_BYTES.into()),
        ];
        environment.extend(planted.map(|name| ("MULGIL_PLANTED", name.into())));
        let special = Special {
            program: kit.broker.clone(),
            environment,
        };
        let mut broker = Broker::prepared("liar", special)?;
        broker.restart().with_context(|| broker.logged())?;
        let events = folder.join("events");
        let mut client = Client(
            kit.client("load")
                .arg(broker.address())
                .args([&recording, &events])
                .stdin(Stdio::piped())
                .stderr(std::fs::File::create(folder.join("client.log"))?)
                .spawn()?,
        );
        client.wait_for(&events, "\nI ")?;
        let more = BURST_MS.start + Dice::new(seed).below(BURST_MS.end - BURST_MS.start);
        std::thread::sleep(Duration::from_millis(more));
        broker.kill();
        client.finish()?;
        Self::open(&folder)
    }

    /// Reads a recording that was kept.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let recording = Recording::open(&folder.join("recording"))
            .with_context(|| format!("no recording in {}", folder.display()))?;
        let noted = Noted::open(&folder.join("events"), &recording)?;
        ensure!(!noted.answers.is_empty(), "nothing was acknowledged");
        Ok(Self {
            folder: folder.to_owned(),
            recording,
            noted,
        })
    }

    /// In a line, what it holds.
    pub(super) fn told(&self) -> String {
        let remarks = self.noted.remarks.iter();
        format!(
            "{} operations, {} records acknowledged, {} topics created, {} offsets committed{}",
            self.recording.ops().len(),
            self.noted.answers.len(),
            self.noted.lives.len(),
            self.noted.commits.len(),
            remarks
                .map(|remark| format!("; client: {remark}"))
                .collect::<String>()
        )
    }

    /// Starts the broker on one disk, where nothing that was synced is damaged.
    pub(super) fn check(&self, kit: &Kit, image: Image) -> Result<()> {
        let outcome = self.start(kit, image, |_| Ok(()))?;
        let found = outcome.found.with_context(|| {
            let why = outcome.logged.lines().find(|line| line.contains("rror"));
            format!("the broker does not start: {}", why.unwrap_or_default())
        })?;
        judge(&self.noted, &found, image.cut, false)
    }

    /// Starts the broker on one disk, to which `change` is done before, and reads all it has.
    pub(super) fn start(
        &self,
        kit: &Kit,
        image: Image,
        change: impl FnOnce(&mut Files) -> Result<()>,
    ) -> Result<Outcome> {
        let mut files = self.recording.model(image.cut).cut(image.faults());
        change(&mut files)?;
        let special = Special {
            program: kit.broker.clone(),
            environment: vec![("MULGIL_LOG", "info".into())],
        };
        let mut broker = Broker::prepared("liar-image", special)?;
        write_directory(&files, &broker.data())?;
        if broker.restart().is_err() {
            let logged = broker.logged();
            return Ok(Outcome {
                found: None,
                logged,
            });
        }
        let read = &mut kit.client("read");
        let said = Talking::start(read.arg(broker.address()), b"")?.finish(LIMIT)?;
        ensure!(said.good, "the reader failed: {}", said.stderr.trim());
        let found = Found::parse(&String::from_utf8(said.stdout)?)?;
        let logged = broker.logged();
        broker.kill();
        Ok(Outcome {
            found: Some(found),
            logged,
        })
    }
}

/// The files of a disk.
pub(super) type Files = std::collections::BTreeMap<String, Vec<u8>>;

/// The client that loads the broker; it is killed when this is dropped.
struct Client(Child);

impl Client {
    fn wait_for(&mut self, events: &Path, word: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !std::fs::read_to_string(events)
            .unwrap_or_default()
            .contains(word)
        {
            let ended = self.0.try_wait()?;
            ensure!(ended.is_none(), "the client ended early: {ended:?}");
            ensure!(Instant::now() < end, "the client waits for something");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let end = Instant::now() + LIMIT;
        while self.0.try_wait()?.is_none() {
            ensure!(Instant::now() < end, "the client does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

//! Brokers to measure. Each kind says how it is started and when it is ready; the rest is common.
//!
//! A started broker is a process of its own with an empty data directory, and is killed with its
//! handle. One that runs already is named by its address and process id.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::wire::Wire;

const READY_LIMIT: Duration = Duration::from_secs(120);

/// What has to be known of a broker to measure it.
pub(crate) trait Kind {
    /// Its name in the results.
    fn name(&self) -> &'static str;
    /// The program with its arguments, to keep its data in `home`.
    fn command(&self, home: &Path) -> Result<Command>;
    /// Waits until `child` says that it is ready; the address of its Kafka listener.
    fn wait(&self, child: &mut Child, home: &Path) -> Result<String>;
    /// The topic setting that asks for `durability`; none if it is what the kind does anyway.
    fn durability(&self, durability: &str) -> Result<Option<(String, String)>>;
}

/// `mulgil:PATH` or `HOST:PORT@PID`.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Mulgil(PathBuf),
    Running { address: String, pid: u32 },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("mulgil:") {
            return Ok(Self::Mulgil(path.into()));
        }
        let running = text.split_once('@').and_then(|(address, pid)| {
            let (address, pid) = (address.to_owned(), pid.parse().ok()?);
            Some(Self::Running { address, pid })
        });
        running.ok_or_else(|| "must be mulgil:PROGRAM or HOST:PORT@PID".to_owned())
    }
}

/// The program `mulgil`.
#[derive(Debug)]
struct Mulgil {
    program: PathBuf,
}

impl Kind for Mulgil {
    fn name(&self) -> &'static str {
        "mulgil"
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("dev").arg("--data-dir").arg(home);
        command.args(["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        Ok(command)
    }

    fn wait(&self, child: &mut Child, home: &Path) -> Result<String> {
        let out = child.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(out).lines();
        loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("mulgil ended before it was ready");
            };
            if line.contains("Server startup complete") {
                break;
            }
        }
        let text = fs::read_to_string(home.join("addresses.json"))?;
        let addresses: serde_json::Value = serde_json::from_str(&text)?;
        let kafka = addresses.get("kafka").and_then(|kafka| kafka.as_str());
        Ok(kafka.context("mulgil has no Kafka listener")?.to_owned())
    }

    fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        Ok(Some((
            "mulgil.durability".to_owned(),
            durability.to_owned(),
        )))
    }
}

/// A broker that someone else has started.
#[derive(Debug)]
struct Stranger;

impl Kind for Stranger {
    fn name(&self) -> &'static str {
        "running"
    }

    fn command(&self, _home: &Path) -> Result<Command> {
        bail!("a broker that runs already cannot be started")
    }

    fn wait(&self, _child: &mut Child, _home: &Path) -> Result<String> {
        bail!("a broker that runs already has no child process")
    }

    fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        Ok((durability != "default")
            .then(|| ("mulgil.durability".to_owned(), durability.to_owned())))
    }
}

/// A broker that runs.
pub(crate) struct Broker {
    kind: Box<dyn Kind>,
    pub(crate) home: PathBuf,
    pub(crate) address: String,
    pub(crate) pid: u32,
    child: Option<Child>,
}

/// How long a start took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Until the broker said that it is ready.
    pub(crate) announced: Duration,
    /// Until it had answered a request.
    pub(crate) answered: Duration,
}

impl Broker {
    /// Starts a broker with an empty data directory, or finds the one that runs.
    pub(crate) fn start(target: &Target, home: &Path) -> Result<(Self, Start)> {
        if home.exists() {
            fs::remove_dir_all(home)?;
        }
        fs::create_dir_all(home)?;
        Self::start_on(target, home)
    }

    /// As [`Self::start`], on whatever `home` holds.
    pub(crate) fn start_on(target: &Target, home: &Path) -> Result<(Self, Start)> {
        let kind: Box<dyn Kind> = match target {
            Target::Running { address, pid } => {
                let broker = Self {
                    kind: Box::new(Stranger),
                    home: home.to_owned(),
                    address: address.clone(),
                    pid: *pid,
                    child: None,
                };
                let zero = Duration::ZERO;
                return Ok((
                    broker,
                    Start {
                        announced: zero,
                        answered: zero,
                    },
                ));
            }
            Target::Mulgil(program) => Box::new(Mulgil {
                program: program.clone(),
            }),
        };
        let mut command = kind.command(home)?;
        let log = fs::File::create(home.with_extension("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let begin = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", kind.name()))?;
        let address = match kind.wait(&mut child, home) {
            Ok(address) => address,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        let announced = begin.elapsed();
        let pid = child.id();
        let broker = Self {
            kind,
            home: home.to_owned(),
            address,
            pid,
            child: Some(child),
        };
        broker.until_it_answers(begin)?;
        let answered = begin.elapsed();
        Ok((
            broker,
            Start {
                announced,
                answered,
            },
        ))
    }

    fn until_it_answers(&self, begin: Instant) -> Result<()> {
        loop {
            match Wire::connect(&self.address).and_then(|mut wire| wire.greet()) {
                Ok(()) => return Ok(()),
                Err(error) if begin.elapsed() > READY_LIMIT => return Err(error),
                Err(_not_yet) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// The kind's name.
    pub(crate) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// The topic setting that asks for `durability`.
    pub(crate) fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        self.kind.durability(durability)
    }

    /// Kills the process as a power cut would, but leaves its data.
    pub(crate) fn kill(mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
        self.home = PathBuf::new();
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _gone = child.kill();
    let _status = child.wait();
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        end(child);
        if !self.home.as_os_str().is_empty() {
            // Gigabytes that nobody needs again; what remains is cleared by the next start.
            let _left = fs::remove_dir_all(&self.home);
        }
    }
}

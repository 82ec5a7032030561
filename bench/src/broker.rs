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

use crate::elasticmq::ElasticMq;
use crate::kafka::Kafka;
use crate::wire::Wire;

pub(crate) const READY_LIMIT: Duration = Duration::from_secs(120);

/// What has to be known of a broker to measure it.
pub(crate) trait Kind {
    /// Its name in the results.
    fn name(&self) -> &'static str;
    /// What was built: a commit, or the version of a release.
    fn version(&self) -> Result<String>;
    /// Puts into `home`, which is empty, what has to lie there before the first start.
    fn prepare(&self, _home: &Path) -> Result<()> {
        Ok(())
    }
    /// The program with its arguments, to keep its data in `home`.
    fn command(&self, home: &Path) -> Result<Command>;
    /// Waits until `child` says that it is ready; the address of its Kafka listener.
    fn wait(&self, child: &mut Child, home: &Path) -> Result<String>;
    /// Asks something at its address.
    fn greet(&self, address: &str) -> Result<()> {
        Wire::connect(address)?.greet()
    }
    /// The address of its SQS listener.
    fn sqs(&self, _home: &Path, _address: &str) -> Result<String> {
        bail!("{} does not speak with clients of Amazon SQS", self.name())
    }
    /// The topic setting that asks for `durability`; none if it is what the kind does anyway.
    fn durability(&self, durability: &str) -> Result<Option<(String, String)>>;
}

/// `mulgil:PROGRAM`, `kafka:JARS`, `elasticmq:JARS` or `HOST:PORT@PID`.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Mulgil(PathBuf),
    /// Apache Kafka, by the folder of its jars.
    Kafka(PathBuf),
    /// `ElasticMQ`, by the folder of its jars.
    ElasticMq(PathBuf),
    Running {
        address: String,
        pid: u32,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("mulgil:") {
            return Ok(Self::Mulgil(path.into()));
        }
        if let Some(path) = text.strip_prefix("kafka:") {
            return Ok(Self::Kafka(path.into()));
        }
        if let Some(path) = text.strip_prefix("elasticmq:") {
            return Ok(Self::ElasticMq(path.into()));
        }
        let running = text.split_once('@').and_then(|(address, pid)| {
            let (address, pid) = (address.to_owned(), pid.parse().ok()?);
            Some(Self::Running { address, pid })
        });
        running.ok_or_else(|| {
            "must be mulgil:PROGRAM, kafka:JARS, elasticmq:JARS or HOST:PORT@PID".to_owned()
        })
    }
}

impl Target {
    fn kind(&self) -> Box<dyn Kind> {
        match self.clone() {
            Self::Mulgil(program) => Box::new(Mulgil { program }),
            Self::Kafka(jars) => Box::new(Kafka { jars }),
            Self::ElasticMq(jars) => Box::new(ElasticMq { jars }),
            Self::Running { .. } => Box::new(Stranger),
        }
    }

    /// What was built: a commit, or the version of a release.
    pub(crate) fn version(&self) -> Result<String> {
        self.kind().version()
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

    fn version(&self) -> Result<String> {
        let output = Command::new(&self.program).arg("--version").output();
        let output = output.with_context(|| format!("{} cannot be run", self.program.display()))?;
        let said = String::from_utf8(output.stdout)?;
        let commit = commit_in(&said).map(ToOwned::to_owned);
        commit.with_context(|| {
            let said = said.trim();
            format!("`{said}` names no commit (a release build does): say it with --label")
        })
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("dev").arg("--data-dir").arg(home);
        command.env("MULGIL_LOG", "warn,mulgil_broker::keeper=info");
        command.env("MULGIL_LOG_FORMAT", "json");
        command.args(["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        // Older builds know no such option.
        command.env("MULGIL_SQS", "127.0.0.1:0");
        command.stdout(Stdio::piped());
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

    fn sqs(&self, home: &Path, _address: &str) -> Result<String> {
        let text = fs::read_to_string(home.join("addresses.json"))?;
        let addresses: serde_json::Value = serde_json::from_str(&text)?;
        let sqs = addresses.get("sqs").and_then(|sqs| sqs.as_str());
        Ok(sqs.context("mulgil has no SQS listener")?.to_owned())
    }

    fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        Ok(Some((
            "mulgil.durability".to_owned(),
            durability.to_owned(),
        )))
    }
}

/// The commit in what `mulgil --version` says.
fn commit_in(said: &str) -> Option<&str> {
    let (_, build) = said.trim().strip_suffix(')')?.split_once(" (")?;
    let commit = build.strip_suffix("-dirty").unwrap_or(build);
    let hex = commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
    hex.then_some(build)
}

/// A broker that someone else has started.
#[derive(Debug)]
struct Stranger;

impl Kind for Stranger {
    fn name(&self) -> &'static str {
        "running"
    }

    fn version(&self) -> Result<String> {
        bail!("what a broker that runs already was built from must be said with --label")
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
        target.kind().prepare(home)?;
        Self::start_on(target, home)
    }

    /// As [`Self::start`], on whatever `home` holds.
    pub(crate) fn start_on(target: &Target, home: &Path) -> Result<(Self, Start)> {
        let kind = target.kind();
        if let Target::Running { address, pid } = target {
            let broker = Self {
                kind,
                home: home.to_owned(),
                address: address.clone(),
                pid: *pid,
                child: None,
            };
            let (announced, answered) = (Duration::ZERO, Duration::ZERO);
            return Ok((
                broker,
                Start {
                    announced,
                    answered,
                },
            ));
        }
        let mut command = kind.command(home)?;
        let log = fs::File::create(home.with_extension("log"))?;
        command.stdin(Stdio::null()).stderr(log);
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
            match self.kind.greet(&self.address) {
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

    /// The address of its SQS listener.
    pub(crate) fn sqs(&self) -> Result<String> {
        self.kind.sqs(&self.home, &self.address)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_one_only_if_it_is_hexadecimal() {
        assert_eq!(
            commit_in("mulgil 0.1.0 (1a2b3c4d5e6f)\n"),
            Some("1a2b3c4d5e6f")
        );
        let dirty = "1a2b3c4d5e6f-dirty";
        assert_eq!(commit_in(&format!("mulgil 0.1.0 ({dirty})")), Some(dirty));
        assert_eq!(commit_in("mulgil 0.1.0 (development build)"), None);
        assert_eq!(commit_in("mulgil 0.1.0 (unknown commit)"), None);
        assert_eq!(commit_in("mulgil 0.1.0"), None);
    }
}

//! Brokers to test against: Mulgil from the target folder, the real Apache Kafka, or one that runs.
//!
//! A broker lives in a process of its own, on ports that it keeps over restarts, with its data in a
//! folder of its own. It is killed when its handle is dropped.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::tally::Tally;
use crate::{repo, run, tools};

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Any 16 bytes in base64; a cluster id that is the same in every run.
const KAFKA_CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Mulgil,
    Kafka,
    /// One that someone else has started: `host:port` of its Kafka listener.
    Running(String),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mulgil" => Ok(Self::Mulgil),
            "kafka" => Ok(Self::Kafka),
            _ if text.contains(':') => Ok(Self::Running(text.to_owned())),
            _ => Err("must be mulgil, kafka or HOST:PORT".to_owned()),
        }
    }
}

/// A broker that runs, or has been killed and can be restarted.
#[derive(Debug)]
pub(crate) struct Broker {
    kind: Kind,
    home: PathBuf,
    child: Option<Child>,
    kafka: String,
    http: String,
    sqs: String,
    special: Option<Special>,
}

/// Another program than the one in the target folder, and what its environment holds.
#[derive(Debug, Clone)]
pub(crate) struct Special {
    pub(crate) program: PathBuf,
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl Broker {
    /// A Mulgil with an empty folder called `name`, without data and not started yet.
    pub(crate) fn prepared(name: &str, special: Special) -> Result<Self> {
        Ok(Self {
            kind: Kind::Mulgil,
            home: repo::fresh(&format!("brokers/{name}"))?,
            child: None,
            kafka: free_address()?,
            http: free_address()?,
            sqs: free_address()?,
            special: Some(special),
        })
    }

    /// Starts a broker on an empty data folder called `name` and waits until it is ready.
    pub(crate) fn start(kind: &Kind, name: &str) -> Result<Self> {
        if let Kind::Running(address) = kind {
            let (kafka, http) = (address.clone(), String::new());
            return Ok(Self {
                kind: kind.clone(),
                home: PathBuf::new(),
                child: None,
                kafka,
                http,
                sqs: String::new(),
                special: None,
            });
        }
        let home = repo::fresh(&format!("brokers/{name}"))?;
        let (kafka, http) = (free_address()?, free_address()?);
        let mut broker = Self {
            kind: kind.clone(),
            home,
            child: None,
            kafka,
            http,
            sqs: free_address()?,
            special: None,
        };
        if *kind == Kind::Kafka {
            broker.format_kafka()?;
        }
        broker.restart()?;
        Ok(broker)
    }

    /// Where its Kafka listener is.
    pub(crate) fn address(&self) -> &str {
        &self.kafka
    }

    /// Where its SQS listener is, if it has one.
    pub(crate) fn sqs(&self) -> Result<String> {
        let known = self.kind == Kind::Mulgil;
        ensure!(known, "only Mulgil speaks with clients of Amazon SQS");
        Ok(format!("http://{}", self.sqs))
    }

    /// Where its HTTP listener is.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its program, which is also its command line.
    pub(crate) fn program(&self) -> PathBuf {
        let usual = || {
            std::env::var_os("MULGIL_BIN")
                .map_or_else(|| repo::target().join("debug/mulgil"), PathBuf::from)
        };
        let special = self.special.as_ref();
        special.map_or_else(usual, |special| special.program.clone())
    }

    /// Starts it again on the same data and ports; gives the time until it was ready.
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        let (mut command, ready) = match &self.kind {
            Kind::Mulgil => (self.mulgil()?, "Server startup complete"),
            Kind::Kafka => (self.kafka(), "Kafka Server started"),
            Kind::Running(address) => bail!("{address} was not started here, and is left alone"),
        };
        let log = self.log();
        let file = File::options().create(true).append(true).open(&log)?;
        let from = usize::try_from(file.metadata()?.len())?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let child = self.child.insert(child);
        let quiet = self.special.is_some();
        await_line(child, (&log, from), ready, started, quiet)?;
        let took = started.elapsed();
        if self.kind == Kind::Mulgil {
            self.read_addresses()?;
        }
        Ok(took)
    }

    /// Kills it with -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops it with SIGTERM, upon which Mulgil drains and exits 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        run::signal(child.id(), Signal::TERM);
        let status = run::end(&mut child, STOP_LIMIT).context("the broker after SIGTERM")?;
        // A JVM ends with 143 upon SIGTERM, however well it closed.
        ensure!(
            self.kind != Kind::Mulgil || status.success(),
            "after SIGTERM the broker: {status}"
        );
        Ok(())
    }

    /// What the broker has logged.
    pub(crate) fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    fn log(&self) -> PathBuf {
        self.home.join("broker.log")
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn mulgil(&self) -> Result<Command> {
        let program = self.program();
        ensure!(
            program.exists(),
            "{} is not built: cargo build -p mulgil",
            program.display()
        );
        std::fs::remove_file(self.data().join("addresses.json")).ok();
        let mut command = Command::new(program);
        command.arg("server").arg("--data-dir").arg(self.data());
        command.args(["--kafka", &self.kafka, "--http", &self.http]);
        command.args(["--sqs", &self.sqs]);
        if let Some(special) = &self.special {
            command.envs(
                special
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        }
        Ok(command)
    }

    /// Takes the addresses from the file that the broker writes, as any script would.
    fn read_addresses(&self) -> Result<()> {
        let path = self.data().join("addresses.json");
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let addresses: serde_json::Value = serde_json::from_slice(&text)?;
        let kafka = addresses
            .get("kafka")
            .and_then(|kafka| kafka.as_str())
            .context("addresses.json names no kafka")?;
        ensure!(
            kafka == self.kafka,
            "listens on {kafka}, told to listen on {}",
            self.kafka
        );
        Ok(())
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        command.arg("-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info");
        command
            .arg("-cp")
            .arg(tools::class_path("kafka-broker"))
            .current_dir(&self.home);
        command
    }

    fn kafka(&self) -> Command {
        let mut command = self.java();
        command
            .arg("kafka.Kafka")
            .arg(self.home.join("server.properties"));
        command
    }

    fn format_kafka(&self) -> Result<()> {
        tools::kafka_broker()?;
        let properties = self.home.join("server.properties");
        let text = include_str!("../../interop/kafka-broker/server.properties")
            .replace("@KAFKA@", &self.kafka)
            .replace("@CONTROLLER@", &self.http)
            .replace("@DATA@", &self.data().display().to_string());
        std::fs::write(&properties, text)?;
        let mut format = self.java();
        format.args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            KAFKA_CLUSTER_ID,
            "-c",
        ]);
        run::must("kafka format", format.arg(properties), READY_LIMIT).map(drop)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that nobody listens on. It is free again, so two brokers may race for it; none did yet.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn await_line(
    child: &mut Child,
    (log, from): (&Path, usize),
    line: &str,
    started: Instant,
    quiet: bool,
) -> Result<()> {
    loop {
        let ended = child.try_wait()?;
        let text = std::fs::read(log)?;
        let text = String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned();
        if text.contains(line) {
            return Ok(());
        }
        if !quiet && (ended.is_some() || started.elapsed() > READY_LIMIT) {
            run::show("the broker", &text);
        }
        if let Some(status) = ended {
            bail!("the broker ended before it was ready: {status}");
        }
        ensure!(
            started.elapsed() < READY_LIMIT,
            "no `{line}` in {} s",
            READY_LIMIT.as_secs()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

/// `cargo xtask broker`: runs one until a line comes on standard input, or its end.
pub(crate) fn serve(kind: &Kind) -> Result<Tally> {
    let broker = Broker::start(kind, "served")?;
    println!("{}", broker.address());
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    broker.stop()?;
    Ok(Tally::passed())
}

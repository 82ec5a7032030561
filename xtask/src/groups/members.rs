//! The processes of a run: three groups with a Java and two Python members each, a producer, a watcher.
//!
//! Every process writes a file of lines. A member that is killed starts anew as another life, with a file
//! and a client id of its own; what the old one has written is kept.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::events::{Event, Tail, What};
use super::judge::{Life, Source};
use crate::{repo, tools};

/// The topics that every group reads, and how many partitions they have.
pub(super) const TOPICS: [(&str, u32); 3] = [("groups-a", 3), ("groups-b", 2), ("groups-c", 4)];

/// A group, and how its members share the partitions.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) group: &'static str,
    assignor: &'static str,
    /// Whether its members have names over restarts.
    fixed: bool,
}

pub(super) static GROUPS: [Manner; 3] = [
    Manner {
        group: "range",
        assignor: "range",
        fixed: false,
    },
    Manner {
        group: "cooperative",
        assignor: "cooperative-sticky",
        fixed: false,
    },
    Manner {
        group: "static",
        assignor: "range",
        fixed: true,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Java,
    Python,
}

const CLIENTS: [(&str, Client); 3] = [
    ("java", Client::Java),
    ("python-1", Client::Python),
    ("python-2", Client::Python),
];

/// What the programs of all processes are.
#[derive(Debug)]
pub(super) struct Programs {
    python: PathBuf,
    folder: PathBuf,
    address: String,
}

impl Programs {
    /// Installs what is needed, and empties the folder that the lines go to.
    pub(super) fn new(address: &str) -> Result<Self> {
        tools::java()?;
        Ok(Self {
            python: tools::python()?,
            folder: repo::fresh("groups")?,
            address: address.to_owned(),
        })
    }

    /// Where the lines go.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn python(&self, role: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(repo::root().join("interop/python/groups.py"));
        command.args([role, &self.address]);
        command
    }

    fn java(&self, role: &str) -> Command {
        let mut command = Command::new("java");
        // Four of them run beside the broker, and some start again and again.
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp").arg(tools::class_path("java"));
        command.args(["dev.mulgil.interop.Main", role, &self.address]);
        command
    }

    /// An idempotent producer to all partitions.
    pub(super) fn producer(&self) -> Result<Process> {
        let mut command = self.python("produce");
        command.args(counted());
        Process::start(self, "producer", Source::Producer, &mut command)
    }

    /// One that makes the topics, and then asks about the groups when it is told to.
    pub(super) fn watcher(&self) -> Result<Process> {
        let mut command = self.java("watch");
        command.args(counted()).arg("--");
        command.args(GROUPS.iter().map(|manner| manner.group));
        Process::start(self, "watcher", Source::Watcher, &mut command)
    }
}

fn counted() -> impl Iterator<Item = String> {
    TOPICS
        .iter()
        .map(|(topic, partitions)| format!("{topic}:{partitions}"))
}

/// A process that writes lines.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) source: Source,
    child: Child,
    tail: Tail,
    errors: PathBuf,
    /// When it last said anything.
    pub(super) last_ns: u64,
}

impl Process {
    fn start(
        programs: &Programs,
        name: &str,
        source: Source,
        command: &mut Command,
    ) -> Result<Self> {
        let lines = programs.folder.join(format!("{name}.log"));
        let errors = programs.folder.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::piped())
            .stdout(File::create(&lines)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            source,
            child,
            tail: Tail::new(&lines),
            errors,
            last_ns: 0,
        })
    }

    /// What it has said since it was last asked. It must live yet.
    pub(super) fn events(&mut self) -> Result<Vec<(Source, Event)>> {
        let ended = self.child.try_wait()?;
        let events = self.read()?;
        if let Some(status) = ended {
            let said = std::fs::read(&self.errors).unwrap_or_default();
            crate::run::show(&self.name, &String::from_utf8_lossy(&said));
            bail!("{} ended by itself: {status}", self.name);
        }
        Ok(events)
    }

    fn read(&mut self) -> Result<Vec<(Source, Event)>> {
        let events = self.tail.events()?;
        if let Some(last) = events.last() {
            self.last_ns = last.at_ns;
        }
        let source = self.source.clone();
        Ok(events
            .into_iter()
            .map(|event| (source.clone(), event))
            .collect())
    }

    /// Gives it a line.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("it has no input")?;
        writeln!(stdin, "{line}").with_context(|| format!("{} takes no line", self.name))
    }

    /// Kills it with -9; gives what it said last, and that it was killed.
    fn kill(mut self) -> Result<Vec<(Source, Event)>> {
        self.child.kill()?;
        self.child.wait()?;
        let mut events = self.read()?;
        let killed = Event {
            at_ns: self.last_ns,
            what: What::Killed,
        };
        events.push((self.source.clone(), killed));
        Ok(events)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A place in a group, filled by one life after the other.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) manner: &'static Manner,
    pub(super) name: String,
    client: Client,
    lives: u32,
    pub(super) process: Option<Process>,
}

impl Slot {
    /// All members of all groups, none started yet.
    pub(super) fn all() -> Vec<Self> {
        let slots = GROUPS.iter().flat_map(|manner| {
            CLIENTS.iter().map(move |(client_name, client)| Self {
                manner,
                name: format!("{}-{client_name}", manner.group),
                client: *client,
                lives: 0,
                process: None,
            })
        });
        slots.collect()
    }

    /// Starts the next life.
    pub(super) fn start(&mut self, programs: &Programs) -> Result<()> {
        self.lives += 1;
        let name = format!("{}.{}", self.name, self.lives);
        let instance = self.manner.fixed.then(|| self.name.clone());
        let mut command = match self.client {
            Client::Java => programs.java("member"),
            Client::Python => programs.python("member"),
        };
        command.args([self.manner.group, self.manner.assignor, &name]);
        command.arg(instance.as_deref().unwrap_or("-"));
        command.args(TOPICS.iter().map(|(topic, _)| topic));
        let life = Life {
            group: self.manner.group.to_owned(),
            name: name.clone(),
            instance,
            races: self.client == Client::Python && self.manner.assignor.starts_with("cooperative"),
        };
        let process = Process::start(programs, &name, Source::Member(life), &mut command)?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills the life that runs.
    pub(super) fn kill(&mut self) -> Result<Vec<(Source, Event)>> {
        self.process.take().context("nobody lives there")?.kill()
    }
}

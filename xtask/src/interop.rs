//! Running other people's clients: one broker, one suite after the other.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::brokers::{Broker, Kind};
use crate::tally::Tally;
use crate::{
    connect, kafka_tools, kcat, prerequisites, queues, registry, repo, run, sqs_crash, tools,
};

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Clients that take too long for every run: only when they are named.
pub(crate) const LONG: [&str; 8] = [
    "sqs-java",
    "celery-10000",
    "kafka-tools",
    "rust",
    "confluent-node",
    "connect",
    "registry",
    "sarama",
];
/// The clients, in the order in which they run.
pub(crate) const CLIENTS: [&str; 14] = [
    "kcat",
    "queues",
    "boto3",
    "boto3-query",
    "celery",
    "sqs-crash",
    "sqs-node",
    "sqs-go",
    "java",
    "python",
    "kafka-python",
    "aiokafka",
    "node",
    "go",
];

/// Those that look at dead letters by the command line, too.
const CELERY: [&str; 2] = ["celery", "celery-10000"];
/// Those that Apache Kafka is not asked by.
const OWN: [&str; 7] = [
    "sqs-crash",
    "queues",
    "boto3",
    "boto3-query",
    "celery",
    "sqs-node",
    "sqs-go",
];
/// Those that speak with the SQS listener.
const SQS: [&str; 7] = [
    "boto3",
    "boto3-query",
    "celery",
    "celery-10000",
    "sqs-node",
    "sqs-go",
    "sqs-java",
];

/// `cargo xtask interop`.
pub(crate) fn run(client: Option<&str>, against: &Kind, checks: &[String]) -> Result<Tally> {
    if let Some(name) = client
        && !CLIENTS.contains(&name)
        && !LONG.contains(&name)
    {
        let all = [&CLIENTS[..], &LONG].concat().join(", ");
        bail!("there is no client {name}, only {all}");
    }
    let mut tally = Tally::default();
    let mut broker = Broker::start(against, "interop")?;
    for name in CLIENTS
        .iter()
        .filter(|name| client.is_none_or(|wanted| wanted == **name))
        .filter(|name| client.is_some() || *against == Kind::Mulgil || !OWN.contains(name))
        .chain(LONG.iter().filter(|name| client == Some(**name)))
    {
        let result = suite(name, &mut broker, checks);
        tally.add(result.unwrap_or_else(|error| Tally::failed(format!("{name}: {error:#}"))));
    }
    let logged = broker.logged();
    tally.add(match broker.stop() {
        Ok(()) => Tally::passed(),
        Err(error) => Tally::failed(format!("stopping the broker: {error:#}")),
    });
    if !tally.good() && *against == Kind::Mulgil {
        run::show("the broker", &logged);
    }
    Ok(tally)
}

fn suite(name: &str, broker: &mut Broker, checks: &[String]) -> Result<Tally> {
    if let Some(missing) = missing(name) {
        println!("skipped {name}: {missing}");
        // In CI everything must run, or a green run would prove less than it says.
        return Ok(if repo::in_ci() {
            Tally::failed(format!("{name}: {missing}"))
        } else {
            Tally::skipped()
        });
    }
    let address = broker.address().to_owned();
    match name {
        "kcat" => return kcat::suite(&address, checks),
        "queues" => return queues::suite(broker, checks),
        "sqs-crash" => return sqs_crash::suite(broker, checks),
        "kafka-tools" => return kafka_tools::suite(&address, checks),
        "connect" => return connect::suite(broker, checks),
        "registry" => return registry::suite(broker, checks),
        _ => {}
    }
    let mut command = program(name)?;
    asked(name, broker, &mut command)?;
    command.args(checks);
    let finished = run::watched(&format!("interop {name}"), &mut command, LIMIT)?;
    let mut tally = Tally::of_checks(name, &finished.output);
    if !finished.good {
        run::show(name, &finished.output);
        if tally.good() {
            tally.add(Tally::failed(format!("{name}: {}", finished.end)));
        }
    }
    if finished.good && tally.passed == 0 {
        tally.add(Tally::failed(format!("{name}: no check ran")));
    }
    said(name, &tally, finished.took);
    Ok(tally)
}

/// The program of a client.
fn program(name: &str) -> Result<Command> {
    Ok(match name {
        "java" => {
            tools::java()?;
            let mut java = Command::new("java");
            java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
            java.arg("-cp")
                .arg(tools::class_path("java"))
                .args(["dev.mulgil.interop.Main", "suite"]);
            java
        }
        "boto3" | "boto3-query" => {
            let mut python = Command::new(tools::boto3(name == "boto3-query")?);
            python.arg(repo::root().join("interop/sqs-python/suite.py"));
            python
        }
        "celery" | "celery-10000" => {
            let mut python = Command::new(tools::celery()?);
            python.arg(repo::root().join("interop/sqs-celery/suite.py"));
            python
        }
        "sqs-node" => {
            tools::sqs_node()?;
            node("interop/sqs-node/suite.mjs")
        }
        "sqs-go" => Command::new(tools::sqs_go()?),
        "sqs-java" => {
            tools::sqs_java()?;
            let mut java = Command::new("java");
            java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
            java.arg("-cp").arg(tools::class_path("sqs-java"));
            java.arg("dev.mulgil.interop.sqs.Main");
            java
        }
        "python" => python("suite.py")?,
        "kafka-python" => python("kafka_python_suite.py")?,
        "aiokafka" => python("aiokafka_suite.py")?,
        "node" => {
            tools::node()?;
            node("interop/node/suite.mjs")
        }
        "confluent-node" => {
            tools::confluent_node()?;
            node("interop/confluent-node/suite.mjs")
        }
        "sarama" => Command::new(tools::sarama()?),
        "rust" => Command::new(tools::rust()?),
        _ => Command::new(tools::go()?),
    })
}

/// Tells a client where the broker is, and what else it has to know.
fn asked(name: &str, broker: &Broker, command: &mut Command) -> Result<()> {
    if SQS.contains(&name) {
        command.arg(broker.sqs()?);
    } else {
        command.arg(broker.address());
    }
    if CELERY.contains(&name) {
        // How many tasks: a twentieth of them fails.
        let tasks = if name == "celery" { "500" } else { "10000" };
        command.arg(broker.program()).arg(broker.http()).arg(tasks);
    }
    Ok(())
}

/// Runs those of a suite's checks that are wanted, all if none is named, and says what they came to.
pub(crate) fn checks<C: Copy>(
    suite: &str,
    all: &[(&str, C)],
    wanted: &[String],
    mut call: impl FnMut(C) -> Result<()>,
) -> Tally {
    let started = Instant::now();
    let mut tally = Tally::default();
    for (name, check) in all {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        let begun = Instant::now();
        let outcome = call(*check);
        let (word, seconds) = (
            if outcome.is_ok() { "ok" } else { "FAIL" },
            begun.elapsed().as_secs(),
        );
        println!("  {word} {suite} {name} ({seconds} s)");
        tally.add(match outcome {
            Ok(()) => Tally::passed(),
            Err(error) => Tally::failed(format!("{suite}: {name}: {error:#}")),
        });
    }
    said(suite, &tally, started.elapsed());
    tally
}

fn said(suite: &str, tally: &Tally, took: Duration) {
    let word = if tally.good() { "ok" } else { "FAILED" };
    let seconds = took.as_secs();
    println!("{word} interop {suite}: {} ({seconds} s)", tally.line());
}

/// A program of `interop/python` in the virtual environment that all of them share.
fn python(program: &str) -> Result<Command> {
    let mut python = Command::new(tools::python()?);
    python.arg(repo::root().join("interop/python").join(program));
    Ok(python)
}

fn node(program: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(repo::root().join(program));
    node
}

fn missing(client: &str) -> Option<String> {
    let needed: &[prerequisites::Prerequisite] = match client {
        "java" | "kafka-tools" | "connect" | "sqs-java" => {
            &[prerequisites::JAVA, prerequisites::MAVEN]
        }
        "registry" => &[
            prerequisites::JAVA,
            prerequisites::MAVEN,
            prerequisites::PYTHON,
        ],
        "python" | "kafka-python" | "aiokafka" | "boto3" | "boto3-query" | "celery"
        | "celery-10000" | "sqs-crash" => &[prerequisites::PYTHON],
        "node" | "sqs-node" => &[prerequisites::NODE],
        "confluent-node" => &[prerequisites::NODE, prerequisites::CXX, prerequisites::MAKE],
        "rust" => &[prerequisites::CC, prerequisites::MAKE],
        "go" | "sarama" | "sqs-go" => &[prerequisites::GO],
        _ => &[],
    };
    prerequisites::missing(needed)
}

//! The registry suite: Apicurio Registry keeps schemas in topics, and has them after any restart.
//!
//! It writes a record for each change to a journal and builds its database from the journal when it
//! starts, so that what a registry answers is what the broker has kept. It is asked as Confluent's
//! registry is, by the interface that serializers of all languages use.

mod state;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::brokers::{self, Broker};
use crate::http::{self, Answer};
use crate::service::Service;
use crate::tally::Tally;
use crate::{interop, repo, tools};

use self::state::state;

/// A registry needs half a minute to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
const API: &str = "/apis/ccompat/v7";

/// What the checks work with: the broker, the Java of the registry, a name that no other run has.
struct Registries<'a> {
    broker: &'a mut Broker,
    java: PathBuf,
    run: u128,
}

type Check = fn(&mut Registries<'_>) -> Result<()>;

const CHECKS: [(&str, Check); 3] = [
    ("schemas", answers_as_registries_do),
    ("restart", has_all_after_kills),
    ("two-registries", two_have_the_same),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(broker: &mut Broker, wanted: &[String]) -> Result<Tally> {
    let java = tools::registry()?;
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_millis();
    let mut registries = Registries { broker, java, run };
    Ok(interop::checks("registry", &CHECKS, wanted, |check| {
        check(&mut registries)
    }))
}

/// A process of the registry.
struct Registry {
    service: Service,
    rest: String,
}

impl Registry {
    /// Starts one whose topics begin with `name`, and waits until it has read its journal.
    fn start(registries: &Registries<'_>, name: &str) -> Result<Self> {
        let rest = brokers::free_address()?;
        let health = brokers::free_address()?;
        let (host, port) = rest.split_once(':').context("an address has a port")?;
        let (_, management_port) = health.split_once(':').context("an address has a port")?;
        let topic = format!("registry-{name}-{}", registries.run);
        let home = repo::scratch("registry")?;
        let mut java = Command::new(&registries.java);
        java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg("-Dapicurio.storage.kind=kafkasql")
            .arg("-Dapicurio.kafkasql.consumer.poll.timeout=1000")
            .arg("-Dapicurio.rest.deletion.artifact.enabled=true")
            .arg("-Dapicurio.rest.deletion.artifact-version.enabled=true");
        for (setting, value) in [
            ("kafkasql.bootstrap.servers", registries.broker.address()),
            ("kafkasql.topic", &topic),
            ("kafkasql.snapshots.topic", &format!("{topic}-snapshots")),
            ("events.kafka.topic", &format!("{topic}-events")),
        ] {
            java.arg(format!("-Dapicurio.{setting}={value}"));
        }
        java.arg(format!("-Dquarkus.http.host={host}"))
            .arg(format!("-Dquarkus.http.port={port}"))
            .arg(format!("-Dquarkus.management.host={host}"))
            .arg(format!("-Dquarkus.management.port={management_port}"))
            .args([
                "-Dquarkus.log.level=WARN",
                "-Dquarkus.http.access-log.enabled=false",
            ])
            .arg("-Dquarkus.log.category.\"io.apicurio\".level=WARN")
            .arg("-jar")
            .arg(repo::root().join("interop/registry/target/lib/quarkus-run.jar"))
            .current_dir(&home);
        let log = home.join(format!("{topic}.log"));
        let service = Service::start("the registry", &mut java, log)?;
        let mut registry = Self { service, rest };
        registry.until("the registry is ready", |_| {
            http::get(&health, "/health/ready").map(Some)
        })?;
        Ok(registry)
    }

    fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&str) -> Result<Option<T>>,
    ) -> Result<T> {
        let rest = &self.rest;
        self.service.until(what, LIMIT, || ask(rest))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        http::ask(&self.rest, method, &format!("{API}{path}"), body)
    }

    fn get(&self, path: &str) -> Result<Value> {
        http::get(&self.rest, &format!("{API}{path}"))
    }

    fn offer(&self, subject: &str, (kind, schema): (&str, &str)) -> Result<Answer> {
        let body = json!({"schemaType": kind, "schema": schema});
        let path = format!("/subjects/{subject}/versions");
        self.ask("POST", &path, Some(&body))
    }

    /// Registers a schema, and gives its id.
    fn register(&self, subject: &str, schema: (&str, &str)) -> Result<u64> {
        let answer = self.offer(subject, schema)?.good();
        let answer = answer.with_context(|| format!("registering for {subject}"))?;
        let id = answer.get("id").and_then(Value::as_u64);
        id.with_context(|| format!("no id: {answer}"))
    }

    fn require(&self, subject: &str, compatibility: &str) -> Result<()> {
        let body = json!({"compatibility": compatibility});
        let path = format!("/config/{subject}");
        self.ask("PUT", &path, Some(&body))?.good().map(drop)
    }

    fn delete(&self, path: &str) -> Result<Value> {
        let answer = self.ask("DELETE", path, None)?;
        answer.good().with_context(|| format!("DELETE {path}"))
    }
}

const ORDER_1: (&str, &str) = (
    "AVRO",
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"what","type":"string"}]}"#,
);
/// Readers of the second version read the first: what is new has a default.
const ORDER_2: (&str, &str) = (
    "AVRO",
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"what","type":"string"},{"name":"count","type":"int","default":1,"doc":"물길"}]}"#,
);
/// They could not read this one.
const ORDER_BAD: (&str, &str) = (
    "AVRO",
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#,
);
const PERSON: (&str, &str) = (
    "JSON",
    r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"name":{"type":"string"}}}"#,
);
const POINT: (&str, &str) = (
    "PROTOBUF",
    "syntax = \"proto3\";\nmessage Point { int64 x = 1; int64 y = 2; }\n",
);

/// Registers what the checks begin with.
fn fill(registry: &Registry) -> Result<()> {
    let first = registry.register("order-value", ORDER_1)?;
    registry.require("order-value", "BACKWARD")?;
    let second = registry.register("order-value", ORDER_2)?;
    ensure!(first != second, "two schemas have the id {first}");
    let again = registry.register("order-value", ORDER_1)?;
    ensure!(first == again, "one schema has the ids {first} and {again}");
    let elsewhere = registry.register("order-copy-value", ORDER_1)?;
    ensure!(first == elsewhere, "elsewhere it has the id {elsewhere}");
    registry.register("person-value", PERSON)?;
    registry.register("point-value", POINT)?;
    registry.register("gone-value", ORDER_1)?;
    registry.register("gone-value", ORDER_2)?;
    Ok(())
}

fn answers_as_registries_do(registries: &mut Registries<'_>) -> Result<()> {
    let registry = Registry::start(registries, "schemas")?;
    fill(&registry)?;
    let versions = registry.get("/subjects/order-value/versions")?;
    ensure!(versions == json!([1, 2]), "versions: {versions}");
    registry
        .offer("order-value", ORDER_BAD)?
        .refused(409)
        .context("an incompatible schema")?;
    let asked = json!({"schemaType": ORDER_BAD.0, "schema": ORDER_BAD.1});
    let path = "/compatibility/subjects/order-value/versions/latest";
    let told = registry.ask("POST", path, Some(&asked))?.good()?;
    let compatible = told.get("is_compatible").and_then(Value::as_bool);
    ensure!(compatible == Some(false), "compatibility: {told}");
    registry
        .offer("order-value", ("AVRO", "{\"type\":\"no such type\"}"))?
        .refused(422)
        .context("a schema that is none")?;
    let deleted = registry.delete("/subjects/gone-value/versions/1")?;
    ensure!(deleted == json!(1), "deleted version: {deleted}");
    let versions = registry.get("/subjects/gone-value/versions")?;
    ensure!(versions == json!([2]), "versions: {versions}");
    registry.delete("/subjects/gone-value")?;
    registry
        .ask("GET", "/subjects/gone-value/versions", None)?
        .refused(404)
        .context("a deleted subject")?;
    registry
        .ask("GET", "/schemas/ids/987654", None)?
        .refused(404)
        .context("an unknown id")?;
    registry.service.stop()
}

/// Kills the registry, the broker, and both; each time all has to be there, and to go on.
fn has_all_after_kills(registries: &mut Registries<'_>) -> Result<()> {
    let registry = Registry::start(registries, "restart")?;
    fill(&registry)?;
    registry.delete("/subjects/gone-value")?;
    let before = state(&registry)?;
    registry.service.kill();
    let registry = Registry::start(registries, "restart")?;
    same(&before, &state(&registry)?, "after a kill of the registry")?;

    registries.broker.kill();
    registries.broker.restart().context("after kill -9")?;
    let before = grown(&registry, "while-it-runs")?;

    registries.broker.kill();
    registry.service.kill();
    registries.broker.restart().context("after kill -9")?;
    let registry = Registry::start(registries, "restart")?;
    same(&before, &state(&registry)?, "after a kill of both")?;
    grown(&registry, "after-all")?;
    registry.service.stop()
}

/// What one registry is told, the other one knows, as does a third that starts after them.
fn two_have_the_same(registries: &mut Registries<'_>) -> Result<()> {
    let one = Registry::start(registries, "two")?;
    let mut two = Registry::start(registries, "two")?;
    fill(&one)?;
    two.register("told-to-two-value", PERSON)?;
    let wanted = state(&two)?;
    two.until("both registries have the same", |_| {
        same(&wanted, &state(&one)?, "of the first").map(Some)
    })?;
    one.service.kill();
    grown(&two, "told-to-the-second")?;
    let wanted = state(&two)?;
    let three = Registry::start(registries, "two")?;
    same(&wanted, &state(&three)?, "of the third")?;
    three.service.stop()?;
    two.service.stop()
}

/// Registers one more schema, whose id must be new; gives what there is with it.
fn grown(registry: &Registry, name: &str) -> Result<Value> {
    let before = state(registry)?;
    let schema = format!(
        r#"{{"type":"fixed","name":"f_{}","size":9}}"#,
        name.replace('-', "_")
    );
    let id = registry.register(&format!("{name}-value"), ("AVRO", &schema))?;
    let known = before.pointer(&format!("/ids/{id}"));
    ensure!(known.is_none(), "the id {id} was given before");
    state(registry)
}

fn same(wanted: &Value, got: &Value, when: &str) -> Result<()> {
    ensure!(wanted == got, "{when}: wanted {wanted}, got {got}");
    Ok(())
}

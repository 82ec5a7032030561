//! Apache Kafka as one node, out of a folder of its jars, with what it ships with by default.
//!
//! Settings are those of `interop/kafka-broker`, where the clients are tried against it too; heap and
//! collector are those of Kafka's own start script. It is ready when it says so in its log.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::broker::{Kind, READY_LIMIT};

const SETTINGS: &str = include_str!("../../interop/kafka-broker/server.properties");
const LISTENER: &str = "advertised.listeners=PLAINTEXT://";
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// As `kafka-server-start.sh` and `kafka-run-class.sh` start it.
const VIRTUAL_MACHINE: [&str; 8] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Apache Kafka, whose jars lie in a folder.
#[derive(Debug)]
pub(crate) struct Kafka {
    pub(crate) jars: PathBuf,
}

impl Kafka {
    fn java(&self) -> Result<Command> {
        let jars = fs::canonicalize(&self.jars)
            .with_context(|| format!("Kafka's jars in {}", self.jars.display()))?;
        let mut java = Command::new("java");
        java.args(VIRTUAL_MACHINE);
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        java.arg("-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info");
        java.arg("-cp").arg(jars.join("*"));
        Ok(java)
    }
}

impl Kind for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn version(&self) -> Result<String> {
        for entry in fs::read_dir(&self.jars)
            .with_context(|| format!("Kafka's jars in {}", self.jars.display()))?
        {
            if let Some(version) = version_in(&entry?.file_name().to_string_lossy()) {
                return Ok(version.to_owned());
            }
        }
        bail!("no kafka_2.13-VERSION.jar in {}", self.jars.display())
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        let home = fs::canonicalize(home)?;
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        // Both are taken at one time, so that they differ.
        let (kafka, controller) = (free()?, free()?);
        let settings = SETTINGS
            .replace("@KAFKA@", &kafka.to_string())
            .replace("@CONTROLLER@", &controller.to_string())
            .replace("@DATA@", &home.join("data").display().to_string());
        fs::write(home.join("server.properties"), settings)?;
        let mut format = self.java()?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
        let done = format.arg(home.join("server.properties")).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "kafka format: {said}");
        Ok(())
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = self.java()?;
        command
            .arg("kafka.Kafka")
            .arg(fs::canonicalize(home)?.join("server.properties"))
            .stdout(Stdio::null());
        Ok(command)
    }

    fn wait(&self, child: &mut Child, home: &Path) -> Result<String> {
        let begin = Instant::now();
        loop {
            let said = fs::read_to_string(home.with_extension("log")).unwrap_or_default();
            if said.contains("Kafka Server started") {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("kafka ended before it was ready: {status}: {said}");
            }
            ensure!(begin.elapsed() < READY_LIMIT, "kafka is not ready: {said}");
            std::thread::sleep(LOOK_EVERY);
        }
        let settings = fs::read_to_string(home.join("server.properties"))?;
        let listener = settings
            .lines()
            .find_map(|line| line.strip_prefix(LISTENER));
        Ok(listener.context("kafka has no listener")?.to_owned())
    }

    fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        match durability {
            // Kafka leaves it to the operating system when a record goes to the disk.
            "os" => Ok(None),
            "fsync" => Ok(Some(("flush.messages".to_owned(), "1".to_owned()))),
            other => bail!("kafka has no durability {other}, only os and fsync"),
        }
    }
}

fn version_in(jar: &str) -> Option<&str> {
    let rest = jar.strip_prefix("kafka_2.")?.strip_suffix(".jar")?;
    let (_scala, version) = rest.split_once('-')?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_the_name_of_the_jar() {
        assert_eq!(version_in("kafka_2.13-4.4.0.jar"), Some("4.4.0"));
        assert_eq!(version_in("kafka-clients-4.4.0.jar"), None);
        assert_eq!(version_in("kafka_2.13-test.jar"), None);
    }

    #[test]
    fn memory_is_no_level_of_kafka() {
        let kafka = Kafka {
            jars: PathBuf::new(),
        };
        assert!(kafka.durability("memory").is_err());
        assert!(kafka.durability("os").unwrap().is_none());
        assert_eq!(
            kafka.durability("fsync").unwrap().unwrap().0,
            "flush.messages"
        );
    }
}

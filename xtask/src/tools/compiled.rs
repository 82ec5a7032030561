//! A client that compiles librdkafka from the sources in its own package.
//!
//! That takes minutes, which is why its suite runs only when it is named.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{need, once};
use crate::prerequisites::{CC, MAKE};
use crate::{repo, run};

/// On two cores that do other things as well.
const LIMIT: Duration = Duration::from_secs(25 * 60);
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

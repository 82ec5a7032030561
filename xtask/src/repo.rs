//! Where things are: the repository, its build and tool folders, and the commit that is checked out.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository's root")
}

/// Where the tools are that the project installs for itself.
pub(crate) fn tools() -> PathBuf {
    root().join(".tools")
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A folder of xtask's own below the target folder, made if it is not there.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let path = target().join("xtask").join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// The same, but empty.
pub(crate) fn fresh(name: &str) -> Result<PathBuf> {
    let path = target().join("xtask").join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path)
            .with_context(|| format!("cannot empty {}", path.display()))?;
    }
    scratch(name)
}

/// What git prints for `arguments`.
pub(crate) fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root())
        .output()?;
    ensure!(
        output.status.success(),
        "git {} failed",
        arguments.join(" ")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The commit, and whether the work tree holds anything beside it. The file of results does not
/// count, since a run writes it.
pub(crate) fn commit() -> Result<(String, bool)> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
    let status = git(&["status", "--porcelain", "--", ":!interop/RESULTS.md"])?;
    Ok((commit, !status.trim().is_empty()))
}

/// Whether this runs in CI, where nothing may be left out.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

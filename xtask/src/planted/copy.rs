//! The copy of the tree that patches are put into, below the target folder, with a build of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{repo, run};

/// The first time everything below the broker is compiled, too.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// A copy of what git has or would take.
#[derive(Debug)]
pub(super) struct Copy {
    tree: PathBuf,
    build: PathBuf,
}

impl Copy {
    pub(super) fn new() -> Result<Self> {
        // Whole, so that git knows where to look no further, and cargo is not where it is called.
        let at = |name: &str| -> Result<PathBuf> {
            let folder = repo::scratch(&format!("planted/{name}"))?;
            Ok(folder.canonicalize()?)
        };
        Ok(Self {
            tree: at("tree")?,
            build: at("build")?,
        })
    }

    /// Makes the copy what the tree is. Only what differs is written, so that nothing else is built again;
    /// what the tree has no more stays, and no manifest or module names it.
    pub(super) fn renew(&self) -> Result<()> {
        let listed = repo::git(&["ls-files", "--cached", "--others", "--exclude-standard"])?;
        for path in listed.lines() {
            let (from, to) = (repo::root().join(path), self.tree.join(path));
            if !from.is_file() {
                continue;
            }
            let wanted = std::fs::read(&from).with_context(|| format!("cannot read {path}"))?;
            if std::fs::read(&to).is_ok_and(|found| found == wanted) {
                continue;
            }
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&to, wanted).with_context(|| format!("cannot copy {path}"))?;
        }
        Ok(())
    }

    /// Puts a patch into the copy.
    pub(super) fn apply(&self, patch: &Path) -> Result<()> {
        match super::apply(patch, &self.tree, &[])? {
            None => Ok(()),
            Some(why) => bail!("does not fit: {why}"),
        }
    }

    /// Builds the broker as the suites use it; gives its path, and how long that took.
    pub(super) fn build(&self) -> Result<(PathBuf, Duration)> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--quiet", "--locked"])
            .args(["--package", "mulgil", "--bin", "mulgil", "--target-dir"])
            .arg(&self.build)
            .current_dir(&self.tree);
        let finished = run::watched("planted build", &mut cargo, BUILD_LIMIT)?;
        if !finished.good {
            run::show("cargo build", &finished.output);
            bail!("the broker does not build with it: {}", finished.end);
        }
        Ok((self.build.join("debug/mulgil"), finished.took))
    }
}

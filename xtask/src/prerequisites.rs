//! The tool chains that the clients need from the machine, with the versions that are tried.
//!
//! At home a client whose tool chain is missing is left out with a message; in CI that is a failure.

use std::process::Command;

use crate::repo;

/// A program and the least version that will do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prerequisite {
    program: &'static str,
    version_flag: &'static str,
    least: (u32, u32),
    /// What to say to someone who has not got it.
    wanted: &'static str,
}

pub(crate) const JAVA: Prerequisite = Prerequisite {
    program: "javac",
    version_flag: "-version",
    least: (17, 0),
    wanted: "JDK 17 or newer",
};
pub(crate) const MAVEN: Prerequisite = Prerequisite {
    program: "mvn",
    version_flag: "-v",
    least: (3, 8),
    wanted: "Maven 3.8 or newer",
};
pub(crate) const GO: Prerequisite = Prerequisite {
    program: "go",
    version_flag: "version",
    least: (1, 26),
    wanted: "Go 1.26 or newer",
};
pub(crate) const NODE: Prerequisite = Prerequisite {
    program: "node",
    version_flag: "--version",
    least: (20, 0),
    wanted: "Node.js 20 or newer, with npm",
};
pub(crate) const PYTHON: Prerequisite = Prerequisite {
    program: "python3",
    version_flag: "--version",
    least: (3, 11),
    wanted: "Python 3.11 or newer, with venv",
};

pub(crate) const CC: Prerequisite = Prerequisite {
    program: "cc",
    version_flag: "--version",
    least: (9, 0),
    wanted: "a C compiler (GCC 9 or newer)",
};
pub(crate) const CXX: Prerequisite = Prerequisite {
    program: "c++",
    version_flag: "--version",
    least: (11, 0),
    wanted: "a compiler for C++20 (GCC 11 or newer)",
};
pub(crate) const MAKE: Prerequisite = Prerequisite {
    program: "make",
    version_flag: "--version",
    least: (4, 0),
    wanted: "GNU make 4 or newer",
};

/// Says what is missing of `needed`; nothing if all is there.
pub(crate) fn missing(needed: &[Prerequisite]) -> Option<String> {
    let missing: Vec<String> = needed.iter().filter_map(Prerequisite::missing).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

impl Prerequisite {
    fn missing(&self) -> Option<String> {
        let Ok(output) = Command::new(self.program)
            .arg(self.version_flag)
            .current_dir(repo::root())
            .output()
        else {
            return Some(format!(
                "{} is not installed: {} is needed",
                self.program, self.wanted
            ));
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        match version(&said) {
            Some(found) if found >= self.least => None,
            Some((major, minor)) => Some(format!(
                "{} is {major}.{minor}: {} is needed",
                self.program, self.wanted
            )),
            None => Some(format!(
                "{} does not tell its version: {} is needed",
                self.program, self.wanted
            )),
        }
    }
}

/// The first `N.N` in what a program says about itself.
fn version(said: &str) -> Option<(u32, u32)> {
    said.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| {
            let mut numbers = word.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (said, wanted) in [
            ("javac 17.0.15", (17, 0)),
            ("\u{1b}[1mApache Maven 3.8.7\u{1b}[m", (3, 8)),
            ("go version go1.26.8 linux/amd64", (1, 26)),
            ("v20.20.2", (20, 20)),
            ("Python 3.11.7", (3, 11)),
            ("cc (Debian 12.2.0-14+deb12u1) 12.2.0", (12, 2)),
            ("GNU Make 4.3", (4, 3)),
        ] {
            assert_eq!(version(said), Some(wanted), "{said}");
        }
        assert_eq!(version("nothing"), None);
    }

    #[test]
    fn a_missing_program_is_told_with_its_version() {
        let absent = Prerequisite {
            program: "no-such-program",
            ..GO
        };
        let said = missing(&[absent]).unwrap();
        assert!(said.contains("Go 1.26"), "{said}");
        let old = Prerequisite {
            program: "cargo",
            version_flag: "--version",
            least: (9, 0),
            wanted: "x",
        };
        assert!(missing(&[old]).is_some());
    }
}

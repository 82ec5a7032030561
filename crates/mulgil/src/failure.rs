//! Why a command failed: a code of the catalogue, and what it was about.
//!
//! Shown on standard error as what and where, the likely cause, and what to do next:
//!
//! ```text
//! error[MG-1001]: the topic does not exist: topic "orders" (http://127.0.0.1:15672)
//!   cause: The name is misspelt, or the topic was deleted.
//!   next:  List the topics: mulgil topic ls. Create it: mulgil topic create NAME.
//! ```

use std::fmt;

use mulgil_admin::catalogue::Code;
use mulgil_admin::problem::{Problem, Refusal};

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the catalogue has for it.
    pub(crate) code: Code,
    /// What it was about, and where.
    pub(crate) detail: String,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The same failure, with the place where it happened.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.detail = format!("{} ({place})", self.detail);
        self
    }

    /// What the process exits with.
    pub(crate) fn exit(&self) -> u8 {
        self.code.entry().exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.code.entry();
        writeln!(f, "{}: {}", entry.title, self.detail)?;
        writeln!(f, "  cause: {}", entry.cause)?;
        write!(f, "  next:  {}", entry.next)
    }
}

impl From<Problem> for Failure {
    /// Keeps the server's code; one that this version does not know is told by its HTTP status.
    fn from(problem: Problem) -> Self {
        if let Ok(code) = problem.code.parse() {
            return Self::new(code, problem.detail);
        }
        let code = match problem.status {
            404 => Code::NoSuchPath,
            401 | 403 => Code::NotAllowed,
            408 | 504 => Code::TimedOut,
            _ => Code::BadAnswer,
        };
        Self::new(
            code,
            format!("{}: {}: {}", problem.code, problem.title, problem.detail),
        )
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, detail }: Refusal) -> Self {
        Self { code, detail }
    }
}

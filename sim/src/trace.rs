//! The story of a run, a line for each thing that happened.

/// Lines, kept only if somebody wants to read them.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
    step: u64,
}

impl Trace {
    /// A trace that keeps its lines if `keep`.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self {
            lines: keep.then(Vec::new),
            step: 0,
        }
    }

    /// The next step begins.
    pub const fn next_step(&mut self) {
        self.step += 1;
    }

    /// Adds a line, which is only made if it is kept.
    pub fn line(&mut self, line: impl FnOnce() -> String) {
        let step = self.step;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{step:>5} {}", line()));
        }
    }

    /// All lines.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

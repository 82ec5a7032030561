//! What an owner of a subscription can choose. Only `decide` looks at it.

/// How long a record that failed waits before it is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Not at all.
    #[default]
    AtOnce,
    /// Always as long.
    Fixed {
        /// How long.
        ms: u64,
    },
    /// So much longer each time.
    Linear {
        /// After the first failure, and more with each.
        ms: u64,
        /// Never longer.
        ms_max: u64,
    },
    /// Twice as long each time.
    Exponential {
        /// After the first failure.
        ms: u64,
        /// Never longer.
        ms_max: u64,
        /// Up to so many percent are taken off, another share for each record and try, so that what
        /// failed together does not come back together.
        jitter_percent: u8,
    },
}

/// What happens when more records come than may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest that nobody holds are dropped, those of the lowest priority first.
    #[default]
    DropOldest,
    /// They go to the dead-letter target, if there is one.
    DeadLetterOldest,
    /// What comes is refused.
    Refuse,
}

/// What an owner of a subscription can choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A record that failed so often is given up.
    pub failed_max: Option<u16>,
    /// A record that was acquired so often, and comes back, is given up.
    pub acquired_max: Option<u16>,
    /// How long a record that failed waits.
    pub retry: Retry,
    /// A record that fails when it is so old, by the time it was appended, is given up.
    pub age_ms_max: Option<u64>,
    /// Records that are so old are given up, tried or not.
    pub ttl_ms: Option<u64>,
    /// So many records may wait, those that are held left out.
    pub length_max: Option<u64>,
    /// So many bytes may wait, those that are held left out. Needs sizes to be tracked; records of which no
    /// size is known count as none.
    pub bytes_max: Option<u64>,
    /// What happens when more come.
    pub overflow: Overflow,
    /// Whether one consumer alone gets records, and the others wait until it has gone: the one that came
    /// first, or then the one of the highest priority that came first.
    pub single_active: bool,
    /// Whether nothing is handed out. What is held may be settled, and the rest goes on: what comes is taken,
    /// times pass.
    pub paused: bool,
    /// Whether there is somewhere for records that are given up; otherwise they are dropped.
    pub dead_letter: bool,
}

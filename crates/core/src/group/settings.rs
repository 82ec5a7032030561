//! What an operator may set for consumer groups.

/// Limits and waits of every group. Deciding reads them; applying never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Shortest session timeout that a member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min_ms: u32,
    /// Longest session timeout that a member may ask for (`group.max.session.timeout.ms`).
    pub session_timeout_max_ms: u32,
    /// How long an empty group waits for more members after the first (`group.initial.rebalance.delay.ms`).
    pub initial_delay_ms: u32,
    /// How long a member that has never had an answer is kept: it cannot send heartbeats yet.
    pub new_member_timeout_ms: u32,
    /// Most members of a group (`group.max.size`); ids given out and awaited are as many again.
    pub members_max: usize,
    /// Most bytes that a member may say of itself: its names, and what it wants the leader to know.
    pub member_bytes_max: usize,
    /// Most bytes that all members may say of themselves, and that a leader may assign: a rebalance
    /// is written down as a whole, and the leader's answer holds all of it.
    pub group_bytes_max: usize,
    /// Most groups that there may be: a stranger can name as many as it likes, and each lives for ten
    /// minutes at least.
    pub groups_max: usize,
    /// Most bytes that all groups together may hold beside their members: names, committed offsets
    /// with their notes, and what these take in memory. All of it is in memory and in checkpoints.
    pub held_bytes_max: usize,
    /// Most characters of the note beside a committed offset (`offset.metadata.max.bytes`).
    pub offset_metadata_max: usize,
    /// How long offsets stay after the group is empty (`offsets.retention.minutes`).
    pub offsets_retention_ms: u64,
    /// How often offsets are looked over for expiry (`offsets.retention.check.interval.ms`).
    pub expiry_check_ms: u64,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_delay_ms: 3_000,
            new_member_timeout_ms: 300_000,
            members_max: 10_000,
            member_bytes_max: 4 << 20,
            group_bytes_max: 64 << 20,
            groups_max: 100_000,
            held_bytes_max: 256 << 20,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600 * 1_000,
            expiry_check_ms: 600_000,
        }
    }
}

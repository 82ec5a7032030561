//! The lane's side of the log: the open frame, what goes to the store, and what has come back.

use std::collections::VecDeque;

use mulgil_core::machine::{Elapsed, Now};
use mulgil_log::chunk::{ChunkHeader, ChunkKind};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::frame::{OpenFrame, Salt};
use mulgil_log::position::{ChunkId, Lsn, Position};
use mulgil_log::store::{Completion, Group, StampedFrame, SyncLevel};

use super::append::entry;
use super::dates::Dates;
use super::keep::Retired;
use super::mark_wait::MarkWait;
use super::{Lane, LaneOptions, Rise, Turn};

/// Bytes at the start of a chunk that its header takes.
pub(super) const CHUNK_START: u32 = 4096;

/// Where a lane goes on writing.
#[derive(Clone, Debug)]
pub struct LogHead {
    /// The chunk to begin.
    pub chunk: ChunkId,
    /// The number of the next frame.
    pub lsn: Lsn,
    /// Which start of the broker this is.
    pub incarnation: u32,
    /// Where the log ended before this start.
    pub previous_end: Position,
    /// The newest complete checkpoint.
    pub checkpoint: ChunkId,
    /// Which cluster the log belongs to.
    pub cluster: u128,
    /// Drawn at random for this start: what the salts of its chunks come from.
    pub secret: u64,
}

/// A group that the store is busy with.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    level: SyncLevel,
    end: Position,
    only_mark: bool,
}

/// The open frame and the frames on their way.
#[derive(Debug)]
pub(super) struct Commit {
    head: LogHead,
    open: OpenFrame,
    /// When the open frame was begun: the time that it carries.
    opened: Option<Now>,
    /// Headers of chunks that closed frames begin, by the frame's position.
    chunk_headers: VecDeque<(Position, ChunkHeader)>,
    closed: VecDeque<StampedFrame>,
    closed_bytes: usize,
    /// What the groups that the store has were asked for, oldest first.
    outstanding: VecDeque<Outstanding>,
    /// Whether something in the open or closed frames waits for a sync.
    sync_wanted: bool,
    /// Since when something written is not synced.
    unsynced_since: Option<Elapsed>,
    /// When a mark is due, if nothing comes before.
    mark_due: Option<Elapsed>,
    frame_bytes_max: usize,
    chunk_bytes_max: u32,
    pub(super) dates: Dates,
    mark_wait: MarkWait,
    sync_after_ms: u64,
    /// Whether the open frame holds nothing but a mark.
    only_mark: bool,
    stop: Stop,
    /// A chunk got its last frame.
    retired: Vec<Retired>,
    /// A chunk was begun, and its header names a checkpoint.
    named: Vec<(ChunkId, ChunkId)>,
}

impl Commit {
    pub(super) fn new(head: LogHead, options: &LaneOptions, now: Now) -> Self {
        let mut commit = Self {
            open: OpenFrame::new(Position::new(head.chunk, CHUNK_START), Vec::new()),
            opened: None,
            head,
            chunk_headers: VecDeque::new(),
            closed: VecDeque::new(),
            closed_bytes: 0,
            outstanding: VecDeque::new(),
            sync_wanted: false,
            unsynced_since: None,
            mark_due: None,
            frame_bytes_max: options.frame_bytes_max,
            chunk_bytes_max: options.chunk_bytes_max,
            dates: Dates::at_start(now, options.clock_step_ms),
            mark_wait: MarkWait::new(options.mark_after_ms),
            sync_after_ms: options.sync_after_ms,
            only_mark: false,
            stop: Stop::Running,
            retired: Vec::new(),
            named: Vec::new(),
        };
        commit.begin_chunk(commit.head.lsn, now);
        commit
    }

    /// Adds an entry that is to be synced to the open frame, and says where it will lie.
    pub(super) fn push(&mut self, header: EntryHeader, parts: &[&[u8]]) -> Position {
        self.sync_wanted = true;
        self.push_unsynced(header, parts)
    }

    /// Adds an entry for whose sync nobody waits.
    pub(super) fn push_unsynced(&mut self, header: EntryHeader, parts: &[&[u8]]) -> Position {
        self.mark_due = None;
        self.only_mark = false;
        self.open.push(header, parts)
    }

    /// The time that the frame carries to which the next entry goes.
    ///
    /// A change that keeps a time keeps this one: replay has no other.
    pub(super) fn frame_time(&self, now: Now) -> Now {
        self.opened.unwrap_or(now)
    }

    /// Closes the open frame if it is large enough. Only between commands: what one command changes
    /// is never cut in two.
    pub(super) fn cut(&mut self, now: Now) {
        if self.open.bytes() >= self.frame_bytes_max {
            self.close(now);
        }
        let Self { opened, dates, .. } = self;
        opened.get_or_insert_with(|| dates.stamp(now));
    }

    /// Where the open frame begins.
    pub(super) fn frame_start(&self) -> Position {
        self.open.position()
    }

    /// The newest complete checkpoint, for headers of chunks from now on.
    pub(super) const fn set_checkpoint(&mut self, checkpoint: ChunkId) {
        self.head.checkpoint = checkpoint;
    }

    /// Bytes that wait for the store to take them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.closed_bytes + self.open.bytes()
    }

    /// Where the next entry will lie, if the frame is not closed before.
    pub(super) fn position(&self) -> Position {
        self.open.end()
    }

    /// A chunk id for a chunk that is not part of the log (sorted, checkpoint).
    ///
    /// Ids rise over all kinds, so the log's next chunk simply passes it over.
    pub(super) fn take_chunk_id(&mut self) -> ChunkId {
        let taken = self.head.chunk.next();
        self.head.chunk = taken;
        taken
    }

    fn close(&mut self, now: Now) {
        let end = self.open.end();
        let next = if end.offset() >= self.chunk_bytes_max {
            self.retire(end, self.head.lsn.next(), now)
        } else {
            end
        };
        // Frames that follow each other are alike. Memory that grew with each entry would be copied
        // with each growth; what is left over goes back when the frame is sealed.
        let bytes = self.open.bytes();
        let room = Vec::with_capacity(bytes + bytes / 4);
        let frame = std::mem::replace(&mut self.open, OpenFrame::new(next, room));
        self.closed_bytes += frame.bytes();
        let opened = self.opened.take();
        let time = opened.unwrap_or_else(|| self.dates.stamp(now));
        let (elapsed_ms, wall_ms) = (time.elapsed.0, time.wall.0);
        self.closed.push_back(StampedFrame {
            frame,
            lsn: self.head.lsn,
            elapsed_ms,
            wall_ms,
        });
        self.head.lsn = self.head.lsn.next();
    }

    /// Goes on in the next chunk, unless this one holds nothing yet.
    pub(super) fn roll(&mut self, now: Now) {
        if self.open.entries() > 0 {
            self.close(now);
        }
        let end = self.open.position();
        if end.offset() == CHUNK_START {
            return;
        }
        let next = self.retire(end, self.head.lsn, now);
        self.open = OpenFrame::new(next, Vec::new());
    }

    /// A chunk ends at `end`; the next begins with frame `first_lsn`. Says where.
    fn retire(&mut self, end: Position, first_lsn: Lsn, now: Now) -> Position {
        self.head.previous_end = end;
        let chunk = end.chunk();
        self.retired.push(Retired { chunk, end });
        self.head.chunk = self.head.chunk.next();
        self.begin_chunk(first_lsn, now)
    }

    /// Begins the chunk that `head` names, with its first frame; says where that lies.
    ///
    /// The header is made here, so that the checkpoint it names was complete before any frame of it.
    fn begin_chunk(&mut self, first_lsn: Lsn, now: Now) -> Position {
        let mut header = self.other_header(self.head.chunk, ChunkKind::Log, now);
        header.previous_end = self.head.previous_end;
        header.first_lsn = first_lsn;
        header.salt = Salt::derive(self.head.secret, header.chunk);
        let at = Position::new(self.head.chunk, CHUNK_START);
        self.named.push((header.chunk, header.checkpoint));
        self.chunk_headers.push_back((at, header));
        at
    }

    /// The header of a chunk that is no part of the log.
    pub(super) fn other_header(&self, chunk: ChunkId, kind: ChunkKind, now: Now) -> ChunkHeader {
        ChunkHeader {
            kind,
            chunk,
            synced: Position::ZERO,
            incarnation: self.head.incarnation,
            previous_end: Position::ZERO,
            first_lsn: self.head.lsn,
            elapsed_ms: now.elapsed.0,
            wall_ms: now.wall.0,
            checkpoint: self.head.checkpoint,
            cluster: self.head.cluster,
            salt: Salt::NONE,
        }
    }

    /// The next group for the store, if the store is free and there is anything to write.
    fn take_group(&mut self, now: Now, options: &LaneOptions) -> Option<Group> {
        if self.open.entries() == 0 {
            self.opened = None;
        }
        if self.outstanding.len() >= options.groups_under_way_max.max(1) {
            let marks = self.outstanding.back().is_some_and(|last| last.only_mark);
            if marks && (self.open.entries() > 0 || !self.closed.is_empty()) {
                self.mark_wait.meet();
            }
            return None;
        }
        if self.closed.is_empty() {
            if self.open.entries() == 0 {
                return None;
            }
            self.close(now);
        } else if self.open.entries() > 0
            && self.closed_bytes + self.open.bytes() <= options.group_bytes_max
        {
            self.close(now);
        }
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut new_chunk = None;
        while let Some(first) = self.closed.front() {
            let at = first.frame.position();
            let begins = self.chunk_headers.front().is_some_and(|(p, _)| *p == at);
            let full = bytes + first.frame.bytes() > options.group_bytes_max;
            if !frames.is_empty() && (begins || full) {
                break;
            }
            if begins {
                new_chunk = self.chunk_headers.pop_front().map(|(_, header)| header);
            }
            bytes += first.frame.bytes();
            frames.extend(self.closed.pop_front());
        }
        self.closed_bytes -= bytes;
        let level = if self.sync_wanted {
            SyncLevel::Synced
        } else {
            SyncLevel::Written
        };
        let only_mark = std::mem::take(&mut self.only_mark);
        let end = frames
            .last()
            .map_or(Position::ZERO, |last: &StampedFrame| last.frame.end());
        self.outstanding.push_back(Outstanding {
            level,
            end,
            only_mark,
        });
        if self.closed.is_empty() && self.open.entries() == 0 {
            self.sync_wanted = false;
        }
        Some(Group {
            new_chunk,
            frames,
            level,
            mark: only_mark,
        })
    }

    /// What has to happen by time: a sync of what was only written, a mark after a quiet moment.
    pub(super) fn tick(&mut self, now: Elapsed) {
        if self.deadline().is_none_or(|due| now < due) {
            return;
        }
        self.mark_due = None;
        self.unsynced_since = None;
        self.sync_wanted = true;
        if self.open.entries() == 0 && self.closed.is_empty() {
            self.mark();
        }
    }

    /// Puts a mark into the open frame, which is empty: all before is synced.
    ///
    /// A mark needs no second mark: what it says, it says of what lies before it.
    fn mark(&mut self) {
        self.open.push(entry(EntryKind::SyncedMark, 0, 0), &[]);
        self.only_mark = true;
        self.sync_wanted = true;
    }

    pub(super) fn deadline(&self) -> Option<Elapsed> {
        let sync = self
            .unsynced_since
            .map(|since| Elapsed(since.0 + self.sync_after_ms));
        [sync, self.mark_due].into_iter().flatten().min()
    }

    /// The store has written all before `through`.
    fn written(&mut self, through: Position, now: Elapsed) {
        let done = |group: &mut Outstanding| {
            matches!(group.level, SyncLevel::Written) && through >= group.end
        };
        while self.outstanding.pop_front_if(done).is_some() {
            self.unsynced_since.get_or_insert(now);
        }
    }

    /// The store has synced all before `through`.
    fn synced(&mut self, through: Position, now: Elapsed) {
        let asked = !self.outstanding.is_empty();
        let mut last = None;
        while let Some(group) = self.outstanding.pop_front_if(|group| through >= group.end) {
            last = Some(group);
        }
        if last.is_some() || !asked {
            self.unsynced_since = None;
        }
        match last {
            Some(group) if group.only_mark => self.mark_wait.marked(),
            Some(_) if self.is_idle() => {
                self.mark_due = Some(Elapsed(now.0 + self.mark_wait.ms()));
            }
            Some(_) | None => {}
        }
    }

    /// Whether all that was pushed is with nobody any more: written and synced.
    fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && self.closed.is_empty() && self.open.entries() == 0
    }
}

impl Lane {
    /// The next group for the store. Call after every visit that may have written something.
    pub fn take_group(&mut self, now: Now) -> Option<Group> {
        let group = self.log.take_group(now, &self.options);
        for retired in self.log.retired.drain(..) {
            self.unsealed.push(retired);
        }
        self.named.extend(self.log.named.drain(..));
        group
    }

    /// Takes what the store says of a group.
    pub fn completed(&mut self, completion: Completion, now: Now, turn: &mut Turn) {
        match completion {
            Completion::Written { frames } => {
                let mut through = self.progress.written;
                for (at, frame) in frames {
                    through = at.plus(frame.len());
                    self.tail.push(at, frame);
                }
                self.progress.written = through;
                self.log.written(through, now.elapsed);
            }
            Completion::Synced { through } => {
                self.progress.synced = self.progress.synced.max(through);
                self.log.synced(through, now.elapsed);
                self.publish_catalog(turn);
            }
            Completion::Failed(fault) => {
                // Nobody knows what is on disk. The shell ends the process; nothing leaves.
                unreachable!("the shell ends the process on a failed write: {fault}");
            }
        }
        self.rise(turn);
        let replies = &mut turn.replies;
        self.held
            .release(self.progress, |(to, reply)| replies.push((to, reply)));
    }

    /// The log chunk that is being written.
    #[must_use]
    pub fn open_chunk(&self) -> ChunkId {
        self.log.position().chunk()
    }

    /// Whether the store has a group that it has not answered for.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        !self.log.outstanding.is_empty()
    }

    /// Whether everything is written and synced, and no answer waits.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.log.is_idle() && self.held.len() == 0
    }

    /// Raises high watermarks as far as the log has come, and finds the reads that have enough.
    fn rise(&mut self, turn: &mut Turn) {
        let progress = self.progress;
        while let Some(rise) = self.rises_by_sync.pop_front_if(|r| r.at < progress.synced) {
            self.rise_one(rise, turn);
        }
        // A reader relies on an offset as much as who was given it: both wait for the ceiling.
        let reserved = |r: &Rise| r.ceiling == Position::ZERO || r.ceiling < progress.synced;
        let ready = |r: &mut Rise| r.at < progress.written && reserved(r);
        while let Some(rise) = self.rises_by_write.pop_front_if(ready) {
            self.rise_one(rise, turn);
        }
        while let Some(rise) = self.start_rises.pop_front_if(|r| r.at < progress.synced) {
            if let Some(hosted) = self.partitions.get_mut(&rise.partition) {
                hosted.log_start = hosted.log_start.max(rise.to);
                self.index.trim(rise.partition.0, rise.to.0);
            }
        }
    }
}

/// How far a clean stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stop {
    /// Not asked for.
    #[default]
    Running,
    /// The last frame is on its way.
    Marked,
}

impl Lane {
    /// Brings a clean stop to its end, a step at a time; true when all is synced and said to be.
    ///
    /// The last frame is marked clean: whoever finds it last knows that nothing is missing.
    pub fn finish_stop(&mut self) -> bool {
        if !self.is_settled() {
            return false;
        }
        if self.log.stop == Stop::Marked {
            return true;
        }
        self.log.stop = Stop::Marked;
        self.log.mark();
        self.log.open.mark_clean();
        false
    }
}

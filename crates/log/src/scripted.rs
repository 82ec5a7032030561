//! A small broker for tests: it writes scripted frames, remembers what it was told, and compares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::chunk::{ChunkHeader, ChunkKind};
use crate::disk::cut::Dice;
use crate::disk::{Disk, MemDisk};
use crate::entry::{EntryHeader, EntryKind};
use crate::fault::Fault;
use crate::frame::{FrameHeader, OpenFrame, Salt};
use crate::position::{ChunkId, Lsn, Position};
use crate::recovery::{DamagedRange, RecoverFrom, Recovered, Replay, recover};
use crate::store::{
    ChunkStore as _, Completion, Group, StampedFrame, StepStore, StoreOptions, SyncLevel,
};

/// An entry as it was written or read: kind, object, base, payload.
pub(crate) type Said = (EntryKind, u64, i64, Vec<u8>);

/// Small steps, so that images of the disk stay small.
pub(crate) const SMALL: StoreOptions = StoreOptions {
    grow_first: 8 << 10,
    grow_most: 32 << 10,
    fill_bytes: 64 << 10,
    join_bytes: 64 << 10,
    unsynced_bytes: 24 << 10,
};

/// What recovery handed over, by number of frame.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) frames: BTreeMap<Lsn, Vec<Said>>,
    pub(crate) damaged: Vec<DamagedRange>,
    pub(crate) positions: Vec<Position>,
}

impl Replay for Heard {
    fn entry(
        &mut self,
        at: Position,
        entry: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault> {
        self.positions.push(at);
        let said = (entry.kind, entry.object, entry.base, payload.to_vec());
        self.frames.entry(frame.lsn).or_default().push(said);
        Ok(())
    }

    fn damaged(&mut self, range: DamagedRange) {
        self.damaged.push(range);
    }
}

pub(crate) fn hear(disk: &Arc<dyn Disk>) -> Result<(Recovered, Heard), Fault> {
    let mut heard = Heard::default();
    let recovered = recover(disk, &mut heard, RecoverFrom::default())?;
    Ok((recovered, heard))
}

pub(crate) fn mem(disk: &MemDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// What was written and what the store said of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) frames: BTreeMap<Lsn, Vec<Said>>,
    ends: BTreeMap<Position, Lsn>,
    /// How many operations the disk had done when all frames through this one were called synced.
    pub(crate) synced: Vec<(usize, Lsn)>,
    pub(crate) failed: usize,
}

impl Known {
    fn synced(&mut self, through: Position, ops: usize) {
        let below = self.ends.range(..=through).next_back();
        let lsn = below.map(|(_, lsn)| *lsn);
        self.synced.extend(lsn.map(|lsn| (ops, lsn)));
    }
}

/// A broker that writes what it is told to, one step at a time.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) store: StepStore,
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) at: Position,
    pub(crate) lsn: Lsn,
    pub(crate) next_chunk: ChunkId,
    pub(crate) incarnation: u32,
    pending: Option<ChunkHeader>,
}

/// The salt of a chunk of these brokers.
pub(crate) const fn salt_of(chunk: ChunkId) -> Salt {
    Salt::derive(3, chunk)
}

impl Broker {
    /// Starts over what recovery left. `ops` counts the operations of the disk.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        recovered: &Recovered,
        mut known: Known,
        ops: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Self {
        // What recovery did not find never was; its numbers are given again.
        known.frames.split_off(&recovered.next_lsn);
        known.ends.retain(|_, lsn| *lsn < recovered.next_lsn);
        known.synced.clear();
        let known = Arc::new(Mutex::new(known));
        let told = Arc::clone(&known);
        let complete = Arc::new(move |completion| {
            let mut known = told.lock().unwrap();
            match completion {
                Completion::Written { .. } => {}
                Completion::Synced { through } => known.synced(through, ops()),
                Completion::Failed(_) => known.failed += 1,
            }
        });
        let mut broker = Self {
            store: StepStore::new(disk, SMALL, complete),
            known,
            at: recovered.end,
            lsn: recovered.next_lsn,
            next_chunk: recovered.next_chunk,
            incarnation: recovered.incarnation + 1,
            pending: None,
        };
        broker.roll();
        broker
    }

    pub(crate) fn header(&self, kind: ChunkKind) -> ChunkHeader {
        ChunkHeader {
            chunk: self.next_chunk,
            kind,
            incarnation: self.incarnation,
            previous_end: self.at,
            first_lsn: self.lsn,
            elapsed_ms: self.lsn.0,
            wall_ms: 1_000_000 + self.lsn.0,
            checkpoint: ChunkId::NONE,
            synced: Position::ZERO,
            cluster: 7,
            salt: salt_of(self.next_chunk),
        }
    }

    /// The next group begins a chunk.
    pub(crate) fn roll(&mut self) {
        let header = self.header(ChunkKind::Log);
        self.at = header.first_position();
        self.next_chunk = self.next_chunk.next();
        self.pending = Some(header);
    }

    pub(crate) fn submit(&mut self, frames: Vec<Vec<Said>>, level: SyncLevel) {
        let frames = frames.into_iter().map(|said| self.frame(said)).collect();
        self.store.submit(Group {
            new_chunk: self.pending.take(),
            frames,
            level,
            mark: false,
        });
    }

    fn frame(&mut self, said: Vec<Said>) -> StampedFrame {
        let mut frame = OpenFrame::new(self.at, Vec::new());
        for (kind, object, base, payload) in &said {
            let header = EntryHeader {
                kind: *kind,
                version: 1,
                flags: 0,
                length: 0,
                object: *object,
                base: *base,
                count: 1,
            };
            frame.push(header, &[payload]);
        }
        self.known.lock().unwrap().frames.insert(self.lsn, said);
        self.stamped(frame)
    }

    fn stamped(&mut self, frame: OpenFrame) -> StampedFrame {
        let lsn = self.lsn;
        self.at = frame.end();
        self.lsn = lsn.next();
        self.known.lock().unwrap().ends.insert(self.at, lsn);
        StampedFrame {
            frame,
            lsn,
            elapsed_ms: lsn.0,
            wall_ms: 1_000_000 + lsn.0,
        }
    }

    pub(crate) fn mark(&mut self, clean: bool) {
        let mut frame = OpenFrame::synced_mark(self.at, Vec::new());
        if clean {
            frame.mark_clean();
        }
        let said = vec![(EntryKind::SyncedMark, 0, 0, Vec::new())];
        self.known.lock().unwrap().frames.insert(self.lsn, said);
        let frames = vec![self.stamped(frame)];
        self.store.submit(Group {
            new_chunk: self.pending.take(),
            frames,
            level: SyncLevel::Synced,
            mark: true,
        });
    }

    pub(crate) fn step_all(&self) {
        while self.store.step() {}
    }

    /// One scripted action.
    pub(crate) fn act(&mut self, dice: &mut Dice) {
        let joined = 1 + usize::try_from(dice.below(3)).unwrap();
        match dice.below(10) {
            0..6 => (0..joined).for_each(|_| self.submit_some(dice)),
            6 => self.roll_after_something(dice),
            7 => self.mark(false),
            8 => self.store.submit(Group::sync_only()),
            _ => self.make_checkpoint(dice),
        }
        while self.store.step_joined(joined) {}
    }

    fn submit_some(&mut self, dice: &mut Dice) {
        let frames = (0..1 + dice.below(3)).map(|_| some_entries(dice)).collect();
        let level = if dice.parts(96) {
            SyncLevel::Written
        } else {
            SyncLevel::Synced
        };
        self.submit(frames, level);
    }

    fn roll_after_something(&mut self, dice: &mut Dice) {
        self.submit(vec![some_entries(dice)], SyncLevel::Written);
        self.roll();
        self.submit(vec![some_entries(dice)], SyncLevel::Synced);
    }

    fn make_checkpoint(&mut self, dice: &mut Dice) {
        let mut header = self.header(ChunkKind::Checkpoint);
        header.previous_end = Position::ZERO;
        self.next_chunk = self.next_chunk.next();
        let made = self.store.create_chunk(header).and_then(|mut writer| {
            writer.append(&[9; 700])?;
            writer.finish()
        });
        if made.is_ok() && dice.parts(128) {
            self.store.delete(header.chunk).unwrap();
        }
    }
}

/// A few entries of several kinds and sizes.
pub(crate) fn some_entries(dice: &mut Dice) -> Vec<Said> {
    let kinds = [
        EntryKind::Batch,
        EntryKind::GroupOffsets,
        EntryKind::Subscription,
        EntryKind::Payload,
    ];
    (0..dice.below(4))
        .map(|_| {
            let kind = kinds[usize::try_from(dice.below(4)).unwrap()];
            let length = match dice.below(8) {
                0 => 0,
                7 => 2000 + dice.below(4000),
                _ => dice.below(300),
            };
            let payload = (0..length).map(|_| dice.roll().to_le_bytes()[0]).collect();
            (
                kind,
                dice.below(5),
                i64::try_from(dice.below(99)).unwrap(),
                payload,
            )
        })
        .collect()
}

/// What is wrong with what recovery found, given that `synced` frames were called synced.
pub(crate) fn compare(
    known: &Known,
    synced: Lsn,
    recovered: &Recovered,
    heard: &Heard,
) -> Result<(), String> {
    if !heard.damaged.is_empty() || !recovered.mended.is_empty() {
        return Err(format!("damage where there is none: {:?}", heard.damaged));
    }
    let mut sorted = heard.positions.clone();
    sorted.sort_unstable();
    if sorted != heard.positions {
        return Err("positions do not rise".to_owned());
    }
    // The last synced frame may be a mark, which recovery need not keep.
    let is_mark = |said: &Vec<Said>| said.len() == 1 && said[0].0 == EntryKind::SyncedMark;
    for (lsn, said) in known.frames.range(..=synced) {
        let kept = *lsn < recovered.next_lsn;
        if !kept && !is_mark(said) {
            return Err(format!("frame {} was synced and is gone", lsn.0));
        }
    }
    for lsn in (1..recovered.next_lsn.0).map(Lsn) {
        let found = heard.frames.get(&lsn).cloned().unwrap_or_default();
        match known.frames.get(&lsn) {
            Some(said) if *said == found => {}
            Some(_) => return Err(format!("frame {} is not what was written", lsn.0)),
            None => return Err(format!("frame {} was never written", lsn.0)),
        }
    }
    if heard.frames.keys().any(|lsn| *lsn >= recovered.next_lsn) {
        return Err("a frame beyond the end".to_owned());
    }
    Ok(())
}

/// The last frame that had been called synced when the disk had done `ops` operations.
pub(crate) fn synced_by(known: &Known, ops: usize) -> Lsn {
    let told = known.synced.iter().filter(|(done, _)| *done <= ops);
    told.map(|(_, lsn)| *lsn).max().unwrap_or_default()
}

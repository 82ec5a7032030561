//! What a power cut leaves of a disk, worked out from the operations before it.
//!
//! The model knows for each file what is durable and what is not yet: writes since its last sync, and
//! names since the directory's last sync. When the power goes, each of those is kept, dropped, or (a
//! write) torn into sectors of 512 bytes of which each is kept or dropped. Each is decided on its own,
//! and so the outcome covers every order in which the disk may have done them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::QUARANTINE;
use super::ops::DiskOp;

const SECTOR: u64 = 512;

/// What a power cut does to that which is not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Decides each single case; the same seed decides the same.
    pub seed: u64,
    /// Of 256 unsynced writes, how many are kept whole.
    pub keep: u16,
    /// Of 256 unsynced writes that are not kept whole, how many are torn; the rest is dropped.
    pub tear: u16,
    /// Of 256 unsynced names (creations, renames, removals), how many are kept.
    pub keep_names: u16,
}

impl FaultPlan {
    /// Everything arrived, as after a kill without a power cut.
    #[must_use]
    pub const fn keep_all() -> Self {
        Self {
            seed: 0,
            keep: 256,
            tear: 0,
            keep_names: 256,
        }
    }

    /// Nothing arrived that was not synced.
    #[must_use]
    pub const fn drop_all() -> Self {
        Self {
            seed: 0,
            keep: 0,
            tear: 0,
            keep_names: 0,
        }
    }

    /// Anything may happen.
    #[must_use]
    pub const fn mixed(seed: u64) -> Self {
        Self {
            seed,
            keep: 96,
            tear: 160,
            keep_names: 128,
        }
    }
}

/// Numbers that look random and are decided by their seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same for the same `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    /// True in `parts` of 256 cases.
    pub const fn parts(&mut self, parts: u16) -> bool {
        self.below(256) < parts as u64
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Put { name: String, file: u64 },
    Move { from: String, to: String, file: u64 },
    Gone { name: String },
}

#[derive(Clone, Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    /// Writes, lengths and allocations since the last sync, in order.
    pending: Vec<DiskOp>,
}

impl Contents {
    fn sync(&mut self) {
        for op in self.pending.drain(..) {
            apply_to(&mut self.durable, &op);
        }
    }
}

/// Files and names, durable and not.
#[derive(Clone, Debug, Default)]
pub struct Model {
    files: BTreeMap<u64, Contents>,
    durable_names: BTreeMap<String, u64>,
    /// As a process sees them.
    names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a modelled disk fits in memory")
}

/// Puts `bytes` at `offset`, lengthening by zeroes where needed.
pub(super) fn put(into: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let from = index(offset);
    let to = from + bytes.len();
    if into.len() < to {
        into.resize(to, 0);
    }
    if let Some(place) = into.get_mut(from..to) {
        place.copy_from_slice(bytes);
    }
}

/// Does to `contents` what `op`, an operation on one file, does.
pub(super) fn apply_to(contents: &mut Vec<u8>, op: &DiskOp) {
    match op {
        DiskOp::Write { bytes, offset, .. } => put(contents, bytes, *offset),
        DiskOp::SetLen { bytes, .. } => contents.resize(index(*bytes), 0),
        DiskOp::Allocate { from, bytes, .. } => {
            let end = index(from + bytes);
            if contents.len() < end {
                contents.resize(end, 0);
            }
        }
        DiskOp::Base { .. }
        | DiskOp::Create { .. }
        | DiskOp::Sync { .. }
        | DiskOp::Rename { .. }
        | DiskOp::Remove { .. }
        | DiskOp::SyncNames => {}
    }
}

impl Model {
    /// Takes in the next operation.
    pub fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Base { file, name, bytes } => {
                self.put_durable(*file, name, bytes.to_vec());
            }
            DiskOp::Create { file, name } => {
                self.files.insert(*file, Contents::default());
                self.names.insert(name.clone(), *file);
                self.pending_names.push(NameChange::Put {
                    name: name.clone(),
                    file: *file,
                });
            }
            DiskOp::Write { file, .. }
            | DiskOp::SetLen { file, .. }
            | DiskOp::Allocate { file, .. } => {
                self.files
                    .entry(*file)
                    .or_default()
                    .pending
                    .push(op.clone());
            }
            DiskOp::Sync { file } => {
                if let Some(contents) = self.files.get_mut(file) {
                    contents.sync();
                }
            }
            DiskOp::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                    let (from, to) = (from.clone(), to.clone());
                    self.pending_names.push(NameChange::Move { from, to, file });
                }
            }
            DiskOp::Remove { name } => {
                self.names.remove(name);
                self.pending_names
                    .push(NameChange::Gone { name: name.clone() });
            }
            DiskOp::SyncNames => {
                self.pending_names.clear();
                self.durable_names.clone_from(&self.names);
                self.forget_unreachable();
            }
        }
    }

    /// A file that is there from the start.
    pub fn put_durable(&mut self, file: u64, name: &str, bytes: Vec<u8>) {
        let contents = Contents {
            durable: bytes,
            pending: Vec::new(),
        };
        self.files.insert(file, contents);
        self.names.insert(name.to_owned(), file);
        self.durable_names.insert(name.to_owned(), file);
    }

    /// The durable bytes of a file, to be changed behind everybody's back.
    pub fn durable_mut(&mut self, file: u64) -> Option<&mut Vec<u8>> {
        Some(&mut self.files.get_mut(&file)?.durable)
    }

    /// Drops files without a name; without this, memory grows with every file ever made.
    fn forget_unreachable(&mut self) {
        let names = &self.names;
        self.files
            .retain(|file, _| names.values().any(|named| named == file));
    }

    /// The files as the power cut leaves them, by name.
    #[must_use]
    pub fn cut(&self, plan: FaultPlan) -> BTreeMap<String, Vec<u8>> {
        let mut dice = Dice::new(plan.seed);
        let mut names = self.durable_names.clone();
        for change in &self.pending_names {
            if dice.parts(plan.keep_names) {
                apply_name(&mut names, change);
            }
        }
        let mut left = BTreeMap::new();
        for (file, contents) in &self.files {
            let mut bytes = contents.durable.clone();
            for op in &contents.pending {
                cut_op(&mut bytes, op, plan, &mut dice);
            }
            for (name, _) in names.iter().filter(|(_, named)| *named == file) {
                left.insert(name.clone(), bytes.clone());
            }
        }
        left
    }
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Put { name, file } => {
            names.insert(name.clone(), *file);
        }
        NameChange::Move { from, to, file } => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        NameChange::Gone { name } => {
            names.remove(name);
        }
    }
}

/// What is left of one unsynced operation.
fn cut_op(bytes: &mut Vec<u8>, op: &DiskOp, plan: FaultPlan, dice: &mut Dice) {
    if dice.parts(plan.keep) {
        apply_to(bytes, op);
        return;
    }
    let DiskOp::Write {
        bytes: written,
        offset,
        ..
    } = op
    else {
        return;
    };
    if !dice.parts(plan.tear) {
        return;
    }
    let mut at = *offset;
    let mut rest = written.as_ref();
    while !rest.is_empty() {
        let to_edge = index(SECTOR - at % SECTOR).min(rest.len());
        let (sector, after) = rest.split_at(to_edge);
        if dice.parts(128) {
            put(bytes, sector, at);
        }
        at += to_edge as u64;
        rest = after;
    }
}

/// Writes `files` as a data directory at `into`, which must not exist yet.
///
/// # Errors
///
/// What the system says.
pub fn write_directory(files: &BTreeMap<String, Vec<u8>>, into: &Path) -> io::Result<()> {
    std::fs::create_dir(into)?;
    std::fs::create_dir(into.join(QUARANTINE))?;
    for (name, bytes) in files {
        std::fs::write(into.join(name), bytes)?;
    }
    Ok(())
}

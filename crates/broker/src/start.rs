//! A start: from what is on disk to a lane.
//!
//! The newest checkpoint that is whole is loaded, the log behind it replayed, and the footers of
//! sealed chunks read. A damaged checkpoint costs only time: the one before is still there. A damaged
//! footer costs only time too, since the frames of its chunk are.

use std::sync::Arc;

use mulgil_log::access::{ReadAt, Sparing};
use mulgil_log::checkpoint::CheckpointReader;
use mulgil_log::chunk::{ChunkFile, ChunkHeader, ChunkKind, chunk_name, parse_chunk_name};
use mulgil_log::disk::Disk;
use mulgil_log::entry::EntryHeader;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::frame::FrameHeader;
use mulgil_log::index::Extent;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::{self, DamagedRange, RecoverFrom, Recovered, Replay};

use crate::lane::{LaneOptions, Replayer, Retired, max_timestamp};

mod progress;

pub use progress::{Phase, Progress, Reached};

/// What a start has found.
#[derive(Debug)]
pub struct Found {
    /// The lane, not yet alive.
    pub replayer: Replayer,
    /// How the log was.
    pub recovered: Recovered,
}

/// What a footer lists.
#[derive(Debug, Default)]
struct Listed {
    extents: Vec<(u64, Extent)>,
    /// What was damaged when the chunk was written: no batch of it lies anywhere any more.
    damaged: Vec<DamagedRange>,
}

/// Reads everything back.
///
/// # Errors
///
/// The disk cannot be read, or state is damaged: the fault names file and position.
pub fn read_back(disk: &Arc<dyn Disk>, options: &LaneOptions) -> Result<Found, Fault> {
    read_back_watched(disk, options, &Progress::default())
}

/// As [`read_back`], telling `progress` how far it is.
///
/// # Errors
///
/// As [`read_back`].
pub fn read_back_watched(
    disk: &Arc<dyn Disk>,
    options: &LaneOptions,
    progress: &Progress,
) -> Result<Found, Fault> {
    let recover = |replayer: &mut Replayer, from| {
        recovery::recover(disk, &mut Watched { replayer, progress }, from)
    };
    read(disk, options, progress, recover)
}

/// A replayer, with somebody who looks how far it is.
struct Watched<'a> {
    replayer: &'a mut Replayer,
    progress: &'a Progress,
}

impl Replay for Watched<'_> {
    fn entry(
        &mut self,
        at: Position,
        entry: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault> {
        self.replayer.entry(at, entry, payload, frame)
    }

    fn damaged(&mut self, range: DamagedRange) {
        self.replayer.damaged(range);
    }

    fn progressed(&mut self, bytes: u64, of: u64) {
        self.progress.read(bytes, of);
    }
}

/// As [`read_back`]; `recover` replays the log, as [`recovery::recover`] does.
///
/// The simulation stands in between there, to see whether a replay that is wrong would be noticed.
///
/// # Errors
///
/// As [`read_back`], and those of `recover`.
pub fn read_back_by(
    disk: &Arc<dyn Disk>,
    options: &LaneOptions,
    recover: impl FnOnce(&mut Replayer, RecoverFrom) -> Result<Recovered, Fault>,
) -> Result<Found, Fault> {
    read(disk, options, &Progress::default(), recover)
}

fn read(
    disk: &Arc<dyn Disk>,
    options: &LaneOptions,
    progress: &Progress,
    recover: impl FnOnce(&mut Replayer, RecoverFrom) -> Result<Recovered, Fault>,
) -> Result<Found, Fault> {
    let logs = log_chunks(disk)?;
    if logs.is_empty() {
        refuse_without_log(disk)?;
    }
    progress.enter(Phase::Checkpoint);
    let (mut replayer, mut from) = load_checkpoint(disk, &logs, options, progress)?;
    progress.enter(Phase::Footers);
    let mut listed = Vec::new();
    for info in replayer.chunks().iter().copied().collect::<Vec<_>>() {
        if info.kind == ChunkKind::Checkpoint {
            continue;
        }
        match footer(disk, info.chunk, info.kind) {
            Ok(lists) => listed.push((info.chunk, lists)),
            // Given up after the checkpoint: the log behind it says so. If not, it is missed below.
            Err(fault) if is_gone(&fault) => {}
            Err(fault) if info.kind == ChunkKind::Log => {
                tracing::warn!(%fault, "a footer is unreadable; its chunk is read instead");
                if info.chunk >= from.chunk() {
                    continue;
                }
                match reseal(disk, info.chunk, replayer.damaged())? {
                    Some(lists) => listed.push((info.chunk, lists)),
                    // What is damaged beside the footer, the replay finds out.
                    None => from = Position::new(info.chunk, FIRST_FRAME),
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    progress.enter(Phase::Log);
    let mut recovered = recover(&mut replayer, RecoverFrom { position: from })?;
    progress.enter(Phase::Finishing);
    // A list of the store may not show all that counts; no id of that may be given again.
    let newest = replayer.chunks().iter().map(|info| info.chunk).max();
    recovered.next_chunk = newest.map_or(recovered.next_chunk, |newest| {
        recovered.next_chunk.max(newest.next())
    });
    replayer.replayed();
    finish_index(disk, &mut replayer, listed, from.chunk())?;
    note_unsealed(disk, &mut replayer, &recovered, from.chunk())?;
    sweep(disk, &replayer, from.chunk())?;
    Ok(Found {
        replayer,
        recovered,
    })
}

/// Without a log everything would look given up, and be removed. Chunks of other kinds come into being
/// behind log chunks, of which the newest is never removed.
fn refuse_without_log(disk: &Arc<dyn Disk>) -> Result<(), Fault> {
    let files = disk
        .list()
        .map_err(unreadable("listing the data directory"))?;
    let other = files.into_iter().find_map(|(name, _)| {
        let (_, kind) = parse_chunk_name(&name)?;
        (kind != ChunkKind::Log).then_some(name)
    });
    other.map_or(Ok(()), |name| {
        let what = format!(
            "the data directory holds {name}, but no log chunk (*.log) with a whole header: \
             bring the log files back, or begin with an empty directory"
        );
        Err(Fault::new(FaultKind::Corrupt, what))
    })
}

/// Where the first frame of a log chunk lies.
const FIRST_FRAME: u32 = 4096;

fn unreadable(what: &str) -> impl Fn(std::io::Error) -> Fault + '_ {
    move |source| Fault::io(FaultKind::Unavailable, what.to_owned(), source)
}

/// The headers of all log chunks that have a whole one, in order.
fn log_chunks(disk: &Arc<dyn Disk>) -> Result<Vec<ChunkHeader>, Fault> {
    let mut headers = Vec::new();
    for (name, _) in disk
        .list()
        .map_err(unreadable("listing the data directory"))?
    {
        let Some((chunk, ChunkKind::Log)) = parse_chunk_name(&name) else {
            continue;
        };
        match ChunkFile::open(&**disk, chunk, ChunkKind::Log) {
            Ok(file) => headers.push(*file.header()),
            // One that is damaged is recovery's business, which looks at what lies around it.
            Err(fault) if fault.kind == FaultKind::Corrupt || is_gone(&fault) => {}
            // One that can't be read now is there: passed over, it would be taken for one that needs
            // no footer any more, and go with the next start.
            Err(fault) => return Err(fault),
        }
    }
    headers.sort_by_key(|header| header.chunk);
    Ok(headers)
}

/// Loads the newest checkpoint that is whole; says from where on the log must be replayed.
fn load_checkpoint(
    disk: &Arc<dyn Disk>,
    logs: &[ChunkHeader],
    options: &LaneOptions,
    progress: &Progress,
) -> Result<(Replayer, Position), Fault> {
    let mut named: Vec<_> = logs.iter().map(|header| header.checkpoint).collect();
    named.dedup();
    let mut failed = None;
    for chunk in named
        .into_iter()
        .rev()
        .filter(|chunk| *chunk != ChunkId::NONE)
    {
        match load_one(disk, chunk, options, progress) {
            Ok(loaded) => return Ok(loaded),
            Err(fault) => {
                tracing::error!(%fault, %chunk, "a checkpoint is unreadable; trying the one before");
                failed = Some(fault);
            }
        }
    }
    let whole = logs
        .first()
        .is_none_or(|first| first.previous_end == Position::ZERO);
    match failed {
        // Without any checkpoint all of the log is needed, and it is not all there any more.
        Some(fault) if !whole => Err(fault),
        _ => Ok((Replayer::new(options.clone()), Position::ZERO)),
    }
}

fn load_one(
    disk: &Arc<dyn Disk>,
    chunk: ChunkId,
    options: &LaneOptions,
    progress: &Progress,
) -> Result<(Replayer, Position), Fault> {
    let file = ChunkFile::open(&**disk, chunk, ChunkKind::Checkpoint)?;
    let mut reader = CheckpointReader::open(&file)?;
    let mut replayer = Replayer::new(options.clone());
    let from = reader.end().from;
    let (own, mut read) = (file.bytes()?, 0);
    let all = own + log_bytes(disk, from)?;
    while let Some(object) = reader.next_object()? {
        read += object.content.len() as u64;
        progress.read(read.min(own), all);
        replayer.load(&object)?;
    }
    progress.read(own, all);
    replayer.loaded(chunk, from);
    Ok((replayer, from))
}

/// Bytes in the log chunks that are to be replayed from `from` on.
fn log_bytes(disk: &Arc<dyn Disk>, from: Position) -> Result<u64, Fault> {
    let files = disk
        .list()
        .map_err(unreadable("listing the data directory"))?;
    let bytes = files
        .iter()
        .filter_map(|(name, bytes)| match parse_chunk_name(name)? {
            (chunk, ChunkKind::Log) if chunk == from.chunk() => {
                Some(bytes.saturating_sub(u64::from(from.offset())))
            }
            (chunk, ChunkKind::Log) if chunk > from.chunk() => Some(*bytes),
            _ => None,
        });
    Ok(bytes.sum())
}

fn footer(disk: &Arc<dyn Disk>, chunk: ChunkId, kind: ChunkKind) -> Result<Listed, Fault> {
    let file = ChunkFile::open(&**disk, chunk, kind)?;
    let file = Sparing(&file);
    let footer = Footer::open_as(&file, kind)?;
    let extents = footer.extents_timed(&file, &max_timestamp)?;
    if kind.is_sorted() {
        report_told(&file, &extents);
    }
    let mut damaged = Vec::new();
    for range in footer.each_damaged(&file)? {
        match range {
            Ok(range) => damaged.push(range),
            // A refused start would make nothing better: which offsets it named, nobody can tell any
            // more, unless the checkpoint does.
            Err(fault) => {
                tracing::error!(%fault, %chunk, "a record of lost offsets is unreadable");
            }
        }
    }
    Ok(Listed { extents, damaged })
}

/// Says so where what a footer lists was told by the entries beside it.
fn report_told(file: &Sparing<'_>, extents: &[(u64, Extent)]) {
    let chunk = file.chunk();
    if let Err(fault) = Footer::open(file) {
        tracing::warn!(%fault, %chunk, "a footer has lost its end; what lies beside it tells what it says");
    }
    // Records that only entries tell of share a slot.
    let alike =
        |two: &[(u64, Extent)]| matches!(two, [(_, one), (_, other)] if one.slot == other.slot);
    if extents.windows(2).any(alike) {
        tracing::warn!(%chunk, "records of a footer are damaged; its entries tell what they said");
    }
}

/// Puts a new footer to a log chunk whose own is damaged, from nothing but its frames.
///
/// None if they are not whole either.
fn reseal(
    disk: &Arc<dyn Disk>,
    chunk: ChunkId,
    damaged: &[DamagedRange],
) -> Result<Option<Listed>, Fault> {
    let own = damaged.iter().filter(|range| range.at.chunk() == chunk);
    let damaged: Vec<_> = own.copied().collect();
    match recovery::reseal(&**disk, chunk, &max_timestamp, &damaged) {
        Ok(done) => {
            if let Some(fault) = done.unwritten {
                tracing::warn!(%fault, %chunk, "a footer is made anew in memory only");
            }
            Ok(Some(Listed {
                extents: done.sealed.extents,
                damaged,
            }))
        }
        Err(fault) if fault.kind == FaultKind::Corrupt => {
            tracing::warn!(%fault, %chunk, "a footer can't be made anew; the log is read from there on");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Whether a fault says that there is no such file.
fn is_gone(fault: &Fault) -> bool {
    let source = fault.source.as_ref();
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::NotFound)
}

/// Puts the extents of all chunks that count into the index, instead of what was replayed of them.
fn finish_index(
    disk: &Arc<dyn Disk>,
    replayer: &mut Replayer,
    listed: Vec<(ChunkId, Listed)>,
    scanned_from: ChunkId,
) -> Result<(), Fault> {
    let mut known: Vec<_> = listed.iter().map(|(chunk, _)| *chunk).collect();
    known.sort_unstable();
    for (chunk, lists) in listed {
        if replayer.chunks().get(chunk).is_some() {
            replayer.load_footer(chunk, lists.extents, lists.damaged);
        }
    }
    for info in replayer.chunks().iter().copied().collect::<Vec<_>>() {
        let counted = known.binary_search(&info.chunk).is_ok();
        if counted || info.kind == ChunkKind::Checkpoint {
            continue;
        }
        match footer(disk, info.chunk, info.kind) {
            Ok(lists) => replayer.load_footer(info.chunk, lists.extents, lists.damaged),
            // Its frames were replayed, so the index has them one by one.
            Err(_) if info.kind == ChunkKind::Log && info.chunk >= scanned_from => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Log chunks that were replayed and have no footer: the keeper will put one to them.
fn note_unsealed(
    disk: &Arc<dyn Disk>,
    replayer: &mut Replayer,
    recovered: &Recovered,
    scanned_from: ChunkId,
) -> Result<(), Fault> {
    let logs = log_chunks(disk)?;
    for (at, header) in logs.iter().enumerate() {
        let next = logs.get(at + 1).map(|next| next.previous_end);
        let end = next.unwrap_or(recovered.end);
        let sealed = replayer.chunks().get(header.chunk).is_some()
            && footer(disk, header.chunk, ChunkKind::Log).is_ok();
        let replayed = header.chunk >= scanned_from && end.chunk() == header.chunk;
        if replayed && !sealed {
            replayer.unsealed(Retired {
                chunk: header.chunk,
                end,
            });
        }
    }
    Ok(())
}

/// Removes files that no entry names: a pass that was not committed, chunks that were given up.
fn sweep(disk: &Arc<dyn Disk>, replayer: &Replayer, scanned_from: ChunkId) -> Result<(), Fault> {
    for (name, _) in disk
        .list()
        .map_err(unreadable("listing the data directory"))?
    {
        let Some((chunk, kind)) = parse_chunk_name(&name) else {
            continue;
        };
        let replayed = kind == ChunkKind::Log && chunk >= scanned_from;
        if replayed || replayer.chunks().get(chunk).is_some() {
            continue;
        }
        tracing::info!(name, "a chunk that does not count any more is removed");
        let removed = disk.remove(&chunk_name(chunk, kind));
        removed.map_err(|source| {
            Fault::io(FaultKind::Unavailable, format!("removing {name}"), source)
        })?;
    }
    Ok(())
}

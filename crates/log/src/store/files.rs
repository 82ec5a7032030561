//! What all forms of the store do alike with the files of a disk, outside the path of writes.

use std::io;
use std::sync::Arc;

use crate::chunk::{ChunkFile, ChunkKind, chunk_name, names_unsynced, parse_chunk_name};
use crate::disk::{Disk, Space};
use crate::fault::{Fault, FaultKind};
use crate::position::ChunkId;

pub(super) fn open_chunk(disk: &dyn Disk, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
    for kind in ChunkKind::ALL {
        match ChunkFile::open(disk, chunk, kind) {
            Ok(file) => {
                file.file().reads_in_pieces();
                return Ok(Arc::new(file));
            }
            Err(fault) if not_there(&fault) => {}
            Err(fault) => return Err(fault),
        }
    }
    let what = format!("there is no chunk {chunk}");
    Err(Fault::new(FaultKind::Unavailable, what))
}

fn not_there(fault: &Fault) -> bool {
    let source = fault.source.as_ref();
    source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}

pub(super) fn delete(disk: &dyn Disk, chunk: ChunkId) -> Result<(), Fault> {
    let failed = |source| {
        Fault::io(
            FaultKind::Unavailable,
            format!("deleting chunk {chunk}"),
            source,
        )
    };
    for kind in ChunkKind::ALL {
        match disk.remove(&chunk_name(chunk, kind)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    disk.sync_names().map_err(names_unsynced)
}

pub(super) fn chunks(disk: &dyn Disk) -> Result<Vec<(ChunkId, ChunkKind, u64)>, Fault> {
    let failed = |source| Fault::io(FaultKind::Unavailable, "listing chunks", source);
    let mut chunks: Vec<_> = disk
        .list()
        .map_err(failed)?
        .into_iter()
        .filter_map(|(name, bytes)| {
            let (chunk, kind) = parse_chunk_name(&name)?;
            Some((chunk, kind, bytes))
        })
        .collect();
    chunks.sort_unstable();
    Ok(chunks)
}

pub(super) fn space(disk: &dyn Disk) -> Result<Space, Fault> {
    disk.space()
        .map_err(|source| Fault::io(FaultKind::Unavailable, "asking for free space", source))
}

//! stub
use crate::{index::*,position::*,fault::*,chunk::ChunkFile}; use bytes::Bytes;
pub struct FoundBatch { pub base: i64, pub last: i64, pub at: Position, pub payload: Bytes }
pub fn read_tail(_:&ChunkFile,_:&[TailEntry])->Result<Vec<FoundBatch>,Fault>{Ok(vec![])}
pub fn read_cold(_:&ChunkFile,_:ChunkId,_:&ColdRead)->Result<Vec<FoundBatch>,Fault>{Ok(vec![])}

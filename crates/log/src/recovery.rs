//! stub
use crate::{entry::EntryHeader,frame::FrameHeader,position::*,fault::*};
pub struct DamagedRange { pub partition: u64, pub base: i64, pub last: i64, pub at: Position }
pub trait Replay { fn entry(&mut self, at: Position, entry: &EntryHeader, payload:&[u8], frame:&FrameHeader) -> Result<(),Fault>; fn damaged(&mut self, range: DamagedRange); }

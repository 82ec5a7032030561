//! stub
use bytes::Bytes;
use crate::ids::*;
#[derive(Clone,Copy,Debug)] pub struct BatchHeader { pub base_offset: Offset, pub leader_epoch: LeaderEpoch, pub last_offset_delta: i32, pub max_timestamp: i64, pub producer_id: ProducerId, pub producer_epoch: ProducerEpoch, pub base_sequence: i32, pub record_count: i32 }
#[derive(Clone,Debug)] pub struct Batch { pub header: BatchHeader, pub bytes: Bytes }
#[derive(Debug,thiserror::Error)] #[error("x")] pub struct BatchError;
pub struct DecodeLimits { pub decompressed_bytes_max: usize }
pub struct DecodedRecords;
impl DecodedRecords { pub fn first_at_or_after(&self, _:i64)->Option<(i32,i64)>{None} pub fn max_timestamp_record(&self)->Option<(i32,i64)>{None} }
impl BatchHeader { pub fn read(_b:&[u8])->Result<Self,BatchError>{Err(BatchError)} pub fn last_sequence(&self)->i32{0} }
impl Batch { pub fn check(_b:Bytes)->Result<Self,BatchError>{Err(BatchError)} pub fn records(&self,_:DecodeLimits)->Result<DecodedRecords,BatchError>{Err(BatchError)} }

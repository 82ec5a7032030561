//! stub
use crate::position::*;
#[derive(Clone,Copy,Debug)] pub struct TailEntry { pub base: i64, pub last: i64, pub at: Position, pub length: u32, pub max_timestamp: i64 }
#[derive(Clone,Copy,Debug)] pub struct ColdRead { pub chunk: ChunkId, pub slot: u32, pub from: i64, pub end: i64, pub budget_bytes: usize }
#[derive(Debug,Default)] pub struct Index;
pub enum Located<'a> { Tail(std::slice::Iter<'a, TailEntry>), Cold(ColdRead), End, Damaged{base:i64,last:i64} }
pub enum TimeLookup { None, Tail(TailEntry), Cold(ColdRead) }
impl Index { pub fn append(&mut self,_:u64,_:TailEntry){} pub fn locate(&self,_:u64,_:i64,_:usize,_:i64)->Located<'_>{Located::End}
pub fn by_time(&self,_:u64,_:i64,_:i64)->TimeLookup{TimeLookup::None} pub fn by_max_time(&self,_:u64,_:i64)->TimeLookup{TimeLookup::None}
pub fn trim(&mut self,_:u64,_:i64){} pub fn remove(&mut self,_:u64){} pub fn damaged(&mut self,_:u64,_:i64,_:i64){} pub fn memory_bytes(&self)->usize{0} pub fn bytes(&self,_:u64)->u64{0} }

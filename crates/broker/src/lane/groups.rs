//! Consumer groups in the lane.

use mulgil_core::machine::{Elapsed, Now};
use mulgil_log::entry::EntryHeader;
use mulgil_log::fault::Fault;
use mulgil_log::frame::FrameHeader;

use super::{Lane, Origin, ReplyTo, Turn};
use crate::group::GroupRequest;

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups;

impl Groups {
    pub(super) const fn deadline(&self) -> Option<Elapsed> {
        None
    }
}

impl Lane {
    pub(super) fn group(&mut self, _to: ReplyTo, _group: GroupRequest, _now: Now, _turn: &mut Turn) {}
    pub(super) fn tick_groups(&mut self, _now: Now, _turn: &mut Turn) {}
    pub(super) fn forget_in_groups(&mut self, _origin: Origin, _now: Now, _turn: &mut Turn) {}
    pub(super) fn replay_group(
        &mut self,
        _header: &EntryHeader,
        _payload: &[u8],
        _frame: &FrameHeader,
    ) -> Result<(), Fault> {
        Ok(())
    }
}

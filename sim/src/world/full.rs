//! A disk that fills up while the keeper looks, and is worked free again.
//!
//! The other full disk, whose writes fail, is in `trouble.rs`: there nobody looked in time. Here the
//! reserve is large enough for what goes on, so nothing may fail; and what is given up is to make room.

use mulgil_broker::lane::Origin;
use mulgil_broker::request::{Request, Ticket, TopicRef, Trim};
use mulgil_log::position::ChunkId;

use super::World;
use crate::ledger::{TopicState, is_untrimmable};
use crate::violation::{Kept, Rule, Violation};

/// Looks of the keeper within which room must be made and seen: ten a second.
const LOOKS_MAX: u64 = 60;
/// What lies between two of them, milliseconds.
const LOOK_MS: u64 = 100;
/// Pieces of work that the keeper may do at one look.
const PIECES_MAX: usize = 2_000;

impl World {
    /// Lets the disk fill up under the keeper's eyes, or works it free if that was begun before.
    pub(super) fn fill_or_free(&mut self) -> Kept {
        if self.disk.is_out() || self.disk.has_failed() {
            return Ok(());
        }
        if self.process()?.watches_space() {
            return self.work_free();
        }
        let used = self.disk.used();
        let reserve = self.sizes.keeper.reserve_bytes;
        let more = self.dice.below(20_000);
        self.trace
            .line(|| format!("the disk has room for {more} bytes above the reserve"));
        self.disk.mem().set_capacity(Some(used + reserve + more));
        self.full = false;
        self.process()?.watch_space(true);
        Ok(())
    }

    /// Gives up all records; the keeper must make room of that, and appends be taken again.
    pub(super) fn work_free(&mut self) -> Kept {
        self.disk.calm();
        self.settle()?;
        self.trace
            .line(|| "everything is trimmed to work the disk free".to_owned());
        let catalog = self.process()?.catalog.clone();
        let all = catalog.by_id.iter();
        let (untrimmable, others): (Vec<_>, Vec<_>) = all.partition(|(id, _)| is_untrimmable(**id));
        let partitions = others.iter().flat_map(|(_, topic)| &topic.partitions);
        let mut trims = Vec::new();
        for id in partitions {
            let figures = self.process()?.lane().partition_figures(*id);
            let to = figures.unwrap_or_default().high_watermark;
            let model = self.ledger.partition_mut(*id);
            model.start_surely_asked = to.0;
            model.start_asked = model.start_asked.max(to.0);
            trims.push(Trim {
                partition: *id,
                to: Some(to),
            });
        }
        let (now, nobody) = (
            self.clock.now(),
            Origin {
                runtime: u16::MAX,
                connection: 0,
            },
        );
        let came = self
            .process()?
            .enter(nobody, Ticket(0), Request::Trim(trims), now);
        self.take(came)?;
        let mut deleted = Vec::new();
        for (id, _) in untrimmable {
            if let Some(model) = self.ledger.topic_mut(*id) {
                model.state = TopicState::GoingAway;
                let _not_answered = self.ledger.groups.topic_goes(*id);
                deleted.push(TopicRef::Id(*id));
            }
        }
        if !deleted.is_empty() {
            let delete = Request::DeleteTopics(deleted);
            let came = self.process()?.enter(nobody, Ticket(0), delete, now);
            self.take(came)?;
        }
        for _ in 0..LOOKS_MAX {
            self.look_after_space()?;
            if !self.process()?.lane().figures().disk_full {
                return self.has_room();
            }
        }
        let dead = self.dead_bytes()?;
        // A chunk or two that a start needs, and what is not worth a checkpoint.
        let bound = 2 * u64::from(self.sizes.lane.chunk_bytes_max) + (128 << 10);
        if dead > bound {
            let what = format!(
                "the disk is full, and {dead} bytes of chunks lie there of which nothing is wanted"
            );
            return Err(Violation::new(Rule::RoomAgain, what));
        }
        // There was next to nothing to give up: somebody else has to make room.
        let (used, reserve) = (self.disk.used(), self.sizes.keeper.reserve_bytes);
        self.disk.mem().set_capacity(Some(used + 2 * reserve));
        self.look_after_space()?;
        if self.process()?.lane().figures().disk_full {
            let what = "the disk has room, and appends are refused";
            return Err(Violation::new(Rule::RoomAgain, what));
        }
        self.has_room()
    }

    fn has_room(&mut self) -> Kept {
        self.trace.line(|| "the disk has room again".to_owned());
        self.disk.mem().set_capacity(None);
        self.process()?.watch_space(false);
        self.tally.freed += 1;
        Ok(())
    }

    /// One look of the keeper, with all that it finds to do, and the time until the next.
    fn look_after_space(&mut self) -> Kept {
        for _ in 0..PIECES_MAX {
            self.settle()?;
            self.keep()?;
            if self.process()?.keeper_rests() {
                break;
            }
        }
        self.pass(LOOK_MS)?;
        self.settle()
    }

    /// Bytes of chunks that are neither the one being written nor a checkpoint: with all records
    /// trimmed, nobody wants any of them.
    fn dead_bytes(&mut self) -> Result<u64, Violation> {
        let open = self.process()?.lane().open_chunk();
        let files = self.disk.mem().files();
        let chunks = files.iter().filter_map(|(name, bytes)| {
            let (number, kind) = name.split_once('.')?;
            let number = number.parse().ok().map(ChunkId)?;
            (kind != "checkpoint" && number < open).then_some(bytes.len() as u64)
        });
        Ok(chunks.sum())
    }
}

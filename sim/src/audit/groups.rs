//! Groups as a broker has them: their committed offsets, and their machines before and after a replay.

use std::collections::BTreeMap;

use mulgil_broker::group::{GroupName, GroupReply, GroupRequest};
use mulgil_broker::request::{Reply, Request};
use mulgil_core::group::Group;
use mulgil_core::machine::{Now, Restart};

use crate::ledger::OffsetsFound;
use crate::process::Process;
use crate::violation::{Kept, Rule, Violation};

/// The committed offsets of all groups.
///
/// # Errors
///
/// If they cannot be read.
pub(super) fn offsets(
    process: &mut Process,
    now: Now,
) -> Result<BTreeMap<GroupName, OffsetsFound>, Violation> {
    let list = Request::Group(GroupRequest::List);
    let Some(Reply::Group(GroupReply::Listed(lines))) = process.ask_now(list, now) else {
        return Err(Violation::new(Rule::Committed, "groups cannot be listed"));
    };
    let mut all = BTreeMap::new();
    for line in lines {
        let group = line.group;
        let ask = Request::Group(GroupRequest::Offsets {
            group: GroupName::clone(&group),
            keys: None,
        });
        let Some(Reply::Group(GroupReply::Offsets(found))) = process.ask_now(ask, now) else {
            let what = format!("the offsets of group {group} cannot be read");
            return Err(Violation::new(Rule::Committed, what));
        };
        let found = found.into_iter().map(|(key, c)| (key, c.offset.0));
        all.insert(group, found.collect());
    }
    Ok(all)
}

/// What a start makes of a group whose changes are all in the log; none if it was never born. Whatever
/// is due then waits for the first tick.
fn restarted(machine: &Group) -> Option<Group> {
    let mut machine = machine.clone();
    machine.forget_volatile();
    (machine.state() != mulgil_core::group::State::Dead).then_some(machine)
}

/// The law of restart for groups.
pub(super) fn law_of_restart(before: &Process, after: &Process) -> Kept {
    let broken = |what: String| Err(Violation::new(Rule::LawOfRestart, what));
    for (name, machine) in before.lane().group_machines() {
        let expected = restarted(machine);
        let replayed = after.lane().group_machine(name).cloned().map(|mut group| {
            group.forget_volatile();
            group
        });
        if expected != replayed {
            let what = format!("group {name} was {expected:?} and is {replayed:?}");
            return broken(what);
        }
    }
    let mut all = after.lane().group_machines();
    match all.find(|(name, _)| before.lane().group_machine(name).is_none()) {
        Some((name, _)) => broken(format!("group {name} is there, and was not")),
        None => Ok(()),
    }
}

//! How a script prints what a group keeps, answers and is.

use bytes::Bytes;
use mulgil_core::group::{
    Durable, Effect, Group, GroupRefusal, Joined, MemberId, OffsetKey, Settlement, State, Waiter,
};

use crate::script::time;

/// What the log is given.
pub(crate) fn durable(change: &Durable) -> String {
    match change {
        Durable::Created { .. } => "created".into(),
        Durable::Begun { generation } => format!("generation {generation} begun"),
        Durable::Settled(settlement) => settled(settlement),
        Durable::Replaced { old, member } => format!("{old} replaced by {}", member.id),
        Durable::OffsetsCommitted(entries) => {
            let one = |(key, c): &(OffsetKey, _)| offset(*key, c);
            format!("offsets {}", list(entries.iter().map(one)))
        }
        Durable::OffsetsDeleted(keys) => {
            format!("offsets deleted {}", list(keys.iter().map(|k| place(*k))))
        }
        Durable::TopicForgotten(topic) => format!("topic {} forgotten", topic.0),
        Durable::Deleted => "deleted".into(),
    }
}

fn settled(settlement: &Settlement) -> String {
    let shares = settlement.members.iter();
    let shares = shares.map(|(id, s)| format!("{id}={}", text(&s.assignment)));
    format!(
        "generation {} settled {}",
        settlement.generation,
        list(shares)
    )
}

/// A committed offset.
pub(crate) fn offset(key: OffsetKey, committed: &mulgil_core::group::Committed) -> String {
    let until = committed.until.map(|t| format!(" until {}", time(t.0)));
    format!(
        "{}@{}{}",
        place(key),
        committed.offset,
        until.unwrap_or_default()
    )
}

fn place(key: OffsetKey) -> String {
    format!("{}-{}", key.topic.0, key.partition)
}

/// An answer; `name` finds who waits.
pub(crate) fn effect(effect: &Effect, name: impl Fn(Waiter) -> String) -> String {
    match effect {
        Effect::Joined(answer) => joined(answer, &name(answer.waiter)),
        Effect::Named { waiter, member } => format!("{} is named {member}", name(*waiter)),
        Effect::Synced {
            waiter, assignment, ..
        } => format!("{} synced assignment={}", name(*waiter), text(assignment)),
        Effect::Refused { waiter, why } => format!("{} refused: {why}", name(*waiter)),
        Effect::Alive { rebalancing: true } => "alive, but must join again".into(),
        Effect::Alive { rebalancing: false } => "alive".into(),
        Effect::Left(results) => format!("left {}", outcomes(results)),
        Effect::Committed(results) => format!("committed {}", outcomes(results)),
        Effect::OffsetsDeleted(results) => format!("offsets deleted {}", outcomes(results)),
        Effect::UnreadExpired { more: true } => "looked at some, there are more".into(),
        Effect::UnreadExpired { more: false } => "looked at all".into(),
        Effect::Deleted => "gone".into(),
    }
}

fn joined(answer: &Joined, name: &str) -> String {
    let leader = maybe(answer.leader.as_ref());
    let protocol = answer.protocol.as_deref().unwrap_or("none");
    let mut line = format!(
        "{name} joined as {} generation={} protocol={protocol} leader={leader}",
        answer.member, answer.generation
    );
    if !answer.members.is_empty() {
        let one = |m: &mulgil_core::group::JoinedMember| {
            let instance = m.instance.as_ref().map(|i| format!("({i})"));
            let instance = instance.unwrap_or_default();
            format!("{}{instance}={}", m.member, text(&m.metadata))
        };
        line += &format!(" members={}", list(answer.members.iter().map(one)));
    }
    if answer.skip_assignment {
        line += " skip-assignment";
    }
    line
}

/// The group as it is.
pub(crate) fn group(group: &Group) -> String {
    let state = match group.state() {
        State::Empty => "Empty",
        State::PreparingRebalance => "PreparingRebalance",
        State::CompletingRebalance => "CompletingRebalance",
        State::Stable => "Stable",
        State::Dead => "Dead",
    };
    let members = group.members();
    let members = members.map(|(m, share)| format!("{}={}", m.id, text(share)));
    let mut line = format!(
        "{state} generation={} members={}",
        group.generation(),
        list(members)
    );
    if group.leader().is_some() {
        line += &format!(" leader={}", maybe(group.leader()));
    }
    line
}

fn maybe(member: Option<&MemberId>) -> String {
    member.map_or_else(|| "none".into(), ToString::to_string)
}

fn outcomes(results: &[Result<(), GroupRefusal>]) -> String {
    list(results.iter().map(|result| match result {
        Ok(()) => "ok".into(),
        Err(why) => why.to_string(),
    }))
}

/// Things in brackets.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn text(bytes: &Bytes) -> String {
    if bytes.is_empty() {
        return "nothing".into();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

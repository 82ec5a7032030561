//! Consumers come, ask for records, and go.

use super::State;
use super::change::Volatile;
use super::command::{Attach, Grant, LockTerm, Pull};
use super::consumers::Consumer;
use super::draft::Draft;
use super::names::ConsumerId;
use super::refusal::QueueRefusal;

fn known(state: &State, consumer: ConsumerId) -> Result<&Consumer, QueueRefusal> {
    let found = state.live.consumers.get(consumer);
    found.ok_or(QueueRefusal::NotAttached { consumer })
}

fn may_attach(state: &State, consumer: ConsumerId, exclusive: bool) -> Result<(), QueueRefusal> {
    let consumers = &state.live.consumers;
    if consumers.get(consumer).is_some() {
        return Err(QueueRefusal::AlreadyAttached { consumer });
    }
    let in_the_way = if exclusive {
        consumers.holder()
    } else {
        consumers.exclusive()
    };
    match in_the_way {
        Some(holder) => Err(QueueRefusal::Exclusive { holder }),
        None => Ok(()),
    }
}

/// A consumer comes.
pub(super) fn attach(
    state: &State,
    draft: &mut Draft<'_>,
    attach: Attach,
) -> Result<(), QueueRefusal> {
    let Attach {
        consumer,
        priority,
        exclusive,
        lock,
    } = attach;
    may_attach(state, consumer, exclusive)?;
    draft.volatile(Volatile::Attached {
        consumer,
        priority,
        exclusive,
        lock,
        once: false,
        keys_together: false,
    });
    Ok(())
}

/// A consumer can take more.
pub(super) fn grant(
    state: &State,
    draft: &mut Draft<'_>,
    grant: Grant,
) -> Result<(), QueueRefusal> {
    let Grant {
        consumer,
        credit,
        once_until,
    } = grant;
    known(state, consumer)?;
    if credit == 0 {
        return Err(QueueRefusal::Nothing);
    }
    draft.volatile(Volatile::Granted {
        consumer,
        credit,
        once_until,
    });
    Ok(())
}

/// A consumer takes no more.
pub(super) fn revoke(
    state: &State,
    draft: &mut Draft<'_>,
    consumer: ConsumerId,
) -> Result<(), QueueRefusal> {
    known(state, consumer)?;
    draft.volatile(Volatile::Ended { consumer });
    Ok(())
}

/// A consumer goes.
pub(super) fn detach(
    state: &State,
    draft: &mut Draft<'_>,
    consumer: ConsumerId,
    failed: bool,
) -> Result<(), QueueRefusal> {
    known(state, consumer)?;
    draft.volatile(Volatile::Detached { consumer, failed });
    Ok(())
}

/// A consumer comes for what there is.
pub(super) fn pull(state: &State, draft: &mut Draft<'_>, pull: Pull) -> Result<(), QueueRefusal> {
    let Pull {
        consumer,
        credit,
        lock_ms,
        until,
        keys_together,
    } = pull;
    may_attach(state, consumer, false)?;
    if credit == 0 {
        return Err(QueueRefusal::Nothing);
    }
    draft.volatile(Volatile::Attached {
        consumer,
        priority: 0,
        exclusive: false,
        lock: LockTerm::Outliving(lock_ms),
        once: true,
        keys_together,
    });
    draft.volatile(Volatile::Granted {
        consumer,
        credit,
        once_until: Some(until),
    });
    Ok(())
}

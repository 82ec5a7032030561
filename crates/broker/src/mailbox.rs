//! Where a runtime gets what others have for its connections.
//!
//! Many answers become ready at once, when a frame is synced. They are put into the mailboxes of
//! the runtimes they belong to, and each runtime is woken once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::lane::ReplyTo;
use crate::request::Reply;

/// Something for a runtime.
#[derive(Debug)]
pub(crate) enum Posted {
    /// An answer for one of its connections.
    Reply(ReplyTo, Reply),
    /// A parked read that the runtime has to come back for.
    Retry(u64),
}

/// A runtime's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    posted: Mutex<Vec<Posted>>,
    wake: Notify,
}

impl Mailbox {
    /// Puts something in without waking anybody.
    pub(crate) fn put(&self, posted: Posted) {
        lock(&self.posted).push(posted);
    }

    /// Wakes the runtime.
    pub(crate) fn ring(&self) {
        self.wake.notify_one();
    }

    /// Takes all that is there now.
    pub(crate) fn drain(&self) -> Vec<Posted> {
        std::mem::take(&mut *lock(&self.posted))
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn take(&self) -> Vec<Posted> {
        loop {
            let taken = self.drain();
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}

/// Locks, whatever happened to the last holder: a panic ends the process anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What waits to be read: a turn for each connection, and one part of one answer a turn.
//!
//! However much one connection asks for, another waits for no more than one part of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::lane::{ColdWork, Origin};
use crate::mailbox::lock;

/// All that waits, and what is being worked on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    by_origin: BTreeMap<Origin, OfOrigin>,
    /// Connections with work that waits, each once; one that is gone may still stand here.
    turns: VecDeque<Origin>,
    /// How much was handed in, and the numbers of what is not done yet.
    submitted: u64,
    under_way: BTreeSet<u64>,
    /// Nobody hands in any more.
    ended: bool,
}

#[derive(Debug, Default)]
struct OfOrigin {
    work: VecDeque<(u64, ColdWork)>,
    /// How many threads work for it.
    running: usize,
    /// The connection is gone: nobody wants the answers.
    gone: bool,
}

impl Queue {
    /// How much waits, and how much was ever handed in.
    pub(super) fn counts(&self) -> (usize, u64) {
        let waiting = lock(&self.waiting);
        let all = waiting.by_origin.values();
        (all.map(|of| of.work.len()).sum(), waiting.submitted)
    }

    /// Takes work in.
    pub(super) fn submit(&self, work: ColdWork) {
        let origin = work.to.origin;
        let waiting = &mut *lock(&self.waiting);
        let of_origin = waiting.by_origin.entry(origin).or_default();
        if of_origin.gone {
            return;
        }
        let number = waiting.submitted;
        waiting.submitted += 1;
        waiting.under_way.insert(number);
        of_origin.work.push_back((number, work));
        if of_origin.work.len() == 1 {
            waiting.turns.push_back(origin);
        }
        self.more.notify_one();
    }

    /// Waits for work and gives it with its number. None: there is nothing left, and nothing comes.
    pub(super) fn take(&self) -> Option<(u64, ColdWork)> {
        let mut guard = lock(&self.waiting);
        loop {
            let waiting = &mut *guard;
            while let Some(origin) = waiting.turns.pop_front() {
                let Some(of_origin) = waiting.by_origin.get_mut(&origin) else {
                    continue;
                };
                let Some(next) = of_origin.work.pop_front() else {
                    continue;
                };
                of_origin.running += 1;
                if !of_origin.work.is_empty() {
                    waiting.turns.push_back(origin);
                }
                return Some(next);
            }
            if waiting.ended {
                return None;
            }
            guard = self
                .more
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back work of which another part is left, unless nobody wants it any more.
    ///
    /// Nobody is woken: the thread that gives it back takes the next piece, whichever that is, and a
    /// thread that waits has been woken for each piece that was handed in.
    pub(super) fn put_back(&self, number: u64, work: ColdWork) {
        let origin = work.to.origin;
        if self.is_gone(origin) {
            return self.done(number, origin);
        }
        let waiting = &mut *lock(&self.waiting);
        let of_origin = waiting.by_origin.entry(origin).or_default();
        of_origin.running = of_origin.running.saturating_sub(1);
        of_origin.work.push_front((number, work));
        if of_origin.work.len() == 1 {
            waiting.turns.push_back(origin);
        }
    }

    /// Notes that work is done.
    pub(super) fn done(&self, number: u64, origin: Origin) {
        let waiting = &mut *lock(&self.waiting);
        waiting.under_way.remove(&number);
        if let Some(of_origin) = waiting.by_origin.get_mut(&origin) {
            of_origin.running = of_origin.running.saturating_sub(1);
            if of_origin.running == 0 && of_origin.work.is_empty() {
                waiting.by_origin.remove(&origin);
            }
        }
    }

    /// Whether a connection is gone for which somebody works.
    pub(super) fn is_gone(&self, origin: Origin) -> bool {
        let waiting = lock(&self.waiting);
        waiting.by_origin.get(&origin).is_some_and(|of| of.gone)
    }

    /// Drops the work of a connection that is gone. Nothing of it comes after this but what follows
    /// from work that somebody is at.
    pub(super) fn forget(&self, origin: Origin) {
        let waiting = &mut *lock(&self.waiting);
        let Some(of_origin) = waiting.by_origin.get_mut(&origin) else {
            return;
        };
        for (number, _) in of_origin.work.drain(..) {
            waiting.under_way.remove(&number);
        }
        of_origin.gone = true;
        if of_origin.running == 0 {
            waiting.by_origin.remove(&origin);
        }
    }

    /// How much was handed in until now.
    pub(super) fn submitted(&self) -> u64 {
        lock(&self.waiting).submitted
    }

    /// Whether the first `count` pieces of work are done.
    pub(super) fn has_done(&self, count: u64) -> bool {
        let waiting = lock(&self.waiting);
        let first = waiting.under_way.first();
        first.is_none_or(|first| *first >= count)
    }

    /// Nobody hands in any more.
    pub(super) fn end(&self) {
        lock(&self.waiting).ended = true;
        self.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{ColdTask, ReplyTo};
    use crate::request::Ticket;

    fn of(connection: u64) -> Origin {
        Origin {
            runtime: 0,
            connection,
        }
    }

    fn work(connection: u64, ticket: u64) -> ColdWork {
        ColdWork {
            to: ReplyTo {
                origin: of(connection),
                ticket: Ticket(ticket),
            },
            task: ColdTask::find(Vec::new(), Vec::new()),
        }
    }

    /// Takes the next, and says whose it was.
    fn take(queue: &Queue) -> (u64, ColdWork, (u64, u64)) {
        let (number, work) = queue.take().unwrap();
        let whose = (work.to.origin.connection, work.to.ticket.0);
        (number, work, whose)
    }

    #[test]
    fn who_asks_for_little_waits_for_one_part_of_what_others_ask() {
        let queue = Queue::default();
        for ticket in 0..100 {
            queue.submit(work(1, ticket));
        }
        let (number, first, whose) = take(&queue);
        assert_eq!(whose, (1, 0));
        queue.submit(work(2, 7));
        // There is more of the first, and more behind it.
        queue.put_back(number, first);
        let turns: Vec<_> = (0..4)
            .map(|_| {
                let (number, work, whose) = take(&queue);
                queue.put_back(number, work);
                whose
            })
            .collect();
        assert_eq!(turns, [(1, 0), (2, 7), (1, 0), (2, 7)]);
    }

    #[test]
    fn what_was_submitted_first_is_waited_for_and_no_more() {
        let queue = Queue::default();
        assert!(queue.has_done(queue.submitted()));
        queue.submit(work(1, 1));
        let before = queue.submitted();
        queue.submit(work(1, 2));
        let (number, first, _) = take(&queue);
        queue.put_back(number, first);
        assert!(!queue.has_done(before), "another part of it is left");
        let (number, ..) = take(&queue);
        queue.done(number, of(1));
        assert!(queue.has_done(before) && !queue.has_done(queue.submitted()));
        let (number, ..) = take(&queue);
        queue.done(number, of(1));
        assert!(queue.has_done(queue.submitted()));
    }

    #[test]
    fn what_a_connection_asked_goes_with_it_and_nothing_waits_for_it() {
        let queue = Queue::default();
        for ticket in 0..3 {
            queue.submit(work(1, ticket));
        }
        queue.submit(work(2, 0));
        let (number, running, _) = take(&queue);
        assert!(!queue.has_done(1));
        queue.forget(of(1));
        // What somebody is at is told to stop, and what follows from it is not taken.
        assert!(queue.is_gone(of(1)) && !queue.has_done(1));
        queue.submit(work(1, 9));
        queue.put_back(number, running);
        assert!(queue.has_done(3) && !queue.has_done(4));
        let (number, done, whose) = take(&queue);
        assert_eq!(whose, (2, 0));
        queue.done(number, done.to.origin);
        assert!(queue.has_done(u64::MAX));
        queue.forget(of(2));
        queue.end();
        assert!(queue.take().is_none());
        assert!(lock(&queue.waiting).by_origin.is_empty());
    }
}

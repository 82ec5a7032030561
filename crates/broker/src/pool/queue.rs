//! What waits to be read: a turn for each connection, and one part of one answer a turn.
//!
//! However much one connection asks for, another waits for no more than one part of it. While nobody else
//! waits, several threads read parts of one answer at the same time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

use super::part::{Filled, Part, has_part, is_whole};
use crate::lane::{ColdTask, ColdWork, Origin, ReplyTo};
use crate::mailbox::lock;
use crate::request::Reply;

/// All that waits, and what is being worked on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// What a thread has to do next.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) number: u64,
    pub(super) origin: Origin,
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) enum Job {
    /// A part of an answer; the rest of it stays here, and others may be at other parts.
    Part(Part),
    /// Work that one thread does at a time.
    Whole(ColdWork),
}

#[derive(Debug, Default)]
struct Waiting {
    by_origin: BTreeMap<Origin, OfOrigin>,
    /// Connections with work that waits, each once; one that is gone may still stand here.
    turns: VecDeque<Origin>,
    /// How much was handed in, and the numbers of what is not done yet.
    submitted: u64,
    under_way: BTreeSet<u64>,
    /// How many threads wait for work.
    idle: usize,
    /// Nobody hands in any more.
    ended: bool,
}

#[derive(Debug, Default)]
struct OfOrigin {
    work: VecDeque<(u64, ColdWork)>,
    /// Answers that wait for parts that threads are at.
    parked: BTreeMap<u64, ColdWork>,
    /// How many threads work for it, by the number of the work.
    running: BTreeMap<u64, usize>,
    /// The connection is gone: nobody wants the answers.
    gone: bool,
}

impl OfOrigin {
    /// Takes the next job. The flag: there is more for another thread.
    fn take(&mut self) -> Option<(u64, Job, bool)> {
        let (number, mut work) = self.work.pop_front()?;
        *self.running.entry(number).or_default() += 1;
        let part = match &mut work.task {
            ColdTask::Read(read) => Part::take(read).map(|part| (part, has_part(read))),
            ColdTask::Find(_) | ColdTask::Bury(_) => None,
        };
        let job = match part {
            Some((part, true)) => {
                self.work.push_front((number, work));
                Job::Part(part)
            }
            Some((part, false)) => {
                self.parked.insert(number, work);
                Job::Part(part)
            }
            None => Job::Whole(work),
        };
        Some((number, job, !self.work.is_empty()))
    }

    /// A thread is done with something. Whether others are still at the same work.
    fn left(&mut self, number: u64) -> bool {
        let Some(count) = self.running.get_mut(&number) else {
            return false;
        };
        *count = count.saturating_sub(1);
        let others = *count > 0;
        if !others {
            self.running.remove(&number);
        }
        others
    }

    fn is_over(&self) -> bool {
        self.running.is_empty() && self.work.is_empty() && self.parked.is_empty()
    }
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

    /// Waits for work. None: there is nothing left, and nothing comes.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut guard = lock(&self.waiting);
        loop {
            let waiting = &mut *guard;
            while let Some(origin) = waiting.turns.pop_front() {
                let Some(of_origin) = waiting.by_origin.get_mut(&origin) else {
                    continue;
                };
                let Some((number, job, more)) = of_origin.take() else {
                    continue;
                };
                if more {
                    waiting.turns.push_back(origin);
                    if waiting.idle > 0 {
                        self.more.notify_one();
                    }
                }
                return Some(Taken {
                    number,
                    origin,
                    job,
                });
            }
            if waiting.ended {
                return None;
            }
            waiting.idle += 1;
            guard = self
                .more
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
            guard.idle -= 1;
        }
    }

    /// Puts a part into its answer, which has at most `bytes_max` bytes or one batch; gives the answer if
    /// it is whole.
    pub(super) fn put(
        &self,
        number: u64,
        origin: Origin,
        filled: Filled,
        bytes_max: u32,
    ) -> Option<(ReplyTo, Reply)> {
        let waiting = &mut *lock(&self.waiting);
        let of_origin = waiting.by_origin.get_mut(&origin)?;
        let others = of_origin.left(number);
        if of_origin.gone {
            if !others {
                waiting.under_way.remove(&number);
            }
            if of_origin.is_over() {
                waiting.by_origin.remove(&origin);
            }
            return None;
        }
        let in_line = of_origin.work.iter().position(|(of, _)| *of == number);
        let work = match in_line {
            Some(at) => of_origin.work.remove(at).map(|(_, work)| work),
            None => of_origin.parked.remove(&number),
        };
        let ColdWork {
            to,
            task: ColdTask::Read(mut read),
        } = work?
        else {
            return None;
        };
        read.bytes_max = read.bytes_max.min(u64::from(bytes_max));
        filled.put(&mut read);
        let had_turn = in_line.is_some();
        if is_whole(&read) {
            if had_turn && of_origin.work.is_empty() {
                waiting.turns.retain(|turn| *turn != origin);
            }
            if of_origin.is_over() {
                waiting.by_origin.remove(&origin);
            }
            waiting.under_way.remove(&number);
            return Some((to, Reply::Read(read.outcomes)));
        }
        let has_part = has_part(&read);
        let task = ColdTask::Read(read);
        let work = ColdWork { to, task };
        if has_part {
            of_origin.work.push_front((number, work));
            if of_origin.work.len() == 1 && !had_turn {
                waiting.turns.push_back(origin);
            }
        } else {
            of_origin.parked.insert(number, work);
            if had_turn && of_origin.work.is_empty() {
                waiting.turns.retain(|turn| *turn != origin);
            }
        }
        None
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
        of_origin.left(number);
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
            of_origin.left(number);
            if of_origin.is_over() {
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
        let waits = of_origin.work.drain(..).map(|(number, _)| number);
        for number in waits.filter(|number| !of_origin.running.contains_key(number)) {
            waiting.under_way.remove(&number);
        }
        of_origin.parked.clear();
        of_origin.gone = true;
        if of_origin.is_over() {
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
    use std::sync::Arc;

    use bytes::Bytes;
    use mulgil_log::disk::MemDisk;
    use mulgil_log::store::{StepStore, StoreOptions};
    use mulgil_record::ids::Offset;

    use super::*;
    use crate::lane::{ColdPart, ReadTask};
    use crate::pool::OpenChunks;
    use crate::request::{ReadOut, Ticket};

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
        let Taken { number, job, .. } = queue.take().unwrap();
        let Job::Whole(work) = job else {
            panic!("a search is done by one thread");
        };
        let whose = (work.to.origin.connection, work.to.ticket.0);
        (number, work, whose)
    }

    /// An answer of so many parts of ten bytes each, with room for so many bytes.
    fn read(connection: u64, parts: u8, bytes_max: u64) -> ColdWork {
        let out = || ReadOut {
            high_watermark: Offset::ZERO,
            last_stable: Offset::ZERO,
            log_start: Offset::ZERO,
            batches: Vec::new(),
            diverging: None,
        };
        let missing = (0..parts).map(|part| {
            let batch = Bytes::from(vec![part; 10]);
            (usize::from(part), ColdPart::Memory(batch))
        });
        let task = ColdTask::Read(ReadTask {
            outcomes: (0..parts).map(|_| Ok(out())).collect(),
            missing: missing.collect(),
            bytes: 0,
            bytes_max,
            parts_under_way: 0,
            bytes_under_way: 0,
        });
        let to = work(connection, 1).to;
        ColdWork { to, task }
    }

    fn part(queue: &Queue) -> (u64, Filled) {
        let Taken { number, job, .. } = queue.take().unwrap();
        let Job::Part(part) = job else {
            panic!("an answer is read in parts");
        };
        let ignore = Arc::new(|_said| {});
        let disk = Arc::new(MemDisk::new(1));
        let store = StepStore::new(disk, StoreOptions::default(), ignore);
        let chunks = OpenChunks::new(Arc::new(store));
        (number, part.read(&chunks))
    }

    /// What an answer has of each partition.
    fn bytes(answer: Option<(ReplyTo, Reply)>) -> Vec<Vec<u8>> {
        let Some((_, Reply::Read(outcomes))) = answer else {
            panic!("the answer is whole");
        };
        let all = outcomes.into_iter().map(|out| out.unwrap().batches);
        all.map(|batches| batches.concat()).collect()
    }

    #[test]
    fn parts_of_an_answer_are_read_at_the_same_time_behind_the_first() {
        let queue = Queue::default();
        queue.submit(read(1, 4, 1_000));
        let (number, first) = part(&queue);
        assert_eq!(queue.counts().0, 0, "the first is read alone");
        assert!(queue.put(number, of(1), first, u32::MAX).is_none());
        let (_, second) = part(&queue);
        let (_, third) = part(&queue);
        let (_, fourth) = part(&queue);
        assert!(queue.put(number, of(1), fourth, u32::MAX).is_none());
        assert!(!queue.has_done(1));
        assert!(queue.put(number, of(1), second, u32::MAX).is_none());
        let answer = queue.put(number, of(1), third, u32::MAX);
        assert_eq!(bytes(answer), [0, 1, 2, 3].map(|part| vec![part; 10]));
        assert!(queue.has_done(u64::MAX));
        assert!(lock(&queue.waiting).by_origin.is_empty());
    }

    #[test]
    fn parts_at_the_same_time_have_the_room_that_one_behind_the_other_has() {
        let queue = Queue::default();
        queue.submit(read(1, 4, 25));
        let (number, first) = part(&queue);
        assert!(queue.put(number, of(1), first, u32::MAX).is_none());
        let (_, second) = part(&queue);
        // 10 of 25 bytes are there and 10 set aside: the third waits until it is known what is left.
        assert_eq!(queue.counts().0, 0);
        assert!(queue.put(number, of(1), second, u32::MAX).is_none());
        let (_, third) = part(&queue);
        let answer = queue.put(number, of(1), third, u32::MAX);
        let whole = [vec![0; 10], vec![1; 10], vec![2; 10], vec![]];
        assert_eq!(bytes(answer), whole);
    }

    #[test]
    fn an_answer_that_became_full_meanwhile_is_given_once_all_are_done() {
        let queue = Queue::default();
        queue.submit(read(1, 4, 1_000));
        let (number, first) = part(&queue);
        assert!(queue.put(number, of(1), first, u32::MAX).is_none());
        let (_, second) = part(&queue);
        let (_, third) = part(&queue);
        // Little memory is left by now.
        assert!(queue.put(number, of(1), second, 15).is_none());
        let answer = queue.put(number, of(1), third, 15);
        assert_eq!(bytes(answer).concat().len(), 30);
        queue.submit(work(2, 1));
        assert_eq!(take(&queue).2, (2, 1));
    }

    #[test]
    fn a_connection_that_goes_while_parts_are_read_leaves_nothing() {
        let queue = Queue::default();
        queue.submit(read(1, 4, 1_000));
        let (number, first) = part(&queue);
        assert!(queue.put(number, of(1), first, u32::MAX).is_none());
        let (_, second) = part(&queue);
        let (_, third) = part(&queue);
        queue.forget(of(1));
        assert!(!queue.has_done(1), "somebody is at it");
        assert!(queue.put(number, of(1), second, u32::MAX).is_none());
        assert!(!queue.has_done(1), "somebody is at it still");
        assert!(queue.put(number, of(1), third, u32::MAX).is_none());
        assert!(queue.has_done(u64::MAX));
        assert!(lock(&queue.waiting).by_origin.is_empty());
    }

    #[test]
    fn an_answer_in_parts_and_others_of_its_connection_take_turns_with_the_rest() {
        let queue = Queue::default();
        queue.submit(read(1, 3, 1_000));
        queue.submit(work(1, 2));
        queue.submit(work(2, 7));
        let (number, first) = part(&queue);
        assert!(queue.put(number, of(1), first, u32::MAX).is_none());
        assert_eq!(take(&queue).2, (2, 7));
        let (_, second) = part(&queue);
        let (_, third) = part(&queue);
        assert!(queue.put(number, of(1), second, u32::MAX).is_none());
        assert_eq!(take(&queue).2, (1, 2));
        assert!(queue.put(number, of(1), third, u32::MAX).is_some());
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

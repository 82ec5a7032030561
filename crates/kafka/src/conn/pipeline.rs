//! The requests of a connection that are not finished or not yet sent, oldest first.

use std::collections::VecDeque;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use mulgil_broker::connection::Output;
use mulgil_broker::request::{Reply, Ticket};

use crate::api::{Step, Waiting};
use crate::codec::header::Head;
use crate::figures::KafkaFigures;

/// All unfinished requests.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    slots: VecDeque<Slot>,
    /// Sequence number of the first slot.
    first: u64,
    next_ticket: u64,
}

/// Names a slot while it is away for its next step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

/// A request all of whose replies are there.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) place: Place,
    pub(crate) head: Head,
    pub(crate) waiting: Box<dyn Waiting>,
    pub(crate) replies: Vec<Reply>,
}

#[derive(Debug)]
struct Slot {
    head: Head,
    /// When it was started, microseconds, for its duration.
    began_us: u64,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    Asked(Asked),
    /// Its replies have been taken out by [`Pipeline::take_reply`].
    Away,
    Done(Vec<Bytes>),
}

#[derive(Debug)]
struct Asked {
    waiting: Box<dyn Waiting>,
    first_ticket: u64,
    /// By ticket, from `first_ticket` on.
    replies: Vec<Option<Reply>>,
    /// How many of them are not there yet.
    missing: usize,
}

impl Asked {
    fn place_for(&mut self, ticket: Ticket) -> Option<&mut Option<Reply>> {
        let at = ticket.0.checked_sub(self.first_ticket)?;
        self.replies.get_mut(usize::try_from(at).ok()?)
    }
}

impl Pipeline {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether all unfinished requests are of this kind.
    pub(crate) fn is_all(&self, key: ApiKey) -> bool {
        self.slots.iter().all(|slot| slot.head.key == key)
    }

    /// Bytes of answers that wait for an older one.
    pub(crate) fn held_bytes(&self) -> usize {
        let done = self.slots.iter().map(|slot| match &slot.state {
            SlotState::Done(pieces) => pieces.iter().map(Bytes::len).sum(),
            SlotState::Asked(_) | SlotState::Away => 0,
        });
        done.sum()
    }

    /// Adds a request with its first step.
    pub(crate) fn add(&mut self, head: Head, began_us: u64, step: Step, out: &mut Vec<Output>) {
        let state = self.state_of(step, out);
        self.slots.push_back(Slot {
            head,
            began_us,
            state,
        });
    }

    /// Keeps a reply; gives the request that waited for it, once it has all.
    pub(crate) fn take_reply(&mut self, ticket: Ticket, reply: Reply) -> Option<Ready> {
        let mut found = None;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if let SlotState::Asked(asked) = &mut slot.state
                && let Some(place) = asked.place_for(ticket)
            {
                if place.replace(reply).is_none() {
                    asked.missing -= 1;
                }
                found = (asked.missing == 0).then_some((at, slot));
                break;
            }
        }
        let (at, slot) = found?;
        let SlotState::Asked(asked) = std::mem::replace(&mut slot.state, SlotState::Away) else {
            return None;
        };
        let at = u64::try_from(at).ok()?;
        Some(Ready {
            place: Place(self.first + at),
            head: slot.head.clone(),
            waiting: asked.waiting,
            replies: asked.replies.into_iter().flatten().collect(),
        })
    }

    /// Goes on with a request that [`Self::take_reply`] gave.
    pub(crate) fn put_back(&mut self, place: Place, step: Step, out: &mut Vec<Output>) {
        let state = self.state_of(step, out);
        let at = usize::try_from(place.0 - self.first).ok();
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            slot.state = state;
        }
    }

    /// Sends the answers of finished requests up to the first unfinished one, and says how many bytes.
    pub(crate) fn send_finished(&mut self, out: &mut Vec<Output>, figures: &KafkaFigures) -> usize {
        let mut sent = 0;
        while let Some(Slot {
            state: SlotState::Done(_),
            ..
        }) = self.slots.front()
        {
            let Some(Slot {
                head,
                began_us,
                state: SlotState::Done(pieces),
            }) = self.slots.pop_front()
            else {
                break;
            };
            self.first += 1;
            figures.answered(head.key, began_us);
            for piece in pieces {
                sent += piece.len();
                out.push(Output::Send(piece));
            }
        }
        sent
    }

    fn state_of(&mut self, step: Step, out: &mut Vec<Output>) -> SlotState {
        match step {
            Step::Done(pieces) => SlotState::Done(pieces),
            Step::Ask(requests, waiting) => {
                let first_ticket = self.next_ticket;
                let missing = requests.len();
                let replies = requests.iter().map(|_| None).collect();
                for request in requests {
                    out.push(Output::Ask(self.ticket(), request));
                }
                SlotState::Asked(Asked {
                    waiting,
                    first_ticket,
                    replies,
                    missing,
                })
            }
        }
    }

    const fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }
}

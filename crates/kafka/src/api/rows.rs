//! Requests that ask for many things and are answered with a row for each: some are refused here, and the
//! others are asked of the broker, which answers them in that order.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::to_wire::message;
use crate::wire_errors::NONE;

/// A refusal: its code and what to tell.
pub(super) type Refused = (ResponseError, String);

/// The rows of an answer, while the broker is asked for some of them. `T` is what each is about.
#[derive(Debug)]
pub(super) struct Rows<T> {
    rows: Vec<(T, Result<(), Refused>)>,
    /// The row of each that was asked.
    asked: Vec<usize>,
}

impl<T> Rows<T> {
    /// For so many rows.
    pub(super) fn of(count: usize) -> Self {
        Self {
            rows: Vec::with_capacity(count),
            asked: Vec::new(),
        }
    }

    /// Adds a row. Gives what to ask the broker for it, if it is not refused.
    pub(super) fn add<Ask>(&mut self, what: T, checked: Result<Ask, Refused>) -> Option<Ask> {
        let (ask, outcome) = match checked {
            Ok(ask) => (Some(ask), Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        if ask.is_some() {
            self.asked.push(self.rows.len());
        }
        self.rows.push((what, outcome));
        ask
    }

    /// Takes the broker's answers, in the order in which it was asked; `refused` says how a refusal is told.
    pub(super) fn fill<Done, Why>(
        &mut self,
        outcomes: impl IntoIterator<Item = Result<Done, Why>>,
        refused: impl Fn(&T, Why) -> Refused,
    ) {
        for (at, outcome) in self.asked.iter().zip(outcomes) {
            if let Some((what, row)) = self.rows.get_mut(*at) {
                *row = outcome.map(|_done| ()).map_err(|why| refused(what, why));
            }
        }
    }

    /// Each row with the code and the message to tell.
    pub(super) fn told(self) -> impl Iterator<Item = (T, i16, Option<StrBytes>)> {
        self.rows.into_iter().map(|(what, outcome)| match outcome {
            Ok(()) => (what, NONE, None),
            Err((error, why)) => (what, error.code(), message(&why)),
        })
    }
}

/// Topics that are asked for, each name once and in the order in which they come first. One that is
/// named more often is refused, as in `ReplicationControlManager`.
pub(super) fn each_topic_once<T>(
    topics: Vec<T>,
    name: impl Fn(&T) -> &TopicName,
) -> Vec<(T, Result<(), Refused>)> {
    let mut counts = BTreeMap::new();
    for topic in &topics {
        *counts.entry(name(topic).clone()).or_insert(0_u32) += 1;
    }
    let once = topics.into_iter().filter_map(|topic| {
        let named = match counts.remove(name(&topic))? {
            1 => Ok(()),
            _ => Err((
                ResponseError::InvalidRequest,
                "duplicate topic name".to_owned(),
            )),
        };
        Some((topic, named))
    });
    once.collect()
}

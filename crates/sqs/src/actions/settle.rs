//! Messages are deleted, and their visibility is changed.

use mulgil_broker::subscription::{
    Browse, Claim, Outcome, RecordState, Settle, SettleRefusal, Settlement, SubscriptionRef,
    SubscriptionReply, SubscriptionRequest,
};
use serde_json::{Value, json};

use super::batch;
use super::receive::{LOCK_MAX, LOCK_OPEN};
use crate::door::{Caller, Door, Queue, refused, unexpected};
use crate::fault::{Fault, Kind};
use crate::handle::Handle;
use crate::input::{Parameters, invalid, missing, number, required};

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Delete,
    Visible { after_ms: u32 },
}

/// A message, and what is to be done with it.
struct Asked<'a> {
    text: &'a str,
    handle: Handle,
    wish: Wish,
}

impl Door {
    pub(crate) async fn delete_message(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let asked = self.asked(with, &queue, false)?;
        self.settle_one(&queue, asked).await
    }

    pub(crate) async fn change_visibility(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let asked = self.asked(with, &queue, true)?;
        self.settle_one(&queue, asked).await
    }

    pub(crate) async fn delete_messages(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        self.batch(with, caller, "DeleteMessageBatchRequestEntry", false)
            .await
    }

    pub(crate) async fn change_visibilities(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        self.batch(
            with,
            caller,
            "ChangeMessageVisibilityBatchRequestEntry",
            true,
        )
        .await
    }

    async fn settle_one(&self, queue: &Queue, asked: Asked<'_>) -> Result<Value, Fault> {
        let settled = self.settle(queue, &[asked]).await?;
        settled
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(unexpected()))
    }

    async fn batch(
        &self,
        with: &Parameters,
        caller: &Caller,
        what: &str,
        visibility: bool,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let entries = batch::read(with, what, self.is_open())?;
        let (mut going, mut outcomes) = (Vec::new(), Vec::with_capacity(entries.len()));
        for entry in &entries {
            let outcome = match self.asked(entry.with, &queue, visibility) {
                Ok(asked) => {
                    going.push((outcomes.len(), asked));
                    // Until the broker says otherwise.
                    Err(unexpected())
                }
                Err(fault) => Err(fault),
            };
            outcomes.push((entry.id, outcome));
        }
        if !going.is_empty() {
            let (places, going): (Vec<_>, Vec<_>) = going.into_iter().unzip();
            let settled = self.settle(&queue, &going).await?;
            for (place, one) in places.into_iter().zip(settled) {
                if let Some((_, outcome)) = outcomes.get_mut(place) {
                    *outcome = one;
                }
            }
        }
        Ok(batch::answer(outcomes))
    }

    /// What is asked of one message.
    fn asked<'a>(
        &self,
        with: &'a Parameters,
        queue: &Queue,
        visibility: bool,
    ) -> Result<Asked<'a>, Fault> {
        let text = required(with, "ReceiptHandle")?;
        let handle = Handle::read(text, &self.secret);
        let handle = handle.filter(|handle| handle.receipt.subscription == queue.subscription.id);
        let handle = handle.ok_or_else(|| {
            let shown = text.get(..256).unwrap_or(text);
            let message =
                format!("The input receipt handle \"{shown}\" is not a valid receipt handle.");
            Fault::new(Kind::ReceiptHandleIsInvalid, message)
        })?;
        let wish = if visibility {
            Wish::Visible {
                after_ms: self.visible_after(with, &handle)?,
            }
        } else {
            Wish::Delete
        };
        Ok(Asked { text, handle, wish })
    }

    fn visible_after(&self, with: &Parameters, handle: &Handle) -> Result<u32, Fault> {
        const NAME: &str = "VisibilityTimeout";
        let seconds = number(with, NAME)?.ok_or_else(|| missing(NAME))?;
        let most = if self.is_open() { LOCK_OPEN } else { LOCK_MAX };
        if !(0..=most).contains(&seconds) {
            let reason = format!("{NAME} must be an integer between 0 and {most}");
            return Err(invalid(NAME, &seconds.to_string(), &reason));
        }
        let held_ms = self.wall_ms().saturating_sub(handle.received_ms);
        let held = i64::try_from(held_ms / 1_000).unwrap_or(i64::MAX);
        if !self.is_open() && seconds > 0 && held.saturating_add(seconds) > most {
            let reason =
                format!("Total {NAME} for the message is beyond the limit [{most} seconds]");
            return Err(invalid(NAME, &seconds.to_string(), &reason));
        }
        Ok(u32::try_from(seconds * 1_000).unwrap_or(u32::MAX))
    }

    /// Does what is asked of some messages; what is answered of each.
    async fn settle(
        &self,
        queue: &Queue,
        asked: &[Asked<'_>],
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let items = asked.iter().map(|one| {
            let epoch = one.handle.receipt.epoch;
            let (claim, outcome) = match one.wish {
                // An old handle still deletes; of a FIFO queue only the one that holds.
                Wish::Delete if !queue.fifo => (Claim::OldReceipt(epoch), Outcome::Accept),
                Wish::Delete => (Claim::Receipt(epoch), Outcome::Accept),
                Wish::Visible { after_ms: 0 } => {
                    let outcome = Outcome::Release {
                        failed: false,
                        not_before: None,
                    };
                    (Claim::Receipt(epoch), outcome)
                }
                Wish::Visible { after_ms } => {
                    let outcome = Outcome::Renew { lock_ms: after_ms };
                    (Claim::Receipt(epoch), outcome)
                }
            };
            Settlement {
                claim,
                ..Settlement::of(one.handle.receipt, outcome)
            }
        });
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: SubscriptionRef::Id(queue.subscription.id),
            items: items.collect(),
        });
        let SubscriptionReply::Settled(settled) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let settled = settled.map_err(|why| refused(&why))?;
        let mut outcomes = Vec::with_capacity(asked.len());
        for (one, outcome) in asked.iter().zip(settled) {
            outcomes.push(match outcome {
                Ok(()) => Ok(json!({})),
                Err(why) => self.not_settled(queue, one, &why).await,
            });
        }
        Ok(outcomes)
    }

    /// What is answered of a message that is not held by its handle any more.
    async fn not_settled(
        &self,
        queue: &Queue,
        asked: &Asked<'_>,
        why: &SettleRefusal,
    ) -> Result<Value, Fault> {
        match why {
            SettleRefusal::Queue(_) => {}
            SettleRefusal::UnknownPartition(_) => return Ok(json!({})),
            SettleRefusal::Words { .. } | SettleRefusal::Lock(_) => {
                return Err(Fault::new(Kind::InvalidParameterValue, format!("{why}.")));
            }
        }
        let there = self.is_there(queue, asked).await?;
        let bad = |reason: &str| Err(invalid("ReceiptHandle", asked.text, reason));
        match (asked.wish, there, queue.fifo) {
            // What is gone is deleted.
            (Wish::Delete, false, _) | (Wish::Delete, true, false) => Ok(json!({})),
            (Wish::Visible { .. }, false, _) => {
                bad("Message does not exist or is not available for visibility timeout change.")
            }
            (_, true, true) => bad("The receipt handle has expired."),
            // As AWS answers of a message that somebody else may have got by now.
            (Wish::Visible { .. }, true, false) => Ok(json!({})),
        }
    }

    /// Whether a message is still there, whoever holds it.
    async fn is_there(&self, queue: &Queue, asked: &Asked<'_>) -> Result<bool, Fault> {
        let receipt = asked.handle.receipt;
        let ask = SubscriptionRequest::Browse(Browse {
            subscription: SubscriptionRef::Id(queue.subscription.id),
            partition: Some(receipt.partition),
            from: receipt.offset,
            most: 1,
        });
        let SubscriptionReply::Browsed(browsed) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let browsed = browsed.map_err(|why| refused(&why))?;
        let first = browsed.records.first();
        Ok(first
            .is_some_and(|one| one.offset == receipt.offset && one.state != RecordState::Settled))
    }
}

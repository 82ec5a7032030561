//! What came of records, by their receipts.

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Outcome as OutcomeModel, Settlement as SettlementModel};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::Which;
use mulgil_broker::subscription::{
    Outcome, Receipt, Settle, Settlement, SubscriptionRef, SubscriptionReply, SubscriptionRequest,
};
use mulgil_core::machine::WallTime;
use mulgil_meta::subscription::LONGEST_MS;
use mulgil_record::ids::SubscriptionId;

use super::LocalBackend;
use crate::backend::refusals::{settle_refusal, subscription_refusal, unexpected};

impl LocalBackend {
    pub(super) async fn settle_all(
        &self,
        which: Which<'_>,
        settlements: Vec<SettlementModel>,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let (subscription, _) = self.find_queue(which)?;
        let now = self.broker.now().wall;
        let mut results = Vec::with_capacity(settlements.len());
        let (mut items, mut places) = (Vec::new(), Vec::new());
        for (place, one) in settlements.into_iter().enumerate() {
            match settlement(subscription.id, one, now) {
                Ok(item) => {
                    items.push(item);
                    places.push(place);
                    // Until the lane says otherwise.
                    results.push(Err(unexpected()));
                }
                Err(refusal) => results.push(Err(refusal)),
            }
        }
        if items.is_empty() {
            return Ok(results);
        }
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: SubscriptionRef::Id(subscription.id),
            items,
        });
        let SubscriptionReply::Settled(settled) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let settled = settled.map_err(|why| subscription_refusal(&why, which.name))?;
        for (place, outcome) in places.into_iter().zip(settled) {
            if let Some(result) = results.get_mut(place) {
                *result = outcome.map_err(|why| settle_refusal(&why));
            }
        }
        Ok(results)
    }
}

fn settlement(
    subscription: SubscriptionId,
    one: SettlementModel,
    now: WallTime,
) -> Result<Settlement, Refusal> {
    let bad = |why: String| Refusal::new(Code::BadReceipt, why);
    let receipt: Receipt = { one.receipt.parse() }.map_err(|why| bad(format!("{why}")))?;
    if receipt.subscription != subscription {
        return Err(bad("another queue or subscription gave it".to_owned()));
    }
    Ok(Settlement::of(receipt, outcome(one.outcome, now)?))
}

fn outcome(outcome: OutcomeModel, now: WallTime) -> Result<Outcome, Refusal> {
    Ok(match outcome {
        OutcomeModel::Accept => Outcome::Accept,
        OutcomeModel::Release {
            failed,
            at,
            delay_ms,
        } => {
            // A time that has passed is now.
            let at = at.map(|at| u64::try_from(at.0).unwrap_or(0));
            let not_before = at.or_else(|| delay_ms.map(|ms| now.0.saturating_add(ms)));
            if not_before.is_some_and(|at| at.saturating_sub(now.0) > LONGEST_MS) {
                let detail = "a record can be released for at most 100 years later";
                return Err(Refusal::new(Code::SubscriptionSetting, detail));
            }
            Outcome::Release {
                failed,
                not_before: not_before.map(WallTime),
            }
        }
        OutcomeModel::Reject { words } => Outcome::Reject {
            words: words.map(Into::into),
        },
        OutcomeModel::Renew { lock_ms } => Outcome::Renew { lock_ms },
    })
}

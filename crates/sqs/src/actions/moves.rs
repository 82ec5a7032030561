//! Tasks that move messages out of a dead-letter queue.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::door::{Door, MoveRefusal, MoveState, MoveTask, Queue};
use crate::fault::{Fault, Kind};
use crate::input::{Parameters, invalid, required, text, within};
use crate::names;

/// Most messages a second (API reference, `StartMessageMoveTask`).
const RATE_MAX: i64 = 500;
const RATE_OPEN: i64 = 1_000_000;
const LIST_MAX: i64 = 10;

impl Door {
    /// The queue of an ARN.
    fn of_arn(&self, arn: &str, parameter: &str) -> Result<Queue, Fault> {
        let name = self.owner().queue_of(arn);
        let name = name.ok_or_else(|| {
            let message = "You must use this format to specify the SourceArn: \
                arn:<partition>:<service>:<region>:<account-id>:<resource-id>";
            Fault::new(
                Kind::InvalidParameterValue,
                message.replace("SourceArn", parameter),
            )
        })?;
        let found = self.named(&self.broker.catalog(), name);
        found.ok_or_else(|| {
            let message = format!(
                "The resource that you specified for the {parameter} parameter doesn't exist."
            );
            Fault::new(Kind::ResourceNotFound, message)
        })
    }

    pub(crate) async fn start_move(&self, with: &Parameters) -> Result<Value, Fault> {
        let arn = required(with, "SourceArn")?;
        let source = self.of_arn(arn, "SourceArn")?;
        let to = match text(with, "DestinationArn")? {
            Some(arn) => Some(self.of_arn(arn, "DestinationArn")?),
            None => None,
        };
        let most = if self.is_open() { RATE_OPEN } else { RATE_MAX };
        let reason = format!("Must be between 1 and {most}, if provided.");
        let rate = within(with, "MaxNumberOfMessagesPerSecond", (1, most), &reason)?;
        let catalog = self.broker.catalog();
        let mut all = catalog.subscriptions.after(None);
        let dead = Some(source.topic.id);
        if !all.any(|one| one.settings.dead_letter == dead) {
            let message = "Source queue must be configured as a Dead Letter Queue.";
            return Err(Fault::new(Kind::InvalidParameterValue, message));
        }
        let to_topic = to.as_ref().map(|to| &*to.topic.name.name);
        let rate = rate.and_then(|rate| u32::try_from(rate).ok());
        let begun = self
            .moves()?
            .begin(&source.subscription.name.name, to_topic, rate);
        let id = begun.await.map_err(|why| match why {
            MoveRefusal::Runs(_) => {
                let message = "There is already a task running. Only one active task is allowed for a \
                    source queue arn at a given time.";
                Fault::new(Kind::InvalidParameterValue, message)
            }
            MoveRefusal::Other(why) => Fault::new(Kind::UnsupportedOperation, why),
        })?;
        Ok(json!({ "TaskHandle": handle(id, arn) }))
    }

    pub(crate) fn cancel_move(&self, with: &Parameters) -> Result<Value, Fault> {
        let text = required(with, "TaskHandle")?;
        let bad = || invalid("TaskHandle", text, "It was not given by this service.");
        let read = STANDARD.decode(text).map_err(|_no_base64| bad())?;
        let read: Value = serde_json::from_slice(&read).map_err(|_no_json| bad())?;
        let id = read.get("taskId").and_then(Value::as_u64).ok_or_else(bad)?;
        let gone = || Fault::new(Kind::ResourceNotFound, "Task does not exist.");
        let known = self.moves()?.list().into_iter().find(|task| task.id == id);
        let known = known.ok_or_else(gone)?;
        if known.state != MoveState::Running {
            let message = "Only active tasks can be cancelled";
            return Err(Fault::new(Kind::UnsupportedOperation, message));
        }
        let task = self.moves()?.cancel(id).ok_or_else(gone)?;
        Ok(json!({ "ApproximateNumberOfMessagesMoved": task.moved }))
    }

    pub(crate) fn list_moves(&self, with: &Parameters) -> Result<Value, Fault> {
        let arn = required(with, "SourceArn")?;
        let source = self.of_arn(arn, "SourceArn")?;
        let reason = "Value for parameter MaxResults must be between 1 and 10.";
        let most = within(with, "MaxResults", (1, LIST_MAX), reason)?.unwrap_or(1);
        let most = usize::try_from(most).unwrap_or(1);
        let own = &*source.subscription.name.name;
        let all = self.moves()?.list();
        let all = { all.iter().rev() }.filter(|task| task.subscription == own);
        let told: Vec<_> = all.take(most).map(|task| self.told_of(task, arn)).collect();
        Ok(json!({ "Results": told }))
    }

    fn told_of(&self, task: &MoveTask, arn: &str) -> Value {
        let mut told = Map::new();
        let mut put = |name: &str, value: Value| {
            told.insert(name.to_owned(), value);
        };
        if task.state == MoveState::Running {
            put("TaskHandle", handle(task.id, arn).into());
        }
        let state = match task.state {
            MoveState::Running => "RUNNING",
            MoveState::Completed => "COMPLETED",
            MoveState::Cancelled => "CANCELLED",
            MoveState::Failed => "FAILED",
        };
        put("Status", state.into());
        put("SourceArn", arn.into());
        if let Some(to) = &task.to {
            let name = names::of_subscription(to).unwrap_or_else(|| to.clone());
            put("DestinationArn", self.owner().arn(&name).into());
        }
        if let Some(rate) = task.rate {
            put("MaxNumberOfMessagesPerSecond", rate.into());
        }
        put("ApproximateNumberOfMessagesMoved", task.moved.into());
        put("ApproximateNumberOfMessagesToMove", task.total.into());
        if let Some(error) = &task.error {
            put("FailureReason", error.as_str().into());
        }
        put("StartedTimestamp", task.started_ms.into());
        told.into()
    }
}

fn handle(id: u64, arn: &str) -> String {
    STANDARD.encode(json!({ "taskId": id, "sourceArn": arn }).to_string())
}

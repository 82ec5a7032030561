//! Permissions: statements of the queue's access policy.
//!
//! There is one account here, and who may ask at all may do everything. So a policy is kept and told, and
//! grants nobody anything.

use mulgil_broker::meta::settings::{Edit, Operation};
use serde_json::{Map, Value, json};

use crate::attributes::value_of;
use crate::door::{Caller, Door, Queue};
use crate::fault::{Fault, Kind};
use crate::input::{Parameters, invalid, required, texts};

const SETTING: &str = "sqs.policy";
/// Most actions of a statement, and most statements (API reference, `AddPermission`).
const ACTIONS_MAX: usize = 7;
const STATEMENTS_MAX: usize = 20;
const LABEL_MAX: usize = 80;

/// Actions that may be granted to others.
const ACTIONS: [&str; 7] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ReceiveMessage",
    "SendMessage",
];

fn policy(queue: &Queue, arn: &str) -> Map<String, Value> {
    let own = serde_json::from_str(value_of(&queue.topic, SETTING)).ok();
    own.unwrap_or_else(|| {
        let mut fresh = Map::new();
        fresh.insert("Version".to_owned(), "2012-10-17".into());
        fresh.insert("Id".to_owned(), format!("{arn}/SQSDefaultPolicy").into());
        fresh
    })
}

/// The statements of a policy, which may be one that is no list.
fn statements(policy: &Map<String, Value>) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

fn is_labelled(statement: &Value, label: &str) -> bool {
    statement.get("Sid").and_then(Value::as_str) == Some(label)
}

fn edit(policy: Option<Map<String, Value>>) -> Edit {
    let operation = policy.map_or(Operation::Unset, |policy| {
        Operation::Set(Value::Object(policy).to_string().into())
    });
    Edit {
        name: SETTING.into(),
        operation,
    }
}

impl Door {
    pub(crate) async fn add_permission(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let label = label(with)?;
        let accounts = texts(with, "AWSAccountIds")?;
        let actions = texts(with, "Actions")?;
        if accounts.is_empty() {
            return Err(crate::input::missing("AWSAccountIds"));
        }
        if actions.is_empty() {
            return Err(crate::input::missing("Actions"));
        }
        let is_account =
            |one: &&str| one.len() == 12 && one.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(bad) = accounts.iter().find(|one| !is_account(one)) {
            let reason = "[Unable to verify]";
            return Err(invalid("PrincipalId", bad, reason));
        }
        if actions.len() > ACTIONS_MAX {
            let message = format!(
                "{} Actions were found, maximum allowed is {ACTIONS_MAX}.",
                actions.len()
            );
            return Err(Fault::new(Kind::OverLimit, message));
        }
        if let Some(bad) = actions.iter().find(|action| !ACTIONS.contains(action)) {
            let reason = "Only the queue owner is allowed to invoke this action.";
            return Err(invalid("ActionName", &format!("SQS:{bad}"), reason));
        }
        let _one_at_a_time = self.altering.lock().await;
        let queue = self.queue(with, caller)?;
        let arn = self.owner().arn(&queue.name);
        let mut policy = policy(&queue, &arn);
        let mut all = statements(&policy);
        if all.iter().any(|one| is_labelled(one, label)) {
            return Err(invalid("Label", label, "Already exists."));
        }
        if all.len() >= STATEMENTS_MAX {
            let message = format!("{STATEMENTS_MAX} statements are there, more are not possible.");
            return Err(Fault::new(Kind::OverLimit, message));
        }
        let principals = { accounts.iter() }.map(|one| format!("arn:aws:iam::{one}:root"));
        let granted = actions.iter().map(|action| format!("SQS:{action}"));
        all.push(json!({
            "Sid": label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_all(principals.collect()) },
            "Action": one_or_all(granted.collect()),
            "Resource": arn,
        }));
        policy.insert("Statement".to_owned(), all.into());
        self.alter_topic(&queue, vec![edit(Some(policy))]).await?;
        Ok(json!({}))
    }

    pub(crate) async fn remove_permission(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let label = label(with)?;
        let _one_at_a_time = self.altering.lock().await;
        let queue = self.queue(with, caller)?;
        let mut policy = policy(&queue, &self.owner().arn(&queue.name));
        let mut all = statements(&policy);
        let before = all.len();
        all.retain(|one| !is_labelled(one, label));
        if all.len() == before {
            let reason = "can't find label on existing policy.";
            return Err(invalid("Label", label, reason));
        }
        let rest = (!all.is_empty()).then(|| {
            policy.insert("Statement".to_owned(), all.into());
            policy
        });
        self.alter_topic(&queue, vec![edit(rest)]).await?;
        Ok(json!({}))
    }
}

fn label(with: &Parameters) -> Result<&str, Fault> {
    let label = required(with, "Label")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if label.len() > LABEL_MAX || !label.bytes().all(plain) {
        let reason =
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(invalid("Label", label, reason));
    }
    Ok(label)
}

/// As AWS writes it: one alone is no list.
fn one_or_all(mut all: Vec<String>) -> Value {
    match (all.len(), all.pop()) {
        (1, Some(one)) => one.into(),
        (_, last) => {
            all.extend(last);
            all.into()
        }
    }
}

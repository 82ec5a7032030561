//! Tags of queues: a JSON object in one of the topic's settings.

use mulgil_broker::meta::settings::{Edit, Operation};
use serde_json::{Map, Value, json};

use crate::attributes::value_of;
use crate::door::{Caller, Door, Queue};
use crate::fault::{Fault, Kind};
use crate::input::{Parameters, invalid, pairs, texts};

const SETTING: &str = "sqs.tags";
/// Most tags of a queue, and how long their parts are (developer guide, "Quotas").
const TAGS_MAX: usize = 50;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

fn tags(queue: &Queue) -> Map<String, Value> {
    serde_json::from_str(value_of(&queue.topic, SETTING)).unwrap_or_default()
}

fn edit(tags: &Map<String, Value>) -> Edit {
    let operation = if tags.is_empty() {
        Operation::Unset
    } else {
        Operation::Set(Value::Object(tags.clone()).to_string().into())
    };
    Edit {
        name: SETTING.into(),
        operation,
    }
}

impl Door {
    /// The edit that adds tags to those there are; none if none are asked for.
    pub(super) fn tags_of(
        &self,
        before: &Map<String, Value>,
        asked: &[(&str, &str)],
    ) -> Result<Option<Edit>, Fault> {
        if asked.is_empty() {
            return Ok(None);
        }
        let mut all = before.clone();
        for (key, value) in asked {
            let (keys, values) = (key.chars().count(), value.chars().count());
            if !(1..=KEY_MAX).contains(&keys) || values > VALUE_MAX {
                let reason = "Tag keys have 1 to 128 characters, tag values at most 256.";
                return Err(invalid("Tags", key, reason));
            }
            if key.to_ascii_lowercase().starts_with("aws:") {
                let reason = "Tag keys must not begin with aws:.";
                return Err(invalid("Tags", key, reason));
            }
            all.insert((*key).to_owned(), (*value).into());
        }
        if all.len() > TAGS_MAX && !self.is_open() {
            let message =
                format!("Too many tags added for queue: at most {TAGS_MAX} are possible.");
            return Err(Fault::new(Kind::InvalidParameterValue, message));
        }
        Ok(Some(edit(&all)))
    }

    pub(crate) async fn tag_queue(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let asked = pairs(with, "Tags")?;
        let _one_at_a_time = self.altering.lock().await;
        let queue = self.queue(with, caller)?;
        let edit = self.tags_of(&tags(&queue), &asked)?;
        let edit = edit.ok_or_else(|| crate::input::missing("Tags"))?;
        self.alter_topic(&queue, vec![edit]).await?;
        Ok(json!({}))
    }

    pub(crate) async fn untag_queue(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let keys = texts(with, "TagKeys")?;
        if keys.is_empty() {
            return Err(crate::input::missing("TagKeys"));
        }
        let _one_at_a_time = self.altering.lock().await;
        let queue = self.queue(with, caller)?;
        let mut all = tags(&queue);
        all.retain(|key, _| !keys.contains(&key.as_str()));
        self.alter_topic(&queue, vec![edit(&all)]).await?;
        Ok(json!({}))
    }

    pub(crate) fn list_tags(&self, with: &Parameters, caller: &Caller) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let all = tags(&queue);
        Ok(if all.is_empty() {
            json!({})
        } else {
            json!({ "Tags": all })
        })
    }
}

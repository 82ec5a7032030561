//! Answers in XML, as the Query protocol has them, from what the JSON protocol says.
//!
//! Lists are flat: each item is an element with a name of its own. Maps are flat, too, each entry with its key and
//! value. Members of any action are called alike, so that one table has all of them.

use serde_json::Value;

use crate::fault::{NAMESPACE, escaped};

/// How a member is written.
enum Form {
    /// An element of its name.
    Plain,
    /// Its items, each called so.
    Items(&'static str),
    /// Its entries, each called so, with the names of their key and value.
    Entries(&'static str, &'static str),
}

fn form(action: &str, member: &str) -> Form {
    match member {
        "QueueUrls" | "queueUrls" => Form::Items("QueueUrl"),
        "Messages" => Form::Items("Message"),
        "Failed" => Form::Items("BatchResultErrorEntry"),
        "Results" => Form::Items("ListMessageMoveTasksResultEntry"),
        "Successful" => Form::Items(match action {
            "SendMessageBatch" => "SendMessageBatchResultEntry",
            "DeleteMessageBatch" => "DeleteMessageBatchResultEntry",
            _ => "ChangeMessageVisibilityBatchResultEntry",
        }),
        "Attributes" => Form::Entries("Attribute", "Name"),
        "MessageAttributes" => Form::Entries("MessageAttribute", "Name"),
        "Tags" => Form::Entries("Tag", "Key"),
        _ => Form::Plain,
    }
}

/// The answer to an action.
#[must_use]
pub fn xml(action: &str, answer: &Value, request: &str) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\"?>");
    out.push_str(&format!("<{action}Response xmlns=\"{NAMESPACE}\">"));
    // Actions that answer nothing have no result.
    if has_result(action) {
        out.push_str(&format!("<{action}Result>"));
        members(&mut out, action, answer);
        out.push_str(&format!("</{action}Result>"));
    }
    out.push_str(&format!(
        "<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{action}Response>",
        escaped(request)
    ));
    out
}

fn has_result(action: &str) -> bool {
    !matches!(
        action,
        "AddPermission"
            | "ChangeMessageVisibility"
            | "DeleteMessage"
            | "DeleteQueue"
            | "PurgeQueue"
            | "RemovePermission"
            | "SetQueueAttributes"
            | "TagQueue"
            | "UntagQueue"
    )
}

fn members(out: &mut String, action: &str, of: &Value) {
    for (name, value) in of.as_object().into_iter().flatten() {
        match form(action, name) {
            Form::Plain => element(out, action, name, value),
            Form::Items(item) => {
                for one in value.as_array().into_iter().flatten() {
                    element(out, action, item, one);
                }
            }
            Form::Entries(entry, key_name) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    out.push_str(&format!(
                        "<{entry}><{key_name}>{}</{key_name}>",
                        escaped(key)
                    ));
                    element(out, action, "Value", value);
                    out.push_str(&format!("</{entry}>"));
                }
            }
        }
    }
}

fn element(out: &mut String, action: &str, name: &str, value: &Value) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    match value {
        Value::Object(_) => members(out, action, value),
        Value::String(text) => out.push_str(&escaped(text)),
        Value::Null | Value::Array(_) => {}
        plain @ (Value::Bool(_) | Value::Number(_)) => out.push_str(&plain.to_string()),
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_flat_in_xml() {
        let answer = json!({"Messages": [{
            "MessageId": "m",
            "Body": "<a>\n",
            "Attributes": {"SentTimestamp": "5"},
            "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "7"}},
        }]});
        assert_eq!(
            xml("ReceiveMessage", &answer, "r"),
            "<?xml version=\"1.0\"?><ReceiveMessageResponse \
             xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><ReceiveMessageResult><Message>\
             <Attribute><Name>SentTimestamp</Name><Value>5</Value></Attribute>\
             <Body>&lt;a&gt;&#xA;</Body>\
             <MessageAttribute><Name>n</Name><Value><DataType>Number</DataType>\
             <StringValue>7</StringValue></Value></MessageAttribute><MessageId>m</MessageId></Message>\
             </ReceiveMessageResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </ReceiveMessageResponse>"
        );
    }

    #[test]
    fn what_answers_nothing_has_no_result() {
        assert_eq!(
            xml("DeleteQueue", &json!({}), "r"),
            "<?xml version=\"1.0\"?><DeleteQueueResponse \
             xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><ResponseMetadata><RequestId>r\
             </RequestId></ResponseMetadata></DeleteQueueResponse>"
        );
        let batch = json!({
            "Successful": [{"Id": "a"}],
            "Failed": [{"Id": "b", "SenderFault": true, "Code": "C", "Message": "M"}],
        });
        let said = xml("DeleteMessageBatch", &batch, "r");
        assert!(
            said.contains(
                "<BatchResultErrorEntry><Code>C</Code><Id>b</Id><Message>M</Message>\
             <SenderFault>true</SenderFault></BatchResultErrorEntry>\
             <DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry>"
            ),
            "{said}"
        );
    }
}

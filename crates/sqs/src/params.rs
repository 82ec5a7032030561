//! Requests, from either protocol in the form of the JSON one, so that what follows is written once.
//!
//! The Query protocol says lists and maps by numbered names: `Attribute.1.Name=DelaySeconds` and
//! `Attribute.1.Value=5` are what `{"Attributes": {"DelaySeconds": "5"}}` is in JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::fault::{Fault, Kind};

/// Most parameters of one Query request; a full batch with all attributes has about 700.
pub const PARAMETERS_MAX: usize = 2_000;
/// Most values of one request in JSON: each takes some tens of bytes once it is read, however short it is written. A
/// batch of a thousand messages with ten attributes each has about 60,000.
pub const VALUES_MAX: usize = 100_000;
/// Most parts of a parameter's name: `SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue`.
pub const DEPTH_MAX: usize = 8;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What is to be done.
    pub action: String,
    /// With what, as the JSON protocol has it.
    pub parameters: Map<String, Value>,
}

/// Reads a request of the JSON protocol: the header `X-Amz-Target` and the body. An empty one is `{}`.
///
/// # Errors
///
/// [`Kind::InvalidAction`] and [`Kind::MalformedInput`].
pub fn from_json(target: &str, body: &[u8]) -> Result<Asked, Fault> {
    let action = target.strip_prefix("AmazonSQS.");
    let action = action.filter(|action| is_name(action)).ok_or_else(|| {
        let message = "The header X-Amz-Target must be AmazonSQS.<Action>.";
        Fault::new(Kind::InvalidAction, message)
    })?;
    let parameters = if body.is_empty() {
        Map::new()
    } else if values(body) > VALUES_MAX {
        let message = format!("A request has at most {VALUES_MAX} values.");
        return Err(malformed(message));
    } else {
        let parsed = serde_json::from_slice(body);
        parsed.map_err(|error| Fault::new(Kind::MalformedInput, error.to_string()))?
    };
    Ok(Asked {
        action: action.to_owned(),
        parameters,
    })
}

/// Reads a request of the Query protocol: the query of the URL, or the form in the body.
///
/// # Errors
///
/// [`Kind::MissingParameter`] without an action, [`Kind::InvalidAction`], [`Kind::InvalidParameterValue`]
/// for what is no number where one belongs, [`Kind::MalformedInput`] for the rest.
pub fn from_query(form: &[u8]) -> Result<Asked, Fault> {
    let mut root = Tree::new();
    // Looked for once, and only if a value gives reason to.
    let mut spelt = None;
    for (count, (name, value)) in form_urlencoded::parse(form).enumerate() {
        if count >= PARAMETERS_MAX {
            let message = format!("A request has at most {PARAMETERS_MAX} parameters.");
            return Err(malformed(message));
        }
        if value.contains('\u{fffd}') && !*spelt.get_or_insert_with(|| spells_replacement(form)) {
            return Err(malformed(format!("The value of {name} is not UTF-8.")));
        }
        put(&mut root, &name, value.into_owned())?;
    }
    let Some(Node::Text(action)) = root.remove("Action") else {
        let message = "The request must contain the parameter Action.";
        return Err(Fault::new(Kind::MissingParameter, message));
    };
    if !is_name(&action) {
        return Err(Fault::new(
            Kind::InvalidAction,
            "The action is not valid for this endpoint.",
        ));
    }
    root.remove("Version");
    let mut parameters = members(root)?;
    // The model spells this one member in its own way.
    if action == "CreateQueue"
        && let Some(tags) = parameters.remove("Tags")
    {
        parameters.insert("tags".to_owned(), tags);
    }
    Ok(Asked { action, parameters })
}

type Tree = BTreeMap<String, Node>;

/// What stands under a part of a name.
#[derive(Debug)]
enum Node {
    Text(String),
    Branch(Tree),
}

/// How many values a text in JSON has at the most, found out without reading them.
fn values(body: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (1, false, false);
    for byte in body {
        match (inside, *byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => inside = !inside,
            (false, b',' | b':' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    count
}

fn malformed(message: String) -> Fault {
    Fault::new(Kind::MalformedInput, message)
}

fn is_name(action: &str) -> bool {
    (1..=64).contains(&action.len()) && action.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether the sender itself wrote the sign that stands for bytes that are no UTF-8.
fn spells_replacement(form: &[u8]) -> bool {
    let plain = form.windows(3).any(|three| three == [0xef, 0xbf, 0xbd]);
    plain || { form.windows(9) }.any(|nine| nine.eq_ignore_ascii_case(b"%EF%BF%BD"))
}

fn put(root: &mut Tree, name: &str, value: String) -> Result<(), Fault> {
    let twice = || malformed(format!("The parameter {name} is there more than once."));
    if name.split('.').count() > DEPTH_MAX {
        return Err(malformed(format!("The parameter {name} is too deep.")));
    }
    let (mut tree, mut parts) = (root, name.split('.').peekable());
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(malformed(format!("The parameter \"{name}\" has no name.")));
        }
        if parts.peek().is_none() {
            let before = tree.insert(part.to_owned(), Node::Text(value));
            return before.map_or(Ok(()), |_| Err(twice()));
        }
        let inner = tree.entry(part.to_owned());
        match inner.or_insert_with(|| Node::Branch(Tree::new())) {
            Node::Branch(inner) => tree = inner,
            Node::Text(_) => return Err(twice()),
        }
    }
    Ok(())
}

/// What a parameter is in the JSON protocol.
enum Form {
    /// A list of texts.
    Texts,
    /// A map, of which each item says its key by this member; the value is `Value`.
    Map(&'static str),
    /// A list of objects.
    Entries,
}

fn form(name: &str) -> Option<(&'static str, Form)> {
    Some(match name {
        // Where a list or a map has nothing, some clients write its own name and nothing behind it.
        "AttributeNames" => ("AttributeNames", Form::Texts),
        "Attributes" => ("Attributes", Form::Map("Name")),
        "Entries" => ("Entries", Form::Entries),
        "MessageAttributeNames" => ("MessageAttributeNames", Form::Texts),
        "MessageAttributes" => ("MessageAttributes", Form::Map("Name")),
        "MessageSystemAttributeNames" => ("MessageSystemAttributeNames", Form::Texts),
        "TagKeys" => ("TagKeys", Form::Texts),
        "Tags" => ("Tags", Form::Map("Key")),
        "AttributeName" => ("AttributeNames", Form::Texts),
        "MessageAttributeName" => ("MessageAttributeNames", Form::Texts),
        "MessageSystemAttributeName" => ("MessageSystemAttributeNames", Form::Texts),
        "TagKey" => ("TagKeys", Form::Texts),
        "AWSAccountId" => ("AWSAccountIds", Form::Texts),
        "ActionName" => ("Actions", Form::Texts),
        "Attribute" => ("Attributes", Form::Map("Name")),
        "MessageAttribute" => ("MessageAttributes", Form::Map("Name")),
        "MessageSystemAttribute" => ("MessageSystemAttributes", Form::Map("Name")),
        "Tag" => ("Tags", Form::Map("Key")),
        "SendMessageBatchRequestEntry"
        | "DeleteMessageBatchRequestEntry"
        | "ChangeMessageVisibilityBatchRequestEntry" => ("Entries", Form::Entries),
        _ => return None,
    })
}

fn is_number(name: &str) -> bool {
    matches!(
        name,
        "DelaySeconds"
            | "MaxNumberOfMessages"
            | "MaxNumberOfMessagesPerSecond"
            | "MaxResults"
            | "VisibilityTimeout"
            | "WaitTimeSeconds"
    )
}

/// The members of an object. Names have at most [`DEPTH_MAX`] parts, and so deep does this go.
fn members(tree: Tree) -> Result<Map<String, Value>, Fault> {
    let mut object = Map::new();
    for (name, node) in tree {
        let (name, value) = match (form(&name), node) {
            (Some((json, form)), node) => (json.to_owned(), numbered(&name, &form, node)?),
            (None, Node::Branch(inner)) => (name, Value::Object(members(inner)?)),
            (None, Node::Text(text)) if is_number(&name) => {
                let number: i64 = text.parse().map_err(|_none| {
                    let why = "Must be an integer.";
                    let message =
                        format!("Value {text} for parameter {name} is invalid. Reason: {why}");
                    Fault::new(Kind::InvalidParameterValue, message)
                })?;
                (name, Value::from(number))
            }
            (None, Node::Text(text)) => (name, Value::String(text)),
        };
        if object.insert(name.clone(), value).is_some() {
            return Err(malformed(format!("{name} is said in two ways.")));
        }
    }
    Ok(object)
}

/// A list or a map, by the numbers of its items, which may have gaps.
fn numbered(name: &str, form: &Form, node: Node) -> Result<Value, Fault> {
    let bad = || malformed(format!("The parameter {name} is not of its form."));
    let tree = match node {
        Node::Branch(tree) => tree,
        Node::Text(text) if text.is_empty() => Tree::new(),
        Node::Text(_) => return Err(bad()),
    };
    let mut items = BTreeMap::new();
    for (number, item) in tree {
        let number: u32 = number.parse().map_err(|_none| bad())?;
        if items.insert(number, item).is_some() {
            return Err(bad());
        }
    }
    let items = items.into_values();
    match form {
        Form::Texts => {
            let texts = items.map(|item| match item {
                Node::Text(text) => Ok(Value::String(text)),
                Node::Branch(_) => Err(bad()),
            });
            texts.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Form::Entries => {
            let entries = items.map(|item| match item {
                Node::Branch(tree) => members(tree).map(Value::Object),
                Node::Text(_) => Err(bad()),
            });
            entries.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Form::Map(key) => {
            let mut map = Map::new();
            for item in items {
                let Node::Branch(mut item) = item else {
                    return Err(bad());
                };
                let Some(Node::Text(key)) = item.remove(*key) else {
                    return Err(bad());
                };
                let value = match item.remove("Value") {
                    Some(Node::Text(text)) => Value::String(text),
                    Some(Node::Branch(tree)) => Value::Object(members(tree)?),
                    None => return Err(bad()),
                };
                if !item.is_empty() || map.insert(key, value).is_some() {
                    return Err(bad());
                }
            }
            Ok(Value::Object(map))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn query(form: &str) -> Result<(String, Value), Kind> {
        let asked = from_query(form.as_bytes()).map_err(|fault| fault.kind)?;
        Ok((asked.action, Value::Object(asked.parameters)))
    }

    #[test]
    fn both_protocols_say_the_same() {
        let form = "Action=SendMessageBatch&Version=2012-11-05&QueueUrl=http%3A%2F%2Fh%2F0%2Fq\
            &SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=%C3%A9+2\
            &SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=1\
            &SendMessageBatchRequestEntry.1.DelaySeconds=5\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Number\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=7";
        let same = json!({"QueueUrl": "http://h/0/q", "Entries": [
            {"Id": "a", "MessageBody": "1", "DelaySeconds": 5, "MessageAttributes":
                {"n": {"DataType": "Number", "StringValue": "7"}}},
            {"Id": "b", "MessageBody": "\u{e9} 2"},
        ]});
        let expected = Ok(("SendMessageBatch".to_owned(), same.clone()));
        assert_eq!(query(form), expected);
        let asked = from_json("AmazonSQS.SendMessageBatch", same.to_string().as_bytes());
        let asked = asked.map(|asked| (asked.action, Value::Object(asked.parameters)));
        assert_eq!(asked.map_err(|fault| fault.kind), expected);
    }

    #[test]
    fn maps_and_lists_are_read() {
        let form = "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=0\
            &Tag.1.Key=k&Tag.1.Value=v";
        let expected =
            json!({"QueueName": "q", "Attributes": {"DelaySeconds": "0"}, "tags": {"k": "v"}});
        assert_eq!(query(form), Ok(("CreateQueue".to_owned(), expected)));
        let form = "Action=SendMessageBatch&Entries=";
        let expected = json!({"Entries": []});
        assert_eq!(query(form), Ok(("SendMessageBatch".to_owned(), expected)));
        let form = "Action=ReceiveMessage&AttributeName.10=z&AttributeName.9=a&WaitTimeSeconds=20";
        let expected = json!({"AttributeNames": ["a", "z"], "WaitTimeSeconds": 20});
        assert_eq!(query(form), Ok(("ReceiveMessage".to_owned(), expected)));
    }

    #[test]
    fn bad_requests_have_their_refusal() {
        for (form, kind) in [
            ("", Kind::MissingParameter),
            ("Action.1=x", Kind::MissingParameter),
            ("Action=a%20b", Kind::InvalidAction),
            ("Action=A&MaxResults=many", Kind::InvalidParameterValue),
            ("Action=A&Attribute=x", Kind::MalformedInput),
            ("Action=A&Attribute.x.Name=n", Kind::MalformedInput),
            ("Action=A&Attribute.1.Name=n", Kind::MalformedInput),
            ("Action=A&TagKey.1=a&TagKey.01=b", Kind::MalformedInput),
            ("Action=A&Action=B", Kind::MalformedInput),
            ("Action=A&a=1&a.b=1", Kind::MalformedInput),
            ("Action=A&a.b.c.d.e.f.g.h.i=1", Kind::MalformedInput),
            ("Action=A&..=1", Kind::MalformedInput),
            ("Action=A&MessageBody=%FF", Kind::MalformedInput),
        ] {
            assert_eq!(query(form), Err(kind), "{form}");
        }
        let many = format!("Action=A{}", "&x".repeat(PARAMETERS_MAX));
        assert_eq!(query(&many), Err(Kind::MalformedInput));
        for (target, body, kind) in [
            ("SendMessage", "{}", Kind::InvalidAction),
            ("AmazonSQS.", "{}", Kind::InvalidAction),
            ("AmazonSQS.A", "[]", Kind::MalformedInput),
            ("AmazonSQS.A", "{\"a\":", Kind::MalformedInput),
        ] {
            let refused = from_json(target, body.as_bytes()).map_err(|fault| fault.kind);
            assert_eq!(refused, Err(kind), "{target} {body}");
        }
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(VALUES_MAX));
        assert!(from_json("AmazonSQS.A", many.as_bytes()).is_err());
        let text = format!("{{\"a\":\"\\\"{}\"}}", ",".repeat(VALUES_MAX * 2));
        assert!(from_json("AmazonSQS.A", text.as_bytes()).is_ok());
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        assert!(from_json("AmazonSQS.A", deep.as_bytes()).is_err());
    }

    #[test]
    fn a_sign_that_was_sent_is_no_fault() {
        assert!(query("Action=A&MessageBody=%ef%bf%BD").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(form in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(from_query(&form));
            drop(from_json("AmazonSQS.A", &form));
        }

        #[test]
        fn a_body_comes_back_as_it_was(body in "\\PC{0,40}") {
            let form = form_urlencoded::Serializer::new("Action=SendMessage".to_owned())
                .append_pair("MessageBody", &body).finish();
            let (_, parameters) = query(&form).unwrap();
            prop_assert_eq!(parameters, json!({"MessageBody": body}));
        }
    }
}

//! The SQS door of the real server, by plain HTTP: both protocols, what is refused, and what strangers try.
//!
//! What clients of AWS make of it is in `interop`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a panic"
)]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
#![expect(clippy::too_many_lines, reason = "a table is as long as it is")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

#[path = "support/program.rs"]
#[expect(dead_code, reason = "nothing is shown as a transcript here")]
mod program;

use program::{mulgil, run};

/// A server on free ports, until it is killed.
struct Server {
    child: Child,
    http: String,
    sqs: String,
}

impl Server {
    fn start(data: &Path, more: &str) -> Self {
        let line = format!("server --kafka 0 --http 0 --sqs 0 {more} --log error --data-dir");
        let mut child = mulgil(&line).arg(data).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.unwrap().contains("Server startup complete"));
        assert!(ready, "the server ended before it was ready");
        let addresses = std::fs::read(data.join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        let text = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self {
            child,
            http: format!("http://{}", text("http")),
            sqs: text("sqs"),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.sqs).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// Sends a request, and gives status, headers and body of the answer.
    fn send(&self, head: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses by the head alone may close before all was sent.
        drop(stream.write_all(body));
        answer(stream)
    }

    fn head(&self, first: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!(
            "{first} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n",
            self.sqs
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    fn json(&self, action: &str, body: &str) -> (u16, String, String) {
        let target = format!("AmazonSQS.{action}");
        let headers = [
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", target.as_str()),
        ];
        self.send(&self.head("POST /", &headers, body.len()), body.as_bytes())
    }

    /// The answer to an action that goes well.
    fn ok(&self, action: &str, body: &Value) -> Value {
        let (status, _, answer) = self.json(action, &body.to_string());
        assert_eq!(status, 200, "{action} {body}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn query(&self, path: &str, form: &str) -> (u16, String, String) {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let head = self.head(&format!("POST {path}"), &headers, form.len());
        self.send(&head, form.as_bytes())
    }

    fn url(&self, queue: &str) -> String {
        format!("http://{}/000000000000/{queue}", self.sqs)
    }

    fn create(&self, queue: &str) -> String {
        let answer = self.ok("CreateQueue", &json!({ "QueueName": queue }));
        assert_eq!(answer["QueueUrl"], self.url(queue).as_str());
        self.url(queue)
    }

    /// What the command line says.
    fn mulgil(&self, line: &str, input: &[u8]) -> String {
        let output = run(
            &mut mulgil(&format!("{line} --server {}", self.http)),
            input,
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn answer(mut stream: TcpStream) -> (u16, String, String) {
    let mut text = Vec::new();
    // A reset behind the answer takes nothing from it.
    drop(stream.read_to_end(&mut text));
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn one_queue_speaks_both_protocols() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    let url = server.create("jobs");
    let form = "Action=SendMessage&Version=2012-11-05&MessageBody=%3Chi%3E\
        &MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Number\
        &MessageAttribute.1.Value.StringValue=7";
    let (status, head, body) = server.query("/000000000000/jobs", form);
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("content-type: text/xml"), "{head}");
    assert!(body.contains("<MD5OfMessageBody>"), "{body}");
    let all = json!({
        "QueueUrl": url, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"],
        "VisibilityTimeout": 0,
    });
    let got = server.ok("ReceiveMessage", &all);
    let message = &got["Messages"][0];
    assert_eq!(message["Body"], "<hi>");
    assert_eq!(message["MessageAttributes"]["n"]["StringValue"], "7");
    let get = "/000000000000/jobs?Action=ReceiveMessage&WaitTimeSeconds=5&AttributeName.1=All";
    let head = server.head(&format!("GET {get}"), &[], 0);
    let (status, _, body) = server.send(&head, b"");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("<Body>&lt;hi&gt;</Body>"), "{body}");
    assert!(
        body.contains("<Name>ApproximateReceiveCount</Name><Value>2</Value>"),
        "{body}"
    );
    let (_, handle) = body.split_once("<ReceiptHandle>").unwrap();
    let (handle, _) = handle.split_once('<').unwrap();
    let form = format!("Action=DeleteMessage&ReceiptHandle={handle}");
    let (status, _, body) = server.query("/000000000000/jobs", &form);
    assert_eq!(status, 200, "{body}");
    let names =
        json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessagesNotVisible"]});
    let left = server.ok("GetQueueAttributes", &names);
    assert_eq!(
        left["Attributes"]["ApproximateNumberOfMessagesNotVisible"],
        "0"
    );
}

#[test]
fn what_is_refused_is_refused_in_the_form_of_each() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    server.create("jobs");
    let nowhere = json!({ "QueueUrl": server.url("nowhere"), "MessageBody": "x" });
    let (status, head, body) = server.json("SendMessage", &nowhere.to_string());
    assert_eq!(status, 400);
    assert!(head.contains("x-amzn-query-error: aws.simplequeueservice.nonexistentqueue;sender"));
    assert!(
        body.contains("\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\""),
        "{body}"
    );
    let (status, _, body) =
        server.query("/000000000000/nowhere", "Action=SendMessage&MessageBody=x");
    assert_eq!(status, 400);
    assert!(
        body.contains("does not exist for this wsdl version."),
        "{body}"
    );
    let url = server.url("jobs");
    let long = "x".repeat(1 << 20);
    for (action, body, status, code) in [
        ("Nothing", "{}".to_owned(), 400, "InvalidAction"),
        ("SendMessage", "{".to_owned(), 400, "SerializationException"),
        (
            "SendMessage",
            "[]".to_owned(),
            400,
            "SerializationException",
        ),
        (
            "SendMessage",
            format!("{{\"a\":{}", "[".repeat(100_000)),
            400,
            "SerializationException",
        ),
        (
            "SendMessage",
            "{}".to_owned(),
            400,
            "MissingRequiredParameterException",
        ),
        (
            "SendMessage",
            json!({"QueueUrl": 7}).to_string(),
            400,
            "SerializationException",
        ),
        (
            "SendMessage",
            json!({"QueueUrl": "jobs"}).to_string(),
            404,
            "InvalidAddress",
        ),
        (
            "SendMessage",
            json!({"QueueUrl": url}).to_string(),
            400,
            "MissingRequiredParameterException",
        ),
        (
            "SendMessage",
            json!({"QueueUrl": url, "MessageBody": long.clone() + "x"}).to_string(),
            400,
            "InvalidParameterValueException",
        ),
        (
            "SendMessage",
            json!({"QueueUrl": url, "MessageBody": "\u{0}"}).to_string(),
            400,
            "InvalidMessageContents",
        ),
        (
            "SendMessageBatch",
            json!({"QueueUrl": url, "Entries": []}).to_string(),
            400,
            "EmptyBatchRequest",
        ),
        (
            "DeleteMessage",
            json!({"QueueUrl": url, "ReceiptHandle": "x"}).to_string(),
            404,
            "ReceiptHandleIsInvalid",
        ),
        (
            "SetQueueAttributes",
            json!({"QueueUrl": url, "Attributes": {"Nothing": "1"}}).to_string(),
            400,
            "InvalidAttributeName",
        ),
        (
            "CreateQueue",
            json!({"QueueName": "a b"}).to_string(),
            400,
            "InvalidParameterValueException",
        ),
    ] {
        let said = server.json(action, &body);
        let shown = body.get(..80).unwrap_or(&body);
        assert_eq!(said.0, status, "{action} {shown}: {}", said.2);
        assert!(
            said.2.contains(&format!("#{code}\"")),
            "{action} {shown}: {}",
            said.2
        );
    }
    // The largest message there may be, in the longest way to write it.
    let escaped = format!(
        "{{\"QueueUrl\":\"{url}\",\"MessageBody\":\"{}\"}}",
        "\\u0078".repeat(1 << 20)
    );
    assert_eq!(server.json("SendMessage", &escaped).0, 200);
    let got = server.ok("ReceiveMessage", &json!({"QueueUrl": url}));
    assert_eq!(got["Messages"][0]["Body"], long.as_str());
}

#[test]
fn a_stranger_changes_nothing_and_stops_nobody() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    let url = server.create("jobs");
    let form = format!("Action=SendMessage&MessageBody=x&QueueUrl={url}");
    let plain = ("Content-Type", "application/x-www-form-urlencoded");
    // A page of another origin posts a form, as browsers let it.
    for foreign in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let head = server.head("POST /", &[plain, foreign], form.len());
        let (status, _, body) = server.send(&head, form.as_bytes());
        assert_eq!(status, 403, "{foreign:?}");
        assert!(body.contains("<Code>AccessDenied</Code>"), "{body}");
    }
    let host = server.sqs.clone();
    let rebound = server
        .head("POST /", &[plain], form.len())
        .replace(&host, "evil.example");
    assert_eq!(server.send(&rebound, form.as_bytes()).0, 403);
    // More than any request needs: refused by what is said of it, before anything of it is kept.
    let head = server.head("POST /", &[plain], 1 << 40);
    assert_eq!(server.send(&head, b"").0, 413);
    let chunked = server.head("POST /", &[plain, ("Transfer-Encoding", "chunked")], 0);
    let chunked = chunked.replace("Content-Length: 0\r\n", "");
    let mut body = b"900000\r\n".to_vec();
    body.extend(std::iter::repeat_n(b'x', 0x90_0000));
    assert_eq!(server.send(&chunked, &body).0, 413);
    // Connections that say nothing, or a little, take nobody's place.
    let idle: Vec<_> = (0..500)
        .map(|number| {
            let mut stream = server.connect();
            if number % 2 == 0 {
                stream.write_all(b"POST / HTTP/1.1\r\nHost: loc").unwrap();
            }
            stream
        })
        .collect();
    let none = server.ok("ReceiveMessage", &json!({"QueueUrl": url}));
    assert_eq!(none, json!({}));
    drop(idle);
}

#[test]
fn a_poller_that_vanishes_keeps_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    let url = server.create("jobs");
    let ask = json!({"QueueUrl": url, "WaitTimeSeconds": 20, "VisibilityTimeout": 43_200});
    let ask = ask.to_string();
    let headers = [
        ("Content-Type", "application/x-amz-json-1.0"),
        ("X-Amz-Target", "AmazonSQS.ReceiveMessage"),
    ];
    let pollers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = server.connect();
            let head = server.head("POST /", &headers, ask.len());
            stream.write_all((head + &ask).as_bytes()).unwrap();
            stream
        })
        .collect();
    drop(pollers);
    for number in 0..5 {
        let body = format!("message {number}");
        server.ok(
            "SendMessage",
            &json!({"QueueUrl": url, "MessageBody": body}),
        );
    }
    let mut got = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let ask = json!({"QueueUrl": url, "WaitTimeSeconds": 2, "MaxNumberOfMessages": 10});
        let some = server.ok("ReceiveMessage", &ask);
        let some = some["Messages"].as_array().into_iter().flatten();
        got.extend(some.map(|message| message["Body"].as_str().unwrap().to_owned()));
        if got.len() == 5 {
            return;
        }
    }
    panic!("only {got:?} came");
}

#[test]
fn handles_and_ids_outlive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), "");
    let attributes = json!({"FifoQueue": "true"});
    let ask = json!({"QueueName": "jobs.fifo", "Attributes": attributes});
    let url = server.ok("CreateQueue", &ask)["QueueUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    let send = |server: &Server, body: &str, id: &str| {
        let url = server.url("jobs.fifo");
        server.ok("SendMessage", &json!({
            "QueueUrl": url, "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": id,
        }))
    };
    let first = send(&server, "one", "1");
    send(&server, "two", "2");
    let got = server.ok(
        "ReceiveMessage",
        &json!({"QueueUrl": url, "VisibilityTimeout": 600}),
    );
    let message = &got["Messages"][0];
    assert_eq!(message["MessageId"], first["MessageId"]);
    server.kill();
    let server = Server::start(data.path(), "");
    let url = server.url("jobs.fifo");
    // The group waits for whoever holds its first message, and its id is still known.
    let none = server.ok("ReceiveMessage", &json!({"QueueUrl": url}));
    assert_eq!(none, json!({}));
    let again = send(&server, "one", "1");
    assert_eq!(again["MessageId"], first["MessageId"]);
    assert_eq!(again["SequenceNumber"], first["SequenceNumber"]);
    let handle = &message["ReceiptHandle"];
    server.ok(
        "DeleteMessage",
        &json!({"QueueUrl": url, "ReceiptHandle": handle}),
    );
    let got = server.ok(
        "ReceiveMessage",
        &json!({"QueueUrl": url, "WaitTimeSeconds": 5}),
    );
    assert_eq!(got["Messages"][0]["Body"], "two");
}

#[test]
fn a_topic_has_a_face_under_a_name_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    server.mulgil("topic create orders -p 3", b"");
    server.mulgil(
        "subscription create orders billing --filter \"color='blue'\""
            .replace('"', "")
            .as_str(),
        b"",
    );
    server.mulgil("message pub orders plain", b"");
    server.mulgil("message pub orders text -k customer -H color=blue", b"");
    server.mulgil("message pub orders -H color=blue", b"\xff\xfe");
    let url = server.url("billing");
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let ask = json!({
            "QueueUrl": url, "WaitTimeSeconds": 5, "MessageAttributeNames": ["All"],
            "MessageSystemAttributeNames": ["All"],
        });
        let got = server.ok("ReceiveMessage", &ask);
        let message = &got["Messages"][0];
        assert_eq!(message["MessageAttributes"]["color"]["StringValue"], "blue");
        bodies.push((
            message["Body"].as_str().unwrap().to_owned(),
            message["MessageAttributes"]["mulgil.encoding"]["StringValue"].clone(),
            message["Attributes"]["MessageGroupId"].clone(),
        ));
    }
    bodies.sort_by(|one, other| one.0.cmp(&other.0));
    let none = Value::Null;
    let expected = [
        ("//4=".to_owned(), json!("base64"), none.clone()),
        ("text".to_owned(), none, json!("customer")),
    ];
    assert_eq!(bodies, expected);
    // What SQS clients send is in the topic, with attributes as headers.
    server.ok(
        "SendMessage",
        &json!({
            "QueueUrl": url, "MessageBody": "from afar", "MessageGroupId": "customer",
            "MessageAttributes": {"color": {"DataType": "String", "StringValue": "red"}},
        }),
    );
    let said = server.mulgil("message sub orders -n 4 -o jsonl", b"");
    let line = said
        .lines()
        .find(|line| line.contains("from afar"))
        .unwrap();
    let record: Value = serde_json::from_str(line).unwrap();
    assert_eq!(record["key"], "customer");
    assert_eq!(
        record["headers"][0],
        json!({"name": "color", "value": "red"})
    );
}

#[test]
fn a_face_does_not_say_how_long_others_keep_their_records() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "");
    server.mulgil("topic create orders", b"");
    server.mulgil("subscription create orders billing", b"");
    let set = |attribute: &str, value: &str| {
        let body = json!({"QueueUrl": server.url("billing"), "Attributes": {attribute: value}});
        server.json("SetQueueAttributes", &body.to_string())
    };
    let (status, _, body) = set("MessageRetentionPeriod", "60");
    assert_eq!(status, 400);
    assert!(body.contains("Others read topic orders too"), "{body}");
    assert_eq!(set("VisibilityTimeout", "60").0, 200);
}

#[test]
fn limits_of_aws_are_there_until_they_are_opened() {
    let data = tempfile::tempdir().unwrap();
    for (limits, open) in [("aws", false), ("open", true)] {
        let server = Server::start(data.path(), &format!("--sqs-limits {limits}"));
        let url = server.create(limits);
        let many: Vec<_> = (0..11)
            .map(|i| json!({"Id": i.to_string(), "MessageBody": "x"}))
            .collect();
        let attributes =
            |name: &str, value: &str| json!({"QueueUrl": url, "Attributes": {name: value}});
        for (action, body) in [
            (
                "SendMessage",
                json!({"QueueUrl": url, "MessageBody": "x", "DelaySeconds": 86_400}),
            ),
            (
                "SendMessageBatch",
                json!({"QueueUrl": url, "Entries": many}),
            ),
            (
                "ReceiveMessage",
                json!({"QueueUrl": url, "MaxNumberOfMessages": 11}),
            ),
            (
                "ReceiveMessage",
                json!({"QueueUrl": url, "VisibilityTimeout": 86_400}),
            ),
            ("SetQueueAttributes", attributes("DelaySeconds", "901")),
            (
                "SetQueueAttributes",
                attributes("MessageRetentionPeriod", "1209601"),
            ),
        ] {
            let (status, _, said) = server.json(action, &body.to_string());
            assert_eq!(status == 200, open, "{limits} {action} {body}: {said}");
        }
        // Twice within a minute, and a name that was somebody's just now.
        for action in ["PurgeQueue", "DeleteQueue"] {
            server.ok(action, &json!({"QueueUrl": url}));
            if action == "PurgeQueue" {
                let (status, ..) = server.json(action, &json!({"QueueUrl": url}).to_string());
                assert_eq!(status, if open { 200 } else { 403 });
            }
        }
        let (status, ..) = server.json("CreateQueue", &json!({"QueueName": limits}).to_string());
        assert_eq!(status == 200, open, "{limits}");
    }
}

#[test]
fn who_does_not_sign_is_refused_where_one_must() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), "--sqs-key id:secret");
    let (status, head, body) = server.json("ListQueues", "{}");
    assert_eq!(status, 403);
    assert!(
        head.contains("x-amzn-query-error: missingauthenticationtoken;sender"),
        "{head}"
    );
    assert!(
        body.contains("Request is missing Authentication Token"),
        "{body}"
    );
}

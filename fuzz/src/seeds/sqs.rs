//! Requests as the SDKs send them.

use super::Seed;

const JSON: [(&str, &str); 3] = [
    ("empty", "AmazonSQS.ListQueues\n"),
    (
        "create",
        "AmazonSQS.CreateQueue\n{\"QueueName\":\"q\",\"Attributes\":{\"DelaySeconds\":\"5\"},\"tags\":{\"a\":\"b\"}}",
    ),
    (
        "send",
        "AmazonSQS.SendMessage\n{\"QueueUrl\":\"http://h/1/q\",\"MessageBody\":\"\\u00e9\",\"MessageAttributes\":{\"n\":{\"DataType\":\"Number\",\"StringValue\":\"7\"}}}",
    ),
];

const QUERY: [(&str, &str); 4] = [
    ("list", "Action=ListQueues&Version=2012-11-05"),
    (
        "create",
        "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Tag.1.Key=a&Tag.1.Value=b",
    ),
    (
        "batch",
        "Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x%20y&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String",
    ),
    ("sign", "Action=SendMessage&MessageBody=%EF%BF%BD"),
];

fn seeds(all: &[(&str, &str)]) -> Vec<Seed> {
    let seed = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    all.iter().map(seed).collect()
}

pub(crate) fn json() -> Vec<Seed> {
    seeds(&JSON)
}

pub(crate) fn query() -> Vec<Seed> {
    seeds(&QUERY)
}

pub(crate) fn signed() -> Vec<Seed> {
    seeds(&[(
        "list",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260301/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=3abe6be2a4936f24d8529c80a1c32800d0e924159acb43fbb1d6bdafd02db320\n20260301T120000Z\n/?a=b\n{}",
    )])
}

pub(crate) fn names() -> Vec<Seed> {
    seeds(&[
        ("escaped", "a__x2Eb.fifo"),
        ("plain", "a.b__x"),
        ("url", "http://localhost:9324/000000000000/jobs"),
        ("arn", "arn:aws:sqs:us-east-1:000000000000:jobs"),
        (
            "handle",
            "AQAAAAAAAAABAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAaIKfb3ZtjckKmi-LG4",
        ),
    ])
}

pub(crate) fn message() -> Vec<Seed> {
    seeds(&[(
        "typed",
        "n\t7\nb\t\u{1}\nmulgil.sqs.types\tn\tNumber\nmulgil.deduplication-id\tg\tid\nmulgil.death\t{\"subscription\":\"s\",\"topic\":\"t\",\"partition\":0,\"offset\":1,\"reason\":\"rejected\",\"count\":1,\"acquired\":1,\"failed\":1,\"first_ms\":1,\"last_ms\":1,\"timestamp_ms\":1}\nbody",
    )])
}

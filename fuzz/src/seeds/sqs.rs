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

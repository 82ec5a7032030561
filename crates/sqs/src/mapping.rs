//! What SQS's words are in the broker: the tables of `docs/sqs.md`, which a test compares with these.

use mulgil_record::asked::{DEDUPLICATION_ID, DELAY};

use crate::message::{TRACE, TYPES};

/// One row: what SQS has, what the record or the queue has, and what else is to be known.
pub type Row = (&'static str, String, &'static str);

fn code(name: &str) -> String {
    format!("`{name}`")
}

/// Messages and records.
#[must_use]
pub fn messages() -> Vec<Row> {
    let header = |name: &str| format!("header `{name}`");
    vec![
        (
            "message body",
            "value".to_owned(),
            "Bytes that are no text SQS can say come as base64, with the attribute `mulgil.encoding`.",
        ),
        (
            "message attribute",
            "header of its name".to_owned(),
            "Text is a String, other bytes are Binary, unless the sender said a type. Of headers of one name the last counts; names that SQS cannot say are left out.",
        ),
        (
            "type of an attribute",
            header(TYPES),
            "Lines of name, tab, type; only for types other than String, and for names that begin with `mulgil.`.",
        ),
        (
            "`MessageGroupId`",
            "key".to_owned(),
            "Or the header `mulgil.ordering-key`, where it is there.",
        ),
        (
            "`MessageDeduplicationId`",
            header(DEDUPLICATION_ID),
            "Where ids are known within a group alone, group, tab, id.",
        ),
        ("`DelaySeconds`", header(DELAY), "In milliseconds."),
        ("`AWSTraceHeader`", header(TRACE), ""),
        (
            "`SentTimestamp`",
            "timestamp".to_owned(),
            "Of a dead letter the one that it had before it died.",
        ),
        (
            "`MessageId`",
            "topic, partition, offset".to_owned(),
            "A name-based UUID of the three. A dead letter keeps that of its first place until it is moved back.",
        ),
        (
            "`SequenceNumber`",
            "offset".to_owned(),
            "Plus 10,000,000,000,000,000,000. FIFO queues only.",
        ),
        (
            "`ApproximateReceiveCount`",
            "times acquired".to_owned(),
            "Those before its death included.",
        ),
        (
            "`DeadLetterQueueSourceArn`",
            "header `mulgil.death`".to_owned(),
            "The subscription that gave it up last.",
        ),
        ("`SenderId`", "-".to_owned(), "The account."),
    ]
}

/// Attributes by which messages ask for what SQS has no parameter for.
#[must_use]
pub fn asked() -> Vec<Row> {
    use mulgil_record::asked::{DELIVER_AT, EXPIRES_AT, PRIORITY, TTL};
    vec![
        (
            "`mulgil.priority`",
            code(PRIORITY),
            "0 to 255; larger goes first, where the subscription goes by priority.",
        ),
        (
            "`mulgil.deliver-at`",
            code(DELIVER_AT),
            "Milliseconds since 1970; years ahead if need be.",
        ),
        ("`mulgil.delay`", code(DELAY), "Milliseconds."),
        (
            "`mulgil.expires-at`",
            code(EXPIRES_AT),
            "Milliseconds since 1970; given up from then on.",
        ),
        ("`mulgil.ttl`", code(TTL), "Milliseconds."),
    ]
}

/// Attributes of queues.
#[must_use]
pub fn attributes() -> Vec<Row> {
    let setting = |name: &str| format!("topic setting `{name}`");
    vec![
        (
            "`VisibilityTimeout`",
            "subscription setting `lock_ms`".to_owned(),
            "0 is kept as a millisecond.",
        ),
        (
            "`MessageRetentionPeriod`",
            setting("retention.ms"),
            "By whole batches. Dead letters are kept for so long from their death on.",
        ),
        (
            "`RedrivePolicy`",
            "subscription settings `dead_letter`, `acquired_max`".to_owned(),
            "Told with its number as a number.",
        ),
        (
            "`FifoQueue`",
            "subscription setting `order` = `key`, and a name in `.fifo`".to_owned(),
            "Ids are known for `deduplicate_ms`, five minutes unless it is altered.",
        ),
        (
            "`DelaySeconds`",
            setting("sqs.delay.seconds"),
            "For messages that SQS clients send from then on.",
        ),
        (
            "`MaximumMessageSize`",
            setting("sqs.maximum.message.size"),
            "Body, names, types and values of attributes.",
        ),
        (
            "`ReceiveMessageWaitTimeSeconds`",
            setting("sqs.receive.wait.seconds"),
            "",
        ),
        (
            "`ContentBasedDeduplication`",
            setting("sqs.content.based.deduplication"),
            "SHA-256 of the body.",
        ),
        (
            "`DeduplicationScope`",
            setting("sqs.deduplication.scope"),
            "",
        ),
        (
            "`FifoThroughputLimit`",
            setting("sqs.throughput.limit"),
            "Told as it was said; there is no such limit.",
        ),
        (
            "`Policy`",
            setting("sqs.policy"),
            "Kept and told; whoever may ask may do everything.",
        ),
        (
            "`RedriveAllowPolicy`",
            setting("sqs.redrive.allow.policy"),
            "Looked at when a queue names this one.",
        ),
        ("tags", setting("sqs.tags"), ""),
        ("`LastModifiedTimestamp`", setting("sqs.modified.ms"), ""),
        (
            "`KmsMasterKeyId`, `SqsManagedSseEnabled`",
            "-".to_owned(),
            "Refused: nothing is encrypted where it lies.",
        ),
    ]
}

/// A table in Markdown.
#[must_use]
pub fn table(head: (&str, &str), rows: &[Row]) -> String {
    let mut out = format!("| {} | {} | |\n| --- | --- | --- |\n", head.0, head.1);
    for (sqs, own, about) in rows {
        out.push_str(&format!("| {sqs} | {own} | {about} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use mulgil_broker::meta::settings::DOOR;
    use mulgil_record::asked::{ORDERING_KEY, PREFIX};

    use super::*;
    use crate::message::ENCODING;

    #[test]
    fn the_page_for_users_has_these_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sqs.md");
        let page = std::fs::read_to_string(path).unwrap();
        let tables = [
            ("messages", table(("SQS", "record"), &messages())),
            ("asked", table(("attribute", "header"), &asked())),
            ("attributes", table(("SQS", "kept as"), &attributes())),
        ];
        let mut fresh = page.clone();
        for (name, table) in &tables {
            let (begin, end) = (
                format!("<!-- table {name} -->\n"),
                format!("<!-- end {name} -->"),
            );
            let (before, rest) = fresh.split_once(&begin).unwrap();
            let (_, after) = rest.split_once(&end).unwrap();
            fresh = format!("{before}{begin}{table}{end}{after}");
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &fresh).unwrap();
        } else {
            assert!(
                page == fresh,
                "docs/sqs.md is out of date: UPDATE=1 cargo test -p mulgil-sqs"
            );
        }
    }

    #[test]
    fn every_setting_of_the_door_is_told() {
        let told = attributes();
        for row in DOOR {
            let known = told.iter().any(|(_, own, _)| own.contains(row.name));
            assert!(known, "{}", row.name);
        }
        for (name, header, _) in asked() {
            assert!(name == header && name.contains(PREFIX));
        }
        assert!(
            messages()
                .iter()
                .any(|(_, _, about)| about.contains(ENCODING))
        );
        assert!(
            messages()
                .iter()
                .any(|(_, _, about)| about.contains(ORDERING_KEY))
        );
    }
}

//! Every error code that a user can meet: what it is, why it happens, and what to do next.
//!
//! The one table behind the `code` of a problem answer, the exit code of the command line,
//! `mulgil explain`, and `docs/errors.md`. A code keeps its number and its meaning for ever; one that
//! is not used any more stays here, so that old logs can be looked up.
//!
//! ```text
//! 00xx  how something was asked      30xx  the way between client and server
//! 10xx  topics and records           40xx  starting and running a server
//! 20xx  who may do what              50xx  the state of the broker
//!                                    90xx  the command line's own guards
//! ```

use std::fmt;
use std::str::FromStr;

/// What the catalogue knows of a code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// One line.
    pub title: &'static str,
    /// The HTTP status that carries it.
    pub http: u16,
    /// What the command line exits with.
    pub exit: u8,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do.
    pub next: &'static str,
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal, http $http:literal,
       exit $exit:literal, $cause:literal, $next:literal;)*) => {
        /// A stable error code, shown as `MG-1001`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $name = $number),* }

        /// All codes, by number.
        pub const ENTRIES: &[Entry] = &[$(Entry {
            code: Code::$name, title: $title, http: $http, exit: $exit, cause: $cause, next: $next,
        }),*];
    };
}

catalogue! {
    Usage = 1, "the command line does not make sense", http 400, exit 2,
        "Arguments contradict each other, or one that is needed is missing.",
        "Run the command with --help.";
    UnknownSetting = 2, "there is no setting with this name", http 400, exit 2,
        "The name is misspelt, or the setting exists only in a newer version.",
        "Run `mulgil topic create --help` for the names.";
    SettingValue = 3, "a setting can not have this value", http 400, exit 2,
        "The value has another type or unit, or lies outside of what is possible.",
        "Run `mulgil topic create --help` for what each setting takes.";
    FormatString = 4, "the format string is wrong", http 400, exit 2,
        "It has an unknown verb after %, or an unknown escape after a backslash.",
        "Run `mulgil message sub --help` for the verbs. A percent sign is written %%.";
    NoSuchEntry = 5, "there is no error with this code", http 404, exit 4,
        "The code is misspelt, or belongs to a newer version.",
        "Run `mulgil explain` without a code for the list.";
    Malformed = 10, "the request was not understood", http 400, exit 1,
        "The path, the query or the body does not have the form that the API expects.",
        "Compare the request with docs/admin-api.md; client and server may differ in version.";
    TooLarge = 11, "the request is too large", http 413, exit 1,
        "The body of a request is limited, so that nobody can fill the server's memory.",
        "Send less at once, for instance fewer records in one request.";
    ContentType = 12, "the content type is not one that is understood here", http 415, exit 1,
        "Bodies are application/json, records application/x-ndjson; nothing else is taken, so that a web form can not send any.",
        "Set the Content-Type header.";
    NoSuchPath = 13, "there is nothing under this path", http 404, exit 1,
        "The path is misspelt, or the server is older than the client.",
        "Compare `mulgil --version` with the version in `mulgil status`.";
    NoSuchMethod = 14, "the path exists, but not for this method", http 405, exit 1,
        "The request used another HTTP method than the path offers; the Allow header names them.",
        "Compare the request with docs/admin-api.md.";
    TopicUnknown = 1001, "the topic does not exist", http 404, exit 4,
        "The name is misspelt, or the topic was deleted.",
        "List the topics: mulgil topic ls. Create it: mulgil topic create NAME.";
    TopicExists = 1002, "the topic exists already", http 409, exit 5,
        "A topic of this name was created before.",
        "Look at it: mulgil topic describe NAME. In scripts, pass --idempotent.";
    TopicName = 1003, "the name is not possible for a topic", http 400, exit 1,
        "It is empty, too long, or has a character that is not allowed.",
        "Use up to 249 of the letters a-z, A-Z, digits, dot, underscore and hyphen.";
    PartitionCount = 1004, "this number of partitions is not possible", http 400, exit 1,
        "A topic has at least one partition and at most as many as the limit says; their number can only grow.",
        "Look at the present number: mulgil topic describe NAME.";
    PartitionUnknown = 1005, "the partition does not exist", http 404, exit 4,
        "Partitions are counted from 0.",
        "Look at the partitions: mulgil topic describe NAME.";
    OffsetOutOfRange = 1006, "there is no record at this offset", http 416, exit 1,
        "The record was given up by retention, or is not written yet.",
        "Look at the first and last offsets: mulgil topic describe NAME.";
    RecordTooLarge = 1007, "the record is too large", http 413, exit 1,
        "A batch may be as large as the topic's message_bytes_max says.",
        "Raise it: mulgil topic alter NAME --set message_bytes_max=4MiB.";
    RecordRefused = 1008, "the record was refused", http 400, exit 1,
        "Its timestamp lies outside of what the topic allows, or it breaks another rule of the topic.",
        "Look at the topic's settings: mulgil topic describe NAME.";
    Damaged = 1009, "stored records are damaged", http 500, exit 1,
        "A checksum does not match: the disk gave back something else than what was written. The offsets are never served.",
        "Read on behind them with --from; check the disk; see the server's log for file and position.";
    Unsupported = 1010, "this is not supported", http 501, exit 1,
        "The server knows the request but can not do it, or not yet.",
        "See docs/command-line.md for what works.";
    PartlyDone = 1011, "only a part was done", http 207, exit 3,
        "Some of the records or topics were refused while others were taken.",
        "Look at the reasons in the output, and repeat what failed.";
    GroupUnknown = 1012, "the consumer group does not exist", http 404, exit 4,
        "The name is misspelt, or the group was deleted or has expired.",
        "List the groups: mulgil group ls.";
    GroupNotEmpty = 1013, "the consumer group has members", http 409, exit 5,
        "Offsets are set anew and groups deleted only while nobody reads: members would go on from where they are.",
        "Stop the group's consumers. Look at its members: mulgil group describe NAME.";
    CompactedOnly = 1014, "the topic is only compacted", http 409, exit 5,
        "With cleanup=compact alone the newest record of each key is promised to stay: records go when newer ones of their keys come, and are not given up by offset.",
        "Set the policy for as long as it takes: mulgil topic alter NAME --set cleanup=compact,delete.";
    GroupsFull = 1015, "consumer groups hold as much as they may", http 507, exit 1,
        "The number of groups is limited, and so are the bytes of all their names and committed offsets, so that nobody can fill the server's memory. What exists can be used and committed anew.",
        "Delete groups that nobody needs: mulgil group ls, mulgil group delete NAME. Figures and limits: mulgil status.";
    SubscriptionUnknown = 1016, "there is no such queue or subscription", http 404, exit 4,
        "The name is misspelt, or it was deleted, maybe with its topic.",
        "List them: mulgil queue ls, mulgil subscription ls.";
    SubscriptionExists = 1017, "the queue or subscription exists already", http 409, exit 5,
        "One of this name was created before. A queue has a subscription of its name.",
        "Look at it: mulgil subscription describe NAME. In scripts, pass --idempotent.";
    SubscriptionName = 1018, "the name is not possible for a subscription", http 400, exit 1,
        "It is empty, too long, or has a character that is not allowed.",
        "Use up to 249 of the letters a-z, A-Z, digits, dot, underscore and hyphen.";
    SubscriptionSetting = 1019, "a queue or subscription can not have this setting", http 400, exit 2,
        "The name is misspelt, or the value has another type or lies outside of what is possible.",
        "Run `mulgil subscription create --help` for what each setting takes; docs/queues.md has them all.";
    NotAQueue = 1020, "this is a subscription, but not a queue", http 409, exit 1,
        "A queue has a topic of its own name, which gives up what is settled. Other topics are read by subscriptions, and keep their records.",
        "Use `mulgil subscription` for it. Look at it: mulgil subscription describe NAME.";
    NotHeld = 1021, "the record is not held under this receipt", http 409, exit 1,
        "The lock ran out, the record is settled, or it was handed out again. Then another receipt counts.",
        "Nothing has to be done: what is not settled is handed out again. Work that takes long renews its locks, or takes longer ones.";
    BadReceipt = 1022, "this is not a receipt of this queue or subscription", http 400, exit 2,
        "A receipt is five numbers with dots in between, and counts for the one that handed it out.",
        "Pass the receipt as it was received: mulgil queue receive NAME -o jsonl.";
    SubscriptionsFull = 1023, "queues and subscriptions hold as much as they may", http 507, exit 1,
        "Their number is limited, and so are those who wait and the records that are locked at one time, so that nobody can fill the server's memory.",
        "Settle what is held, take less at once, or delete what nobody needs: mulgil subscription ls.";
    DeadLetterTarget = 1024, "records that are given up can not go there", http 409, exit 1,
        "The dead-letter topic does not exist, is the one that is read, or is compacted and would forget records of one key.",
        "Create the topic first: mulgil topic create NAME. Without one, what is given up is dropped and counted.";
    QueueFull = 1025, "a queue takes no more", http 503, exit 1,
        "As much waits in it as may, and its overflow setting is to refuse what comes.",
        "Work off what waits, or let more wait: mulgil queue alter NAME --length-max N --bytes-max SIZE.";
    Filter = 1026, "the filter is not understood", http 400, exit 2,
        "It is no condition of the filter language, or over one of its bounds; the detail says at which character.",
        "See docs/filters.md. In a shell, put the whole condition into double quotes and its strings into single ones.";
    RedriveUnknown = 1027, "there is no such redrive", http 404, exit 4,
        "It was never there, or the broker was started since.",
        "List those that are known: mulgil dlq tasks.";
    RedriveRuns = 1028, "a redrive runs already", http 409, exit 1,
        "Of one queue or subscription one redrive runs at a time, and of all together a few.",
        "Wait for it, or end it: mulgil dlq tasks, mulgil dlq cancel ID.";
    HostRefused = 2001, "the request names a host that this server does not answer to", http 403, exit 6,
        "Only loopback names and the configured ones are answered, so that a web page can not reach the server through a name of its own (DNS rebinding).",
        "Use http://127.0.0.1:PORT, or start the server with --http-host NAME.";
    OriginRefused = 2002, "the request comes from a foreign web page", http 403, exit 6,
        "A browser sent it on behalf of another site.",
        "Open the server's own address in the browser.";
    NotAllowed = 2003, "this is not allowed", http 403, exit 6,
        "The user lacks the permission, or has not signed in.",
        "Sign in as a user that may do it.";
    Unreachable = 3001, "the server can not be reached", http 502, exit 7,
        "No server runs there, the address is wrong, or the network does not let it through.",
        "Start one: mulgil dev. Or name the right one: --server http://HOST:15672.";
    TimedOut = 3002, "no answer came in time", http 504, exit 8,
        "The server is overloaded or its disk hangs, or the network loses packets.",
        "Look at the server: mulgil status. Then try again.";
    BadAnswer = 3003, "the answer was not understood", http 502, exit 1,
        "Something else than a Mulgil server answers there, or its version differs.",
        "Check --server; compare `mulgil --version` with the server's.";
    KafkaUnreachable = 3004, "the Kafka listener can not be reached", http 502, exit 7,
        "Messages are sent and read over the Kafka protocol. The server named an address for it that can not be reached from here.",
        "Start the server with --advertise HOST:PORT, an address that clients can reach, or pass --bootstrap HOST:PORT.";
    ServerUrl = 3005, "this is not the address of a server", http 400, exit 2,
        "An address looks like http://127.0.0.1:15672. TLS is not supported yet.",
        "Correct --server or MULGIL_SERVER.";
    KafkaError = 3006, "the broker refused a request of the Kafka protocol", http 502, exit 1,
        "The message names Kafka's own error code.",
        "Look it up in the Kafka protocol guide, and look at the server's log.";
    NoKafka = 3007, "the server has no Kafka listener", http 400, exit 1,
        "Messages are sent and read over the Kafka protocol, and this server runs without it.",
        "Start the server with --kafka ADDR.";
    DataDirLocked = 4001, "the data directory is in use", http 500, exit 1,
        "Another mulgil process works on it; two would destroy the data.",
        "Stop the other process, or choose another directory with --data-dir.";
    DataDirUnusable = 4002, "the data directory can not be used", http 500, exit 1,
        "It can not be created, read or written by this user.",
        "Check owner and permissions, or choose another directory with --data-dir.";
    CannotListen = 4003, "an address can not be listened on", http 500, exit 1,
        "Another program has the port, or the address is not one of this machine.",
        "Choose another address, or port 0 for a free one.";
    OpenToAll = 4004, "refused to listen beyond this machine without authentication", http 500, exit 9,
        "The address can be reached by others, and anybody who reaches it could read and delete everything.",
        "Listen on 127.0.0.1, or pass --allow-anonymous if the network itself is trusted.";
    DataDamaged = 4005, "stored state is damaged; the server does not start", http 500, exit 1,
        "A checksum below the last synced position does not match. The message names file and position.",
        "Copy the data directory before anything else is tried, and look at the disk. What a repair would lose: mulgil repair --data-dir DIR.";
    BrokerFailed = 4006, "the broker has failed", http 500, exit 1,
        "A write or a sync to the disk failed. What may be lost is never acknowledged, so the process ends.",
        "Look at the log and the disk, then start again; nothing acknowledged is lost.";
    FileUnusable = 4007, "a file can not be used", http 500, exit 1,
        "It does not exist, or this user may not read or write it.",
        "Check the path and its permissions.";
    DiskFull = 5001, "the disk is full", http 507, exit 1,
        "Publishing is refused before the disk is full to the brim; reading and consuming go on, and retention frees space.",
        "Free space, lower retention, or delete topics.";
    Overloaded = 5002, "the broker is overloaded", http 503, exit 1,
        "More is waiting to be written than the broker allows.",
        "Try again a little later.";
    Stopping = 5003, "the broker is stopping", http 503, exit 1,
        "It was asked to stop, and finishes what it has begun.",
        "Try again once it has been started again.";
    Starting = 5004, "the broker is starting", http 503, exit 1,
        "It reads its log. /startupz says how far it is.",
        "Try again a little later.";
    Internal = 5005, "the broker has a fault", http 500, exit 1,
        "Something failed that should not fail.",
        "Look at the server's log, and report it.";
    Unhealthy = 5006, "the server is not healthy", http 503, exit 10,
        "It was asked and says that it is not ready, or not alive.",
        "Look at the failed checks, and at mulgil status.";
    NotConfirmed = 9001, "refused without confirmation", http 400, exit 9,
        "The command destroys something that can not be brought back.",
        "Type the name when asked, or pass --yes.";
    Interrupted = 9002, "interrupted", http 500, exit 130,
        "The command was stopped by Ctrl-C or a signal.",
        "Run it again.";
}

impl Code {
    /// What the catalogue says of it.
    ///
    /// # Panics
    ///
    /// Never: code and entry come from the same table.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        ENTRIES
            .iter()
            .find(|entry| entry.code == self)
            .expect("the table makes the codes")
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MG-{:04}", self.number())
    }
}

/// A text is not a code of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a code of the catalogue")]
pub struct NotACode;

impl FromStr for Code {
    type Err = NotACode;

    /// Reads `MG-1001`, also in lower case and without the prefix.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let upper = text.trim().to_ascii_uppercase();
        let number: u16 = upper
            .strip_prefix("MG-")
            .unwrap_or(&upper)
            .parse()
            .map_err(|_bad| NotACode)?;
        let entry = ENTRIES.iter().find(|entry| entry.code.number() == number);
        entry.map(|entry| entry.code).ok_or(NotACode)
    }
}

/// The whole catalogue as the page `docs/errors.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         Every error of the admin API and the command line has a code that never changes its meaning.\n\
         `mulgil explain MG-1001` prints an entry of this page. The page is made from\n\
         `crates/admin/src/catalogue.rs`, and a test fails when it differs.\n\n\
         | code | meaning | HTTP | exit |\n| --- | --- | --- | --- |\n",
    );
    for Entry {
        code,
        title,
        http,
        exit,
        ..
    } in ENTRIES
    {
        page.push_str(&format!(
            "| [{code}](#{}) | {title} | {http} | {exit} |\n",
            anchor(*code)
        ));
    }
    for Entry {
        code,
        title,
        cause,
        next,
        ..
    } in ENTRIES
    {
        page.push_str(&format!("\n## {code}\n\n**{title}.** {cause}\n\n{next}\n"));
    }
    page
}

fn anchor(code: Code) -> String {
    code.to_string().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_read_back() {
        let numbers: Vec<u16> = ENTRIES.iter().map(|entry| entry.code.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for entry in ENTRIES {
            assert_eq!(entry.code.to_string().parse(), Ok(entry.code));
        }
        assert_eq!("mg-1001".parse(), Ok(Code::TopicUnknown));
        assert_eq!("MG-9999".parse::<Code>(), Err(NotACode));
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130];
        for entry in ENTRIES {
            assert!(known.contains(&entry.exit), "{}", entry.code);
        }
    }
}

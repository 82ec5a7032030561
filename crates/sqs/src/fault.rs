//! The catalogue of refusals, each in the form of both protocols.
//!
//! A client of the JSON protocol sees the modelled name, and in `x-amzn-query-error` the code that the
//! older protocol has for it; a client of the Query protocol sees that code in XML. One text differs, too.

use std::fmt;

use serde_json::json;

/// The namespace of answers in XML.
pub const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// What is refused, as the service's model names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documented ones of the API")]
pub enum Kind {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalFailure,
    AccessDenied,
    IncompleteSignature,
    InvalidClientTokenId,
    MissingAuthenticationToken,
    RequestTimeout,
    RequestTooLarge,
    SignatureDoesNotMatch,
    InvalidAction,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedInput,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    ServiceUnavailable,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl Kind {
    /// The name in the JSON protocol, the code in the Query protocol, the HTTP status.
    #[expect(
        clippy::too_many_lines,
        reason = "a table, of which each row has its place"
    )]
    const fn row(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::BatchEntryIdsNotDistinct => (
                "BatchEntryIdsNotDistinct",
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                400,
            ),
            Self::BatchRequestTooLong => (
                "BatchRequestTooLong",
                "AWS.SimpleQueueService.BatchRequestTooLong",
                400,
            ),
            Self::EmptyBatchRequest => (
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
                400,
            ),
            Self::InternalFailure => ("InternalFailure", "InternalFailure", 500),
            Self::AccessDenied => ("AccessDenied", "AccessDenied", 403),
            Self::IncompleteSignature => ("IncompleteSignature", "IncompleteSignature", 400),
            Self::InvalidClientTokenId => {
                ("UnrecognizedClientException", "InvalidClientTokenId", 403)
            }
            Self::MissingAuthenticationToken => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                403,
            ),
            Self::RequestTimeout => ("RequestTimeout", "RequestTimeout", 408),
            Self::RequestTooLarge => ("RequestTooLarge", "RequestTooLarge", 413),
            Self::SignatureDoesNotMatch => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", 403)
            }
            Self::InvalidAction => ("InvalidAction", "InvalidAction", 400),
            Self::InvalidAddress => ("InvalidAddress", "InvalidAddress", 404),
            Self::InvalidAttributeName => ("InvalidAttributeName", "InvalidAttributeName", 400),
            Self::InvalidAttributeValue => ("InvalidAttributeValue", "InvalidAttributeValue", 400),
            Self::InvalidBatchEntryId => (
                "InvalidBatchEntryId",
                "AWS.SimpleQueueService.InvalidBatchEntryId",
                400,
            ),
            Self::InvalidMessageContents => {
                ("InvalidMessageContents", "InvalidMessageContents", 400)
            }
            Self::InvalidParameterValue => (
                "InvalidParameterValueException",
                "InvalidParameterValue",
                400,
            ),
            Self::MalformedInput => ("SerializationException", "MalformedQueryString", 400),
            Self::MessageNotInflight => (
                "MessageNotInflight",
                "AWS.SimpleQueueService.MessageNotInflight",
                400,
            ),
            Self::MissingParameter => {
                ("MissingRequiredParameterException", "MissingParameter", 400)
            }
            Self::OverLimit => ("OverLimit", "OverLimit", 403),
            Self::PurgeQueueInProgress => (
                "PurgeQueueInProgress",
                "AWS.SimpleQueueService.PurgeQueueInProgress",
                403,
            ),
            Self::QueueDeletedRecently => (
                "QueueDeletedRecently",
                "AWS.SimpleQueueService.QueueDeletedRecently",
                400,
            ),
            Self::QueueDoesNotExist => (
                "QueueDoesNotExist",
                "AWS.SimpleQueueService.NonExistentQueue",
                400,
            ),
            Self::QueueNameExists => ("QueueNameExists", "QueueAlreadyExists", 400),
            Self::ReceiptHandleIsInvalid => {
                ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404)
            }
            Self::ResourceNotFound => (
                "ResourceNotFoundException",
                "ResourceNotFoundException",
                404,
            ),
            Self::ServiceUnavailable => ("ServiceUnavailable", "ServiceUnavailable", 503),
            Self::TooManyEntriesInBatchRequest => (
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                400,
            ),
            Self::UnsupportedOperation => (
                "UnsupportedOperation",
                "AWS.SimpleQueueService.UnsupportedOperation",
                400,
            ),
        }
    }

    /// The name in the JSON protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The code in the Query protocol.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().2
    }

    /// Who is to blame: the one who asked, or the service.
    #[must_use]
    pub const fn blame(self) -> &'static str {
        if self.status() < 500 {
            "Sender"
        } else {
            "Receiver"
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
    /// What people are told.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// A refusal with these words.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// There is no such queue.
    #[must_use]
    pub fn no_queue() -> Self {
        Self::new(
            Kind::QueueDoesNotExist,
            "The specified queue does not exist.",
        )
    }

    /// The body in the JSON protocol.
    #[must_use]
    pub fn json(&self) -> String {
        let kind = format!("com.amazonaws.sqs#{}", self.kind.name());
        json!({ "__type": kind, "message": self.message }).to_string()
    }

    /// The value of the header `x-amzn-query-error` in the JSON protocol.
    #[must_use]
    pub fn query_error(&self) -> String {
        format!("{};{}", self.kind.code(), self.kind.blame())
    }

    /// The body in the Query protocol.
    #[must_use]
    pub fn xml(&self, request: &str) -> String {
        // The older protocol words this one in its own way.
        let message = if self.kind == Kind::QueueDoesNotExist {
            "The specified queue does not exist for this wsdl version."
        } else {
            &self.message
        };
        format!(
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{}</Type>\
             <Code>{}</Code><Message>{}</Message><Detail/></Error><RequestId>{}</RequestId>\
             </ErrorResponse>",
            self.kind.blame(),
            self.kind.code(),
            escaped(message),
            escaped(request),
        )
    }
}

/// Text as XML has it. Line breaks are written as references, since a reader would make others of them;
/// what XML cannot say at all becomes a question mark, as it can only stand in what people are told.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' => out.push_str("&#xA;"),
            '\t' => out.push_str("&#x9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_form_of_each_protocol() {
        let fault = Fault::new(
            Kind::QueueDoesNotExist,
            "The specified queue does not exist.",
        );
        assert_eq!(
            fault.json(),
            r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#
        );
        assert_eq!(
            fault.query_error(),
            "AWS.SimpleQueueService.NonExistentQueue;Sender"
        );
        assert_eq!(
            fault.xml("r-1"),
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">\
             <Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>\
             <Message>The specified queue does not exist for this wsdl version.</Message><Detail/></Error>\
             <RequestId>r-1</RequestId></ErrorResponse>"
        );
    }

    #[test]
    fn words_of_a_stranger_stay_text() {
        assert_eq!(escaped("<a>&\"\r\u{1}"), "&lt;a&gt;&amp;&quot;&#xD;?");
    }
}

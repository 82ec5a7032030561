//! What can go wrong on the way to a broker, and whether trying again helps.

use kafka_protocol::error::ResponseError;

use crate::failure::Failure;
use mulgil_admin::catalogue::Code;

/// A request did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// No connection, or it broke: whether the request was carried out is not known.
    Lost(String),
    /// The broker did not answer in time.
    Late(String),
    /// Bytes that are no answer.
    Garbled(String),
    /// The broker says no.
    Refused {
        error: ResponseError,
        /// What was asked for.
        what: String,
    },
}

impl Fault {
    pub(crate) fn garbled(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Garbled(format!("{what}: {why}"))
    }

    /// An answer's error code, unless it is 0.
    pub(crate) fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Self> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) => Err(Self::Refused {
                error,
                what: what(),
            }),
        }
    }

    /// Whether the same request can succeed a little later.
    pub(crate) const fn passes(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Late(_) => true,
            Self::Garbled(_) => false,
            Self::Refused { error, .. } => error.is_retriable(),
        }
    }

    /// Whether the broker said exactly this.
    pub(crate) fn is(&self, wanted: ResponseError) -> bool {
        matches!(self, Self::Refused { error, .. } if *error == wanted)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(detail) => Self::new(Code::KafkaUnreachable, detail),
            Fault::Late(detail) => Self::new(Code::TimedOut, detail),
            Fault::Garbled(detail) => Self::new(Code::BadAnswer, detail),
            Fault::Refused { error, what } => refused(error, &what),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "Kafka has some hundred error codes"
)]
fn refused(error: ResponseError, what: &str) -> Failure {
    use ResponseError as E;
    let code = match error {
        E::UnknownTopicOrPartition | E::UnknownTopicId => Code::TopicUnknown,
        E::InvalidTopicException => Code::TopicName,
        E::OffsetOutOfRange => Code::OffsetOutOfRange,
        E::MessageTooLarge | E::RecordListTooLarge => Code::RecordTooLarge,
        E::InvalidTimestamp | E::InvalidRecord => Code::RecordRefused,
        E::CorruptMessage => Code::Damaged,
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed => Code::NotAllowed,
        E::RequestTimedOut => Code::TimedOut,
        E::KafkaStorageError => Code::DiskFull,
        _ => {
            let detail = format!("{what}: {error} (Kafka error {})", error.code());
            return Failure::new(Code::KafkaError, detail);
        }
    };
    Failure::new(code, what)
}

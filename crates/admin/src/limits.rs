//! Every limit of the HTTP listener, with its reason.

use std::time::Duration;

use mulgil_http::connection::ConnectionLimits;

/// Connections at one time. Each costs at most its header buffer and one body, so that the listener
/// stays below `CONNECTIONS_MAX * BODIES` of memory: see [`BODY_BYTES_MAX`].
pub const CONNECTIONS_MAX: usize = 256;

/// One request body. 8 MiB hold some thousand records; bodies of all connections share
/// [`BODIES_MAX`] permits, 128 MiB.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bodies that are held in memory at one time.
pub const BODIES_MAX: usize = 16;

/// Request line and headers together. Browsers and proxies stay below 16 KiB. The last read may go
/// beyond it by as much again.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Headers of one request.
pub const HEADERS_MAX: usize = 100;

/// From the first moment of a connection, or the end of a request, to the end of the next headers.
pub const HEADER_TIME: Duration = Duration::from_secs(15);

/// A whole request with its answer; long polls ([`READ_WAIT_MS_MAX`]) fit in.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);

/// A connection is asked to end at this age, so that one that never reads its answers ends too ...
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);

/// ... and cut off when it has not ended so long after that, or after a stop.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// All of it, for one connection.
pub const CONNECTION: ConnectionLimits = ConnectionLimits {
    header_bytes_max: HEADER_BYTES_MAX,
    headers_max: HEADERS_MAX,
    header_time: HEADER_TIME,
    age: CONNECTION_AGE,
    grace: CONNECTION_GRACE,
};

/// A topic's name, in characters out of ASCII: what Kafka's clients can ask for.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// How long a read may wait for records.
pub const READ_WAIT_MS_MAX: u32 = 30_000;

/// Records of one read.
pub const READ_RECORDS_MAX: u32 = 10_000;

/// Records of one publish.
pub const PUBLISH_RECORDS_MAX: usize = 10_000;

/// Topics of one page.
pub const PAGE_MAX: u32 = 1000;

/// How long a receive may wait for records: below [`REQUEST_TIME`], with room for reading them.
pub const RECEIVE_WAIT_MS_MAX: u32 = 30_000;

/// Records of one receive, as the broker has it.
pub const RECEIVE_RECORDS_MAX: u32 = 1_000;

/// Settlements of one request, as the broker has it. About 100 bytes each, so a body holds them.
pub const SETTLEMENTS_MAX: usize = 10_000;

/// Records of one page of those that are not settled.
pub const BROWSE_RECORDS_MAX: u32 = 1_000;

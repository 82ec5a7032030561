//! One connection to one broker: a request, its answer, the next request.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{
    Decodable as _, HeaderVersion as _, Request, StrBytes, VersionRange,
    encode_request_header_into_buffer,
};

use super::fault::Fault;

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longer than any wait that is asked for (see the producer's and the consumer's).
const ANSWER_TIME: Duration = Duration::from_secs(45);
/// The consumer asks for less; a length beyond it is no answer of a broker.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    stream: TcpStream,
    correlation: i32,
    versions: BTreeMap<i16, VersionRange>,
}

impl Connection {
    /// Connects to `host:port` and asks what the broker speaks.
    pub(super) fn open(address: &str) -> Result<Self, Fault> {
        let lost = |why: io::Error| Fault::Lost(format!("{address} ({why})"));
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in address.to_socket_addrs().map_err(lost)? {
            match TcpStream::connect_timeout(&candidate, CONNECT_TIME) {
                Ok(stream) => return Self::greet(address, stream),
                Err(error) => last = error,
            }
        }
        Err(lost(last))
    }

    fn greet(address: &str, stream: TcpStream) -> Result<Self, Fault> {
        let lost = |why: io::Error| Fault::Lost(format!("{address} ({why})"));
        stream.set_nodelay(true).map_err(lost)?;
        stream.set_read_timeout(Some(ANSWER_TIME)).map_err(lost)?;
        stream.set_write_timeout(Some(ANSWER_TIME)).map_err(lost)?;
        let versions = BTreeMap::new();
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            correlation: 0,
            versions,
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("mulgil"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = connection.exchange(&request, 3)?;
        // A broker that does not know version 3 says so in the form of version 0.
        let code = answer
            .get(..2)
            .and_then(|two| <[u8; 2]>::try_from(two).ok());
        let refused =
            code.map(i16::from_be_bytes) == Some(ResponseError::UnsupportedVersion.code());
        let garbled = |error| Fault::garbled(address, error);
        let answer = ApiVersionsResponse::decode(&mut answer, if refused { 0 } else { 3 });
        let answer = answer.map_err(garbled)?;
        let range = |key: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (
                key.api_key,
                VersionRange {
                    min: key.min_version,
                    max: key.max_version,
                },
            )
        };
        connection.versions = answer.api_keys.iter().map(range).collect();
        if connection.versions.is_empty() {
            Fault::check(answer.error_code, || format!("ApiVersions at {address}"))?;
        }
        Ok(connection)
    }

    /// Whether the broker offers this request at all.
    pub(super) fn offers(&self, key: ApiKey) -> bool {
        self.versions.contains_key(&(key as i16))
    }

    /// Asks in the newest version, not above `newest`, that both sides know.
    pub(super) fn ask<R: Request>(
        &mut self,
        request: &R,
        newest: i16,
    ) -> Result<R::Response, Fault> {
        let ours = VersionRange {
            min: R::VERSIONS.min,
            max: R::VERSIONS.max.min(newest),
        };
        let both = self
            .versions
            .get(&R::KEY)
            .map(|theirs| ours.intersect(theirs));
        let Some(both) = both.filter(|both| !both.is_empty()) else {
            let what = format!("request {} at {} in a common version", R::KEY, self.address);
            return Err(Fault::Refused {
                error: ResponseError::UnsupportedVersion,
                what,
            });
        };
        let mut answer = self.exchange(request, both.max)?;
        R::Response::decode(&mut answer, both.max)
            .map_err(|error| Fault::garbled(&self.address, error))
    }

    /// Sends a request and gives the body of its answer.
    fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, Fault> {
        self.correlation = self.correlation.wrapping_add(1);
        let garbled = |error| Fault::garbled("a request that can not be written", error);
        let mut frame = BytesMut::from(&[0; 4][..]);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("mulgil")));
        encode_request_header_into_buffer(&mut frame, &header).map_err(garbled)?;
        request.encode(&mut frame, version).map_err(garbled)?;
        let length = u32::try_from(frame.len() - 4).map_err(|error| garbled(error.into()))?;
        if let Some(first) = frame.first_chunk_mut() {
            *first = length.to_be_bytes();
        }
        self.stream
            .write_all(&frame)
            .map_err(|error| self.broken(&error))?;
        let mut answer = self.receive()?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version));
        let header = header.map_err(|error| Fault::garbled(&self.address, error))?;
        if header.correlation_id != self.correlation {
            return Err(Fault::garbled(
                &self.address,
                "an answer to another request",
            ));
        }
        Ok(answer)
    }

    fn receive(&mut self) -> Result<Bytes, Fault> {
        let mut length = [0; 4];
        self.stream
            .read_exact(&mut length)
            .map_err(|error| self.broken(&error))?;
        let length = usize::try_from(length.as_slice().get_u32()).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(Fault::garbled(
                &self.address,
                format!("an answer of {length} bytes"),
            ));
        }
        let mut answer = vec![0; length];
        self.stream
            .read_exact(&mut answer)
            .map_err(|error| self.broken(&error))?;
        Ok(Bytes::from(answer))
    }

    fn broken(&self, error: &io::Error) -> Fault {
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            Fault::Late(format!("Kafka listener {}", self.address))
        } else {
            Fault::Lost(format!("{} ({error})", self.address))
        }
    }
}

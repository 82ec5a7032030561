//! A Kafka client of a few requests, and of any bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const PRODUCE: i16 = 8;
pub(crate) const FETCH: i16 = 11;
const LIST_OFFSETS: i16 = 5;
const METADATA: i16 = 8;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

/// The time of records: the present, since what is old is given up.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A request with its length.
pub(crate) fn request(key: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("bad-input")));
    let mut out = BytesMut::zeroed(4);
    header
        .encode(&mut out, key.request_header_version(version))
        .unwrap();
    body.encode(&mut out, version).unwrap();
    let length = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.to_vec()
}

pub(crate) fn fetch_request(name: &str, offset: i64, bytes_max: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(bytes_max);
    let one = FetchTopic::default()
        .with_topic(topic(name))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![one])
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// One answer, without its length.
    pub(crate) fn answer(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut answer).unwrap();
        answer.into()
    }

    pub(crate) fn call<R: Decodable>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &impl Encodable,
    ) -> R {
        self.send(&request(key, version, body));
        let mut answer = self.answer();
        drop(answer.split_to(4));
        R::decode(&mut answer, version).unwrap()
    }

    /// Makes the topic, with one partition, by asking for it.
    pub(crate) fn create(&mut self, name: &str) {
        let one = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let ask = MetadataRequest::default()
            .with_topics(Some(vec![one]))
            .with_allow_auto_topic_creation(true);
        // As with Kafka, the leader of a topic that was just made may not be known yet.
        for _ in 0..100 {
            let answer: MetadataResponse = self.call(ApiKey::Metadata, METADATA, &ask);
            if answer.topics[0].error_code == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} was not made");
    }

    /// Produces and waits until it is durable; the error code and the offset.
    pub(crate) fn produce(&mut self, name: &str, batch: Bytes) -> (i16, i64) {
        let data = PartitionProduceData::default().with_records(Some(batch));
        let one = TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(vec![data]);
        let ask = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![one]);
        let answer: ProduceResponse = self.call(ApiKey::Produce, PRODUCE, &ask);
        let row = &answer.responses[0].partition_responses[0];
        (row.error_code, row.base_offset)
    }

    /// What lies from an offset on.
    pub(crate) fn fetch(&mut self, name: &str, offset: i64) -> Bytes {
        let ask = fetch_request(name, offset, 1 << 20);
        let answer: FetchResponse = self.call(ApiKey::Fetch, FETCH, &ask);
        let row = &answer.responses[0].partitions[0];
        assert_eq!(row.error_code, 0);
        row.records.clone().unwrap_or_default()
    }

    /// The error code and the offset for a time.
    pub(crate) fn find_by_time(&mut self, name: &str, timestamp: i64) -> (i16, i64) {
        let one = ListOffsetsPartition::default().with_timestamp(timestamp);
        let one = ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![one]);
        let ask = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![one]);
        let answer: ListOffsetsResponse = self.call(ApiKey::ListOffsets, LIST_OFFSETS, &ask);
        let row = &answer.topics[0].partitions[0];
        (row.error_code, row.offset)
    }

    /// How many bytes come before the broker closes the connection, which it must.
    pub(crate) fn until_closed(&mut self) -> usize {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is not closed: {error}"),
        }
        all.len()
    }
}

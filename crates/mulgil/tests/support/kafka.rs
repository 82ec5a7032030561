//! A Kafka broker for tests alone: one topic in memory, and just the requests that the client sends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{
    Decodable as _, Encodable, StrBytes, decode_request_header_from_buffer,
};
use mulgil_record::batch::{Batch, restamp};
use mulgil_record::ids::{LeaderEpoch, Offset};

pub(crate) const TOPIC: &str = "orders";
const KEYS: [(ApiKey, i16, i16); 6] = [
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::InitProducerId, 0, 4),
];

/// The broker.
pub(crate) struct Kafka {
    pub(crate) address: SocketAddr,
    partitions: Mutex<[Vec<Batch>; 2]>,
    producers: AtomicI64,
    /// The next batch is stored, but the connection ends before the answer.
    pub(crate) lose_an_answer: AtomicBool,
}

fn end(batches: &[Batch]) -> i64 {
    let last = batches.last().map(|batch| batch.header);
    last.map_or(0, |header| {
        header.base_offset.0 + i64::from(header.last_offset_delta) + 1
    })
}

impl Kafka {
    pub(crate) fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lose_an_answer = AtomicBool::new(false);
        let kafka = Arc::new(Self {
            address,
            partitions: Mutex::default(),
            producers: AtomicI64::new(7),
            lose_an_answer,
        });
        let serving = Arc::clone(&kafka);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kafka = Arc::clone(&serving);
                std::thread::spawn(move || kafka.serve(&stream.unwrap()));
            }
        });
        kafka
    }

    /// Records of all batches of a partition, and how many batches there are.
    pub(crate) fn stored(&self, partition: usize) -> (i64, usize) {
        let partitions = self.partitions.lock().unwrap();
        (end(&partitions[partition]), partitions[partition].len())
    }

    fn serve(&self, stream: &TcpStream) {
        while self.answer(stream).is_some() {}
    }

    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).ok()?;
        let mut body = Bytes::from(frame);
        let header = decode_request_header_from_buffer(&mut body).ok()?;
        let key = ApiKey::try_from(header.request_api_key).ok()?;
        let version = header.request_api_version;
        let mut out = BytesMut::from(&[0; 4][..]);
        let head = ResponseHeader::default().with_correlation_id(header.correlation_id);
        head.encode(&mut out, key.response_header_version(version))
            .unwrap();
        match key {
            ApiKey::ApiVersions => put(&mut out, version, &versions()),
            ApiKey::Metadata => {
                let asked = MetadataRequest::decode(&mut body, version).unwrap();
                put(&mut out, version, &self.metadata(&asked));
            }
            ApiKey::InitProducerId => {
                let asked = InitProducerIdRequest::decode(&mut body, version).unwrap();
                assert_eq!((asked.transactional_id, asked.producer_id.0), (None, -1));
                let id = self.producers.fetch_add(1, Ordering::Relaxed);
                put(
                    &mut out,
                    version,
                    &InitProducerIdResponse::default().with_producer_id(id.into()),
                );
            }
            ApiKey::Produce => {
                let asked = ProduceRequest::decode(&mut body, version).unwrap();
                put(&mut out, version, &self.produce(asked));
                if self.lose_an_answer.swap(false, Ordering::Relaxed) {
                    return None;
                }
            }
            ApiKey::Fetch => {
                let asked = FetchRequest::decode(&mut body, version).unwrap();
                put(&mut out, version, &self.fetch(asked));
            }
            ApiKey::ListOffsets => {
                let asked = ListOffsetsRequest::decode(&mut body, version).unwrap();
                put(&mut out, version, &self.offsets(&asked));
            }
            other => panic!("{other:?} is not answered here"),
        }
        let length = u32::try_from(out.len() - 4).unwrap();
        out[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&out).ok()
    }

    fn metadata(&self, asked: &MetadataRequest) -> MetadataResponse {
        let broker = MetadataResponseBroker::default()
            .with_node_id(1.into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(self.address.port().into());
        let name = asked.topics.as_ref().unwrap()[0].name.clone();
        let known = name.as_ref().is_some_and(|name| &**name == TOPIC);
        let partition = |index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(1.into())
        };
        let topic = MetadataResponseTopic::default()
            .with_name(name)
            .with_error_code(if known { 0 } else { 3 })
            .with_partitions(if known {
                vec![partition(0), partition(1)]
            } else {
                vec![]
            });
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(vec![topic])
    }

    fn produce(&self, asked: ProduceRequest) -> ProduceResponse {
        let mut partitions = self.partitions.lock().unwrap();
        let mut answers = Vec::new();
        assert_eq!((asked.acks, &asked.transactional_id), (-1, &None));
        for data in asked
            .topic_data
            .into_iter()
            .flat_map(|topic| topic.partition_data)
        {
            let batches = &mut partitions[usize::try_from(data.index).unwrap()];
            let batch = Batch::check(data.records.unwrap()).unwrap();
            batch.check_produced().unwrap();
            let same = |known: &Batch| {
                let (a, b) = (known.header, batch.header);
                (a.producer_id, a.base_sequence) == (b.producer_id, b.base_sequence)
            };
            let known = batches.iter().any(same);
            let (error, base) = if known { (46, -1) } else { (0, end(batches)) };
            if !known {
                let mut bytes = batch.bytes.to_vec();
                restamp(&mut bytes, Offset(base), LeaderEpoch(1));
                batches.push(Batch::check(bytes.into()).unwrap());
            }
            let answer = PartitionProduceResponse::default();
            answers.push(
                answer
                    .with_index(data.index)
                    .with_error_code(error)
                    .with_base_offset(base),
            );
        }
        let topic = TopicProduceResponse::default().with_partition_responses(answers);
        ProduceResponse::default().with_responses(vec![topic])
    }

    fn fetch(&self, asked: FetchRequest) -> FetchResponse {
        let mut answers = Vec::new();
        let mut any = false;
        for wanted in asked.topics.into_iter().flat_map(|topic| topic.partitions) {
            let partitions = self.partitions.lock().unwrap();
            let batches = &partitions[usize::try_from(wanted.partition).unwrap()];
            let from = wanted.fetch_offset;
            let mut answer = PartitionData::default().with_partition_index(wanted.partition);
            if (0..=end(batches)).contains(&from) {
                let beyond = |batch: &&Batch| end(std::slice::from_ref(*batch)) > from;
                let batches = batches
                    .iter()
                    .filter(beyond)
                    .map(|batch| batch.bytes.clone());
                let mut records: Vec<u8> = batches.take(2).flatten().collect();
                any |= !records.is_empty();
                // As a broker may, the last batch is cut off.
                records.extend_from_slice(&[0, 0, 0]);
                answer = answer.with_records(Some(records.into()));
            } else {
                answer = answer.with_error_code(1);
            }
            answers.push(answer);
        }
        if !any {
            std::thread::sleep(Duration::from_millis(u64::from(
                asked.max_wait_ms.unsigned_abs(),
            )));
        }
        let topic = FetchableTopicResponse::default().with_partitions(answers);
        FetchResponse::default().with_responses(vec![topic])
    }

    fn offsets(&self, asked: &ListOffsetsRequest) -> ListOffsetsResponse {
        let wanted = &asked.topics[0].partitions[0];
        let partitions = self.partitions.lock().unwrap();
        let batches = &partitions[usize::try_from(wanted.partition_index).unwrap()];
        let offset = match wanted.timestamp {
            -2 => 0,
            -1 => end(batches),
            ms => {
                let found = batches
                    .iter()
                    .find(|batch| batch.header.max_timestamp >= ms);
                found.map_or(-1, |batch| batch.header.base_offset.0)
            }
        };
        let answer = ListOffsetsPartitionResponse::default().with_offset(offset);
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![answer]);
        ListOffsetsResponse::default().with_topics(vec![topic])
    }
}

fn put(out: &mut BytesMut, version: i16, answer: &impl Encodable) {
    answer.encode(out, version).unwrap();
}

fn versions() -> ApiVersionsResponse {
    let key = |(key, min, max): &(ApiKey, i16, i16)| {
        let version = ApiVersion::default().with_api_key(*key as i16);
        version.with_min_version(*min).with_max_version(*max)
    };
    ApiVersionsResponse::default().with_api_keys(KEYS.iter().map(key).collect())
}

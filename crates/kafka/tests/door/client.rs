//! The client's side of the wire: requests to bytes, bytes to answers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// A request as bytes, with its length before it.
pub(crate) fn frame<T: Encodable>(key: ApiKey, version: i16, correlation: i32, body: &T) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    header
        .encode(&mut bytes, key.request_header_version(version))
        .unwrap();
    body.encode(&mut bytes, version)
        .unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
    seal(bytes)
}

/// Writes the length of a request into its first four bytes.
pub(crate) fn seal(mut bytes: BytesMut) -> Bytes {
    let length = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.freeze()
}

/// Cuts what was sent into answers, without their lengths.
pub(crate) fn answers(mut sent: Bytes) -> Vec<Bytes> {
    let mut all = Vec::new();
    while !sent.is_empty() {
        let length = usize::try_from(sent.get_i32()).unwrap();
        all.push(sent.split_to(length));
    }
    all
}

/// The correlation id and the body of an answer.
pub(crate) fn open<T: Decodable>(key: ApiKey, version: i16, answer: &Bytes) -> (i32, T) {
    let mut bytes = answer.clone();
    // The answer to ApiVersions always has the oldest header (KIP-511).
    let header_version = if key == ApiKey::ApiVersions {
        0
    } else {
        key.response_header_version(version)
    };
    let header = ResponseHeader::decode(&mut bytes, header_version).unwrap();
    let body = T::decode(&mut bytes, version).unwrap_or_else(|e| panic!("{key:?} {version}: {e}"));
    assert!(
        bytes.is_empty(),
        "{} bytes follow the answer to {key:?} {version}",
        bytes.len()
    );
    (header.correlation_id, body)
}

macro_rules! shown {
    ($($key:ident: $response:ident),* $(,)?) => {
        /// Reads an answer of any kind: its correlation id, and what it says.
        pub(crate) fn show(key: ApiKey, version: i16, answer: &Bytes) -> (i32, String) {
            match key {
                $(ApiKey::$key => {
                    let (correlation, body) = open::<$response>(key, version, answer);
                    let text = format!("{body:?}").replace(", unknown_tagged_fields: {}", "");
                    (correlation, text)
                })*
                other => panic!("{other:?} is not known here"),
            }
        }
    };
}

shown! {
    Produce: ProduceResponse,
    Fetch: FetchResponse,
    ListOffsets: ListOffsetsResponse,
    Metadata: MetadataResponse,
    FindCoordinator: FindCoordinatorResponse,
    ApiVersions: ApiVersionsResponse,
    CreateTopics: CreateTopicsResponse,
    DeleteTopics: DeleteTopicsResponse,
    DeleteRecords: DeleteRecordsResponse,
    InitProducerId: InitProducerIdResponse,
    OffsetForLeaderEpoch: OffsetForLeaderEpochResponse,
    DescribeConfigs: DescribeConfigsResponse,
    AlterConfigs: AlterConfigsResponse,
    IncrementalAlterConfigs: IncrementalAlterConfigsResponse,
    CreatePartitions: CreatePartitionsResponse,
    ListConfigResources: ListConfigResourcesResponse,
    DescribeTopicPartitions: DescribeTopicPartitionsResponse,
    DescribeLogDirs: DescribeLogDirsResponse,
    DescribeProducers: DescribeProducersResponse,
    ElectLeaders: ElectLeadersResponse,
    AlterPartitionReassignments: AlterPartitionReassignmentsResponse,
    ListPartitionReassignments: ListPartitionReassignmentsResponse,
    DescribeClientQuotas: DescribeClientQuotasResponse,
    AlterClientQuotas: AlterClientQuotasResponse,
    DescribeUserScramCredentials: DescribeUserScramCredentialsResponse,
    DescribeCluster: DescribeClusterResponse,
    OffsetCommit: OffsetCommitResponse,
    OffsetFetch: OffsetFetchResponse,
    JoinGroup: JoinGroupResponse,
    Heartbeat: HeartbeatResponse,
    LeaveGroup: LeaveGroupResponse,
    SyncGroup: SyncGroupResponse,
    DescribeGroups: DescribeGroupsResponse,
    ListGroups: ListGroupsResponse,
    DeleteGroups: DeleteGroupsResponse,
    OffsetDelete: OffsetDeleteResponse,
}

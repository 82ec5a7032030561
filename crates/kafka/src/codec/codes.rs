//! The error codes in an answer, for counting: one row for each kind of answer.
//!
//! Fetches are not here: their answers are written by hand.

use std::any::Any;
use std::iter::once;

use kafka_protocol::messages::{
    AlterClientQuotasResponse, AlterConfigsResponse, AlterPartitionReassignmentsResponse,
    ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeClientQuotasResponse,
    DescribeClusterResponse, DescribeConfigsResponse, DescribeGroupsResponse,
    DescribeLogDirsResponse, DescribeProducersResponse, DescribeTopicPartitionsResponse,
    DescribeUserScramCredentialsResponse, ElectLeadersResponse, FindCoordinatorResponse,
    HeartbeatResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse,
    ListPartitionReassignmentsResponse, MetadataResponse, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, ProduceResponse,
    SyncGroupResponse,
};

/// Rows: a kind of answer, and its codes.
macro_rules! rows {
    ($body:expr, $tell:expr; $($kind:ident, $it:ident => $codes:expr;)*) => {
        $(
            if let Some($it) = $body.downcast_ref::<$kind>() {
                $codes.for_each($tell);
                return true;
            }
        )*
    };
}

/// The codes of the partitions of all topics.
macro_rules! partitions {
    ($topics:expr, $partitions:ident) => {
        $topics
            .iter()
            .flat_map(|topic| &topic.$partitions)
            .map(|row| row.error_code)
    };
}

/// Tells each error code in an answer, 0 included; false if nobody knows where this kind has its codes.
pub(crate) fn tell(body: &dyn Any, tell: impl FnMut(i16)) -> bool {
    // What is asked most comes first.
    rows! { body, tell;
        ProduceResponse, it => partitions!(it.responses, partition_responses);
        HeartbeatResponse, it => once(it.error_code);
        OffsetCommitResponse, it => partitions!(it.topics, partitions);
        ListOffsetsResponse, it => partitions!(it.topics, partitions);
        MetadataResponse, it => once(it.error_code)
            .chain(it.topics.iter().map(|topic| topic.error_code))
            .chain(partitions!(it.topics, partitions));
        OffsetFetchResponse, it => once(it.error_code)
            .chain(partitions!(it.topics, partitions))
            .chain(it.groups.iter().map(|group| group.error_code))
            .chain(it.groups.iter().flat_map(|group| partitions!(group.topics, partitions)));
        FindCoordinatorResponse, it => once(it.error_code)
            .chain(it.coordinators.iter().map(|row| row.error_code));
        JoinGroupResponse, it => once(it.error_code);
        SyncGroupResponse, it => once(it.error_code);
        LeaveGroupResponse, it => once(it.error_code)
            .chain(it.members.iter().map(|row| row.error_code));
        ApiVersionsResponse, it => once(it.error_code);
        InitProducerIdResponse, it => once(it.error_code);
        OffsetForLeaderEpochResponse, it => partitions!(it.topics, partitions);
        DescribeGroupsResponse, it => it.groups.iter().map(|row| row.error_code);
        ListGroupsResponse, it => once(it.error_code);
        DeleteGroupsResponse, it => it.results.iter().map(|row| row.error_code);
        CreateTopicsResponse, it => it.topics.iter().map(|row| row.error_code);
        DeleteTopicsResponse, it => it.responses.iter().map(|row| row.error_code);
        DeleteRecordsResponse, it => partitions!(it.topics, partitions);
        DescribeClusterResponse, it => once(it.error_code);
        OffsetDeleteResponse, it => once(it.error_code).chain(partitions!(it.topics, partitions));
        DescribeConfigsResponse, it => it.results.iter().map(|row| row.error_code);
        AlterConfigsResponse, it => it.responses.iter().map(|row| row.error_code);
        IncrementalAlterConfigsResponse, it => it.responses.iter().map(|row| row.error_code);
        CreatePartitionsResponse, it => it.results.iter().map(|row| row.error_code);
        DescribeLogDirsResponse, it => once(it.error_code)
            .chain(it.results.iter().map(|row| row.error_code));
        DescribeProducersResponse, it => partitions!(it.topics, partitions);
        DescribeTopicPartitionsResponse, it => it.topics.iter().map(|topic| topic.error_code)
            .chain(partitions!(it.topics, partitions));
        ListConfigResourcesResponse, it => once(it.error_code);
        ElectLeadersResponse, it => once(it.error_code)
            .chain(partitions!(it.replica_election_results, partition_result));
        AlterPartitionReassignmentsResponse, it => once(it.error_code)
            .chain(partitions!(it.responses, partitions));
        ListPartitionReassignmentsResponse, it => once(it.error_code);
        DescribeClientQuotasResponse, it => once(it.error_code);
        DescribeUserScramCredentialsResponse, it => once(it.error_code)
            .chain(it.results.iter().map(|row| row.error_code));
        AlterClientQuotasResponse, it => it.entries.iter().map(|row| row.error_code);
    }
    false
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };

    use super::*;

    #[test]
    fn every_row_of_an_answer_tells_its_code() {
        let row = |code| PartitionProduceResponse::default().with_error_code(code);
        let topic = |codes: &[i16]| {
            let rows = codes.iter().map(|code| row(*code)).collect();
            TopicProduceResponse::default().with_partition_responses(rows)
        };
        let answer = ProduceResponse::default().with_responses(vec![topic(&[0, 3]), topic(&[87])]);
        let mut told = Vec::new();
        assert!(tell(&answer, |code| told.push(code)));
        assert_eq!(told, [0, 3, 87]);
        assert!(!tell(&7_u8, |_| {}));
    }
}

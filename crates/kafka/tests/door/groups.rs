//! Requests to groups: what is asked of them, and how their answers look. A group here has one member
//! `m` of generation 1; how groups behave is tested where they are decided.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;
use mulgil_broker::connection::Input;
use mulgil_broker::core::machine::WallTime;
use mulgil_broker::group::*;
use mulgil_broker::request::{Reply, Request};

use crate::client::{answers, frame, open};
use crate::driver::Driver;
use crate::samples;
use crate::versions::broker;

/// One group `g` with one member `m`, whatever is asked.
#[derive(Debug, Default)]
pub(crate) struct FakeGroups {
    committed: BTreeMap<OffsetKey, Committed>,
}

impl FakeGroups {
    pub(crate) fn answer(&mut self, request: GroupRequest) -> GroupReply {
        match request {
            GroupRequest::Command { group, .. } if &*group == "one too many" => {
                GroupReply::Refused(GroupRefusal::TooManyGroups { max: 1 })
            }
            GroupRequest::Command { group, .. } if &*group != "g" => {
                GroupReply::Refused(GroupRefusal::NoSuchGroup)
            }
            GroupRequest::Command { command, .. } => self.command(command),
            GroupRequest::Offsets { group, keys } => {
                let wanted = |key: &OffsetKey| keys.as_ref().is_none_or(|keys| keys.contains(key));
                let kept = self
                    .committed
                    .iter()
                    .filter(|(key, _)| &*group == "g" && wanted(key));
                GroupReply::Offsets(kept.map(|(key, c)| (*key, c.clone())).collect())
            }
            GroupRequest::Describe { group } => {
                GroupReply::Described((&*group == "g").then(|| Box::new(picture())))
            }
            GroupRequest::List => {
                let line = |group: &str, state| GroupLine {
                    group: group.into(),
                    state,
                    protocol_type: Some("consumer".into()),
                };
                GroupReply::Listed(vec![line("g", State::Stable), line("old", State::Empty)])
            }
        }
    }

    fn command(&mut self, command: Command) -> GroupReply {
        let effect = match command {
            Command::Join(join) => match join.member {
                None if join.require_known_member => Effect::Named {
                    waiter: join.waiter,
                    member: join.new_member,
                },
                member => joined(member.unwrap_or(join.new_member), join.can_skip_assignment),
            },
            Command::Sync(sync) => {
                let mine = sync
                    .assignments
                    .into_iter()
                    .find(|(m, _)| *m == sync.claim.member);
                let assignment = mine.map_or_else(Bytes::new, |(_, share)| share);
                Effect::Synced {
                    waiter: sync.waiter,
                    protocol_type: Some("consumer".into()),
                    protocol: Some("range".into()),
                    assignment,
                }
            }
            Command::Heartbeat(claim) if claim.generation.0 == 1 => {
                Effect::Alive { rebalancing: false }
            }
            Command::Heartbeat(claim) if claim.generation.0 == 0 => {
                Effect::Alive { rebalancing: true }
            }
            Command::Heartbeat(claim) => {
                let (got, current) = (claim.generation, Generation(1));
                return GroupReply::Refused(GroupRefusal::IllegalGeneration { got, current });
            }
            Command::Leave(leaving) => Effect::Left(
                leaving
                    .iter()
                    .map(|one| match &one.member {
                        Some(member) if &*member.0 == "m" => Ok(()),
                        Some(_) | None => Err(GroupRefusal::UnknownMember),
                    })
                    .collect(),
            ),
            Command::CommitOffsets(commit) => {
                let keep = |entry| self.keep(entry);
                Effect::Committed(commit.entries.into_iter().map(keep).collect())
            }
            Command::Delete => {
                return GroupReply::Refused(GroupRefusal::NotEmpty { members: 1 });
            }
            Command::DeleteOffsets(delete) => return self.delete(delete),
            other => panic!("{other:?} is not asked for"),
        };
        GroupReply::Done(effect)
    }

    /// As a group does that has a member of generation 1.
    fn delete(&mut self, delete: DeleteOffsets) -> GroupReply {
        let Some(read) = delete.subscribed else {
            return GroupReply::Refused(GroupRefusal::NotEmpty { members: 1 });
        };
        assert_eq!(read.generation, Generation(1), "the picture's generation");
        let one = |key: &OffsetKey| {
            if read.topics.contains(&key.topic) {
                return Err(GroupRefusal::TopicInUse);
            }
            self.committed.remove(key);
            Ok(())
        };
        let results = delete.keys.iter().map(one).collect();
        GroupReply::Done(Effect::OffsetsDeleted(results))
    }

    fn keep(&mut self, entry: OffsetEntry) -> Result<(), GroupRefusal> {
        if &*entry.metadata == "long" {
            return Err(GroupRefusal::MetadataTooLarge { got: 4, max: 3 });
        }
        if &*entry.metadata == "no room" {
            return Err(GroupRefusal::TooMuchHeld { max: 1 });
        }
        let committed = Committed {
            offset: entry.offset,
            leader_epoch: entry.leader_epoch,
            metadata: entry.metadata,
            at: WallTime(0),
            until: None,
        };
        self.committed.insert(entry.key, committed);
        Ok(())
    }
}

fn joined(member: MemberId, skip_assignment: bool) -> Effect {
    let row = JoinedMember {
        member: member.clone(),
        instance: None,
        metadata: Bytes::from_static(b"topics"),
    };
    Effect::Joined(Box::new(Joined {
        waiter: Waiter(0),
        leader: Some(member.clone()),
        member,
        generation: Generation(1),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        members: vec![row],
        skip_assignment,
    }))
}

fn picture() -> GroupPicture {
    let offered = Offered {
        name: "range".into(),
        metadata: Bytes::from_static(b"topics"),
    };
    let member = Member {
        id: MemberId::from("m"),
        instance: Some(InstanceId::from("i")),
        client_id: "test".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        offered: vec![offered],
    };
    GroupPicture {
        state: State::Stable,
        generation: Generation(1),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        members: vec![(member, Bytes::from_static(b"share"))],
    }
}

#[test]
fn a_new_member_is_named_first_and_then_joins() {
    let (broker, _) = broker();
    for version in 0..=9 {
        let mut driver = Driver::new(&broker);
        let call = |driver: &mut Driver, member: &str| -> JoinGroupResponse {
            driver.call(
                ApiKey::JoinGroup,
                version,
                &samples::join_group(version, member),
            )
        };
        let mut answer = call(&mut driver, "");
        assert!(
            answer.member_id.starts_with("test-"),
            "{}",
            answer.member_id
        );
        if version >= 4 {
            assert_eq!(answer.error_code, ResponseError::MemberIdRequired.code());
            assert_eq!(answer.generation_id, -1);
            answer = call(&mut driver, "m");
            assert_eq!(&*answer.member_id, "m");
        }
        assert_eq!((answer.error_code, answer.generation_id), (0, 1));
        assert_eq!(answer.leader, answer.member_id);
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        assert_eq!(
            answer.protocol_type.as_deref(),
            (version >= 7).then_some("consumer")
        );
        assert_eq!(answer.skip_assignment, version >= 9);
        assert_eq!(&answer.members[0].metadata[..], b"topics");
    }
}

#[test]
fn what_a_member_says_reaches_the_group() {
    let (broker, _) = broker();
    for (version, rebalance_timeout_ms) in [(0, 45_000), (9, 300_000)] {
        let mut driver = Driver::new(&broker);
        let mut request = samples::join_group(version, "m");
        if version >= 5 {
            request.group_instance_id = Some(samples::text("i"));
        }
        driver.receive(frame(ApiKey::JoinGroup, version, 1, &request));
        let Some((_, Request::Group(GroupRequest::Command { group, command }))) =
            driver.asked.first()
        else {
            panic!("it is asked")
        };
        let Command::Join(join) = command else {
            panic!("it is a join")
        };
        assert_eq!((&**group, &*join.client_id), ("g", "test"));
        assert_eq!(join.session_timeout_ms, 45_000);
        assert_eq!(join.rebalance_timeout_ms, rebalance_timeout_ms);
        assert_eq!(join.offered.len(), 2);
        assert!(!join.require_known_member);
        let stem = if version >= 5 { "i-" } else { "test-" };
        assert!(join.new_member.0.starts_with(stem), "{}", join.new_member);
    }
}

#[test]
fn a_member_beats_syncs_and_leaves() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    for (generation, code) in [(1, 0), (0, 27), (2, 22)] {
        let answer: HeartbeatResponse =
            driver.call(ApiKey::Heartbeat, 4, &samples::heartbeat(generation, "m"));
        assert_eq!(answer.error_code, code);
    }
    let answer: SyncGroupResponse = driver.call(ApiKey::SyncGroup, 5, &samples::sync_group(5));
    assert_eq!(
        (answer.error_code, &answer.assignment[..]),
        (0, &b"share"[..])
    );
    assert_eq!(answer.protocol_name.as_deref(), Some("range"));
    let silent = samples::sync_group(4);
    let answer: SyncGroupResponse = driver.call(ApiKey::SyncGroup, 5, &silent);
    assert_eq!(
        answer.error_code,
        ResponseError::InconsistentGroupProtocol.code()
    );

    let both = samples::leave_group(5, &["m", "stranger"]);
    let answer: LeaveGroupResponse = driver.call(ApiKey::LeaveGroup, 5, &both);
    let codes: Vec<i16> = answer.members.iter().map(|m| m.error_code).collect();
    assert_eq!((answer.error_code, codes), (0, vec![0, 25]));
    let stranger = samples::leave_group(1, &["stranger"]);
    let answer: LeaveGroupResponse = driver.call(ApiKey::LeaveGroup, 1, &stranger);
    assert_eq!(answer.error_code, 25);
    let mut nowhere = samples::leave_group(5, &["m"]);
    nowhere.group_id = samples::group("h");
    let answer: LeaveGroupResponse = driver.call(ApiKey::LeaveGroup, 5, &nowhere);
    assert_eq!((answer.error_code, answer.members[0].error_code), (0, 25));
}

#[test]
fn without_a_name_there_is_no_group() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let none = samples::group("");
    let invalid = ResponseError::InvalidGroupId.code();
    let request = samples::join_group(9, "").with_group_id(none.clone());
    let answer: JoinGroupResponse = driver.call(ApiKey::JoinGroup, 9, &request);
    assert_eq!(answer.error_code, invalid);
    let request = samples::sync_group(5).with_group_id(none.clone());
    let answer: SyncGroupResponse = driver.call(ApiKey::SyncGroup, 5, &request);
    assert_eq!(answer.error_code, invalid);
    let request = samples::heartbeat(1, "m").with_group_id(none.clone());
    let answer: HeartbeatResponse = driver.call(ApiKey::Heartbeat, 4, &request);
    assert_eq!(answer.error_code, invalid);
    let request = samples::leave_group(5, &["m"]).with_group_id(none);
    let answer: LeaveGroupResponse = driver.call(ApiKey::LeaveGroup, 5, &request);
    assert_eq!(answer.error_code, invalid);
}

#[test]
fn where_there_is_no_room_for_more_groups_or_offsets_clients_are_told_for_good() {
    let (broker, _) = broker();
    let too_many = samples::group("one too many");
    for version in 0..=9 {
        let mut driver = Driver::new(&broker);
        let join = samples::join_group(version, "").with_group_id(too_many.clone());
        let answer: JoinGroupResponse = driver.call(ApiKey::JoinGroup, version, &join);
        assert_eq!(answer.error_code, ResponseError::GroupMaxSizeReached.code());
        assert_eq!(answer.generation_id, -1);
    }
    let no_room = ResponseError::InvalidCommitOffsetSize.code();
    for version in 2..=9 {
        let mut driver = Driver::new(&broker);
        let mut commit = samples::offset_commit(version).with_group_id(too_many.clone());
        let answer: OffsetCommitResponse = driver.call(ApiKey::OffsetCommit, version, &commit);
        let codes = |answer: &OffsetCommitResponse| -> Vec<i16> {
            let rows = answer.topics[1].partitions.iter();
            rows.map(|p| p.error_code).collect()
        };
        assert_eq!(codes(&answer), [3, no_room, no_room]);
        // One that is refused leaves the others be.
        commit.group_id = samples::group("g");
        commit.topics[1].partitions[2].committed_metadata = Some(samples::text("no room"));
        let answer: OffsetCommitResponse = driver.call(ApiKey::OffsetCommit, version, &commit);
        assert_eq!(codes(&answer), [3, 0, no_room]);
    }
    assert!(!ResponseError::InvalidCommitOffsetSize.is_retriable());
    assert!(!ResponseError::GroupMaxSizeReached.is_retriable());
}

#[test]
fn committed_offsets_are_fetched_again() {
    let (broker, _) = broker();
    for version in 2..=9 {
        let mut driver = Driver::new(&broker);
        let answer: OffsetCommitResponse = driver.call(
            ApiKey::OffsetCommit,
            version,
            &samples::offset_commit(version),
        );
        let codes: Vec<Vec<i16>> = answer
            .topics
            .iter()
            .map(|t| t.partitions.iter().map(|p| p.error_code).collect())
            .collect();
        assert_eq!(codes, [vec![3], vec![3, 0, 12]]);
        let mut elsewhere = samples::offset_commit(version);
        elsewhere.group_id = samples::group("h");
        let answer: OffsetCommitResponse = driver.call(ApiKey::OffsetCommit, version, &elsewhere);
        let code = if version >= 9 { 69 } else { 22 };
        assert_eq!(answer.topics[1].partitions[1].error_code, code);
    }
    let rows = |answer: OffsetFetchResponse| -> Vec<(String, i32, i64, i32, String, i16)> {
        let old = answer.topics.iter().flat_map(|t| {
            t.partitions.iter().map(|p| {
                let metadata = p.metadata.as_deref().unwrap_or("null").to_owned();
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                (
                    t.name.0.to_string(),
                    p.partition_index,
                    offset,
                    epoch,
                    metadata,
                    p.error_code,
                )
            })
        });
        let groups = answer.groups.iter().flat_map(|g| g.topics.iter());
        let new = groups.flat_map(|t| {
            t.partitions.iter().map(|p| {
                let metadata = p.metadata.as_deref().unwrap_or("null").to_owned();
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                (
                    t.name.0.to_string(),
                    p.partition_index,
                    offset,
                    epoch,
                    metadata,
                    p.error_code,
                )
            })
        });
        old.chain(new).collect()
    };
    for version in 1..=9 {
        let mut driver = Driver::new(&broker);
        let answer: OffsetFetchResponse = driver.call(
            ApiKey::OffsetFetch,
            version,
            &samples::offset_fetch(version),
        );
        assert_eq!(answer.error_code, 0);
        assert!(answer.groups.iter().all(|g| g.error_code == 0));
        let epoch = if version >= 5 { 3 } else { -1 };
        let none = |topic: &str, index| (topic.to_owned(), index, -1, -1, String::new(), 0);
        let expected = [
            ("t".to_owned(), 0, 5, epoch, "note".to_owned(), 0),
            none("t", 1),
            none("none", 0),
            none("none", 1),
        ];
        assert_eq!(rows(answer), expected, "{version}");
    }
    let mut driver = Driver::new(&broker);
    let all = samples::offset_fetch(7).with_topics(None);
    let answer: OffsetFetchResponse = driver.call(ApiKey::OffsetFetch, 7, &all);
    assert_eq!(
        rows(answer),
        [("t".to_owned(), 0, 5, 3, "note".to_owned(), 0)]
    );
}

#[test]
fn groups_are_described_listed_and_deleted() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    driver.receive(samples::sample(ApiKey::DescribeGroups, 6, 1, id));
    assert_eq!(driver.asked.len(), 2, "one for each group");
    driver.answer_at(1);
    driver.settle();
    let sent = answers(driver.sent());
    let (_, answer): (_, DescribeGroupsResponse) = open(ApiKey::DescribeGroups, 6, &sent[0]);
    let [known, unknown] = &answer.groups[..] else {
        panic!("two groups")
    };
    assert_eq!(
        (&*known.group_state, &*known.protocol_data),
        ("Stable", "range")
    );
    assert_eq!(known.authorized_operations, 3400);
    let member = &known.members[0];
    assert_eq!(
        (&*member.client_host, &member.member_assignment[..]),
        ("/127.0.0.1", &b"share"[..])
    );
    assert_eq!((&*unknown.group_state, unknown.error_code), ("Dead", 69));

    for (states, types, expected) in [
        (vec![], vec![], vec!["g", "old"]),
        (vec!["stable"], vec![], vec!["g"]),
        (vec!["Empty", "Dead"], vec!["Classic"], vec!["old"]),
        (vec![], vec!["share"], vec![]),
    ] {
        let texts = |names: Vec<&str>| names.into_iter().map(samples::text).collect();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let answer: ListGroupsResponse = driver.call(ApiKey::ListGroups, 5, &request);
        let names: Vec<&str> = answer.groups.iter().map(|g| &*g.group_id.0).collect();
        assert_eq!(names, expected);
        assert!(answer.groups.iter().all(|g| &*g.group_type == "classic"));
    }
    let request = DeleteGroupsRequest::default()
        .with_groups_names(vec![samples::group("g"), samples::group("h")]);
    let answer: DeleteGroupsResponse = driver.call(ApiKey::DeleteGroups, 2, &request);
    let codes: Vec<i16> = answer.results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [68, 69]);
}

#[test]
fn a_broker_that_stops_sends_members_elsewhere() {
    let (broker, id) = broker();
    let not_coordinator = ResponseError::NotCoordinator.code();
    let mut driver = Driver::new(&broker);
    for key in [
        ApiKey::Heartbeat,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::ListGroups,
    ] {
        driver.receive(samples::sample(key, 4, 1, id));
        let (ticket, _) = driver.asked.remove(0);
        driver.input(Input::Answered(ticket, Reply::Group(GroupReply::Stopping)));
        let sent = answers(driver.sent());
        let (_, text) = crate::client::show(key, 4, &sent[0]);
        assert!(
            text.contains(&format!("error_code: {not_coordinator}")),
            "{text}"
        );
    }
}

#[test]
fn what_keeps_a_group_from_answering_is_told_by_each_version_where_it_can() {
    let stopping = ResponseError::NotCoordinator.code();
    for version in 1..=9 {
        let (broker, _) = broker();
        let mut driver = Driver::new(&broker);
        let request = samples::offset_fetch(version);
        driver.receive(frame(ApiKey::OffsetFetch, version, 1, &request));
        while let Some((ticket, _)) = driver.asked.pop() {
            let reply = Reply::Group(GroupReply::Stopping);
            driver.input(Input::Answered(ticket, reply));
        }
        let sent = answers(driver.sent());
        let (_, answer): (_, OffsetFetchResponse) = open(ApiKey::OffsetFetch, version, &sent[0]);
        let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let rows: Vec<_> = rows
            .map(|row| (row.partition_index, row.committed_offset, row.error_code))
            .collect();
        match version {
            1 => {
                let both = [(0, -1, stopping), (1, -1, stopping)];
                assert_eq!(rows, [both, both].concat());
            }
            2..8 => assert_eq!((rows, answer.error_code), (vec![], stopping)),
            _ => {
                let codes: Vec<_> = answer.groups.iter().map(|row| row.error_code).collect();
                assert_eq!(codes, [stopping, stopping]);
            }
        }
    }
}

//! Deleting committed offsets: what is asked of a group, by what its members read (KIP-496).

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, OffsetDeleteResponse};
use mulgil_broker::connection::Input;
use mulgil_broker::group::*;
use mulgil_broker::request::{Reply, Request};
use mulgil_record::ids::TopicId;

use crate::client::{answers, frame, open};
use crate::driver::Driver;
use crate::samples;
use crate::versions::broker;

/// A group of one member that says this of what it reads.
pub(crate) fn picture(protocol_type: &str, metadata: &'static [u8]) -> GroupPicture {
    let offered = Offered {
        name: "range".into(),
        metadata: Bytes::from_static(metadata),
    };
    let member = Member {
        id: MemberId::from("m"),
        instance: None,
        client_id: "test".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        offered: vec![offered],
    };
    GroupPicture {
        state: State::Stable,
        generation: Generation(3),
        protocol_type: Some(protocol_type.into()),
        protocol: Some("range".into()),
        members: vec![(member, Bytes::new())],
    }
}

/// Asks to delete offsets of topic `t`, and shows `picture` to who looks.
fn ask(driver: &mut Driver, picture: Option<GroupPicture>) {
    let request = samples::offset_delete("g", &["t"]);
    driver.receive(frame(ApiKey::OffsetDelete, 0, 1, &request));
    show(driver, picture);
}

fn show(driver: &mut Driver, picture: Option<GroupPicture>) {
    let (ticket, asked) = driver.asked.remove(0);
    assert!(matches!(
        asked,
        Request::Group(GroupRequest::Describe { .. })
    ));
    let reply = GroupReply::Described(picture.map(Box::new));
    driver.input(Input::Answered(ticket, Reply::Group(reply)));
}

/// What the group is then asked to delete; it answers `reply`.
fn delete(driver: &mut Driver, reply: GroupReply) -> DeleteOffsets {
    let (ticket, asked) = driver.asked.remove(0);
    let Request::Group(GroupRequest::Command { command, .. }) = asked else {
        panic!("{asked:?}");
    };
    let Command::DeleteOffsets(delete) = command else {
        panic!("{command:?}");
    };
    driver.input(Input::Answered(ticket, Reply::Group(reply)));
    delete
}

fn answer(driver: &mut Driver) -> (i16, Vec<i16>) {
    let sent = answers(driver.sent());
    let answer: OffsetDeleteResponse = open(ApiKey::OffsetDelete, 0, &sent[0]).1;
    let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
    (answer.error_code, rows.map(|row| row.error_code).collect())
}

fn done(results: Vec<Result<(), GroupRefusal>>) -> GroupReply {
    GroupReply::Done(Effect::OffsetsDeleted(results))
}

fn read(topics: &[TopicId]) -> Subscribed {
    Subscribed {
        generation: Generation(3),
        topics: topics.to_vec(),
    }
}

#[test]
fn what_the_members_read_is_told_to_the_group() {
    let (broker, id) = broker();
    let in_use = ResponseError::GroupSubscribedToTopic.code();
    for (metadata, expected) in [
        // Of two topics, one is not there: it is read by nobody else.
        (&b"\0\0\0\0\0\x02\0\x01t\0\x04gone\0\0\0\0"[..], read(&[id])),
        (b"\0\x03\0\0\0\x01\0\x05other\0\0\0\0", read(&[])),
        // Who does not say what it reads may read anything.
        (b"\0\0\0\0\0\x02\0\x01t", read(&[id])),
        (b"", read(&[id])),
    ] {
        let mut driver = Driver::new(&broker);
        ask(&mut driver, Some(picture("consumer", metadata)));
        let results = vec![Err(GroupRefusal::TopicInUse), Ok(())];
        let delete = delete(&mut driver, done(results));
        assert_eq!(delete.subscribed, Some(expected), "{metadata:?}");
        let keys: Vec<_> = delete.keys.iter().map(|k| (k.topic, k.partition)).collect();
        assert_eq!(keys, [(id, 0), (id, 7)]);
        assert_eq!(answer(&mut driver), (0, vec![in_use, 0]));
    }
}

#[test]
fn a_group_without_members_reads_nothing() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let mut empty = picture("consumer", b"");
    (empty.members, empty.protocol) = (Vec::new(), None);
    ask(&mut driver, Some(empty));
    let delete = delete(&mut driver, done(vec![Ok(()), Ok(())]));
    assert_eq!(delete.subscribed, None);
    assert_eq!(answer(&mut driver), (0, vec![0, 0]));
}

#[test]
fn groups_of_others_and_groups_that_are_not_there_are_refused() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    ask(&mut driver, Some(picture("connect", b"")));
    let not_empty = ResponseError::NonEmptyGroup.code();
    assert_eq!(answer(&mut driver), (not_empty, vec![]));
    ask(&mut driver, None);
    let not_found = ResponseError::GroupIdNotFound.code();
    assert_eq!(answer(&mut driver), (not_found, vec![]));
    let nameless = samples::offset_delete("", &["t"]);
    let nameless: OffsetDeleteResponse = driver.call(ApiKey::OffsetDelete, 0, &nameless);
    let invalid = ResponseError::InvalidGroupId.code();
    assert_eq!(nameless.error_code, invalid);
}

#[test]
fn a_group_that_changed_is_looked_at_again_and_not_for_ever() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let reads_t = || Some(picture("consumer", b"\0\0\0\0\0\x01\0\x01t"));
    let changed = || {
        let (got, current) = (Generation(3), Generation(4));
        GroupReply::Refused(GroupRefusal::IllegalGeneration { got, current })
    };
    ask(&mut driver, reads_t());
    delete(&mut driver, changed());
    show(&mut driver, reads_t());
    delete(
        &mut driver,
        GroupReply::Refused(GroupRefusal::NotEmpty { members: 1 }),
    );
    show(&mut driver, reads_t());
    delete(&mut driver, changed());
    let again = ResponseError::CoordinatorLoadInProgress.code();
    assert_eq!(answer(&mut driver), (again, vec![]));
    assert!(driver.asked.is_empty());
}

//! Offsets of topics that a living group has stopped reading: who is asked to give them up (KIP-211).

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mulgil_broker::group::*;
use mulgil_broker::request::{Reply, Request};
use mulgil_kafka::expire_unread;

use crate::broker::FakeBroker;
use crate::offset_deletes::picture;

const READS_T: &[u8] = b"\0\0\0\0\0\x02\0\x01t\0\x04gone\0\0\0\0";

/// Groups, each with what it is and what its member says; and how often one has more to look at.
struct Groups {
    all: Vec<(&'static str, State, GroupPicture)>,
    more: RefCell<u32>,
    asked: RefCell<Vec<(GroupName, Subscribed)>>,
}

impl Groups {
    fn reply(&self, request: Request) -> Reply {
        let Request::Group(request) = request else {
            panic!("{request:?}");
        };
        Reply::Group(match request {
            GroupRequest::List => GroupReply::Listed(self.lines()),
            GroupRequest::Describe { group } => {
                let found = self.all.iter().find(|(name, ..)| *name == &*group);
                GroupReply::Described(found.map(|(.., picture)| Box::new(picture.clone())))
            }
            GroupRequest::Command {
                group,
                command: Command::ExpireUnread(read),
            } => {
                self.asked.borrow_mut().push((group, read));
                let more = self.more.borrow().checked_sub(1);
                self.more.replace(more.unwrap_or_default());
                let more = more.is_some();
                GroupReply::Done(Effect::UnreadExpired { more })
            }
            other => panic!("{other:?}"),
        })
    }

    fn lines(&self) -> Vec<GroupLine> {
        let line = |(name, state, picture): &(&str, State, GroupPicture)| GroupLine {
            group: GroupName::from(*name),
            state: *state,
            protocol_type: picture.protocol_type.clone(),
        };
        self.all.iter().map(line).collect()
    }

    /// One look over all of them; what groups were asked.
    fn look(&self, broker: &FakeBroker) -> Vec<(GroupName, Subscribed)> {
        let ask = async |request| Some(self.reply(request));
        let looked = pin!(expire_unread(ask, broker));
        let looked = looked.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(looked, Poll::Ready(Some(())));
        self.asked.take()
    }
}

#[test]
fn only_stable_groups_that_say_what_they_read_are_asked() {
    let broker = FakeBroker::new();
    let read = broker.with_topic("t", 1, Default::default());
    broker.with_topic("old", 1, Default::default());
    let group = |name, state, kind, metadata| (name, state, picture(kind, metadata));
    let groups = Groups {
        all: vec![
            group("reads", State::Stable, "consumer", READS_T),
            group("empty", State::Empty, "consumer", READS_T),
            group("moves", State::CompletingRebalance, "consumer", READS_T),
            group("connect", State::Stable, "connect", READS_T),
            group(
                "silent",
                State::Stable,
                "consumer",
                b"\0\0\0\0\0\x02\0\x01t",
            ),
        ],
        more: RefCell::new(0),
        asked: RefCell::default(),
    };
    let expected = Subscribed {
        generation: Generation(3),
        topics: vec![read],
    };
    assert_eq!(groups.look(&broker), [("reads".into(), expected)]);
}

#[test]
fn a_group_with_many_offsets_is_asked_until_all_are_looked_at() {
    let broker = FakeBroker::new();
    let picture = picture("consumer", READS_T);
    let groups = Groups {
        all: vec![("reads", State::Stable, picture)],
        more: RefCell::new(2),
        asked: RefCell::default(),
    };
    assert_eq!(groups.look(&broker).len(), 3);
}

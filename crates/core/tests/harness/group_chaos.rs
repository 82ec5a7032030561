//! A group among clients that do anything at any time.
//!
//! Beside the law of restart this checks, at every step: a generation's number is told to one set of
//! members only, and names one leader; whoever waits is answered once, and in the end at all; a tick
//! does all that is due; the checkpoint leads to the same group; what is held is counted and bounded.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mulgil_core::group::{
    Change, Claim, Command, CommitOffsets, DeleteOffsets, Effect, GROUP_BYTES, Generation, Group,
    GroupSettings, InstanceId, Join, Leaving, MemberId, OFFSET_BYTES, Offered, OffsetEntry,
    OffsetKey, State, Sync, Waiter, wire,
};
use mulgil_core::machine::{Elapsed, Machine as _, Now, WallTime};
use mulgil_record::ids::{Offset, TopicId};
use proptest::prelude::*;

use crate::law::Twin;

/// What one of the clients, or the world, does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Join {
        who: usize,
        offers: u8,
        forgets: bool,
        known: bool,
    },
    Sync {
        who: usize,
        stale: bool,
    },
    Heartbeat {
        who: usize,
        stale: bool,
    },
    Leave {
        who: usize,
        by_instance: bool,
    },
    Commit {
        who: usize,
        partition: i32,
        simple: bool,
    },
    DeleteOffset {
        partition: i32,
    },
    ForgetTopic,
    Delete,
    Wait {
        ms: u64,
    },
    Restart,
}

/// Any of them; what makes a group go on is more likely.
pub(crate) fn action() -> impl Strategy<Value = Action> {
    let who = 0..CLIENTS;
    prop_oneof![
        12 => (who.clone(), 1u8..4, prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(who, offers, forgets, known)| Action::Join { who, offers, forgets, known }),
        10 => (who.clone(), prop::bool::weighted(0.1))
            .prop_map(|(who, stale)| Action::Sync { who, stale }),
        4 => (who.clone(), prop::bool::weighted(0.1))
            .prop_map(|(who, stale)| Action::Heartbeat { who, stale }),
        1 => (who.clone(), any::<bool>())
            .prop_map(|(who, by_instance)| Action::Leave { who, by_instance }),
        3 => (who, 0..3, prop::bool::weighted(0.2))
            .prop_map(|(who, partition, simple)| Action::Commit { who, partition, simple }),
        1 => (0..3).prop_map(|partition| Action::DeleteOffset { partition }),
        1 => Just(Action::ForgetTopic),
        1 => Just(Action::Delete),
        6 => prop_oneof![Just(500), Just(3_000), Just(20_000), Just(400_000), Just(700_000_000)]
            .prop_map(|ms| Action::Wait { ms }),
        1 => Just(Action::Restart),
    ]
}

const CLIENTS: usize = 5;

/// The first clients are static members.
const STATIC: usize = 2;

const TOPIC: TopicId = TopicId(7);

#[derive(Default)]
struct Client {
    member: Option<MemberId>,
    generation: Generation,
}

struct Chaos {
    twin: Twin<Group>,
    clients: Vec<Client>,
    /// Who waits for what.
    waiting: BTreeMap<Waiter, usize>,
    /// To whom each generation was told, and who leads it.
    told: BTreeMap<Generation, (Option<MemberId>, BTreeSet<MemberId>)>,
    waiters: u64,
    now: u64,
}

/// There is room for the offsets of three partitions, and for few notes.
const HELD_BYTES_MAX: usize = GROUP_BYTES + 3 * OFFSET_BYTES + 5;

fn settings() -> GroupSettings {
    GroupSettings {
        members_max: 4,
        held_bytes_max: HELD_BYTES_MAX,
        ..GroupSettings::default()
    }
}

/// Does all of it, and then waits until nobody waits.
pub(crate) fn run(actions: &[Action]) {
    let settings = settings();
    let clients = (0..CLIENTS).map(|_| Client::default()).collect();
    let mut chaos = Chaos {
        twin: Twin::new(Group::new(settings), through_the_log),
        clients,
        waiting: BTreeMap::new(),
        told: BTreeMap::new(),
        waiters: 0,
        now: 0,
    };
    for action in actions {
        chaos.act(action);
        chaos.check();
    }
    // Longer than any session, and any wait for others.
    for _ in 0..10 {
        chaos.wait(2_000_000);
    }
    assert!(chaos.waiting.is_empty(), "someone waits for ever");
    assert!(matches!(
        chaos.twin.live.state(),
        State::Empty | State::Dead
    ));
}

fn through_the_log(change: &Change) -> Change {
    let Change::Durable(change) = change else {
        return change.clone();
    };
    let mut bytes = Vec::new();
    wire::encode(change, &mut bytes);
    Change::Durable(wire::decode(wire::VERSION, &bytes).expect("what was just written"))
}

fn instance(who: usize) -> Option<InstanceId> {
    (who < STATIC).then(|| InstanceId::from(format!("i{who}").as_str()))
}

impl Chaos {
    fn act(&mut self, action: &Action) {
        match *action {
            Action::Join {
                who,
                offers,
                forgets,
                known,
            } => {
                let join = self.join(who, offers, forgets, known);
                self.decide(Command::Join(Box::new(join)));
            }
            Action::Sync { who, stale } => {
                let sync = self.sync(who, stale);
                self.decide(Command::Sync(Box::new(sync)));
            }
            Action::Heartbeat { who, stale } => {
                self.decide(Command::Heartbeat(self.claim(who, stale)));
            }
            Action::Leave { who, by_instance } => {
                let leaving = Leaving {
                    member: self.client(who).member.clone().filter(|_| !by_instance),
                    instance: instance(who),
                };
                self.decide(Command::Leave(vec![leaving.clone(), leaving]));
            }
            Action::Commit {
                who,
                partition,
                simple,
            } => {
                let commit = self.commit(who, partition, simple);
                self.decide(Command::CommitOffsets(Box::new(commit)));
            }
            Action::DeleteOffset { partition } => {
                let topic = TOPIC;
                let keys = vec![OffsetKey { topic, partition }];
                let subscribed = None;
                self.decide(Command::DeleteOffsets(DeleteOffsets { keys, subscribed }));
            }
            Action::ForgetTopic => self.decide(Command::ForgetTopic(TOPIC)),
            Action::Delete => self.decide(Command::Delete),
            Action::Wait { ms } => self.wait(ms),
            Action::Restart => {
                self.twin.restart();
                self.waiting.clear();
            }
        }
    }

    fn client(&self, who: usize) -> &Client {
        self.clients.get(who).expect("one of the clients")
    }

    fn waiter(&mut self, who: usize) -> Waiter {
        let waiter = Waiter(self.waiters);
        self.waiters += 1;
        self.waiting.insert(waiter, who);
        waiter
    }

    fn claim(&self, who: usize, stale: bool) -> Claim {
        let client = self.client(who);
        let nobody = || MemberId::from("nobody");
        Claim {
            member: client.member.clone().unwrap_or_else(nobody),
            instance: instance(who),
            generation: Generation(client.generation.0 - i32::from(stale)),
        }
    }

    fn join(&mut self, who: usize, offers: u8, forgets: bool, known: bool) -> Join {
        let waiter = self.waiter(who);
        let offer = |name: &str| Offered {
            name: name.into(),
            metadata: Bytes::from(format!("{who}")),
        };
        let names = ["range", "sticky"].into_iter().zip([1, 2]);
        let offered = names.filter(|(_, bit)| offers & bit != 0);
        Join {
            waiter,
            member: self.client(who).member.clone().filter(|_| !forgets),
            new_member: MemberId::from(format!("{who}-{}", waiter.0).as_str()),
            instance: instance(who),
            client_id: "c".into(),
            client_host: "h".into(),
            protocol_type: "consumer".into(),
            offered: offered.map(|(name, _)| offer(name)).collect(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 30_000,
            require_known_member: known,
            can_skip_assignment: known,
        }
    }

    fn sync(&mut self, who: usize, stale: bool) -> Sync {
        let members = self.clients.iter().filter_map(|c| c.member.clone());
        let share = |m: MemberId| (m.clone(), Bytes::from(m.to_string()));
        let assignments = members.map(share).collect();
        Sync {
            waiter: self.waiter(who),
            claim: self.claim(who, stale),
            protocol_type: None,
            protocol: None,
            assignments,
        }
    }

    fn commit(&self, who: usize, partition: i32, simple: bool) -> CommitOffsets {
        let claim = self.claim(who, false);
        let topic = TOPIC;
        CommitOffsets {
            member: (!simple).then_some(claim.member),
            instance: claim.instance.filter(|_| !simple),
            generation: if simple {
                Generation::NONE
            } else {
                claim.generation
            },
            entries: vec![OffsetEntry {
                key: OffsetKey { topic, partition },
                offset: Offset(i64::try_from(self.now).expect("a short time")),
                leader_epoch: None,
                metadata: "n"
                    .repeat(usize::try_from(self.now / 500 % 5).expect("few"))
                    .into(),
                retention_ms: None,
            }],
        }
    }

    fn decide(&mut self, command: Command) {
        let parks = matches!(command, Command::Join(_) | Command::Sync(_));
        let now = Now {
            elapsed: Elapsed(self.now),
            wall: WallTime(self.now),
        };
        match self.twin.step(command, now) {
            Ok(decision) => {
                for (_, effect) in &decision.effects {
                    self.tell(effect);
                }
            }
            Err(_) if parks => {
                let waiter = Waiter(self.waiters - 1);
                let who = self.waiting.remove(&waiter).expect("it waits");
                // As clients do when they are told that something is wrong with them.
                if !matches!(self.twin.live.state(), State::PreparingRebalance) {
                    self.clients.get_mut(who).expect("a client").member = None;
                }
            }
            Err(_) => {}
        }
    }

    fn tell(&mut self, effect: &Effect) {
        let (waiter, told) = match effect {
            Effect::Joined(joined) => (joined.waiter, Some(&joined.member)),
            Effect::Named { waiter, member } => (*waiter, Some(member)),
            Effect::Synced { waiter, .. } | Effect::Refused { waiter, .. } => (*waiter, None),
            Effect::Deleted => {
                self.told.clear();
                return;
            }
            Effect::Alive { .. }
            | Effect::Left(_)
            | Effect::Committed(_)
            | Effect::OffsetsDeleted(_)
            | Effect::UnreadExpired { .. } => return,
        };
        let who = self.waiting.remove(&waiter).expect("answered once");
        let client = self.clients.get_mut(who).expect("a client");
        client.member = told.cloned().or_else(|| client.member.take());
        if let Effect::Joined(joined) = effect {
            client.generation = joined.generation;
            self.hear(joined);
        }
    }

    fn hear(&mut self, joined: &mulgil_core::group::Joined) {
        assert!(joined.protocol.is_some(), "a generation without a protocol");
        let members = self.twin.live.members();
        let members: BTreeSet<MemberId> = members.map(|(m, _)| m.id.clone()).collect();
        assert!(members.contains(&joined.member), "told to a stranger");
        if self.twin.live.state() != State::CompletingRebalance {
            return;
        }
        let leader = joined.leader.clone();
        let told = self.told.entry(joined.generation);
        let first = told.or_insert_with(|| (leader.clone(), members.clone()));
        assert_eq!(*first, (leader, members), "a generation means two things");
    }

    /// Lets time pass, with all that becomes due on the way.
    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        for _ in 0..20 {
            let (elapsed, wall) = self.twin.live.deadline();
            let due = [elapsed.map(|e| e.0), wall.map(|w| w.0)];
            let Some(due) = due.into_iter().flatten().min().filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            self.decide(Command::Tick);
            let (elapsed, wall) = self.twin.live.deadline();
            assert!(
                elapsed.is_none_or(|e| e.0 > self.now),
                "a tick left something due"
            );
            assert!(
                wall.is_none_or(|w| w.0 > self.now),
                "a tick left a look due"
            );
        }
        self.now = end;
        self.decide(Command::Tick);
    }

    fn check(&self) {
        let mut bytes = Vec::new();
        wire::encode_checkpoint(&self.twin.live, &mut bytes);
        let read =
            wire::decode_checkpoint(settings(), wire::VERSION, &bytes).expect("a checkpoint");
        assert!(self.twin.replays_to(&read), "the checkpoint differs");
        let live = &self.twin.live;
        let offsets = live.offsets().map(|(_, c)| OFFSET_BYTES + c.metadata.len());
        let exists = !matches!(live.state(), State::Dead);
        let counted = offsets.sum::<usize>() + if exists { GROUP_BYTES } else { 0 };
        assert_eq!(
            live.held_bytes(0),
            counted,
            "the sum is not that of the parts"
        );
        assert!(counted <= HELD_BYTES_MAX, "more is held than may be");
        let stable = matches!(live.state(), State::Stable | State::CompletingRebalance);
        assert!(
            !stable || live.member_count() > 0,
            "a stable group without members"
        );
        // While a rebalance gathers, those who came in time are counted, and may crowd out the others.
        assert!(live.member_count() <= 8, "too many members");
    }
}

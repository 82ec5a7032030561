//! Fetch sessions (KIP-227): what a consumer reads is remembered, so that each request and each answer
//! carries only what has changed.
//!
//! Kafka keeps the sessions of a broker in one cache; here they live and die with their connection,
//! which a client notices as `FETCH_SESSION_ID_NOT_FOUND` and answers with a full fetch. All of a
//! broker share its room. Without a session a client gets session id 0 and goes on with full fetches.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::session_room::{SessionRoom, Share};
use crate::from_wire::{TOPIC_NAME_BYTES_MAX, TopicKey};

/// Most sessions of one connection; a consumer has one.
const SESSIONS_MAX: usize = 4;

/// Most partitions of one session: about 2 MB. A client that reads more goes on without a session.
const SESSION_PARTITIONS_MAX: usize = 10_000;

/// What a session remembers of one partition, bytes; nodes of both maps are two thirds full or more.
const PARTITION_BYTES: usize =
    (size_of::<(u64, Cached)>() + size_of::<((TopicKey, i32), u64)>()) * 3 / 2;

/// The id that stands for no session.
pub(crate) const NO_SESSION: i32 = 0;
/// A full fetch that wants a session.
const EPOCH_INITIAL: i32 = 0;
/// A full fetch that wants none.
const EPOCH_FINAL: i32 = -1;

/// What a client wants of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) topic: TopicKey,
    pub(crate) index: i32,
    pub(crate) offset: i64,
    pub(crate) bytes_max: i32,
    /// -1 if the client does not know.
    pub(crate) leader_epoch: i32,
    /// -1 if the client does not know.
    pub(crate) last_epoch: i32,
}

/// What a fetch request says of its session, and of partitions.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// Whether topics are named by id.
    pub(crate) by_id: bool,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) forgotten: Vec<(TopicKey, i32)>,
}

/// What is to be read, and in which session.
#[derive(Debug)]
pub(crate) struct Opened {
    /// [`NO_SESSION`] or the id.
    pub(crate) id: i32,
    /// Whether partitions without news are left out of the answer.
    pub(crate) incremental: bool,
    pub(crate) wishes: Vec<Wish>,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// No such session on this connection.
    NotFound,
    /// A request was lost or came twice.
    Epoch,
    /// The session names topics by id and the request by name, or the reverse.
    TopicIds,
}

/// What an answer says of a partition, as far as the session keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    pub(crate) has_records: bool,
    /// An error or a diverging epoch: said again and again until it is over.
    pub(crate) urgent: bool,
}

/// All sessions of a connection.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    by_id: BTreeMap<i32, Session>,
    uses: u64,
    room: Arc<SessionRoom>,
}

#[derive(Debug)]
struct Session {
    /// What the next request must say.
    epoch: i32,
    by_id: bool,
    last_used: u64,
    /// In the order in which they are read: those that brought records go to the end.
    partitions: BTreeMap<u64, Cached>,
    places: BTreeMap<(TopicKey, i32), u64>,
    next_place: u64,
    /// What all of `partitions` take.
    bytes: usize,
    share: Share,
}

#[derive(Debug)]
struct Cached {
    wish: Wish,
    /// As last told to the client, -1 if not yet.
    high_watermark: i64,
    log_start: i64,
}

impl FetchSessions {
    /// None yet; those to come share `room`.
    pub(crate) const fn new(room: Arc<SessionRoom>) -> Self {
        Self {
            by_id: BTreeMap::new(),
            uses: 0,
            room,
        }
    }

    /// What all of them keep in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.by_id.values().map(|session| session.bytes).sum()
    }

    /// Which of `count` partitions the present fetch begins with, if nothing else says it: each in turn.
    pub(crate) fn turn_of(&self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.uses % count).unwrap_or(0)
    }

    /// Finds out what a fetch request reads; `fresh_id` names a session that it opens.
    ///
    /// The rules are those of `FetchManager.newContext`.
    ///
    /// # Errors
    ///
    /// [`SessionError`]: the client begins anew.
    pub(crate) fn open(&mut self, opening: Opening, fresh_id: i32) -> Result<Opened, SessionError> {
        self.uses += 1;
        if matches!(opening.epoch, EPOCH_INITIAL | EPOCH_FINAL) {
            // Any session that a full fetch names is closed.
            self.by_id.remove(&opening.id);
            let wants_session = opening.epoch == EPOCH_INITIAL;
            let id = if wants_session {
                self.create(&opening, fresh_id)
            } else {
                NO_SESSION
            };
            return Ok(Opened {
                id,
                incremental: false,
                wishes: opening.wishes,
            });
        }
        let session = self
            .by_id
            .get_mut(&opening.id)
            .ok_or(SessionError::NotFound)?;
        if session.epoch != opening.epoch {
            return Err(SessionError::Epoch);
        }
        if session.by_id != opening.by_id {
            return Err(SessionError::TopicIds);
        }
        let mut too_large = !can_be_names(&opening.wishes);
        session.update(opening.wishes, &opening.forgotten);
        too_large |= session.partitions.len() > SESSION_PARTITIONS_MAX;
        too_large |= !session.share.resize(session.bytes);
        let wishes: Vec<Wish> = session
            .partitions
            .values()
            .map(|c| c.wish.clone())
            .collect();
        if wishes.is_empty() || too_large {
            // Emptied sessions end, as in Kafka; so do those that have grown too large.
            self.by_id.remove(&opening.id);
            return Ok(Opened {
                id: NO_SESSION,
                incremental: false,
                wishes,
            });
        }
        session.epoch = if session.epoch == i32::MAX {
            1
        } else {
            session.epoch + 1
        };
        session.last_used = self.uses;
        Ok(Opened {
            id: opening.id,
            incremental: true,
            wishes,
        })
    }

    /// Remembers what is about to be told of a partition; says whether it has to be told.
    pub(crate) fn must_tell(&mut self, id: i32, topic: &TopicKey, index: i32, news: News) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else {
            return true;
        };
        session.must_tell(topic, index, news)
    }

    fn create(&mut self, opening: &Opening, fresh_id: i32) -> i32 {
        let count = opening.wishes.len();
        if count == 0 || count > SESSION_PARTITIONS_MAX || !can_be_names(&opening.wishes) {
            return NO_SESSION;
        }
        if self.by_id.len() >= SESSIONS_MAX {
            let oldest = self
                .by_id
                .iter()
                .min_by_key(|(_, s)| s.last_used)
                .map(|(id, _)| *id);
            oldest.map(|id| self.by_id.remove(&id));
        }
        let Some(share) = Share::of(&self.room) else {
            return NO_SESSION;
        };
        let mut session = Session {
            epoch: EPOCH_INITIAL + 1,
            by_id: opening.by_id,
            last_used: self.uses,
            partitions: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            bytes: 0,
            share,
        };
        session.update(opening.wishes.clone(), &[]);
        if !session.share.resize(session.bytes) {
            return NO_SESSION;
        }
        self.by_id.insert(fresh_id, session);
        fresh_id
    }
}

impl Session {
    fn update(&mut self, wishes: Vec<Wish>, forgotten: &[(TopicKey, i32)]) {
        let mut last_topic: Option<TopicKey> = None;
        for mut wish in wishes {
            let place = self.places.get(&(wish.topic.clone(), wish.index));
            if let Some(cached) = place.and_then(|place| self.partitions.get_mut(place)) {
                wish.topic = cached.wish.topic.clone();
                cached.wish = wish;
                continue;
            }
            // A name on the wire is a piece of the received bytes, which would all stay in memory.
            let topic = match &last_topic {
                Some(topic) if *topic == wish.topic => topic.clone(),
                Some(_) | None => owned(&wish.topic),
            };
            last_topic = Some(topic.clone());
            wish.topic = topic.clone();
            self.bytes += bytes_of(&topic);
            let place = self.place();
            self.places.insert((topic, wish.index), place);
            let cached = Cached {
                wish,
                high_watermark: -1,
                log_start: -1,
            };
            self.partitions.insert(place, cached);
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.partitions.remove(&place);
                self.bytes = self.bytes.saturating_sub(bytes_of(&key.0));
            }
        }
    }

    /// As `CachedPartition.maybeUpdateResponseData`.
    fn must_tell(&mut self, topic: &TopicKey, index: i32, news: News) -> bool {
        let key = (topic.clone(), index);
        let Some(place) = self.places.get(&key).copied() else {
            return true;
        };
        let Some(mut cached) = self.partitions.remove(&place) else {
            return true;
        };
        let must_tell = news.has_records
            || news.urgent
            || cached.high_watermark != news.high_watermark
            || cached.log_start != news.log_start;
        // When an error is over, the partition is told of again.
        cached.high_watermark = if news.urgent { -1 } else { news.high_watermark };
        cached.log_start = news.log_start;
        // Those behind it have their turn first, however little an answer holds.
        let place = if news.has_records {
            self.place()
        } else {
            place
        };
        self.partitions.insert(place, cached);
        self.places.insert(key, place);
        must_tell
    }

    const fn place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

/// What is remembered of a partition of `topic`, bytes; as if its name were not shared.
fn bytes_of(topic: &TopicKey) -> usize {
    let name = match topic {
        TopicKey::Name(name) => name.len(),
        TopicKey::Id(_) => 0,
    };
    PARTITION_BYTES + name
}

/// Whether topics may be called so: what cannot be there is not worth remembering.
fn can_be_names(wishes: &[Wish]) -> bool {
    wishes.iter().all(|wish| match &wish.topic {
        TopicKey::Name(name) => name.len() <= TOPIC_NAME_BYTES_MAX,
        TopicKey::Id(_) => true,
    })
}

fn owned(topic: &TopicKey) -> TopicKey {
    match topic {
        TopicKey::Name(name) => TopicKey::Name(StrBytes::from_string(name.to_string())),
        TopicKey::Id(id) => TopicKey::Id(*id),
    }
}

//! The head record: which incarnation may commit, and how far it and those before it have come.
//!
//! ```text
//! takeover    seal the incarnation where it is, incarnation + 1                    --> the head then
//! commit      IF incarnation == mine AND revision == known  THEN last_seq = n      --> a new revision
//! ```
//!
//! Both are one transaction of a small store that compares, as etcd does. A takeover reads how far the
//! incarnation before it has come in the transaction that ends it, so that nothing can be committed in
//! between. A commit whose answer got lost may still arrive: the revision makes it too late then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ObjectLie;
use crate::position::ChunkId;

/// How far an incarnation has committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub incarnation: u32,
    /// The first chunk that it began: the ids from here up to the next incarnation's are its own.
    pub first_chunk: ChunkId,
    /// Its last committed object; 0 for none.
    pub last_seq: u64,
}

/// Which incarnation writes, and how far it and those before it have committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The incarnation that may commit, and how far it has come.
    pub current: Reached,
    /// Incarnations before it that have committed anything, oldest first.
    pub sealed: Vec<Reached>,
    /// Which change of the head this is.
    pub revision: u64,
}

impl Head {
    /// All incarnations that have committed anything, oldest first.
    pub fn committed(&self) -> impl Iterator<Item = Reached> {
        let all = self.sealed.iter().chain([&self.current]).copied();
        all.filter(|reached| reached.last_seq > 0)
    }
}

/// What a transaction that commits compares and writes.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What the head says then of the incarnation, which must be the one that may commit.
    pub reached: Reached,
    /// The revision that the head must have.
    pub revision: u64,
    /// What the broker takes for sealed; written only by a lie.
    pub sealed: Vec<Reached>,
}

/// A commit found another head than the one it compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

#[derive(Clone, Debug, Default)]
struct State {
    head: Head,
    /// Commits on their way that nobody waits for any more.
    late: VecDeque<Commit>,
    lie: Option<ObjectLie>,
    /// The head that a takeover had read before it bumps, if that is the lie.
    stale: Option<Head>,
}

/// A small store of one head, with compare. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct HeadStore(Arc<Mutex<State>>);

impl HeadStore {
    /// An empty one that makes this mistake.
    #[must_use]
    pub fn lying(lie: Option<ObjectLie>) -> Self {
        let state = State {
            lie,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head as it is.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state().head.clone()
    }

    /// One of its own that is as this one is now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// A takeover begins: reads the head too early, if that is the lie.
    pub fn look_before_takeover(&self) {
        let mut state = self.state();
        if state.lie == Some(ObjectLie::HeadBeforeBump) {
            state.stale = Some(state.head.clone());
        }
    }

    /// Seals the incarnation that writes and begins the next one; what the head is then.
    #[must_use]
    pub fn take_over(&self) -> Head {
        let mut state = self.state();
        if let Some(stale) = state.stale.take() {
            state.head = Head {
                revision: state.head.revision,
                ..stale
            };
        }
        let head = &mut state.head;
        if head.current.last_seq > 0 {
            head.sealed.push(head.current);
        }
        head.current = Reached {
            incarnation: head.current.incarnation + 1,
            ..Reached::default()
        };
        head.revision += 1;
        head.clone()
    }

    /// Carries out a commit; the revision of the head then.
    ///
    /// # Errors
    ///
    /// Another incarnation has taken over, or the head was changed since.
    pub fn commit(&self, commit: &Commit) -> Result<u64, Refused> {
        self.state().commit(commit)
    }

    /// Lets a commit arrive later, if at all.
    pub fn delay(&self, commit: Commit) {
        self.state().late.push_back(commit);
    }

    /// One of the delayed commits arrives. Says whether there was one.
    pub fn land(&self, choice: u64) -> bool {
        let mut state = self.state();
        let Some(at) = choice.checked_rem(state.late.len() as u64) else {
            return false;
        };
        let late = usize::try_from(at)
            .ok()
            .and_then(|at| state.late.remove(at));
        if let Some(commit) = &late {
            let _nobody_waits = state.commit(commit);
        }
        late.is_some()
    }
}

impl State {
    fn commit(&mut self, commit: &Commit) -> Result<u64, Refused> {
        let head = &mut self.head;
        let same = head.current.incarnation == commit.reached.incarnation;
        let known = head.revision == commit.revision;
        match self.lie {
            Some(ObjectLie::IncarnationNotCompared) if !same => {
                head.sealed.clone_from(&commit.sealed);
            }
            Some(ObjectLie::RevisionNotCompared) if same => {}
            Some(_) | None if same && known => {}
            Some(_) | None => return Err(Refused),
        }
        head.current = commit.reached;
        head.revision += 1;
        Ok(head.revision)
    }
}

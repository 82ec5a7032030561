//! A decision in the making: neighbours of the same fate become one change.

use mulgil_record::ids::Offset;

use super::change::{Change, Durable, Volatile};
use super::effect::Effect;
use super::retry::Fate;
use super::settings::Settings;
use super::span::Span;
use crate::machine::{After, Decision, Keep, Now};

/// A stretch of records that come back alike.
struct Stretch {
    span: Span,
    fate: Fate,
    /// Whether the log knows that they are held.
    logged: bool,
}

/// A decision in the making.
pub(super) struct Draft<'a> {
    settings: &'a Settings,
    pub(super) now: Now,
    out: &'a mut Decision<Change, Effect>,
    stretch: Option<Stretch>,
    waited: bool,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(
        settings: &'a Settings,
        now: Now,
        out: &'a mut Decision<Change, Effect>,
    ) -> Self {
        Self {
            settings,
            now,
            out,
            stretch: None,
            waited: false,
        }
    }

    /// Decides a change that answers wait for.
    pub(super) fn waited(&mut self, change: Durable) {
        self.waited = true;
        self.out
            .changes
            .push((Keep::Waited, Change::Durable(change)));
    }

    /// Decides a change that is logged, but nobody waits for.
    pub(super) fn riding(&mut self, change: Durable) {
        self.out
            .changes
            .push((Keep::Riding, Change::Durable(change)));
    }

    pub(super) fn keep(&mut self, keep: Keep, change: Durable) {
        self.waited |= keep == Keep::Waited;
        self.out.changes.push((keep, Change::Durable(change)));
    }

    /// Decides a change that a restart forgets.
    pub(super) fn volatile(&mut self, change: Volatile) {
        self.out
            .changes
            .push((Keep::Volatile, Change::Volatile(change)));
    }

    pub(super) fn append(&mut self, change: super::command::Append) {
        self.waited = true;
        self.out
            .changes
            .push((Keep::Waited, Change::Appended(change)));
    }

    /// An answer, which waits for this decision's own frame if anything in it is waited for.
    pub(super) fn answer(&mut self, effect: Effect) {
        let after = if self.waited {
            After::OwnFrame
        } else {
            After::WhatItRead
        };
        self.out.effects.push((after, effect));
    }

    pub(super) const fn again(&mut self) {
        self.out.again = true;
    }

    pub(super) fn changes(&self) -> &[(Keep, Change)] {
        &self.out.changes
    }

    /// A held record comes back. Ascending neighbours of one fate are joined; [`Self::flush`] ends it.
    pub(super) fn come_back(&mut self, offset: Offset, fate: Fate, logged: bool, keep: Keep) {
        if let Some(stretch) = &mut self.stretch
            && stretch.span.end == offset
            && stretch.fate == fate
            && stretch.logged == logged
        {
            stretch.span.end = offset.plus(1);
            return;
        }
        self.flush(keep);
        let span = Span::one(offset);
        self.stretch = Some(Stretch { span, fate, logged });
    }

    /// Decides what was gathered.
    pub(super) fn flush(&mut self, keep: Keep) {
        let Some(Stretch { span, fate, logged }) = self.stretch.take() else {
            return;
        };
        match fate {
            Fate::Back {
                failed: false,
                not_before: None,
            } if !logged => self.volatile(Volatile::Unlocked { span }),
            Fate::Back { failed, not_before } => {
                let released = Durable::Released {
                    span,
                    failed,
                    not_before,
                };
                self.keep(keep, released);
            }
            Fate::GivenUp { failed, reason } => {
                let change = if self.settings.dead_letter {
                    Durable::Condemned {
                        span,
                        reason,
                        at: self.now.wall,
                        failed,
                        words: None,
                    }
                } else {
                    Durable::Archived {
                        span,
                        reason,
                        moved: false,
                    }
                };
                self.keep(keep, change);
            }
        }
    }
}

//! Scripts of a subscription. The script's shell ticks whenever the machine wants it, as the real one
//! does, and says of each durable change whether answers wait for it (`log`) or it rides (`ride`).

use std::fmt::Write as _;
use std::sync::Arc;

use mulgil_core::machine::{Elapsed, Keep, Now, WallTime};
use mulgil_core::queue::{
    Append, Attach, Change, Claim, Command, ConsumerId, Durable, Effect, Grant, LockEpoch,
    LockTerm, NotArchived, Outcome, Overflow, Pull, Retry, Settings, Settle, Span, Subscription,
};
use mulgil_record::facts::{Columns, DUE_AT_ONCE, EXPIRES_NEVER, Facts};
use mulgil_record::ids::{LeaderEpoch, Offset};

use crate::law::Twin;
use crate::script::{Line, millis, time};

/// Times of scripts begin here.
const BEGIN: u64 = 1_000_000;

/// A subscription under a script.
pub(crate) struct QueueScript {
    twin: Twin<Subscription>,
    settings: Settings,
    ms: u64,
    leader: i32,
}

/// A subscription that begins with the log.
pub(crate) fn new() -> QueueScript {
    let settings = Settings::default();
    QueueScript {
        twin: Twin::new(Subscription::new(settings, Offset(0)), Change::clone),
        settings,
        ms: 0,
        leader: 0,
    }
}

/// Runs one line.
pub(crate) fn run(script: &mut QueueScript, line: &Line<'_>, out: &mut String) {
    match line.verb {
        "settings" => script.settings(line),
        "wait" => return script.wait(millis(line.word()), out),
        "restart" => {
            script.twin.restart();
            script.leader += 1;
            script.ask(Command::Lead(LeaderEpoch(script.leader)), out);
        }
        "show" => return script.show(line, out),
        "browse" => return script.browse(line, out),
        _ => {
            let command = script.command(line);
            script.ask(command, out);
        }
    }
    script.rest(out);
}

fn span(word: &str) -> Span {
    let number = |text: &str| text.parse().expect("an offset");
    match word.split_once("..") {
        Some((first, end)) => Span {
            first: Offset(number(first)),
            end: Offset(number(end)),
        },
        None => Span::one(Offset(number(word))),
    }
}

fn consumer(word: &str) -> ConsumerId {
    let number = word.strip_prefix('c').and_then(|n| n.parse().ok());
    ConsumerId(number.expect("a consumer, as in c1"))
}

fn columns(words: &[&str]) -> Columns {
    let column = |word: &&str| match *word {
        "priorities" => Columns::PRIORITY,
        "sizes" => Columns::SIZE,
        "keys" => Columns::ORDERING_KEY,
        "none" => Columns(0),
        _ => Columns::VERDICTS,
    };
    words.iter().map(column).fold(Columns(0), Columns::with)
}

/// What a script says of each record of a batch.
trait Each {
    fn says_any(&self, names: &[&str]) -> bool;
    fn list<T: Copy + std::str::FromStr>(&self, name: &str, count: u32) -> Vec<T>;
}

impl Each for Line<'_> {
    fn says_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// One value for each, or one for all.
    fn list<T: Copy + std::str::FromStr>(&self, name: &str, count: u32) -> Vec<T> {
        let text = self.get(name).into_iter().flat_map(|text| text.split(','));
        let values = text.map(|text| text.parse().ok().expect("numbers with commas"));
        let values: Vec<T> = values.collect();
        let all = (0..count).zip(values.iter().cycle());
        all.map(|(_, value)| *value).collect()
    }
}

fn lock(line: &Line<'_>) -> LockTerm {
    let ms = |text: &str| u32::try_from(millis(text)).expect("a short time");
    match line
        .get("lock")
        .map(|term| term.split_once(':').unwrap_or((term, "")))
    {
        None => LockTerm::Attached,
        Some(("outliving", text)) => LockTerm::Outliving(ms(text)),
        Some((text, _)) => LockTerm::AttachedFor(ms(text)),
    }
}

impl QueueScript {
    const fn now(&self) -> Now {
        Now {
            elapsed: Elapsed(self.ms),
            wall: WallTime(BEGIN + self.ms),
        }
    }

    fn settings(&mut self, line: &Line<'_>) {
        let ms = |name| line.get(name).map(millis);
        let settings = &mut self.settings;
        settings.failed_max = line.number("failed-max").or(settings.failed_max);
        settings.acquired_max = line.number("acquired-max").or(settings.acquired_max);
        settings.dead_letter |= line.says("dead-letter");
        settings.single_active |= line.says("single-active");
        settings.paused = line.says("paused");
        settings.ttl_ms = ms("ttl").or(settings.ttl_ms);
        settings.age_ms_max = ms("age-max").or(settings.age_ms_max);
        settings.length_max = line.number("length-max").or(settings.length_max);
        settings.bytes_max = line.number("bytes-max").or(settings.bytes_max);
        settings.overflow = match line.get("overflow") {
            Some("refuse") => Overflow::Refuse,
            Some("dead-letter") => Overflow::DeadLetterOldest,
            Some(_) => Overflow::DropOldest,
            None => settings.overflow,
        };
        if let Some(policy) = line.get("retry") {
            let ms_max = ms("at-most").unwrap_or(u64::MAX);
            let ms = ms("delay").unwrap_or(0);
            settings.retry = match policy {
                "fixed" => Retry::Fixed { ms },
                "linear" => Retry::Linear { ms, ms_max },
                _ => Retry::Exponential {
                    ms,
                    ms_max,
                    jitter_percent: line.number("jitter").unwrap_or(0),
                },
            };
        }
        let settings = *settings;
        self.twin.live.set_settings(settings);
        self.twin.replayed.set_settings(settings);
    }

    fn command(&self, line: &Line<'_>) -> Command {
        let word = line.word();
        match line.verb {
            "deduplicate" => Command::Deduplicate {
                window_ms: line.get("window").map(millis),
            },
            "append" => Command::Append(self.append(line)),
            "track" => Command::Track(columns(&line.words)),
            "attach" => Command::Attach(Attach {
                consumer: consumer(word),
                priority: line.number("priority").unwrap_or(0),
                exclusive: line.says("exclusive"),
                lock: lock(line),
            }),
            "grant" => Command::Grant(Grant {
                consumer: consumer(word),
                credit: line.number("credit").unwrap_or(1),
                once_until: line.get("once").map(|text| Elapsed(self.ms + millis(text))),
            }),
            "revoke" => Command::Revoke(consumer(word)),
            "detach" => Command::Detach {
                consumer: consumer(word),
                failed: line.says("failed"),
            },
            "pull" => Command::Pull(Pull {
                consumer: consumer(word),
                credit: line.number("credit").unwrap_or(1),
                lock_ms: u32::try_from(millis(line.get("lock").expect("lock="))).expect("short"),
                until: Elapsed(self.ms + millis(line.get("wait").unwrap_or("0ms"))),
                keys_together: line.says("together"),
            }),
            "archived" => Command::Archived(span(word)),
            "not-archived" => Command::NotArchived {
                offset: span(word).first,
                why: match line.words.get(1).copied() {
                    Some("full") => NotArchived::TargetFull,
                    Some("missing") => NotArchived::TargetMissing,
                    _ => NotArchived::Unreadable,
                },
            },
            "schedule" => Command::Schedule {
                offset: span(word).first,
                due: self
                    .now()
                    .wall
                    .plus_ms(millis(line.get("after").unwrap_or("0ms"))),
            },
            "take" => Command::Take(span(word)),
            "cancel" => Command::Cancel {
                offset: span(word).first,
            },
            "purge" => Command::Purge {
                held: line.says("held"),
            },
            "seek" => Command::Seek {
                to: span(word).first,
            },
            "trim" => Command::Trim {
                to: span(word).first,
            },
            _ => Command::Settle(self.settle(line)),
        }
    }

    fn append(&self, line: &Line<'_>) -> Append {
        let gap: i64 = line.number("gap").unwrap_or(0);
        let first = Offset(self.twin.live.end().0 + gap);
        let count = line.word().parse().unwrap_or(1);
        let at = self.now().wall;
        let later = |name| line.get(name).map(|text| at.plus_ms(millis(text)).0);
        let (due, expiry) = (later("delay"), later("expires"));
        let facts = line.says_any(&[
            "delay", "expires", "priority", "size", "key", "id", "selected",
        ]);
        let facts = facts.then(|| {
            let column = |ms: Option<u64>, none: i64| {
                let ms = ms.map_or(none, |ms| i64::try_from(ms).expect("a date"));
                (0..count).map(|_| ms).collect::<Vec<_>>()
            };
            let mut facts = Facts::new(1, count);
            facts.due_ms = column(due, DUE_AT_ONCE);
            facts.expiry_ms = column(expiry, EXPIRES_NEVER);
            facts.priorities = line.list("priority", count);
            facts.sizes = line.list("size", count);
            facts.ordering_keys = line.list("key", count);
            facts.deduplication = line.list("id", count);
            facts.verdicts = line.list("selected", count);
            facts.verdict_bytes = u16::from(!facts.verdicts.is_empty());
            Arc::new(facts)
        });
        let span = Span::new(first, count);
        let filter = line.get("selected").map(|_| 0);
        Append {
            span,
            at,
            facts,
            filter,
        }
    }

    fn settle(&self, line: &Line<'_>) -> Settle {
        let epoch = |number| LockEpoch {
            leader: LeaderEpoch(line.number("leader").unwrap_or(self.leader)),
            number,
        };
        let receipt = line.number("receipt").map(|n| Claim::Receipt(epoch(n)));
        let old = line
            .number("old-receipt")
            .map(|n| Claim::OldReceipt(epoch(n)));
        let holder = || Claim::Holder(consumer(line.get("by").expect("by= or receipt=")));
        let later = |text| WallTime(self.now().wall.0 + millis(text));
        let outcome = match line.verb {
            "accept" => Outcome::Accept,
            "release" => Outcome::Release {
                failed: line.says("failed"),
                not_before: line.get("after").map(later),
            },
            "reject" => Outcome::Reject {
                words: line.get("words").map(Into::into),
            },
            "renew" => Outcome::Renew {
                lock_ms: u32::try_from(millis(line.get("lock").expect("lock="))).expect("short"),
            },
            verb => panic!("no such command: {verb}"),
        };
        Settle {
            claim: receipt.or(old).unwrap_or_else(holder),
            span: span(line.word()),
            outcome,
        }
    }

    fn ask(&mut self, command: Command, out: &mut String) -> bool {
        match self.twin.step(command, self.now()) {
            Ok(decision) => {
                for (keep, change) in &decision.changes {
                    if let Change::Durable(change) = change {
                        let how = if *keep == Keep::Waited { "log" } else { "ride" };
                        writeln!(out, "{how} {}", logged(change)).expect("a string");
                    }
                }
                let effects = decision.effects.iter().map(|(_, effect)| told(effect));
                out.extend(effects);
                decision.again
            }
            Err(refusal) => {
                writeln!(out, "refused: {refusal}").expect("a string");
                false
            }
        }
    }

    /// Ticks as long as the machine wants it.
    fn rest(&mut self, out: &mut String) {
        for _ in 0..1_000 {
            let (elapsed, wall) = self.twin.live.deadline_at();
            let now = self.now();
            let due = elapsed.is_some_and(|at| at <= now.elapsed);
            if !due && wall.is_none_or(|at| at > now.wall) {
                return;
            }
            self.ask(Command::Tick, out);
        }
        panic!("it never rests");
    }

    /// Lets time pass, from one deadline to the next.
    fn wait(&mut self, ms: u64, out: &mut String) {
        let end = self.ms + ms;
        loop {
            let (elapsed, wall) = self.twin.live.deadline_at();
            let wall = wall.map(|at| at.0.saturating_sub(BEGIN));
            let next = elapsed.map(|at| at.0).into_iter().chain(wall).min();
            self.ms = next.map_or(end, |next| next.clamp(self.ms, end));
            self.rest(out);
            if self.ms == end {
                return;
            }
        }
    }

    fn browse(&self, line: &Line<'_>, out: &mut String) {
        for seen in self.twin.live.browse(span(line.word()).first) {
            let (offset, state) = (seen.offset, seen.state);
            let acquired = seen.tries.acquired;
            writeln!(out, "{offset} {state:?} acquired={acquired}").expect("a string");
        }
    }

    fn show(&self, line: &Line<'_>, out: &mut String) {
        let live = &self.twin.live;
        if line.words.is_empty() {
            let counts = live.counts();
            let line = format!(
                "start={} end={} available={} acquired={} scheduled={} archiving={}",
                live.start(),
                live.end(),
                counts.available,
                counts.acquired,
                counts.scheduled,
                counts.archiving
            );
            let tally = live.tally();
            let sum = |numbers: &[u64]| numbers.iter().sum::<u64>();
            let bytes = if live.tracked().has(Columns::SIZE) {
                format!(" bytes={}", counts.waiting_bytes)
            } else {
                String::new()
            };
            let line = format!("{line}{bytes}");
            let became = format!(
                "accepted={} archived={} dropped={} lost={}",
                tally.accepted,
                sum(&tally.moved),
                sum(&tally.dropped),
                tally.lost
            );
            let purged = match tally.purged {
                0 => String::new(),
                purged => format!(" purged={purged}"),
            };
            let line = format!("{line}\n{became}{purged}");
            writeln!(out, "{line}").expect("a string");
        }
        for offset in line.words.iter().flat_map(|word| span(word).offsets()) {
            let tries = live.tries(offset);
            let state = live.record(offset);
            let (acquired, failed) = (tries.acquired, tries.failed);
            writeln!(
                out,
                "{offset} {state:?} acquired={acquired} failed={failed}"
            )
            .expect("a string");
        }
    }
}

/// A deadline, for those who do not name the trait.
trait DeadlineAt {
    fn deadline_at(&self) -> (Option<Elapsed>, Option<WallTime>);
}

impl DeadlineAt for Subscription {
    fn deadline_at(&self) -> (Option<Elapsed>, Option<WallTime>) {
        mulgil_core::machine::Machine::deadline(self)
    }
}

fn print(span: Span) -> String {
    if span.count() == 1 {
        span.first.to_string()
    } else {
        format!("{}..{}", span.first, span.end)
    }
}

fn after_begin(at: WallTime) -> String {
    time(at.0.saturating_sub(BEGIN))
}

fn flag(is: bool, word: &str) -> String {
    if is {
        format!(" {word}")
    } else {
        String::new()
    }
}

fn logged(change: &Durable) -> String {
    match change {
        Durable::Acquired(span) => format!("acquired {}", print(*span)),
        Durable::Locked { span, until, .. } => {
            format!("locked {} until={}", print(*span), time(until.0))
        }
        Durable::Renewed { span, until } => {
            format!("renewed {} until={}", print(*span), time(until.0))
        }
        Durable::Accepted(span) => format!("accepted {}", print(*span)),
        Durable::Released {
            span,
            failed,
            not_before,
        } => {
            let later = not_before.map_or(String::new(), |at| format!(" at={}", after_begin(at)));
            format!(
                "released {}{}{later}",
                print(*span),
                flag(*failed, "failed")
            )
        }
        Durable::Condemned { span, reason, .. } => format!("archiving {} ({reason})", print(*span)),
        Durable::Archived {
            span,
            reason,
            moved,
        } => {
            let word = if *moved { "archived" } else { "dropped" };
            format!("{word} {} ({reason})", print(*span))
        }
        Durable::Fired { .. } => "came due".into(),
        Durable::Scheduled { span, due } => {
            format!("scheduled {} at={}", print(*span), after_begin(*due))
        }
        Durable::Expired { .. } => "expired".into(),
        Durable::Aged { to } => format!("too old below {to}"),
        Durable::Trimmed { to } => format!("trimmed to={to}"),
        Durable::Tracking(_) => "tracking".into(),
        Durable::Purged(span) => format!("purged {}", print(*span)),
        Durable::Sought { to, .. } => format!("sought {to}"),
        Durable::Deduplicating { window_ms } => format!("deduplicating window={window_ms:?}"),
    }
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Deliver {
            consumer,
            span,
            epoch,
            tries,
            until,
        } => {
            let until = until.map_or(String::new(), |at| format!(" until={}", time(at.0)));
            format!(
                "deliver c{consumer} {} receipt={} acquired={} failed={}{until}\n",
                print(*span),
                epoch.number,
                tries.acquired,
                tries.failed
            )
        }
        Effect::GrantEnded { consumer, served } => {
            let how = if *served { "served" } else { "nothing came" };
            format!("grant of c{consumer} ended: {how}\n")
        }
        Effect::Settled { span } => format!("settled {}\n", print(*span)),
        Effect::Archive(death) => {
            let words = death
                .words
                .as_deref()
                .map_or(String::new(), |w| format!(" words={w}"));
            format!(
                "archive {} ({}) acquired={} failed={} at={}{words}\n",
                death.offset,
                death.reason,
                death.tries.acquired,
                death.tries.failed,
                after_begin(death.at)
            )
        }
    }
}

//! Made-up runs: a right one passes, and each fault is found in one that has it.

use super::*;

const GROUP: &str = "range";

/// A run that is told line by line; times count up by themselves.
#[derive(Default)]
struct Told {
    judge: Judge,
    clock: u64,
}

impl Told {
    fn say(&mut self, source: &Source, line: &str) -> &mut Self {
        self.clock += 1;
        let event = Event::parse(&format!("{} {line}", self.clock)).unwrap();
        self.judge.take(source, event);
        self
    }

    /// `NAME: LINE` by a member, `NAME/INSTANCE: LINE` by a static one, and so on. A name that begins
    /// with `r` has a client that may go back by a record.
    fn run(lines: &str) -> Self {
        let mut told = Self::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (who, line) = line.split_once(": ").unwrap();
            match (who, line) {
                ("producer", _) => told.say(&Source::Producer, line),
                ("watcher", _) => told.say(&Source::Watcher, line),
                (_, "killed") => {
                    let killed = Event {
                        at_ns: told.clock,
                        what: What::Killed,
                    };
                    told.judge.take(&member(who), killed);
                    &mut told
                }
                _ => told.say(&member(who), line),
            };
        }
        told
    }

    fn faults(lines: &str) -> String {
        Self::run(lines).judge.faults().join("; ")
    }
}

fn member(who: &str) -> Source {
    let (name, instance) = match who.split_once('/') {
        Some((name, instance)) => (name, Some(instance.to_owned())),
        None => (who, None),
    };
    Source::Member(Life {
        group: GROUP.to_owned(),
        name: name.to_owned(),
        instance,
        races: name.starts_with('r'),
    })
}

/// A member that has processed and committed records 0 to 2.
const THREE: &str = "
    x: assigned 1 a/0
    x: record a/0 0 0
    x: record a/0 1 1
    x: record a/0 2 2
    x: commit 1 a/0=3
    x: committed
";

fn after_three(lines: &str) -> String {
    Told::faults(&format!("{THREE}{lines}"))
}

fn finds(lines: &str, words: &str) {
    let found = after_three(lines);
    assert!(found.contains(words), "found: {found:?}");
}

fn right(lines: &str) {
    assert_eq!(after_three(lines), "");
}

#[test]
fn a_member_is_killed_and_another_goes_on_at_its_commit() {
    right(
        "x: record a/0 3 3
         x: killed
         y: assigned 2 a/0
         y: record a/0 3 3
         y: record a/0 4 4
         y: commit 2 a/0=5
         y: committed
         watcher: look
         watcher: offsets range a/0=5",
    );
    let told = Told::run(&format!(
        "{THREE} x: killed\n y: assigned 2 a/0\n y: record a/0 3 3\n"
    ));
    assert_eq!(told.judge.records(), (4, 0));
}

#[test]
fn a_commit_without_an_answer_may_hold_or_not() {
    let cut = "x: record a/0 3 3\n x: commit 1 a/0=4\n x: killed\n y: assigned 2 a/0\n";
    right(&format!("{cut} y: record a/0 3 3"));
    right(&format!("{cut} y: record a/0 4 4"));
    let refused = "x: record a/0 3 3\n x: commit 1 a/0=4\n x: uncommitted so\n x: revoked 1 a/0\n";
    right(&format!("{refused} y: assigned 2 a/0\n y: record a/0 3 3"));
    right(&format!("{refused} y: assigned 2 a/0\n y: record a/0 4 4"));
}

#[test]
fn a_forgotten_commit_is_found() {
    finds(
        "x: killed\n y: assigned 2 a/0\n y: record a/0 0 0",
        "a commit was forgotten",
    );
    finds(
        "x: killed\n y: assigned 2 a/0\n y: record a/0 2 2",
        "begins at 2, below the commit 3",
    );
    finds(
        "x: revoked 1 a/0\n x: assigned 2 a/0\n x: record a/0 1 1",
        "a commit was forgotten",
    );
}

#[test]
fn skipped_records_are_found() {
    finds(
        "x: killed\n y: assigned 2 a/0\n y: record a/0 5 5",
        "3 to 4 are skipped by everybody",
    );
    finds("x: record a/0 4 4", "3 to 3 are skipped by everybody");
    // Somebody has processed it, but nobody committed so far.
    let cut = "x: record a/0 3 3\n x: record a/0 4 4\n x: killed\n y: assigned 2 a/0\n";
    finds(
        &format!("{cut} y: record a/0 4 4"),
        "nobody has committed that",
    );
}

#[test]
fn what_is_not_processed_is_found() {
    let told = Told::run(&format!(
        "{THREE} producer: acknowledged a/0 0 0\n producer: acknowledged a/0 1 1
         producer: acknowledged a/0 2 2\n producer: acknowledged a/0 3 3\n"
    ));
    let why = told
        .judge
        .whole(GROUP, &BTreeSet::new(), &told.judge.acknowledged());
    assert_eq!(why.unwrap_err(), "a/0 is processed up to 3 of 4");
    let unread = BTreeMap::from([("b/7".to_owned(), 1)]);
    let why = told.judge.whole(GROUP, &BTreeSet::new(), &unread);
    assert_eq!(why.unwrap_err(), "b/7 is processed up to 0 of 1");
}

#[test]
fn order_is_looked_at_within_an_assignment() {
    finds("x: record a/0 2 2", "offset 2 came where 3 should be");
    right("x: revoked 1 a/0\n x: assigned 2 a/0\n x: record a/0 3 3");
}

#[test]
fn only_the_record_before_a_cooperative_rebalance_may_come_again_and_once() {
    let held = "assigned 1 a/0 b/0\n record a/0 0 0\n record b/0 0 0\n record a/0 1 1\n";
    let by = |who: &str, lines: &str| {
        let lines = format!("{held}{lines}");
        let lines: Vec<String> = lines
            .lines()
            .map(|line| format!("{who}: {}", line.trim()))
            .collect();
        Told::run(&lines.join("\n"))
    };
    let again = "assigned 2 c/0\n record a/0 1 1\n record a/0 2 2";
    let told = by("r", again);
    assert_eq!((told.judge.faults(), told.judge.raced()), (&[][..], 1));
    let handed_back = by("r", "revoked 1 b/0\n record a/0 1 1\n record a/0 2 2");
    assert_eq!(
        (handed_back.judge.faults(), handed_back.judge.raced()),
        (&[][..], 1)
    );
    let smooth = by("r", "assigned 2 c/0\n record a/0 2 2\n record a/0 3 3");
    assert_eq!((smooth.judge.faults(), smooth.judge.raced()), (&[][..], 0));

    let wrong = |who, lines: &str| {
        let told = by(who, lines);
        assert!(
            told.judge.faults().join("; ").contains("should be"),
            "{who} {lines}"
        );
    };
    // Another client; without a rebalance; another record; another partition; twice; too late.
    wrong("x", again);
    wrong("r", "record a/0 1 1");
    wrong("r", "assigned 2 c/0\n record a/0 0 0");
    wrong("r", "assigned 2 c/0\n record b/0 0 0");
    wrong("r", "assigned 2 c/0\n record a/0 1 1\n record a/0 1 1");
    wrong("r", "assigned 2 c/0\n record a/0 2 2\n record a/0 1 1");
}

#[test]
fn a_record_that_is_another_one_is_found() {
    finds("x: record a/0 3 7", "offset 3 holds record 7");
    finds("x: record a/0 3 -1", "offset 3 holds record -1");
}

#[test]
fn a_record_without_an_assignment_is_found() {
    finds(
        "x: revoked 1 a/0\n x: record a/0 3 3",
        "one who does not hold it",
    );
    finds("y: record a/0 3 3", "one who does not hold it");
}

#[test]
fn an_offset_that_falls_is_found() {
    let asked = |offset| format!("watcher: look\n watcher: offsets range a/0={offset}");
    right(&asked(3));
    finds(&asked(2), "the group's offset is 2, below the commit 3");
    finds(&asked(-1), "a commit was forgotten");
    finds(&asked(4), "nobody has committed that");
    // Without an answer it may be there; once it was seen it must stay.
    let cut = "x: record a/0 3 3\n x: commit 1 a/0=4\n x: killed\n";
    right(&format!("{cut}{}\n{}", asked(3), asked(4)));
    finds(
        &format!("{cut}{}\n{}", asked(4), asked(3)),
        "below the commit 4",
    );
}

#[test]
fn an_answer_may_be_older_than_a_commit_that_came_meanwhile() {
    let meanwhile = "x: record a/0 3 3\n x: commit 1 a/0=4\n x: committed\n";
    right(&format!(
        "watcher: look\n {meanwhile} watcher: offsets range a/0=3"
    ));
    finds(
        &format!("{meanwhile} watcher: look\n watcher: offsets range a/0=3"),
        "below the commit 4",
    );
}

#[test]
fn a_commit_that_is_taken_from_one_who_was_replaced_is_found() {
    finds(
        "y: assigned 2 a/0
         y: record a/0 3 3
         y: record a/0 4 4
         y: commit 2 a/0=5
         y: committed
         x: commit 1 a/0=4
         x: committed",
        "the commit of 4 was taken after 5",
    );
}

#[test]
fn two_owners_at_one_generation_are_found() {
    finds("y: assigned 1 a/0", "y and x both hold a/0 at generation 1");
    // A cooperative member keeps what it has without being told again.
    finds(
        "x: tick 2\n y: assigned 2 a/0",
        "y and x both hold a/0 at generation 2",
    );
    finds(
        "y: assigned 2 a/0\n x: tick 2",
        "x and y both hold a/0 at generation 2",
    );
    finds(
        "y: assigned 2 a/0\n x: commit 3 a/0=3\n y: tick 3",
        "at generation 3",
    );
    right("x: tick 2\n x: killed\n y: assigned 3 a/0\n y: tick 4");
    right("x: revoked 2 a/0\n x: tick 3\n y: assigned 3 a/0");
    // One that was thrown out and has not noticed is no owner of the later generation.
    right("y: assigned 2 a/0\n x: tick 1\n x: tick -1\n x: lost -1 a/0\n x: assigned 3");
}

#[test]
fn a_static_member_comes_back_to_its_generation() {
    let lines = "
        x.1/x: assigned 1 a/0
        x.1/x: record a/0 0 0
        x.1/x: killed
        x.2/x: assigned 1 a/0
        x.2/x: record a/0 0 0";
    assert_eq!(Told::faults(lines), "");
    let other = Told::faults(&format!("{lines}\n y.1/y: assigned 1 a/0"));
    assert!(other.contains("both hold a/0"), "{other}");
}

#[test]
fn a_settled_group_has_one_owner_each() {
    right("watcher: group range STABLE x:a/0 y:a/1");
    right("watcher: group range PREPARING_REBALANCING x:a/0 y:a/0");
    finds(
        "watcher: group range STABLE x:a/0 y:a/0",
        "a/0 is assigned to x and to y",
    );
}

#[test]
fn the_producer_is_judged_too() {
    finds(
        "producer: acknowledged a/0 0 1",
        "record 0 was acknowledged at 1",
    );
    finds(
        "producer: acknowledged a/0 1 1",
        "record 1 was acknowledged, not 0",
    );
    finds(
        "producer: refused a/0 0 because",
        "the producer gave up: a/0 0 because",
    );
    right("producer: acknowledged a/0 0 -1\n producer: acknowledged a/0 1 1");
}

/// A run at whose end the group is whole, with one line more or another.
fn whole(lines: &str) -> Result<(), String> {
    let told = Told::run(&format!(
        "{THREE} producer: acknowledged a/0 0 0
         y: assigned 1
         watcher: look
         watcher: offsets range a/0=3
         watcher: group range STABLE x:a/0 y:
         {lines}"
    ));
    assert_eq!(told.judge.faults(), [""; 0]);
    let living = ["x".to_owned(), "y".to_owned()].into();
    told.judge.whole(GROUP, &living, &told.judge.acknowledged())
}

#[test]
fn a_group_is_whole_when_its_living_members_hold_everything() {
    whole("").unwrap();
    let why = |lines| whole(lines).unwrap_err();
    assert!(why("watcher: group range EMPTY").contains("it is EMPTY"));
    assert!(why("watcher: group range STABLE x:a/0").contains("its members are"));
    assert!(why("watcher: group range STABLE x:a/0 y: z:").contains("its members are"));
    assert!(why("watcher: group range STABLE x:a/0 dead:").contains("its members are"));
    assert!(why("watcher: group range STABLE x: y:a/0").contains("its group says"));
    assert!(why("x: revoked 1 a/0").contains("its group says"));
    let nobody = "x: revoked 1 a/0\n watcher: group range STABLE x: y:";
    assert!(why(nobody).contains("nobody holds a/0"));
    let more = "producer: acknowledged a/0 1 1\n producer: acknowledged a/0 2 2\n x: record a/0 3 3
        producer: acknowledged a/0 3 3";
    assert!(why(more).contains("is committed up to 3 of 4"));
}

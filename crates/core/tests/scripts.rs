//! Golden scripts of the machines, in `tests/scripts`.
#![expect(clippy::panic, reason = "what fails here is the test")]

#[path = "harness/group_print.rs"]
mod group_print;
#[path = "harness/group_script.rs"]
mod group_script;
#[path = "harness/law.rs"]
mod law;
#[path = "harness/partition_script.rs"]
mod partition_script;
#[path = "harness/queue_script.rs"]
mod queue_script;
#[path = "harness/script.rs"]
mod script;

#[test]
fn partition() {
    script::run_all("partition_", partition_script::new, partition_script::run);
}

#[test]
fn group() {
    script::run_all("group_", group_script::new, group_script::run);
}

#[test]
fn queue() {
    script::run_all("queue_", queue_script::new, queue_script::run);
}

//! Golden scripts of the machines, in `tests/scripts`.

#[path = "harness/group_print.rs"]
mod group_print;
#[path = "harness/group_script.rs"]
mod group_script;
#[path = "harness/law.rs"]
mod law;
#[path = "harness/partition_script.rs"]
mod partition_script;
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

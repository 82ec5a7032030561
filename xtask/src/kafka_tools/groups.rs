//! kafka-consumer-groups on groups without members: lists, lag, moving and forgetting offsets.

use anyhow::{Context as _, Result, ensure};

use super::{GROUPS, Tools, holds, row, same};

pub(super) fn list_describe_delete(tools: &Tools) -> Result<()> {
    let topic = tools.filled("groups", "10")?;
    let group = ["--group", topic.as_str()];
    to(tools, &topic, &["--execute", "--to-latest"])?;
    to(tools, &topic, &["--execute", "--shift-by", "-3"])?;
    let said = tools.good(GROUPS, &["--list"])?;
    ensure!(said.lines().any(|line| line == topic), "not listed: {said}");
    let said = tools.good(GROUPS, &["--list", "--state", "--type"])?;
    let told = row(&said, &topic).context("not listed with its state")?;
    same(
        &["Classic", "Empty"][..],
        told.get(1..).unwrap_or_default(),
        "type and state",
    )?;
    let said = tools.good(GROUPS, &["--list", "--state", "Stable"])?;
    ensure!(row(&said, &topic).is_none(), "listed as stable: {said}");
    let said = tools.good(GROUPS, &[&group[..], &["--describe"]].concat())?;
    let told = row(&said, &topic).with_context(|| format!("no row of the group in: {said}"))?;
    let told = told.get(2..6).unwrap_or_default();
    same(
        &["0", "7", "10", "3"][..],
        told,
        "partition, committed, end, lag",
    )?;
    let said = tools.good(GROUPS, &[&group[..], &["--delete"]].concat())?;
    holds(&said, "successful")?;
    let said = tools.good(GROUPS, &["--list"])?;
    ensure!(!said.lines().any(|line| line == topic), "there yet: {said}");
    let (_, said) = tools.call(GROUPS, &[&group[..], &["--delete"]].concat())?;
    holds(&said, "GroupIdNotFoundException")?;
    let (_, said) = tools.call(GROUPS, &[&group[..], &["--describe"]].concat())?;
    holds(&said, "GroupIdNotFoundException")
}

/// Moves the group that is called as its topic; gives the offset that the tool tells.
fn to(tools: &Tools, topic: &str, place: &[&str]) -> Result<String> {
    let what = ["--reset-offsets", "--group", topic, "--topic", topic];
    let said = tools.good(GROUPS, &[&what[..], place].concat())?;
    let told = row(&said, topic).with_context(|| format!("no row in: {said}"))?;
    let offset = told.get(3).context("no offset in the row")?;
    Ok((*offset).to_owned())
}

/// What the group has committed.
fn committed(tools: &Tools, topic: &str) -> Result<String> {
    let said = tools.good(GROUPS, &["--describe", "--group", topic])?;
    let told = row(&said, topic).with_context(|| format!("no row of the group in: {said}"))?;
    Ok(told.get(3).copied().unwrap_or_default().to_owned())
}

pub(super) fn reset(tools: &Tools) -> Result<()> {
    let topic = tools.filled("reset", "10")?;
    to(tools, &topic, &["--execute", "--to-offset", "5"])?;
    for (place, wanted) in [
        (&["--to-earliest"][..], "0"),
        (&["--to-latest"], "10"),
        (&["--to-current"], "5"),
        (&["--to-offset", "4"], "4"),
        (&["--to-offset", "99"], "10"),
        (&["--shift-by", "-2"], "3"),
        (&["--shift-by", "2"], "7"),
        (&["--shift-by", "-99"], "0"),
        (&["--to-datetime", "2020-01-01T00:00:00.000"], "0"),
        (&["--to-datetime", "2999-01-01T00:00:00.000"], "10"),
        (&["--by-duration", "PT1H"], "0"),
        (&["--by-duration", "PT0S"], "10"),
    ] {
        let what = place.join(" ");
        let dry = [place, &["--dry-run"]].concat();
        same(wanted, &to(tools, &topic, &dry)?, &format!("{what}, dry"))?;
    }
    same(
        "5",
        &committed(tools, &topic)?,
        "after what was not executed",
    )?;
    for (place, wanted) in [
        (&["--to-earliest"][..], "0"),
        (&["--shift-by", "3"], "3"),
        (&["--to-datetime", "2999-01-01T00:00:00.000"], "10"),
        (&["--by-duration", "PT1H"], "0"),
    ] {
        let what = place.join(" ");
        let done = [place, &["--execute"]].concat();
        same(wanted, &to(tools, &topic, &done)?, &what)?;
        same(wanted, &committed(tools, &topic)?, &format!("after {what}"))?;
    }
    let part = format!("{topic}:0");
    let one = ["--reset-offsets", "--group", &topic, "--topic", &part];
    tools.good(
        GROUPS,
        &[&one[..], &["--to-offset", "8", "--execute"]].concat(),
    )?;
    same(
        "8",
        &committed(tools, &topic)?,
        "after a partition was named",
    )?;
    let all = ["--reset-offsets", "--group", &topic, "--all-topics"];
    tools.good(
        GROUPS,
        &[&all[..], &["--to-offset", "9", "--execute"]].concat(),
    )?;
    same("9", &committed(tools, &topic)?, "after all topics")
}

pub(super) fn reset_from_file(tools: &Tools) -> Result<()> {
    let topic = tools.filled("file", "10")?;
    to(tools, &topic, &["--execute", "--to-offset", "6"])?;
    let reset = ["--reset-offsets", "--group", topic.as_str()];
    let export = ["--all-topics", "--to-current", "--dry-run", "--export"];
    let exported = tools.good(GROUPS, &[&reset[..], &export].concat())?;
    holds(&exported, &format!("{topic},0,6"))?;
    to(tools, &topic, &["--execute", "--to-latest"])?;
    let file = tools.file("offsets.csv", &exported)?;
    let path = file.path();
    let import = ["--from-file", path.as_str(), "--execute"];
    tools.good(GROUPS, &[&reset[..], &import].concat())?;
    same("6", &committed(tools, &topic)?, "after the file")
}

pub(super) fn delete_offsets(tools: &Tools) -> Result<()> {
    let topic = tools.filled("forget", "10")?;
    let second = tools.filled("forget-other", "1")?;
    to(tools, &topic, &["--execute", "--to-latest"])?;
    let other = ["--reset-offsets", "--group", &topic, "--topic", &second];
    tools.good(
        GROUPS,
        &[&other[..], &["--to-latest", "--execute"]].concat(),
    )?;
    let part = format!("{second}:0");
    let delete = ["--delete-offsets", "--group", &topic, "--topic"];
    let said = tools.good(GROUPS, &[&delete[..], &[part.as_str()]].concat())?;
    let told = row(&said, &second).with_context(|| format!("no row in: {said}"))?;
    same(
        &["0", "Successful"][..],
        told.get(1..).unwrap_or_default(),
        "what became of it",
    )?;
    let said = tools.good(GROUPS, &["--describe", "--group", &topic])?;
    ensure!(!said.contains(&second), "committed yet: {said}");
    same("10", &committed(tools, &topic)?, "the other topic's offset")?;
    let none = tools.topic("no-group");
    let delete = ["--delete-offsets", "--group", &none, "--topic", &topic];
    let (_, said) = tools.call(GROUPS, &delete)?;
    holds(&said, "does not exist")
}

//! Two verdicts side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::explain::{Explanation, explain};
use crate::row::Row;
use crate::verdicts::{Results, Said};

/// How long ours may take, relative to upstream's wall time.
const TARGET: f64 = 0.4;

/// A row for each of these tests, whether or not an engine has a verdict.
pub(crate) fn rows(upstream: &Results, ours: &Results, ids: &[String]) -> Vec<Row> {
    let all: BTreeSet<&String> = ids.iter().collect();
    all.into_iter()
        .map(|id| {
            let mut row = Row {
                id: id.clone(),
                upstream: Vec::new(),
                ours: Vec::new(),
                compat: None,
            };
            row.add(upstream, ours);
            row
        })
        .collect()
}

/// For people: counts and differences.
pub(crate) fn report(kernel: &str, rows: &[Row], upstream: &Results, ours: &Results) -> String {
    let mut text = format!("## {kernel}\n\n| verdict | upstream | kiln |\n|---|---|---|\n");
    for verdict in [
        "pass", "fail", "timeout", "skip", "hang", "crash", "lost", "error",
    ] {
        let counts = (upstream.count(verdict), ours.count(verdict));
        if counts != (0, 0) {
            let _ = writeln!(text, "| {verdict} | {} | {} |", counts.0, counts.1);
        }
    }
    let differing: Vec<&Row> = rows.iter().filter(|row| row.differs()).collect();
    let _ = writeln!(
        text,
        "\n{} tests by name, {} of them differ:\n",
        rows.len(),
        differing.len()
    );
    let mut by_reason: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in differing {
        let reason = explain(row).map_or_else(
            || "UNEXPLAINED".to_owned(),
            |explanation: Explanation| explanation.to_string(),
        );
        by_reason.entry(reason).or_default().push(row);
    }
    if !by_reason.is_empty() {
        text.push_str("| test | upstream | kiln | why |\n|---|---|---|---|\n");
    }
    for (reason, rows) in &by_reason {
        for row in rows {
            let list = |said: &[Said]| said.iter().map(Said::text).collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {reason} |",
                row.id,
                list(&row.upstream),
                list(&row.ours)
            );
        }
    }
    text
}

/// For people: wall times of both over the whole suite, if both completed it.
pub(crate) fn wall_times(rows: &[Row], upstream: &Results, ours: &Results) -> String {
    let has_all = |results: &Results| rows.iter().all(|row| results.said.contains_key(&row.id));
    let (Some(theirs), Some(own)) = (upstream.wall, ours.wall) else {
        return "\nNo wall times: a run did not complete\n\n".to_owned();
    };
    if !has_all(upstream) || !has_all(ours) {
        return "\nNo wall times: a run was not of the whole suite\n\n".to_owned();
    }
    let (theirs, own) = (theirs.as_secs_f64(), own.as_secs_f64());
    let met = if own <= TARGET * theirs {
        "met"
    } else {
        "missed"
    };
    format!(
        "\nWall time: upstream {theirs:.0} s without its boots and hangs, kiln {own:.0} s with its \
         boots; ratio {:.2} (target {TARGET}: {met})\n\n",
        own / theirs
    )
}

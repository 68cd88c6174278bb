//! `--update-expectations`: writes the results of a run, and keeps comments and everything else in
//! the file.

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::ExpectationsError;
use crate::config::series;
use crate::run::event::{Event, KnownResult, Record, StopReason, TestResult, Verdict};
use crate::whole_file;

/// What an update changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// New known results.
    pub added: usize,
    /// Failures that are no longer expected.
    pub removed: usize,
    /// What the user has to change by hand, one line each.
    pub by_hand: Vec<String>,
}

/// Writes the results of a run's events to the file at `path`. `bpftrace` has
/// the versions under test, by suite.
pub fn update(
    path: &Path,
    records: &[Record],
    bpftrace: &BTreeMap<String, String>,
) -> Result<Update, ExpectationsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(ExpectationsError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let (text, update) = updated(&text, path, records, bpftrace)?;
    if update.added + update.removed > 0 {
        whole_file::write(path, text.as_bytes()).map_err(|source| ExpectationsError::Write {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(update)
}

fn updated(
    text: &str,
    path: &Path,
    records: &[Record],
    bpftrace: &BTreeMap<String, String>,
) -> Result<(String, Update), ExpectationsError> {
    // The same checks as in a run; text that passes them is TOML.
    super::Expectations::parse(text, path)?;
    let mut document: DocumentMut = text.parse().unwrap_or_default();
    let mut update = Update::default();
    let mut releases = BTreeMap::new();
    for record in records {
        if let Event::VmStarted(up) = &record.event {
            releases.insert(up.kernel.clone(), up.release.clone());
        }
    }
    let entries = document
        .entry("known")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(tables) = entries.as_array_of_tables_mut() {
        let mut time_is_up = false;
        for record in records {
            time_is_up |= matches!(
                &record.event,
                Event::RunStopped(stopped) if stopped.why == StopReason::GlobalTimeout
            );
            // Only commands have known results, not their cases; and results cut short by the end
            // of the run do not count.
            if let Event::TestFinished(result) = &record.event
                && result.case_of.is_none()
                && !(time_is_up && result.verdict == Verdict::Timeout)
            {
                let kernel = releases
                    .get(&result.kernel)
                    .and_then(|release| series(release));
                take(
                    tables,
                    result,
                    kernel.as_deref(),
                    bpftrace
                        .get(&result.suite)
                        .and_then(|version| series(version))
                        .as_deref(),
                    &mut update,
                );
            }
        }
    } else {
        update
            .by_hand
            .push("`known` is an inline list: write [[known]] for each entry".to_owned());
    }
    Ok((document.to_string(), update))
}

/// Updates the entries for one result.
fn take(
    tables: &mut ArrayOfTables,
    result: &TestResult,
    kernel: Option<&str>,
    bpftrace: Option<&str>,
    update: &mut Update,
) {
    let shown = match result.verdict {
        _ if result.flaky => Some(KnownResult::Flaky),
        Verdict::Fail | Verdict::Timeout => Some(KnownResult::Fail),
        Verdict::Pass | Verdict::Skip => None,
        Verdict::Lost | Verdict::Error => {
            update.by_hand.push(format!(
                "{} on {}: {} cannot be expected",
                result.id, result.kernel, result.verdict
            ));
            return;
        }
    };
    let (Some(kernel), Some(known)) = (kernel, result.known.as_ref().map(|known| known.result))
    else {
        if let (Some(kernel), Some(shown)) = (kernel, shown) {
            update.added += usize::from(add(tables, result, shown, kernel, bpftrace));
        }
        return;
    };
    if result.is_expected() {
        return;
    }
    if known == KnownResult::Fail
        && result.verdict == Verdict::Pass
        && remove(tables, result, kernel)
    {
        update.removed += 1;
    } else {
        update.by_hand.push(format!(
            "{} on {}: {}, but an entry for several tests or kernels says {}",
            result.id,
            result.kernel,
            result.verdict,
            known.name()
        ));
    }
}

fn text<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(Item::as_str)
}

/// Adds a kernel to the entry with the same result for this test, or adds an entry; false if an
/// entry already says so.
fn add(
    tables: &mut ArrayOfTables,
    result: &TestResult,
    shown: KnownResult,
    kernel: &str,
    bpftrace: Option<&str>,
) -> bool {
    let same = tables.iter_mut().find(|table| {
        text(table, "test") == Some(&result.id)
            && text(table, "result") == Some(shown.name())
            && text(table, "suite") == Some(&result.suite)
            && text(table, "bpftrace") == bpftrace
            && table.contains_key("kernel")
    });
    if let Some(table) = same {
        let kernels = &mut table["kernel"];
        if let Some(one) = kernels.as_str() {
            let mut array = Array::new();
            array.push(one);
            *kernels = value(array);
        }
        let named = |item: &Value| item.as_str() == Some(kernel);
        return match kernels.as_array_mut() {
            Some(array) if !array.iter().any(named) => {
                array.push(kernel);
                true
            }
            _ => false,
        };
    }
    let mut table = Table::new();
    table["test"] = value(&result.id);
    table["suite"] = value(&result.suite);
    table["kernel"] = value(kernel);
    if let Some(bpftrace) = bpftrace {
        table["bpftrace"] = value(bpftrace);
    }
    table["result"] = value(shown.name());
    let reason = result
        .reason
        .as_deref()
        .filter(|reason| !reason.trim().is_empty());
    table["reason"] = value(reason.unwrap_or("seen by --update-expectations"));
    tables.push(table);
    true
}

/// Removes a kernel from the entries that name only it and this test; false if there are none.
fn remove(tables: &mut ArrayOfTables, result: &TestResult, kernel: &str) -> bool {
    let named = |item: &Value| item.as_str() == Some(kernel);
    let found = tables.iter().position(|table| {
        let kernels = table.get("kernel");
        text(table, "test") == Some(&result.id)
            && text(table, "result") == Some(KnownResult::Fail.name())
            && text(table, "suite").is_none_or(|suite| suite == result.suite)
            && (kernels.and_then(Item::as_str) == Some(kernel)
                || kernels
                    .and_then(Item::as_array)
                    .is_some_and(|list| list.iter().any(named)))
    });
    let Some(index) = found else {
        return false;
    };
    let Some(table) = tables.get_mut(index) else {
        return false;
    };
    if let Some(list) = table.get_mut("kernel").and_then(Item::as_array_mut) {
        list.retain(|item| !named(item));
        if !list.is_empty() {
            return true;
        }
    }
    tables.remove(index);
    true
}

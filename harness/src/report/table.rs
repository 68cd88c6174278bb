//! The table kernels × suites.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table};

use super::class::Class;
use super::{History, escape};

/// The heading of the column of tests without a verdict.
const NOT_RUN: &str = "not run";

/// One row: a kernel, or one suite on it.
struct Row {
    kernel: String,
    suite: String,
    /// In the order of [`Class::ALL`], then the tests that did not run.
    counts: [usize; Class::ALL.len() + 1],
}

/// The table, without a final newline. `width` is in columns; `None` sets no limit. If there are
/// several suites, they get a column and separate rows.
///
/// Results without tests get no column, except passes and failures. That keeps the table narrow
/// enough for a terminal of 40 columns.
pub(super) fn table(history: &History, width: Option<u16>) -> String {
    let rows = rows(history);
    let headings: Vec<&str> = Class::ALL
        .into_iter()
        .map(Class::word)
        .chain([NOT_RUN])
        .collect();
    let shown: Vec<usize> = (0..headings.len())
        .filter(|&column| {
            let class = Class::ALL.get(column);
            matches!(class, Some(Class::Pass | Class::Fail))
                || rows.iter().any(|row| row.counts[column] > 0)
        })
        .collect();
    let names = if history.tally.suites().len() > 1 {
        2
    } else {
        1
    };

    let mut table = ruled_table(width);
    let header = ["kernel", "suite"].into_iter().take(names);
    table.set_header(header.chain(shown.iter().map(|column| headings[*column])));
    let mut above = None;
    for row in &rows {
        // Name each kernel once.
        let kernel = if above == Some(&row.kernel) {
            ""
        } else {
            &row.kernel
        };
        above = Some(&row.kernel);
        let names = [kernel, &row.suite].into_iter().take(names).map(Cell::new);
        let counts = shown.iter().map(|column| Cell::new(row.counts[*column]));
        table.add_row(names.chain(counts));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // The style puts one blank between columns. Only names may wrap.
        column.set_padding((0, 0));
        if index >= names {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let widths = table.column_max_content_widths();
    let wrapped = widths.iter().take(names);
    let needed: u16 = wrapped
        .map(|width| (*width).min(NAME_WIDTH) + 1)
        .chain(widths.iter().skip(names).map(|width| width + 1))
        .sum();
    if width.is_some_and(|width| width + 1 < needed) {
        return list(&rows, &headings, names);
    }
    table.trim_fmt()
}

/// An empty table with lines above and below its heading and at its end, that is not wider than
/// `width`.
pub fn ruled_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table
}

/// Columns that a wrapped name needs to stay readable.
const NAME_WIDTH: u16 = 6;

fn rows(history: &History) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for kernel in &history.tally.kernels {
        for suite in &kernel.suites {
            let mut counts = [0; Class::ALL.len() + 1];
            for outcome in &history.outcomes {
                let result = &outcome.result;
                if result.kernel == kernel.kernel && result.suite == suite.suite {
                    counts[Class::of(result) as usize] += 1;
                }
            }
            counts[Class::ALL.len()] = suite.counts.missing();
            rows.push(Row {
                kernel: escape::line(&kernel.kernel).into_owned(),
                suite: escape::line(&suite.suite).into_owned(),
                counts,
            });
        }
    }
    rows
}

/// The same for a terminal too narrow for the table: a short line each.
fn list(rows: &[Row], headings: &[&str], names: usize) -> String {
    let mut lines = Vec::new();
    for row in rows {
        lines.push(if names > 1 {
            format!("{} {}", row.kernel, row.suite)
        } else {
            row.kernel.clone()
        });
        for (count, heading) in row.counts.iter().zip(headings) {
            if *count > 0 {
                lines.push(format!("  {count} {heading}"));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{at, finished, history, known, result, started};
    use crate::run::event::{Event, KnownResult, TestResult, VERDICTS, Verdict};

    fn run(kernels: &[&str], tests: usize, verdicts: &[(&str, Verdict)]) -> History {
        let mut records = vec![started(kernels, tests)];
        for (kernel, verdict) in verdicts {
            records.push(finished(kernel, "a.b", *verdict, ""));
        }
        history(&records)
    }

    /// The rows' words.
    fn cells(table: &str) -> Vec<Vec<&str>> {
        table
            .lines()
            .filter(|line| line.contains(char::is_alphanumeric))
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn each_kernel_has_a_row_and_each_verdict_given_a_column() {
        let run = run(
            &["5.10", "6.1"],
            2,
            &[
                ("5.10", Verdict::Pass),
                ("5.10", Verdict::Pass),
                ("6.1", Verdict::Pass),
                ("6.1", Verdict::Skip),
            ],
        );
        assert_eq!(
            cells(&table(&run, None)),
            [
                vec!["kernel", "pass", "fail", "skip"],
                vec!["5.10", "2", "0", "0"],
                vec!["6.1", "1", "0", "1"],
            ]
        );
    }

    #[test]
    fn tests_that_did_not_run_are_counted() {
        let run = run(&["6.1"], 3, &[("6.1", Verdict::Pass)]);
        assert_eq!(
            cells(&table(&run, None)),
            [
                vec!["kernel", "pass", "fail", "not", "run"],
                vec!["6.1", "1", "0", "2"]
            ]
        );
    }

    #[test]
    fn the_fullest_table_fits_40_columns() {
        let verdicts: Vec<_> = VERDICTS
            .into_iter()
            .map(|verdict| ("6.14-upstream", verdict))
            .collect();
        let text = table(&run(&["6.14-upstream"], 6, &verdicts), Some(40));
        for line in text.lines() {
            assert!(line.chars().count() <= 40, "{text}");
        }
        let words = cells(&text);
        assert!(words.iter().any(|row| row.contains(&"timeout")), "{text}");
    }

    #[test]
    fn each_suite_has_a_row_where_there_are_several() {
        let mut start = started(&["5.10", "6.1"], 2);
        if let Event::RunStarted(start) = &mut start.event {
            start.suites = vec!["bpftrace".into(), "self".into()];
            for plan in &mut start.kernels {
                plan.suites = vec![1, 1];
            }
        }
        let other = TestResult {
            suite: "self".into(),
            ..result("6.1", "c.d", Verdict::Fail, "")
        };
        let history = history(&[
            start,
            finished("6.1", "a.b", Verdict::Pass, ""),
            at(1, Event::TestFinished(other)),
        ]);
        assert_eq!(
            cells(&table(&history, None)),
            [
                vec!["kernel", "suite", "pass", "fail", "not", "run"],
                vec!["5.10", "bpftrace", "0", "0", "1"],
                vec!["self", "0", "0", "1"],
                vec!["6.1", "bpftrace", "1", "0", "0"],
                vec!["self", "0", "1", "0"],
            ]
        );
        for line in table(&history, Some(40)).lines() {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }

    #[test]
    fn flaky_and_known_results_have_their_columns() {
        let flaky = TestResult {
            flaky: true,
            ..result("6.1", "a.b", Verdict::Pass, "")
        };
        let fails = known(
            result("6.1", "c.d", Verdict::Timeout, ""),
            KnownResult::Fail,
        );
        let history = history(&[
            started(&["6.1"], 2),
            at(1, Event::TestFinished(flaky)),
            at(1, Event::TestFinished(fails)),
        ]);
        assert_eq!(
            cells(&table(&history, None)),
            [
                vec!["kernel", "pass", "flaky", "fail", "xfail"],
                vec!["6.1", "0", "1", "0", "1"],
            ]
        );
    }

    #[test]
    fn a_terminal_too_narrow_for_the_table_gets_a_list() {
        let run = run(
            &["6.1"],
            3,
            &[("6.1", Verdict::Pass), ("6.1", Verdict::Fail)],
        );
        assert_eq!(
            table(&run, Some(20)),
            "6.1\n  1 pass\n  1 fail\n  1 not run"
        );
    }

    #[test]
    fn a_hostile_kernel_name_cannot_move_the_cursor() {
        let text = table(&run(&["a\x1b[2Jb"], 0, &[]), None);
        assert!(!text.contains('\x1b'));
    }
}

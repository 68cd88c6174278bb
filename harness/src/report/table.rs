//! The table kernels × verdicts.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table};

use super::escape;
use crate::run::event::{VERDICTS, Verdict};
use crate::run::tally::Tally;

/// The table, without a newline at its end; `width` is in columns, `None`
/// gives every cell the room it wants.
///
/// A verdict that no test has gets no column, passes and failures excepted:
/// that keeps the table narrow, and a terminal of 40 columns shows it whole.
pub(super) fn table(tally: &Tally, width: Option<u16>) -> String {
    let shown: Vec<Verdict> = VERDICTS
        .into_iter()
        .filter(|verdict| {
            matches!(verdict, Verdict::Pass | Verdict::Fail) || tally.count(*verdict) > 0
        })
        .collect();
    let missing = tally.missing() > 0;

    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    let mut header = vec!["kernel".to_owned()];
    header.extend(shown.iter().map(ToString::to_string));
    if missing {
        header.push("not run".to_owned());
    }
    table.set_header(header);
    for kernel in &tally.kernels {
        let mut row = vec![Cell::new(escape::line(&kernel.kernel))];
        row.extend(
            shown
                .iter()
                .map(|verdict| Cell::new(kernel.count(*verdict))),
        );
        if missing {
            row.push(Cell::new(kernel.missing()));
        }
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // The style puts one blank between columns. Only kernels' names may wrap.
        column.set_padding((0, 0));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let widths = table.column_max_content_widths();
    let kernels = widths.first().copied().unwrap_or(0).min(KERNEL_WIDTH);
    let others: u16 = widths.iter().skip(1).map(|width| width + 1).sum();
    if width.is_some_and(|width| width < kernels + others) {
        return list(tally);
    }
    table.trim_fmt()
}

/// Columns a kernel's name needs, wrapped, to stay readable.
const KERNEL_WIDTH: u16 = 6;

/// The same for a terminal too narrow for the table: a short line each.
fn list(tally: &Tally) -> String {
    let mut lines = Vec::new();
    for kernel in &tally.kernels {
        lines.push(escape::line(&kernel.kernel).into_owned());
        for verdict in VERDICTS {
            if kernel.count(verdict) > 0 {
                lines.push(format!("  {} {verdict}", kernel.count(verdict)));
            }
        }
        if kernel.missing() > 0 {
            lines.push(format!("  {} not run", kernel.missing()));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{finished, started};

    fn tally(kernels: &[&str], tests: usize, verdicts: &[(&str, Verdict)]) -> Tally {
        let mut tally = Tally::default();
        tally.observe(&started(kernels, tests).event);
        for (kernel, verdict) in verdicts {
            tally.observe(&finished(kernel, "a.b", *verdict, "").event);
        }
        tally
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
        let tally = tally(
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
            cells(&table(&tally, None)),
            [
                vec!["kernel", "pass", "fail", "skip"],
                vec!["5.10", "2", "0", "0"],
                vec!["6.1", "1", "0", "1"],
            ]
        );
    }

    #[test]
    fn tests_that_did_not_run_are_counted() {
        let tally = tally(&["6.1"], 3, &[("6.1", Verdict::Pass)]);
        assert_eq!(
            cells(&table(&tally, None)),
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
        let text = table(&tally(&["6.14-upstream"], 6, &verdicts), Some(40));
        for line in text.lines() {
            assert!(line.chars().count() <= 40, "{text}");
        }
        let words = cells(&text);
        assert!(words.iter().any(|row| row.contains(&"timeout")), "{text}");
    }

    #[test]
    fn a_terminal_too_narrow_for_the_table_gets_a_list() {
        let tally = tally(
            &["6.1"],
            3,
            &[("6.1", Verdict::Pass), ("6.1", Verdict::Fail)],
        );
        assert_eq!(
            table(&tally, Some(20)),
            "6.1\n  1 pass\n  1 fail\n  1 not run"
        );
    }

    #[test]
    fn a_hostile_kernel_name_cannot_move_the_cursor() {
        let text = table(&tally(&["a\x1b[2Jb"], 0, &[]), None);
        assert!(!text.contains('\x1b'));
    }
}
